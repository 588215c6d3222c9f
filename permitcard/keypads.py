"""Where a PIN is typed at a reader that this program plays."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from reader_bridge.line_keypad import LineKeypad
    from reader_bridge.pin_entry import Prompt

_TERMINAL: Final = "terminal"
_DESCRIPTOR: Final = "fd"
_WITH_KEYS: Final = "ccid-serial"
_BEHIND_MODELS: Final = frozenset({"vpcd", "tcp"})

Say = Callable[..., str]
"""Words for a code."""


@contextmanager
def open_keypad(text: str, say: Say) -> Generator[LineKeypad]:
    """A keypad as the command line names it.

    Args:
        text: ``terminal``, or ``fd:N`` for a file descriptor that is open.
        say: words for the prompt.

    Raises:
        PersonalizationError: "keypad-unknown" (exit 2), "no-terminal" (exit 3).
    """
    from reader_bridge.line_keypad import LineKeypad, terminal_keypad

    def ask(prompt: Prompt, minimum: int, maximum: int) -> str:
        return say(f"keypad.{prompt.name.lower()}", minimum=minimum, maximum=maximum) + " "

    with ExitStack() as stack:
        try:
            keypad = terminal_keypad(ask) if text == _TERMINAL else LineKeypad(_descriptor(text))
            opened = stack.enter_context(keypad)
        except (OSError, ImportError) as error:
            raise PersonalizationError("no-terminal", exit_code=3) from error
        yield opened


def _descriptor(text: str) -> int:
    kind, _, number = text.partition(":")
    try:
        descriptor = int(number) if kind == _DESCRIPTOR else -1
        os.fstat(descriptor)
    except (OSError, ValueError, OverflowError) as error:
        raise PersonalizationError("keypad-unknown", exit_code=2, keypad=text) from error
    return descriptor


def require_keys(way: str, model: str | None) -> None:
    """See that the reader that is played has keys.

    Raises:
        PersonalizationError: "keypad-useless", exit 2.
        ReaderError: "reader-model-unknown".
    """
    from reader_bridge.reader_models import reader_model, reader_models

    if way == _WITH_KEYS or (way in _BEHIND_MODELS and model is not None and reader_model(model).verifies_pins):
        return
    known = ", ".join(name for name, row in reader_models().items() if row.verifies_pins)
    raise PersonalizationError("keypad-useless", exit_code=2, way=way, known=known)
