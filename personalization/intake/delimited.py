"""Comma separated text: UTF-8 with and without byte order mark, and GB 18030."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.cells import Cell, CellFlaw, FlawedCell, SheetRow
from personalization.intake.limits import ArchiveLimits

# What spreadsheet programs leave of a long number when they save a sheet as text.
_SCIENTIFIC: Final = re.compile(r"[+-]?\d+(?:\.\d+)?[eE][+-]?\d+", re.ASCII)


_BYTE_ORDER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# UTF-8 is tried first: text of GB 18030 that is not plain ASCII is practically never well-formed UTF-8.
_ENCODINGS: Final = ("utf-8-sig", "gb18030")


def encoding_of(pieces: Iterable[bytes], label: str) -> str:
    """The encoding of a delivered file, which is looked at to its end.

    Raises:
        PersonalizationError: "batch-table-encoding".
    """
    decoders = {name: codecs.getincrementaldecoder(name)() for name in _ENCODINGS}
    start = b""
    for piece in pieces:
        start = start or piece[:2]
        if b"\0" in piece or start in _BYTE_ORDER_MARKS:
            raise PersonalizationError("batch-table-encoding", file=label)
        for name in list(decoders):
            if not _decodes(decoders[name], piece):
                del decoders[name]
    for name in list(decoders):
        if not _decodes(decoders[name], b"", final=True):
            del decoders[name]
    if not decoders:
        raise PersonalizationError("batch-table-encoding", file=label)
    return next(iter(decoders))


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def decode(content: bytes, label: str) -> str:
    """The text of a delivered file."""
    return content.decode(encoding_of([content], label))


def read_rows(content: bytes, limits: ArchiveLimits, label: str) -> Iterator[SheetRow]:
    """The rows of a comma separated file; quoting follows RFC 4180."""
    return read_text(io.StringIO(decode(content, label), newline=""), limits, label)


def read_text(text: Iterable[str], limits: ArchiveLimits, label: str, before: int = 0) -> Iterator[SheetRow]:
    """The rows of comma separated text that comes line by line, line ends included.

    Args:
        text: lines; none is taken before its record is asked for.
        limits: bounds.
        label: name for messages.
        before: records of the same table that came before.

    Raises:
        PersonalizationError: "batch-table-unreadable", "batch-table-rows".
    """
    rows = csv.reader(text, strict=True)
    number = before
    while True:
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise PersonalizationError("batch-table-unreadable", file=label, row=number + 1) from error
        number += 1
        if number > limits.rows + 1:
            raise PersonalizationError("batch-table-rows", file=label, limit=limits.rows)
        if any(fields):
            # A fast look first: nearly no row of a good delivery has any of these.
            whole = "".join(fields)
            flawed = "=" in whole or "e" in whole or "E" in whole
            yield SheetRow(number, tuple(map(_cell, fields) if flawed else fields))


def _cell(field: str) -> Cell:
    if field.startswith("="):
        return FlawedCell(CellFlaw.FORMULA, field)
    if ("e" in field or "E" in field) and _SCIENTIFIC.fullmatch(field):
        return FlawedCell(CellFlaw.NUMBER, field)
    return field
