"""Comma separated text: UTF-8 with and without byte order mark, and GB 18030."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.cells import Cell, CellFlaw, FlawedCell, SheetRow
from personalization.intake.limits import ArchiveLimits

# What spreadsheet programs leave of a long number when they save a sheet as text.
_SCIENTIFIC: Final = re.compile(r"[+-]?\d+(?:\.\d+)?[eE][+-]?\d+", re.ASCII)


def decode(content: bytes, label: str) -> str:
    """The text of a delivered file.

    UTF-8 is tried first: text of GB 18030 that is not plain ASCII is practically never well-formed UTF-8.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise PersonalizationError("batch-table-encoding", file=label)
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise PersonalizationError("batch-table-encoding", file=label)


def read_rows(content: bytes, limits: ArchiveLimits, label: str) -> Iterator[SheetRow]:
    """The rows of a comma separated file; quoting follows RFC 4180."""
    rows = csv.reader(io.StringIO(decode(content, label), newline=""), strict=True)
    number = 0
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
            yield SheetRow(number, tuple(map(_cell, fields)))


def _cell(field: str) -> Cell:
    if field.startswith("="):
        return FlawedCell(CellFlaw.FORMULA, field)
    if _SCIENTIFIC.fullmatch(field):
        return FlawedCell(CellFlaw.NUMBER, field)
    return field
