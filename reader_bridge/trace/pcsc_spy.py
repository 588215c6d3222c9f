"""Traces out of the log that libpcscspy writes of what a program asks the PC/SC service.

A line is a thread number in hexadecimal, ``@``, and text (older logs have the text alone). ``>|seconds|micros|name``
begins a call, then come its arguments, one a line, then what came back, then ``<|seconds|micros|name|words|code``
(newer logs leave the words out). A buffer is its length and a line of digits.

Source: pcsclite 1.9 and 2.3, libpcscspy (what each function writes); PC/SC lite API for the functions and their codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from reader_bridge.connection import ReaderError
from reader_bridge.trace.hiding import Hiding
from reader_bridge.trace.listings import protocol_of
from reader_bridge.trace.record import Entry, Header, Hidden, Kind, Moment, Octets, Trace

_THREAD: Final = re.compile(r"^(?P<thread>[0-9A-Fa-f]{1,16})@(?P<text>.*)$")
_ENTER: Final = re.compile(r"^>\|(?P<seconds>\d+)\|(?P<micros>\d+)\|(?P<name>\w+)$")
_LEAVE: Final = re.compile(r"^<\|(?P<seconds>\d+)\|(?P<micros>\d+)\|(?P<name>\w+)(?:\|.*)?\|0x(?P<code>[0-9A-Fa-f]+)$")
_MILLION: Final = 1_000_000
_SUCCESS: Final = 0
_CODE_BITS: Final = 0xFFFFFFFF
_RESET_DISPOSITIONS: Final = frozenset({1, 2})
_SHORTEST: Final = 2
_FAILURES: Final[Mapping[int, str]] = {
    0x8010000A: "time-out",
    0x80100009: "no-reader",
    0x8010000C: "no-card",
    0x80100016: "transmission-failed",
    0x80100017: "reader-removed",
    0x80100066: "mute",
    0x80100068: "card-reset",
    0x80100069: "card-removed",
}


@dataclass(slots=True)
class _Call:
    """One call of a function.

    Attributes:
        name: the function.
        begin: microseconds since 1970.
        lines: arguments and results.
        end: microseconds since 1970.
        code: what the function returned.
    """

    name: str
    begin: int
    lines: list[str] = field(default_factory=list[str])
    end: int = 0
    code: int = 0


def looks_like_spy(text: str) -> bool:
    """True when the text begins as such a log does."""
    head = text[:2000].splitlines()[:5]
    return any(_ENTER.match(_split(line)[1]) for line in head) or any("PCSC SPY VERSION" in line for line in head)


def _split(line: str) -> tuple[str, str]:
    found = _THREAD.match(line)
    return ("", line) if found is None else (found["thread"], found["text"])


def _calls(text: str) -> Iterator[_Call]:
    """Finished calls in the order of their ends; threads do not mix."""
    open_calls: dict[str, _Call] = {}
    for raw in text.splitlines():
        thread, line = _split(raw.rstrip())
        if found := _ENTER.match(line):
            open_calls[thread] = _Call(found["name"], int(found["seconds"]) * _MILLION + int(found["micros"]))
        elif (found := _LEAVE.match(line)) and thread in open_calls:
            call = open_calls.pop(thread)
            call.end = int(found["seconds"]) * _MILLION + int(found["micros"])
            call.code = int(found["code"], 16) & _CODE_BITS
            yield call
        elif thread in open_calls:
            open_calls[thread].lines.append(line.strip())


@dataclass(slots=True)
class _Session:
    """What is known of one card handle."""

    reader: str
    answer: bytes = b""
    entries: list[Entry] = field(default_factory=list[Entry])
    begin: int = 0
    exchanges: int = 0


class _SpyReader:
    """Makes one session a card handle out of calls."""

    def __init__(self, hidden: Hidden) -> None:
        self._hidden = hidden
        self._hidings: dict[str, Hiding] = {}
        self._handles: dict[str, str] = {}
        self.sessions: dict[str, _Session] = {}

    def take(self, call: _Call) -> None:
        act = _ACTIONS.get(call.name)
        if act is not None:
            act(self, call)

    def _session(self, handle: str, call: _Call) -> tuple[_Session, Hiding] | None:
        reader = self._handles.get(_number(handle))
        if reader is None:
            return None
        session = self.sessions.setdefault(reader, _Session(reader, begin=call.begin))
        return session, self._hidings.setdefault(reader, Hiding(self._hidden))

    def connect(self, call: _Call) -> None:
        """hContext, reader, share mode, protocols, handle and protocol before, handle and protocol after."""
        if call.code != _SUCCESS or len(call.lines) < 8:  # noqa: PLR2004 - as many lines
            return
        self._handles[_number(call.lines[6])] = call.lines[1]
        self._mark(call, call.lines[6], Kind.POWER_ON)

    def reconnect(self, call: _Call) -> None:
        """Handle, share mode, protocols, initialization, protocol after."""
        if call.code == _SUCCESS and len(call.lines) > 3 and _value(call.lines[3]) in _RESET_DISPOSITIONS:  # noqa: PLR2004
            self._mark(call, call.lines[0], Kind.RESET)

    def disconnect(self, call: _Call) -> None:
        """Handle, disposition."""
        if call.code == _SUCCESS and len(call.lines) > 1 and _value(call.lines[1]) in _RESET_DISPOSITIONS:
            self._mark(call, call.lines[0], Kind.POWER_OFF)

    def _mark(self, call: _Call, handle: str, kind: Kind) -> None:
        found = self._session(handle, call)
        if found is not None:
            session, hiding = found
            hiding.reset()
            session.entries.append(Entry(kind, moment=_moment(session, call)))

    def status(self, call: _Call) -> None:
        """The last line is the ATR."""
        found = self._session(call.lines[0], call) if call.lines else None
        if found is not None and call.code == _SUCCESS:
            found[0].answer = found[0].answer or _buffer(call.lines[-1])

    def transmit(self, call: _Call) -> None:
        """Handle, length and bytes sent, length and bytes received; newer logs have protocol headers before both."""
        found = self._session(call.lines[0], call) if len(call.lines) > 4 else None  # noqa: PLR2004 - as many lines
        if found is None:
            return
        session, hiding = found
        command, response = _first_buffer(call.lines[:-2]), _buffer(call.lines[-1])
        if not command:
            return
        cover = hiding.cover(command)
        sent = hiding.hide_command(command, cover)
        moment = _moment(session, call)
        session.exchanges += 1
        if call.code != _SUCCESS or len(response) < _SHORTEST:
            failure = _FAILURES.get(call.code, "pcsc-failed")
            session.entries.append(Entry(Kind.APDU, sent, failure=failure, moment=moment))
            return
        hiding.answered(command, response)
        session.entries.append(Entry(Kind.APDU, sent, hiding.hide_response(response, cover), moment=moment))


_ACTIONS: Final[Mapping[str, Callable[[_SpyReader, _Call], None]]] = {
    "SCardConnect": _SpyReader.connect,
    "SCardReconnect": _SpyReader.reconnect,
    "SCardDisconnect": _SpyReader.disconnect,
    "SCardStatus": _SpyReader.status,
    "SCardTransmit": _SpyReader.transmit,
}


def _moment(session: _Session, call: _Call) -> Moment:
    return Moment(max(call.begin - session.begin, 0), max(call.end - call.begin, 0))


def _buffer(line: str) -> bytes:
    try:
        return bytes.fromhex(line)
    except ValueError:
        return b""


def _first_buffer(lines: list[str]) -> bytes:
    """The first line of digits whose length stands in the line before it."""
    for length, line in pairwise(lines):
        data = b"" if line.startswith("0x") else _buffer(line)
        if data and _value(length) == len(data):
            return data
    return b""


def _value(line: str) -> int:
    try:
        return int(line, 16)
    except ValueError:
        return -1


def _number(line: str) -> str:
    """A handle without leading zeroes."""
    return f"{_value(line) & 0xFFFFFFFFFFFFFFFF:X}"


def from_spy(text: str, hidden: Hidden, name: str = "log", reader: str | None = None) -> Trace:
    """A trace of one reader out of a log.

    Args:
        text: the log.
        hidden: what to leave out.
        name: for messages.
        reader: the reader, or a part of its name; needed when the log tells of several.

    Raises:
        ReaderError: "import-empty", no command went to a card; "import-readers", there are several.
    """
    spy = _SpyReader(hidden)
    for call in _calls(text):
        spy.take(call)
    found = [
        session
        for session in spy.sessions.values()
        if session.exchanges and (reader is None or reader in session.reader)
    ]
    if not found:
        raise ReaderError("import-empty", path=name)
    if len(found) > 1:
        raise ReaderError("import-readers", path=name, known=", ".join(session.reader for session in found))
    session = found[0]
    interface, protocol = protocol_of(session.answer)
    begun = datetime.fromtimestamp(session.begin // _MILLION, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries = tuple(
        Entry(entry.kind, received=Octets(session.answer), moment=entry.moment)
        if entry.kind in {Kind.POWER_ON, Kind.RESET}
        else entry
        for entry in session.entries
    )
    return Trace(Header(session.reader, interface, protocol, session.answer, "", hidden, begun), entries)
