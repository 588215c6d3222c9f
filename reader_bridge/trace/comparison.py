"""Holds two traces, or a trace and a card, against each other: the first difference is named.

Times never count. What a command row says varies (challenges, cryptograms, MACs) is left out unless asked for, and so
is all that is under secure messaging, but for its status word.

Source: the columns of `reader_bridge.trace.commands`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from reader_bridge.connection import CardConnection, ReaderError
from reader_bridge.trace.commands import PROPRIETARY, command_row, under_iso_messaging
from reader_bridge.trace.record import EXCHANGES, STARTS, Entry, Kind, Octets, Trace
from reader_bridge.trace.text import command_text, digits, response_text

_HEADER: Final = 4
_STATUS_LENGTH: Final = 2
_GP_SECURED: Final = 0x04
_EXTERNAL_AUTHENTICATE: Final = 0x82
_NO_MESSAGING: Final = slice(0, 0)
_ALL: Final = slice(0, None)
_WILD: Final = b"\x00"


def _secured(command: bytes) -> bool:
    if command[0] >= PROPRIETARY:
        return bool(command[0] & _GP_SECURED) and command[0] < 0xC0  # noqa: PLR2004 - further classes have another bit
    return under_iso_messaging(command[0])


def _varying(command: bytes) -> tuple[slice, slice]:
    """What varies of the command data field and of the response data field."""
    if len(command) < _HEADER:
        return _NO_MESSAGING, _NO_MESSAGING
    row = command_row(command[0], command[1])
    if _secured(command):
        return _ALL, _ALL
    return row.command_varies.value, row.response_varies.value


def _blank(data: bytes, what: slice) -> bytes:
    """``data`` with what varies as zeroes; its length stays."""
    start, stop, _ = what.indices(len(data))
    return data[:start] + _WILD * max(stop - start, 0) + data[max(stop, start) :]


def comparable_command(command: bytes) -> bytes:
    """The command with what varies as zeroes."""
    start = _HEADER + 1
    if len(command) > _HEADER + 3 and not command[_HEADER]:
        start = _HEADER + 3
    return command[:start] + _blank(command[start:], _varying(command)[0])


def comparable_response(command: bytes, response: bytes) -> bytes:
    """The response to ``command`` with what varies as zeroes; of one under secure messaging only the status word."""
    if len(command) >= _HEADER and _secured(command):
        return response[-_STATUS_LENGTH:]
    return _blank(response[:-_STATUS_LENGTH], _varying(command)[1]) + response[-_STATUS_LENGTH:]


def same_octets(one: Octets, other: bytes) -> bool:
    """True when the bytes agree wherever ``one`` is not hidden."""
    if len(one) != len(other):
        return False
    if not one.hidden:
        return one.data == other
    return all(a == b or one.is_hidden(at) for at, (a, b) in enumerate(zip(one.data, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two exchanges differ.

    Attributes:
        number: of the exchange, from 1.
        where: "answer", "length", "data", "status", "failure", "command".
        offset: first byte that differs, for data; else 0.
        command: the command, as text.
        expected: what the trace has, as text.
        found: what came.
    """

    number: int
    where: str
    offset: int
    command: str
    expected: str
    found: str


def difference(
    number: int, entry: Entry, found: Octets, failure: str = "", *, strict: bool = False
) -> Difference | None:
    """How an answer differs from the one in the trace; None when it does not."""
    command = command_text(entry.sent)
    if entry.failure or failure:
        if entry.failure == failure:
            return None
        return Difference(
            number,
            "failure",
            0,
            command,
            entry.failure or response_text(entry.received),
            failure or response_text(found),
        )
    expected, got = entry.received, found
    if not strict and entry.kind in EXCHANGES:
        raw = entry.sent.data
        expected = Octets(comparable_response(raw, expected.data), expected.hidden)
        if len(raw) >= _HEADER and _secured(raw):
            expected = Octets(expected.data)
        got = Octets(comparable_response(raw, got.data))
    if same_octets(expected, got.data):
        return None
    where, offset = _place(expected, got.data, entry.kind)
    show = digits if entry.kind in STARTS else response_text
    return Difference(number, where, offset, command, show(entry.received), show(found))


def _place(expected: Octets, found: bytes, kind: Kind) -> tuple[str, int]:
    if kind in STARTS:
        return "answer", 0
    if expected.data[-_STATUS_LENGTH:] != found[-_STATUS_LENGTH:]:
        return "status", 0
    if len(expected) != len(found):
        return "length", 0
    offset = next(
        at for at, (a, b) in enumerate(zip(expected.data, found, strict=True)) if a != b and not expected.is_hidden(at)
    )
    return "data", offset


@dataclass(frozen=True, slots=True)
class CardComparison:
    """What a card answered to the commands of a trace.

    Attributes:
        sent: commands that were sent.
        skipped: commands with a hidden data field, which cannot be sent.
        differences: in their order; the first is the one to look at.
    """

    sent: int
    skipped: int
    differences: tuple[Difference, ...]


def compare_with_card(
    trace: Trace, connection: CardConnection, *, strict: bool = False, keep_going: bool = False
) -> CardComparison:
    """Be the reader of a trace: send its commands to a card and compare the answers.

    Args:
        trace: the trace.
        connection: the card, not powered yet.
        strict: what varies counts too.
        keep_going: go on after the first difference.

    Raises:
        ReaderError: there is no card.
    """
    found: list[Difference] = []
    sent = skipped = 0
    connection.power_on()
    for number, entry in enumerate(trace.exchanges(), start=1):
        if entry.kind is Kind.POWER_OFF:
            connection.power_off()
            continue
        if entry.sent.hidden:
            skipped += 1
            continue
        failure, got = "", b""
        try:
            got = _answer(connection, entry)
        except ReaderError as error:
            failure = error.code
        sent += entry.kind in EXCHANGES
        differs = difference(number, entry, Octets(got), failure, strict=strict)
        if differs is not None:
            found.append(differs)
            if not keep_going:
                break
    return CardComparison(sent, skipped, tuple(found))


def _answer(connection: CardConnection, entry: Entry) -> bytes:
    if entry.kind is Kind.POWER_ON:
        return connection.power_on()
    if entry.kind is Kind.RESET:
        return connection.reset()
    return connection.transmit(entry.sent.data)


def comparison_key(entry: Entry, *, strict: bool) -> str:
    """What of an entry counts when two traces are compared, as one line."""
    if entry.kind not in EXCHANGES or strict:
        return f"{entry.kind.value} {digits(entry.sent)} | {digits(entry.received)} {entry.failure}".rstrip()
    command = Octets(comparable_command(entry.sent.data), entry.sent.hidden)
    response = entry.received
    if response.data:
        blanked = comparable_response(entry.sent.data, response.data)
        response = Octets(blanked, response.hidden if len(blanked) == len(response.data) else ())
    return f"{entry.kind.value} {command_text(command)} | {response_text(response)} {entry.failure}".rstrip()


def trace_difference(one: Trace, other: Trace, *, strict: bool = False) -> Iterator[str]:
    """Lines that only one trace has, with - and +, each block with its place; nothing when they say the same.

    Args:
        one: a trace.
        other: another.
        strict: what varies counts too, and so do all levels; else the exchanges of the highest level.
    """
    left = [comparison_key(entry, strict=strict) for entry in (one.entries if strict else one.exchanges())]
    right = [comparison_key(entry, strict=strict) for entry in (other.entries if strict else other.exchanges())]
    if one.header.answer != other.header.answer:
        yield f"- answer {one.header.answer.hex().upper()}"
        yield f"+ answer {other.header.answer.hex().upper()}"
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        yield f"@@ entry {i1 + 1} / {j1 + 1} @@"
        yield from (f"- {line}" for line in left[i1:i2])
        yield from (f"+ {line}" for line in right[j1:j2])
