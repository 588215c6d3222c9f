"""Traces out of what other programs print: APDU listings and logs of pcsc-spy.

| written by | a command | a response |
|---|---|---|
| GlobalPlatformPro and apdu4j, debug | ``A>> T=1 (4+0008) 00A40400 08 …`` | ``A<< (0018+2) (15ms) 6F10… 9000`` |
| apdu4j, dump | ``# Sent``, then a line of digits | ``# Received in 15ms``, then a line of digits |
| scriptor, gscriptor | ``> 00 A4 04 00 …`` | ``< 6F 10 … 90 00 : Normal processing.`` |
| opensc-tool -s | ``Sending: 00 A4 04 00 …`` | ``Received (SW1=0x90, SW2=0x00):`` and rows of a dump |
| others | ``>``, ``>>``, ``->``, ``-->``, ``=>``, ``C:``, ``C-APDU:``, ``Command:`` | the same with ``<`` or ``R`` |

Everything else in such a text is passed over. What comes in is hidden like what a recorder hears.

Source: output of apdu4j (DumpFormat, LoggingCardTerminal), scriptor 1.6, opensc-tool 0.23.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from card_os.iso7816.atr import AnswerError, Atr
from reader_bridge.connection import Interface, Protocol7816, ReaderError
from reader_bridge.trace.hiding import Hiding
from reader_bridge.trace.record import Entry, Header, Hidden, Kind, Moment, Octets, Trace

_HEX: Final = r"(?P<hex>(?:[0-9A-Fa-f]{2}[ :]?)+)"
_COMMANDS: Final = (
    re.compile(r"^\s*A>>\s.*?\)\s+" + _HEX + r"\s*$"),
    re.compile(r"^\s*(?:>{1,2}|-{1,2}>|=>|C:|C-APDU:?|Command:?|Sending:|SEND:)\s*" + _HEX + r"\s*$"),
)
_RESPONSES: Final = (
    re.compile(r"^\s*A<<\s+\([0-9+]+\)\s+(?:\((?P<ms>\d+)ms\)\s+)?" + _HEX + r"\s*$"),
    re.compile(r"^\s*(?:<{1,2}|<-{1,2}|<=|R:|R-APDU:?|Response:?)\s*" + _HEX + r"\s*(?::.*)?$"),
)
_UNFINISHED: Final = re.compile(r"^\s*<\s*(?P<hex>(?:[0-9A-Fa-f]{2} )+)$")
"""scriptor breaks a long response after 17 bytes; the last part has a colon behind it."""
_CONTINUED: Final = re.compile(r"^(?P<hex>(?:[0-9A-Fa-f]{2} )+)(?P<end>: .*)?$")
_RESET_ANSWER: Final = re.compile(r"^<\s*OK:\s*" + _HEX + r"\s*$")
_DUMPED: Final = re.compile(r"^\s*Received \(SW1=0x(?P<sw1>[0-9A-Fa-f]{2}), SW2=0x(?P<sw2>[0-9A-Fa-f]{2})\):?\s*$")
_ATR: Final = re.compile(r"^\s*#?\s*ATR\s*[:=]\s*" + _HEX + r"\s*$")
_SENT: Final = re.compile(r"^# Sent\s*$")
_RECEIVED: Final = re.compile(r"^# Received(?: in (?P<ms>\d+)ms)?\s*$")
_BARE: Final = re.compile(r"^\s*" + _HEX + r"\s*$")
_RESET: Final = re.compile(r"^> RESET\s*$")
_ROW: Final = 16
_TRIPLE: Final = 3
_US_PER_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Listed:
    """A line that means something."""

    kind: str
    data: bytes = field(default=b"", repr=False)
    milliseconds: int = 0


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", " "))


def dump_row(line: str) -> bytes | None:
    """Bytes of one row ``41 42 AB`` of a dump; None when the line is none.

    A row shows as many characters as it has bytes, and may be padded to sixteen bytes before them.
    """
    for count in range(min(_ROW, len(line) // _TRIPLE), 0, -1):
        pairs = line[: _TRIPLE * count]
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2} )+", pairs):
            continue
        rest = line[len(pairs) :]
        padding = " " * (_TRIPLE * (_ROW - count))
        if len(rest) == count or (rest.startswith(padding) and len(rest) == len(padding) + count):
            return bytes.fromhex(pairs)
    return None


class _ListingReader:
    """Reads a listing line by line."""

    def __init__(self) -> None:
        self._expecting = ""
        self._milliseconds = 0
        self._dumped: tuple[bytes, bytearray] | None = None
        self._unfinished = bytearray()

    def line(self, line: str) -> Iterator[_Listed]:
        """What a line says, and what ended before it."""
        if self._unfinished:
            found = _CONTINUED.match(line)
            if found is not None:
                self._unfinished += _octets(found["hex"])
            if found is None or found["end"]:
                yield from self.end()
            if found is not None:
                return
        if self._dumped is not None:
            row = dump_row(line)
            if row is not None:
                self._dumped[1].extend(row)
                return
            yield from self.end()
        if self._expecting:
            found = _BARE.match(line)
            expecting, self._expecting = self._expecting, ""
            if found is not None:
                yield _Listed(expecting, _octets(found["hex"]), self._milliseconds)
                return
        yield from self._begin(line)

    def end(self) -> Iterator[_Listed]:
        """What no further line belongs to."""
        if self._unfinished:
            yield _Listed("response", bytes(self._unfinished))
            self._unfinished.clear()
        if self._dumped is not None:
            yield _Listed("response", bytes(self._dumped[1]) + self._dumped[0])
            self._dumped = None

    def _begin(self, line: str) -> Iterator[_Listed]:
        """A line that continues nothing."""
        if found := _DUMPED.match(line):
            self._dumped = bytes.fromhex(found["sw1"] + found["sw2"]), bytearray()
        elif found := _UNFINISHED.match(line):
            self._unfinished += _octets(found["hex"])
        elif _SENT.match(line):
            self._expecting, self._milliseconds = "command", 0
        elif found := _RECEIVED.match(line):
            self._expecting, self._milliseconds = "response", int(found["ms"] or 0)
        elif _RESET.match(line):
            yield _Listed("reset")
        else:
            yield from _whole(line)


def _whole(line: str) -> Iterator[_Listed]:
    """A line that says all by itself."""
    for kind, forms in _WHOLE:
        for form in forms:
            if found := form.match(line):
                yield _Listed(kind, _octets(found["hex"]), int(found.groupdict().get("ms") or 0))
                return


_WHOLE: Final = (("answer", (_ATR, _RESET_ANSWER)), ("command", _COMMANDS), ("response", _RESPONSES))


def _lines(text: str) -> Iterator[_Listed]:
    """Everything that a listing says, in order."""
    reader = _ListingReader()
    for line in text.splitlines():
        yield from reader.line(line)
    yield from reader.end()


def protocol_of(answer: bytes) -> tuple[Interface, Protocol7816]:
    """What an ATR says of interface and protocol: one that a reader made of an ATS begins 3B 8n 80 01."""
    try:
        atr = Atr.parse(answer)
    except AnswerError:
        return Interface.CONTACT, Protocol7816.T1
    if answer[1] >> 4 == 0x8 and answer[2:4] == b"\x80\x01":  # noqa: PLR2004 - PC/SC part 3, table 3.5
        return Interface.CONTACTLESS, Protocol7816.TCL
    return Interface.CONTACT, Protocol7816.T0 if atr.protocols == (0,) else Protocol7816.T1


def from_listing(text: str, hidden: Hidden, name: str = "listing") -> Trace:
    """A trace out of a listing of commands and responses.

    Args:
        text: the listing.
        hidden: what to leave out.
        name: for the header and messages.

    Raises:
        ReaderError: "import-empty", there is no command with a response; "import-order", a response without a command.
    """
    hiding = Hiding(hidden)
    entries: list[Entry] = []
    answer = b""
    waiting: bytes | None = None
    at_us = 0
    for item in _lines(text):
        match item.kind:
            case "answer":
                answer = answer or item.data
                if entries and entries[-1].kind is Kind.RESET:
                    entries[-1] = Entry(Kind.RESET, received=Octets(item.data))
            case "reset":
                hiding.reset()
                entries.append(Entry(Kind.RESET, received=Octets(answer)))
            case "command":
                waiting = item.data
            case _:
                if waiting is None or len(item.data) < 2:  # noqa: PLR2004 - SW1 SW2
                    raise ReaderError("import-order", path=name, number=len(entries) + 1)
                cover = hiding.cover(waiting)
                moment = Moment(at_us, item.milliseconds * _US_PER_MS) if item.milliseconds else None
                at_us += item.milliseconds * _US_PER_MS
                entries.append(
                    Entry(
                        Kind.APDU,
                        hiding.hide_command(waiting, cover),
                        hiding.hide_response(item.data, cover),
                        moment=moment,
                    )
                )
                hiding.answered(waiting, item.data)
                waiting = None
    if not any(entry.kind is Kind.APDU for entry in entries):
        raise ReaderError("import-empty", path=name)
    interface, protocol = protocol_of(answer)
    start = (Entry(Kind.POWER_ON, received=Octets(answer)),) if answer else ()
    return Trace(Header(name, interface, protocol, answer, hidden=hidden), (*start, *entries))


class ScriptLineError(ValueError):
    """A line of a script is no command.

    Args:
        number: of the line, from 1.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"line {number} is no command")
        self.number = number


def commands_of(text: str) -> list[bytes]:
    """The commands of a script or a listing: marked as such, or every line of digits when none is marked.

    ``#`` begins a remark. Responses are passed over; so is everything that is no command in what a program printed. A
    script, where nothing is marked, has nothing but commands and remarks.

    Raises:
        ScriptLineError: a line of a script is neither.
    """
    marked = [item.data for item in _lines(text) if item.kind == "command"]
    if marked:
        return marked
    lines = {number: line.partition("#")[0] for number, line in enumerate(text.splitlines(), start=1)}
    found = {number: _BARE.match(line) for number, line in lines.items() if line.strip()}
    commands = [_octets(match["hex"]) for match in found.values() if match is not None]
    if commands and len(commands) < len(found):
        raise ScriptLineError(next(number for number, match in found.items() if match is None))
    return commands
