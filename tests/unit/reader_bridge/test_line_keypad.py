"""PINs typed at a terminal or sent through a file descriptor, as a reader's keypad."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator

import pytest

from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.line_keypad import LineKeypad
from reader_bridge.pin_entry import PinOperation, Prompt, verification
from reader_bridge.pin_pads import pin_pad_of, verify_at
from reader_bridge.stack import standard_stack
from tests.doubles.echo_card import EchoCard

VERIFY = bytes.fromhex("0020008108" + "20FFFFFFFFFFFFFF")
PROGRAM = """
from reader_bridge.line_keypad import terminal_keypad
from reader_bridge.pin_entry import Prompt
with terminal_keypad(lambda prompt, least, most: f"{prompt.name} {least}-{most}: ") as keypad:
    print(keypad.digits(Prompt.PIN, 4, 12, 60) == "123456")
"""


class Typed:
    """A keypad and whoever types at it."""

    def __init__(self, keypad: LineKeypad, writer: int) -> None:
        self.keypad = keypad
        self.writer = writer

    def type(self, text: str) -> str | None:
        os.write(self.writer, text.encode())
        return self.keypad.digits(Prompt.PIN, 4, 12, 60)


@pytest.fixture
def typed() -> Iterator[Typed]:
    reader, writer = os.pipe()
    with LineKeypad(reader) as keypad:
        yield Typed(keypad, writer)
    os.close(reader)
    os.close(writer)


def test_a_line_is_a_pin_and_the_next_line_waits(typed: Typed) -> None:
    assert typed.type("1234\n567890\r\n") == "1234"
    assert typed.keypad.digits(Prompt.PIN, 4, 12, 60) == "567890"
    assert "1234" not in repr(typed.keypad)


def test_an_empty_line_and_the_end_of_input_cancel(typed: Typed) -> None:
    assert typed.type("\n") is None
    os.close(typed.writer)
    assert typed.keypad.digits(Prompt.PIN, 4, 12, 60) is None
    typed.writer = os.open(os.devnull, os.O_WRONLY)


def test_a_line_without_end_is_no_pin(typed: Typed) -> None:
    assert len(typed.type("1" * 100) or "") == 64


def test_nobody_types(typed: Typed) -> None:
    with pytest.raises(TimeoutError):
        typed.keypad.digits(Prompt.PIN, 4, 12, 1)


def test_a_reader_that_ends_cancels_for_whoever_has_not_typed(typed: Typed) -> None:
    stopper = threading.Timer(0.1, typed.keypad.stop)
    stopper.start()
    assert typed.keypad.digits(Prompt.PIN, 4, 12, 0) is None
    stopper.join()


def test_a_terminal_asks_and_shows_nothing_that_is_typed() -> None:
    outer, inner = pty.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(inner, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=(inner,),
        preexec_fn=own_terminal,  # noqa: PLW1509 - one ioctl
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as program:
        shown = b""
        while not shown.endswith(b": "):
            shown += os.read(outer, 1)
        assert shown == b"PIN 4-12: "
        assert not termios.tcgetattr(inner)[3] & termios.ECHO
        os.write(outer, b"123456\n")
        out, _ = program.communicate(timeout=60)
    assert out == "True\n"
    assert termios.tcgetattr(inner)[3] & termios.ECHO
    os.close(inner)
    rest = os.read(outer, 100)
    os.close(outer)
    assert b"1" not in rest


@pytest.mark.clause("PC/SC part 10, 2.5.2: PIN_VERIFY_STRUCTURE; ISO 9564-1, 9.3.3: PIN block of format 2")
def test_what_is_typed_fills_a_block_of_format_2(typed: Typed) -> None:
    operation = PinOperation.from_feature(verification(VERIFY, 30), modify=False)
    os.write(typed.writer, b"12345\n")
    assert operation.fill(typed.keypad) == VERIFY[:5] + bytes.fromhex("2512345FFFFFFFFF")
    assert (operation.minimum, operation.maximum, operation.seconds) == (4, 12, 30)


class PadReader(EchoCard):
    """A reader that has a keypad, or says that it has none."""

    def __init__(self, *, there: bool) -> None:
        super().__init__()
        self.there = there
        self.structures: list[bytes] = []

    def has_pin_pad(self) -> bool:
        return self.there

    def verify_pin(self, structure: bytes) -> bytes:
        self.structures.append(structure)
        return b"\x90\x00"


def test_a_pad_is_found_behind_what_stands_around_its_reader() -> None:
    reader = PadReader(there=True)
    assert verify_at(pin_pad_of(standard_stack(reader)), VERIFY) == b"\x90\x00"
    assert reader.structures == [verification(VERIFY, 30)]


@pytest.mark.parametrize("reader", [PadReader(there=False), EchoCard()], ids=["reader without keys", "no reader"])
def test_a_reader_without_keys_is_said(reader: EchoCard) -> None:
    reader.description = ConnectionDescription("plain", Interface.CONTACT, Protocol7816.T1, b"")
    with pytest.raises(ReaderError, match="no-pin-pad: reader=plain"):
        pin_pad_of(standard_stack(reader))
