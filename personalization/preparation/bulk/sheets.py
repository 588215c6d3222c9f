"""The sheets of a delivery in chunks of rows.

A table of text stays where it lies and is cut between records, so that whoever works on a chunk reads its bytes and no
others; a quoted field may hold line ends (RFC 4180, clause 2.6), and the reader of records itself tells where one ends.
The rows of a workbook, which cannot be cut, are sealed files.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
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
        lines = _Lines(part, encoding_of(_pieces(part), label))
        rows = read_text(lines, PIECEWISE_LIMITS, label)
        headings = next(rows, None)
        if headings is None:
            return Sheet(0)
        require_headings(headings, columns)
        lines.cut(0)
        slices: list[Slice] = []
        before, last, count = headings.number, headings.number, 0
        for count, row in enumerate(rows, 1):
            last = row.number
            if count % chunk_rows == 0:
                slices.append(lines.cut(before))
                before = last
                progress(count)
        if before != last:
            slices.append(lines.cut(before))
            progress(count)
        return Sheet(count, CutText(place, lines.encoding, tuple(slices)))
    finally:
        part.close()


class _Lines:
    """The lines of a text, as a reader of records takes them; and how many bytes it has taken.

    Args:
        part: the text.
        encoding: as `encoding_of` tells it.
    """

    def __init__(self, part: OpenPart, encoding: str) -> None:
        marked = part.read(0, len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK and encoding == "utf-8-sig"
        self.encoding = encoding.removesuffix("-sig")
        self._begin = len(_BYTE_ORDER_MARK) if marked else 0
        self._size = 0
        self._digest = hashlib.sha256()
        raw = io.BufferedReader(PartStream(part, self._begin), _PIECE)
        self._stream = io.TextIOWrapper(raw, _BYTEWISE, newline="")

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            raw = line.encode(_BYTEWISE)
            self._size += len(raw)
            self._digest.update(raw)
            yield raw.decode(self.encoding)

    def cut(self, records: int) -> Slice:
        """What was taken since the last cut, behind as many records."""
        found = Slice(self._begin, self._size, records, self._digest.hexdigest())
        self._begin, self._size, self._digest = self._begin + self._size, 0, hashlib.sha256()
        return found


def _pieces(part: OpenPart) -> Iterator[bytes]:
    for offset in range(0, part.size, _PIECE):
        yield part.read(offset, _PIECE)
