"""Bytes as a play of commands on a card: what the coverage-guided fuzzer changes, and how seeds are written.

A play is a byte that chooses the card, then steps. A step is a byte that says what it is, and what it needs; a command
is instruction, parameters, data and Le, each chosen from what is likely or given outright, so that a change of one byte
makes a neighbouring command and not noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from card_os.iso7816.apdu import CommandApdu

CARDS: Final = ("permit", "sam", "file system", "blank", "half-made permit")


class Kind(IntEnum):
    """What a step does; the byte is taken modulo their number."""

    COMMAND = 0
    PROTECTED = 1
    RAW = 2
    SELECT = 3
    AUTHENTICATE = 4
    CUT = 5
    RESET = 6


NAMES: Final = tuple(
    map(bytes.fromhex, ("F05A4A4A5A0101", "F05A4A4A5A0201", "F05A4A4A5A0301", "A000000151000000", "F05A", ""))
)
CLASSES: Final = (0x00, 0x80, 0x0C, 0x84, 0x10, 0x90, 0x01, 0x41, 0x8C, 0xFF)
LIKELY_LE: Final = (0, 256, 1, 16, 65_536, 255)
TEMPLATES: Final = tuple(
    map(
        bytes.fromhex,
        (
            "",
            "0101",
            "540100",
            "540100530100",
            "26246810FFFFFFFF",
            "26246810FFFFFFFF26111111FFFFFFFF",
            "3230323630363031",
            "0000000000000000",
            "00" * 16,
            "00" * 64,
            "5C00",
            "4F00",
            "621580020008820101830203018800" + "86067F0100000000",
            "0070000001",
            "07F05A4A4A5A0101",
            "06F05A4A4A5A01" + "07F05A4A4A5A0101" + "07F05A4A4A5A0101" + "010000" + "00",
            "4F07F05A4A4A5A0101",
            "800110" + "00" * 16,
            "41424344" * 8,
        ),
    )
)
"""Data fields that commands like; a byte from 192 on stands for one, a smaller one is a length."""
_FIRST_TEMPLATE: Final = 192


class Step(NamedTuple):
    """One step.

    Attributes:
        kind: what it does.
        contactless: over which interface.
        command: of COMMAND and PROTECTED.
        raw: of RAW, and the name of SELECT.
        number: role of AUTHENTICATE, programming unit and moment of CUT.
    """

    kind: Kind
    contactless: bool = False
    command: CommandApdu = CommandApdu(0, 0, 0, 0)
    raw: bytes = b""
    number: int = 0


class _Reader:
    """Takes bytes; behind the end everything is 0."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._raw)

    def byte(self) -> int:
        self._at += 1
        return self._raw[self._at - 1] if self._at <= len(self._raw) else 0

    def run(self, length: int) -> bytes:
        self._at += length
        return self._raw[self._at - length : self._at]

    def data(self) -> bytes:
        choice = self.byte()
        if choice >= _FIRST_TEMPLATE:
            return TEMPLATES[(choice - _FIRST_TEMPLATE) % len(TEMPLATES)]
        return self.run(choice)


def read_play(raw: bytes, limit: int = 40) -> tuple[str, list[Step]]:
    """The card and the steps that bytes are; every sequence of bytes is a play."""
    reader = _Reader(raw)
    card = CARDS[reader.byte() % len(CARDS)]
    steps: list[Step] = []
    while not reader.done and len(steps) < limit:
        head = reader.byte()
        kind, contactless = Kind((head >> 1) % len(Kind)), bool(head & 1)
        match kind:
            case Kind.COMMAND | Kind.PROTECTED:
                cla = CLASSES[reader.byte() % len(CLASSES)]
                ins, p1, p2, le = reader.byte(), reader.byte(), reader.byte(), reader.byte()
                command = CommandApdu(cla, ins, p1, p2, reader.data(), LIKELY_LE[le % len(LIKELY_LE)])
                steps.append(Step(kind, contactless, command))
            case Kind.RAW:
                steps.append(Step(kind, contactless, raw=reader.data()))
            case Kind.SELECT:
                steps.append(Step(kind, contactless, raw=NAMES[reader.byte() % len(NAMES)]))
            case Kind.AUTHENTICATE | Kind.CUT:
                steps.append(Step(kind, contactless, number=reader.byte()))
            case Kind.RESET:
                steps.append(Step(kind, contactless))
    return card, steps


def write_play(card: str, steps: Sequence[Step]) -> bytes:
    """The bytes of a play.

    Raises:
        ValueError: a step holds what the grammar cannot say.
    """
    return bytes((CARDS.index(card),)) + b"".join(b"".join(_written(step)) for step in steps)


def _written(step: Step) -> Iterator[bytes]:
    yield bytes((step.kind << 1 | step.contactless,))
    match step.kind:
        case Kind.COMMAND | Kind.PROTECTED:
            cla, ins, p1, p2, data, ne, _ = step.command
            yield bytes((CLASSES.index(cla), ins, p1, p2, LIKELY_LE.index(ne)))
            yield _written_data(data)
        case Kind.RAW:
            yield _written_data(step.raw)
        case Kind.SELECT:
            yield bytes((NAMES.index(step.raw),))
        case Kind.AUTHENTICATE | Kind.CUT:
            yield bytes((step.number,))
        case Kind.RESET:
            pass


def _written_data(data: bytes) -> bytes:
    if data in TEMPLATES:
        return bytes((_FIRST_TEMPLATE + TEMPLATES.index(data),))
    if len(data) >= _FIRST_TEMPLATE:
        raise ValueError("data that long stands in a template only")
    return bytes((len(data),)) + data
