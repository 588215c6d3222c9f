"""The sheets of a delivery in chunks of rows.

A table of text stays where it lies and is cut between records, so that whoever works on a chunk reads its bytes and no
others. A record is a line until the first quote comes; a quoted field may hold line ends (RFC 4180, clause 2.6), and
from there on the reader of records itself tells where one ends.

The rows of a workbook, which cannot be cut, are sealed files.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Column
from personalization.intake.cells import SheetRow
from personalization.intake.delimited import encoding_of, read_text
from personalization.intake.delivery import require_headings
from personalization.intake.limits import PIECEWISE_LIMITS
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.parts import OpenPart, PartPlace, PartStream

_PIECE: Final = 1 << 20
_ENVIRONMENT: Final = 3
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LONG_LINE: Final = 1 << 16
_BYTEWISE: Final = "latin-1"
"""Reads each byte as one character. No byte of a longer character of UTF-8 or GB 18030 looks like a line end."""


class Slice(NamedTuple):
    """Records of a table of text, one behind the other.

    Attributes:
        offset: first byte, in the table.
        size: bytes.
        records: how many records are before it, headings and empty ones included.
        sha256: of its bytes, hexadecimal: a delivery that changes while it is worked on is noticed.
    """

    offset: int
    size: int
    records: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CutText:
    """A table of text that is cut in chunks where it lies; no content.

    Attributes:
        part: the table.
        encoding: of the text.
        slices: one a chunk.
    """

    part: PartPlace
    encoding: str
    slices: tuple[Slice, ...]

    def read(self, chunk: int, keys: KeyStore) -> list[SheetRow]:
        """The rows of a chunk, numbered as in the whole table.

        Args:
            chunk: its number, from 1.
            keys: the batch's store, for a table that was packed.

        Raises:
            PersonalizationError: "batch-file-missing", "batch-file-changed" (exit 3).
        """
        wanted = self.slices[chunk - 1]
        part = self.part.open(keys)
        try:
            content = part.read(wanted.offset, wanted.size)
        finally:
            part.close()
        if hashlib.sha256(content).hexdigest() != wanted.sha256:
            name = Path(self.part.path).name
            raise PersonalizationError("batch-file-changed", exit_code=_ENVIRONMENT, file=name)
        text = io.StringIO(content.decode(self.encoding), newline="")
        return list(read_text(text, PIECEWISE_LIMITS, "csv", wanted.records))


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet that was dealt out.

    Attributes:
        rows: rows that hold anything, without the headings.
        cut: where they are; None where they are in sealed files.
    """

    rows: int
    cut: CutText | None = None

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Self:
        """Undo `dataclasses.asdict` and JSON."""
        text = document["cut"]
        if text is None:
            return cls(document["rows"])
        slices = tuple(Slice(*each) for each in text["slices"])
        return cls(document["rows"], CutText(PartPlace(**text["part"]), text["encoding"], slices))


def cut_text(
    place: PartPlace,
    keys: KeyStore,
    label: str,
    columns: tuple[Column, ...],
    chunk_rows: int,
    progress: Callable[[int], None],
) -> Sheet:
    """Find where the chunks of a table of text begin and end.

    Args:
        place: the table.
        keys: the batch's store, for a table that was packed.
        label: name for messages.
        columns: whose headings it has.
        chunk_rows: rows of a chunk, the last one may have fewer.
        progress: told how many rows were found.

    Raises:
        PersonalizationError: the table cannot be used.
    """
    part = place.open(keys)
    try:
        encoding = encoding_of(_pieces(part), label)
        marked = encoding == "utf-8-sig" and part.read(0, len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK
        lines = _Lines(part, encoding.removesuffix("-sig"), len(_BYTE_ORDER_MARK) if marked else 0)
        headings = next(read_text(lines, PIECEWISE_LIMITS, label), None)
        if headings is None:
            return Sheet(0)
        require_headings(headings, columns)
        slices: list[Slice] = []
        begin, before, count = lines.at, headings.number, 0
        end, last = begin, before
        for number, past, holds in _records(part, lines, headings.number, label):
            if not holds:
                continue
            count, end, last = count + 1, past, number
            if count % chunk_rows == 0:
                slices.append(_slice(part, begin, end, before))
                begin, before = end, last
                progress(count)
        if before != last:
            slices.append(_slice(part, begin, end, before))
            progress(count)
        return Sheet(count, CutText(place, lines.encoding, tuple(slices)))
    finally:
        part.close()


_Record = tuple[int, int, bool]
"""A record of a table: its number from 1, where it ends, and whether any of its fields holds anything."""


def _records(part: OpenPart, lines: _Lines, number: int, label: str) -> Iterator[_Record]:
    """The records that come after as many as ``number``; some empty ones may be left out."""
    number, end = yield from _plain_records(part, lines.at, number)
    rest = _Lines(part, lines.encoding, end)
    for row in read_text(rest, PIECEWISE_LIMITS, label, number):
        yield row.number, rest.at, True


def _plain_records(part: OpenPart, at: int, number: int) -> Generator[_Record, None, tuple[int, int]]:
    """Records before the first quote, each of which is a line: nobody has to look at their fields.

    It ends early at whatever the reader of records had better see: a quote, a line without end, a very long one, one
    more than a table may have. Returns the number of the last record, and where it ended.
    """
    position, rest, most = at, b"", PIECEWISE_LIMITS.rows
    while piece := part.read(position, _PIECE):
        position += len(piece)
        window = rest + piece
        quote = window.find(b'"')
        whole = window.rfind(b"\n", 0, len(window) if quote < 0 else quote) + 1
        for line in window[:whole].splitlines(keepends=True):
            length = len(line)
            if length > _LONG_LINE or number >= most:
                return number, at
            number += 1
            at += length
            yield number, at, line.strip(b",\r\n") != b""
        if quote >= 0 or not whole:
            break
        rest = window[whole:]
    return number, at


class _Lines:
    """The lines of a text, as a reader of records takes them; and where the last one ended.

    Args:
        part: the text.
        encoding: UTF-8 or GB 18030.
        at: first byte.
    """

    def __init__(self, part: OpenPart, encoding: str, at: int) -> None:
        self.encoding = encoding
        self.at = at
        self._stream = io.TextIOWrapper(io.BufferedReader(PartStream(part, at), _PIECE), _BYTEWISE, newline="")

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            raw = line.encode(_BYTEWISE)
            self.at += len(raw)
            yield raw.decode(self.encoding)


def _slice(part: OpenPart, begin: int, end: int, records: int) -> Slice:
    return Slice(begin, end - begin, records, hashlib.sha256(part.read(begin, end - begin)).hexdigest())


def _pieces(part: OpenPart) -> Iterator[bytes]:
    for offset in range(0, part.size, _PIECE):
        yield part.read(offset, _PIECE)
