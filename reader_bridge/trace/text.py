r"""The text of a trace: made for people, for ``grep`` and for ``diff``.

```
permitcard-trace 1
reader: sim:specimen.card
interface: contact
protocol: T=1
answer: 3B96...
profile: residence-permit 1.0
hidden: secrets content
begun: 2026-11-26T09:30:00Z

on<TAB><TAB>3B96...<TAB>0+180<TAB>-
apdu<TAB>00A40400 07 F05A4A4A5A0101<TAB>6F...  9000<TAB>200+95<TAB>-
apdu<TAB>00200081 08 ****************<TAB>9000<TAB>350+80<TAB>-
```

A line is an entry with five columns, separated by one tab: kind, sent, received, wall time, virtual time. Bytes are
hexadecimal digits, with spaces that mean nothing; ``**`` is a hidden byte. ``!code`` at the end of the third column
says that no answer came, and why. A time is the beginning and the length in microseconds; ``-`` stands for none.
Entries have no numbers, so that one command more changes one line; times are last, so that ``cut -f1-3`` takes them
away. Lines that begin with ``#`` are remarks. A last line without an end is whole when it has all its columns: a file
that was cut in the middle of a line is found out by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import WrongLength
from reader_bridge.connection import Interface, Protocol7816, ReaderError
from reader_bridge.trace.record import EXCHANGES, STARTS, Entry, Header, Hidden, Kind, Moment, Octets, Trace

MAGIC: Final = "permitcard-trace"
VERSION: Final = 1
_HIDDEN_WORDS: Final = {"secrets": Hidden.SECRETS, "content": Hidden.CONTENT}
_HIDDEN_BYTE: Final = "**"
_COLUMNS: Final = 5
_CUT: Final = "the file ends in the middle of this line"
_HEADER_LENGTH: Final = 4
_STATUS_LENGTH: Final = 2
_FAILURE: Final = re.compile(r"^(?P<octets>[^!]*)!(?P<code>[a-z0-9-]+)$")
_MOMENT: Final = re.compile(r"^(\d{1,18})\+(\d{1,18})$")
_OCTET: Final = re.compile(r"[0-9A-Fa-f]{2}|\*\*")
_Word = TypeVar("_Word", bound=Enum)
_Value = TypeVar("_Value")
_BEGUN: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def digits(octets: Octets) -> str:
    """Hexadecimal digits, ``**`` for a hidden byte."""
    text = octets.data.hex().upper()
    for start, end in octets.hidden:
        text = text[: 2 * start] + _HIDDEN_BYTE * (end - start) + text[2 * end :]
    return text


def _grouped(octets: Octets, *cuts: int) -> str:
    """Digits with a space at each cut (offsets in bytes, rising)."""
    text = digits(octets)
    edges = [0, *(2 * cut for cut in cuts), len(text)]
    parts = (text[start:end] for start, end in pairwise(edges))
    return " ".join(part for part in parts if part)


def command_text(octets: Octets) -> str:
    """A command: header, length, data, Le."""
    data = octets.data
    try:
        parsed = CommandApdu.parse(data)
    except WrongLength:
        return _grouped(octets, min(_HEADER_LENGTH, len(data)))
    length = 3 if len(data) > _HEADER_LENGTH and not data[_HEADER_LENGTH] and len(data) > _HEADER_LENGTH + 1 else 1
    begin = _HEADER_LENGTH + length
    if not parsed.data:
        return _grouped(octets, _HEADER_LENGTH)
    return _grouped(octets, _HEADER_LENGTH, begin, begin + len(parsed.data))


def response_text(octets: Octets) -> str:
    """A response: data, status word."""
    return _grouped(octets, max(len(octets) - _STATUS_LENGTH, 0))


def parse_octets(text: str) -> Octets:
    """Read digits.

    Raises:
        ValueError: other characters, or half a byte.
    """
    compact = "".join(text.split())
    found = _OCTET.findall(compact)
    if len("".join(found)) != len(compact):
        raise ValueError("hexadecimal digits in pairs, or **, are expected")
    data = bytes(0 if octet == _HIDDEN_BYTE else int(octet, 16) for octet in found)
    hidden: list[tuple[int, int]] = []
    for position, octet in enumerate(found):
        if octet != _HIDDEN_BYTE:
            continue
        if hidden and hidden[-1][1] == position:
            hidden[-1] = (hidden[-1][0], position + 1)
        else:
            hidden.append((position, position + 1))
    return Octets(data, tuple(hidden))


def entry_text(entry: Entry) -> str:
    """One line without its end."""
    exchange = entry.kind in EXCHANGES
    sent = command_text(entry.sent) if exchange else digits(entry.sent)
    received = response_text(entry.received) if exchange else digits(entry.received)
    if entry.failure:
        received = f"{received} !{entry.failure}".strip()
    moment = entry.moment
    wall = virtual = "-"
    if moment is not None:
        wall = f"{moment.wall_start}+{moment.wall_length}"
        if moment.virtual_start is not None:
            virtual = f"{moment.virtual_start}+{moment.virtual_length}"
    return "\t".join((entry.kind.value, sent, received, wall, virtual))


def lines(trace: Trace, *, times: bool = True) -> Iterator[str]:
    """All lines without their ends; ``times`` False writes none of them."""
    header = trace.header
    hidden = " ".join(word for word, flag in _HIDDEN_WORDS.items() if flag in header.hidden) or "nothing"
    yield f"{MAGIC} {VERSION}"
    yield f"reader: {_one_line(header.reader)}"
    yield f"interface: {header.interface.value}"
    yield f"protocol: {header.protocol.value}"
    yield f"answer: {header.answer.hex().upper()}"
    if header.profile:
        yield f"profile: {_one_line(header.profile)}"
    yield f"hidden: {hidden}"
    if header.begun and times:
        yield f"begun: {header.begun}"
    yield ""
    for entry in trace.entries:
        yield entry_text(entry if times else entry.without_time())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def to_text(trace: Trace, *, times: bool = True) -> str:
    """The whole text."""
    return "\n".join(lines(trace, times=times)) + "\n"


def parse(text: str, name: str = "trace") -> Trace:
    """Read a trace; ``name`` is for messages.

    Raises:
        ReaderError: "trace-malformed" with line and reason, or "trace-version".
    """
    header: dict[str, tuple[int, str]] = {}
    entries: list[Entry] = []
    in_header = True
    rows = text.split("\n")
    for number, line in enumerate(rows, start=1):
        stripped = line.rstrip("\r")
        if number == 1:
            _check_magic(stripped, name, whole=len(rows) > 1)
        elif in_header and not stripped:
            in_header = False
        elif not stripped or stripped.startswith("#"):
            continue
        elif number == len(rows) and (in_header or stripped.count("\t") + 1 < _COLUMNS):
            raise _malformed(name, number, _CUT)
        elif in_header:
            key, separator, value = stripped.partition(":")
            if not separator or key not in _HEADER_KEYS or key in header:
                raise _malformed(name, number, "a header line is KEY: VALUE, each key once")
            header[key] = number, value.strip()
        else:
            try:
                entries.append(_parse_entry(stripped))
            except ValueError as error:
                raise _malformed(name, number, str(error)) from error
    return Trace(_parse_header(header, name), tuple(entries))


_HEADER_KEYS: Final = frozenset({"reader", "interface", "protocol", "answer", "profile", "hidden", "begun"})


def _malformed(name: str, line: int, reason: str) -> ReaderError:
    return ReaderError("trace-malformed", path=name, line=line, reason=reason)


def _check_magic(line: str, name: str, *, whole: bool) -> None:
    word, _, version = line.partition(" ")
    if word != MAGIC:
        raise _malformed(name, 1, f"the first line is {MAGIC} {VERSION}")
    if version.strip() != str(VERSION):
        raise ReaderError("trace-version", path=name, version=version.strip()[:20], known=VERSION)
    if not whole:
        raise _malformed(name, 1, _CUT)


def _parse_header(rows: dict[str, tuple[int, str]], name: str) -> Header:
    def read(key: str, parse_value: Callable[[str], _Value], default: _Value) -> _Value:
        if key not in rows:
            return default
        number, value = rows[key]
        try:
            return parse_value(value)
        except ValueError as error:
            raise _malformed(name, number, str(error)) from error

    return Header(
        read("reader", str, ""),
        read("interface", lambda word: _one_of(Interface, word, "the interface"), Interface.CONTACT),
        read("protocol", lambda word: _one_of(Protocol7816, word, "the protocol"), Protocol7816.T1),
        read("answer", _parse_answer, b""),
        read("profile", str, ""),
        read("hidden", _parse_hidden, Hidden.NOTHING),
        read("begun", _parse_begun, ""),
    )


def _parse_hidden(value: str) -> Hidden:
    hidden = Hidden.NOTHING
    for word in value.split():
        if word != "nothing":
            if word not in _HIDDEN_WORDS:
                raise ValueError("hidden is nothing, secrets, content or both")
            hidden |= _HIDDEN_WORDS[word]
    return hidden


def _parse_begun(value: str) -> str:
    if value and not _BEGUN.fullmatch(value):
        raise ValueError("begun is a date and time such as 2026-01-31T09:30:00Z")
    return value


def _parse_answer(value: str) -> bytes:
    answer = parse_octets(value)
    if answer.hidden:
        raise ValueError("the answer is never hidden")
    return answer.data


def _one_of(kind: type[_Word], word: str, what: str) -> _Word:
    try:
        return kind(word)
    except ValueError as error:
        known = ", ".join(str(member.value) for member in kind)
        raise ValueError(f"{what} is one of {known}") from error


def _parse_entry(line: str) -> Entry:
    columns = line.split("\t")
    if len(columns) > _COLUMNS:
        raise ValueError(f"a line has {_COLUMNS} columns")
    word, sent, received, wall, virtual = columns + [""] * (_COLUMNS - len(columns))
    kind = _one_of(Kind, word, "the first column")
    failure = ""
    if found := _FAILURE.match(received):
        received, failure = found["octets"], found["code"]
    entry = Entry(kind, parse_octets(sent), parse_octets(received), failure, _parse_moment(wall, virtual))
    if kind in EXCHANGES and not failure and len(entry.received) < _STATUS_LENGTH:
        raise ValueError("a response has at least the two bytes of its status word")
    if kind in EXCHANGES and not entry.sent.data:
        raise ValueError("the command is missing")
    if (kind in STARTS or kind is Kind.POWER_OFF) and entry.sent.data:
        raise ValueError("nothing is sent with power or reset")
    return entry


def _parse_moment(wall: str, virtual: str) -> Moment | None:
    if wall in {"", "-"} and virtual in {"", "-"}:
        return None
    start, length = _numbers(wall) or (0, 0)
    by_virtual = _numbers(virtual)
    if by_virtual is None:
        return Moment(start, length)
    return Moment(start, length, *by_virtual)


def _numbers(text: str) -> tuple[int, int] | None:
    if text in {"", "-"}:
        return None
    found = _MOMENT.match(text)
    if found is None:
        raise ValueError("a time is START+LENGTH in microseconds, or -")
    return int(found[1]), int(found[2])


def load(path: Path) -> Trace:
    """Read a trace file.

    Raises:
        ReaderError: "trace-unreadable", or what `parse` says.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReaderError("trace-unreadable", path=str(path)) from error
    return parse(text, str(path))
