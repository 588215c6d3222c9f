"""A keypad that is not there: whoever types sits at a terminal, or at the other end of a file descriptor.

A PIN is a line. An empty line, or the end of input, is the cancel key.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Final, Self

from reader_bridge.pin_entry import Prompt

_TERMINAL: Final = "/dev/tty"
_LONGEST: Final = 64
"""A line that goes on longer is no PIN."""

Ask = Callable[[Prompt, int, int], str]
"""Words for what is wanted, with least and greatest number of digits."""


class LineKeypad:
    """Takes digits from lines of a file descriptor; from a terminal without showing them.

    Args:
        descriptor: where lines come from; the caller closes it.
        ask: words that are written before somebody types; None writes nothing.
        show_on: descriptor that the words are written to.
        quiet: keeps what is typed from being shown.
    """

    def __init__(
        self,
        descriptor: int,
        ask: Ask | None = None,
        show_on: int | None = None,
        quiet: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._descriptor = descriptor
        self._ask = ask
        self._show_on = show_on
        self._quiet = quiet
        self._wake_reader, self._wake_writer = os.pipe()

    def digits(self, prompt: Prompt, minimum: int, maximum: int, seconds: int) -> str | None:
        """What was typed, whether it has the length or not; None = cancelled.

        Args:
            prompt: what is asked for.
            minimum: least number of digits.
            maximum: greatest number of digits.
            seconds: how long the reader waits for a whole line; 0 = as long as it takes.

        Raises:
            TimeoutError: nobody typed.
        """
        with self._quiet():
            if self._ask is not None:
                self._show(self._ask(prompt, minimum, maximum))
            try:
                return self._line(None if not seconds else time.monotonic() + seconds) or None
            finally:
                self._show("\n")

    def _show(self, words: str) -> None:
        if self._show_on is not None:
            with contextlib.suppress(OSError):
                os.write(self._show_on, words.encode())

    def _line(self, deadline: float | None) -> str:
        """Read byte by byte, so that what follows the line stays for the next entry."""
        line = bytearray()
        while len(line) < _LONGEST:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._descriptor, self._wake_reader], [], [], left)
            if not ready:
                raise TimeoutError
            if self._wake_reader in ready:
                return ""
            byte = os.read(self._descriptor, 1)
            if byte in {b"", b"\n"}:
                break
            line += byte
        return line.decode("ascii", "replace").strip()

    def stop(self) -> None:
        """Press the cancel key, now and from now on, from any thread."""
        os.write(self._wake_writer, b"\x00")

    def __repr__(self) -> str:
        """Without what was typed."""
        return f"LineKeypad({self._descriptor})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the pipe back; whoever waited was told by `stop`, and the reader has ended."""
        os.close(self._wake_reader)
        os.close(self._wake_writer)


@contextmanager
def terminal_keypad(ask: Ask) -> Generator[LineKeypad]:
    """A keypad at the terminal of this process, whatever its input and output are; nothing typed is shown.

    Raises:
        OSError: there is no terminal.
    """
    import termios  # POSIX only, as terminals are

    descriptor = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY)

    @contextmanager
    def quiet() -> Generator[None]:
        before = termios.tcgetattr(descriptor)
        silent = list(before)
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
        try:
            yield
        finally:
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)

    try:
        with LineKeypad(descriptor, ask, descriptor, quiet) as keypad:
            yield keypad
    finally:
        os.close(descriptor)
