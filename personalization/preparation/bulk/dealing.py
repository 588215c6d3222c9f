"""Dealing out: where the chunks of a delivery begin and end, and the plan that says so.

This is the only part of preparation that one process does alone before the others can begin. It opens no picture,
judges no row, and copies none but those of a workbook.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from personalization.folder_rights import make_folder
from personalization.intake.applicant import RESIDENCE_COLUMNS, SHEET_COLUMNS, Column
from personalization.intake.cells import SheetRow
from personalization.intake.delivery import DeliveryName
from personalization.intake.limits import PIECEWISE_LIMITS
from personalization.intake.zip_directory import DirectoryPiece, ZipDirectory
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.delivered import Located, workbook_rows
from personalization.preparation.bulk.index import random_mark_key
from personalization.preparation.bulk.layout import BatchFolder
from personalization.preparation.bulk.parts import PartPlace
from personalization.preparation.bulk.plan import Plan, seal_mark_key
from personalization.preparation.bulk.sheet_rows import read_rows, write_rows
from personalization.preparation.bulk.sheets import Sheet, cut_text

_TEXT: Final = ".csv"

Progress = Callable[[int], None]


def deal_out(
    folder: BatchFolder,
    name: DeliveryName,
    located: Located,
    keys: KeyStore,
    chunk_rows: int,
    progress: Progress,
) -> Plan:
    """Deal a delivery out; the plan appears last.

    Args:
        folder: of the batch.
        name: what the file's name says.
        located: the delivery's parts.
        keys: the batch's store.
        chunk_rows: rows of a chunk.
        progress: told how many rows are dealt out.

    Raises:
        PersonalizationError: the delivery as a whole cannot be used.
    """
    directory = _cut_directory(located.pictures, keys, chunk_rows)
    if located.kind == _TEXT:
        second = _text(located.residences, keys, "residence", RESIDENCE_COLUMNS, chunk_rows, _unseen)
        table = _text(located.table, keys, "csv", SHEET_COLUMNS, chunk_rows, progress)
    else:
        second = _seal_sheet(workbook_rows(located.table, 1, keys), folder.residences, keys, chunk_rows, _unseen)
        table = _seal_sheet(workbook_rows(located.table, 0, keys), folder.rows, keys, chunk_rows, progress)
    plan = Plan(
        folder.identifier,
        name.area_code,
        name.count,
        chunk_rows,
        table,
        second,
        located.pictures,
        directory,
        seal_mark_key(random_mark_key(), folder.identifier, keys),
    )
    plan.write(folder.plan)
    return plan


class DealtRows:
    """The rows of a batch by chunk, wherever they are.

    Args:
        folder: of the batch.
        plan: how it was dealt out.
        keys: the batch's store.
    """

    __slots__ = ("_folder", "_keys", "_plan")

    def __init__(self, folder: BatchFolder, plan: Plan, keys: KeyStore) -> None:
        self._folder = folder
        self._plan = plan
        self._keys = keys

    def applicants(self, chunk: int) -> list[SheetRow]:
        """Rows of the first sheet.

        Raises:
            PersonalizationError: exit 3, the delivered file is gone or was changed, or a sealed file is damaged.
        """
        cut = self._plan.table.cut
        return cut.read(chunk, self._keys) if cut else read_rows(self._folder.rows(chunk), self._keys)

    def residences(self, chunk: int) -> list[SheetRow]:
        """Rows of the second sheet; raises as `applicants`."""
        cut = self._plan.second.cut
        return cut.read(chunk, self._keys) if cut else read_rows(self._folder.residences(chunk), self._keys)


def _cut_directory(place: PartPlace, keys: KeyStore, most: int) -> tuple[DirectoryPiece, ...]:
    content = place.open(keys)
    try:
        return tuple(ZipDirectory(content, PIECEWISE_LIMITS, "pictures").pieces(most))
    finally:
        content.close()


def _text(
    place: PartPlace | None,
    keys: KeyStore,
    label: str,
    columns: tuple[Column, ...],
    chunk_rows: int,
    progress: Progress,
) -> Sheet:
    """A sheet of text; nothing of it is copied."""
    return Sheet(0) if place is None else cut_text(place, keys, label, columns, chunk_rows, progress)


def _seal_sheet(
    rows: Iterator[SheetRow], file_of: Callable[[int], Path], keys: KeyStore, chunk_rows: int, progress: Progress
) -> Sheet:
    """A workbook's sheet, in sealed files."""
    make_folder(file_of(1).parent)
    count = 0
    for chunk in itertools.count(1):
        some = list(itertools.islice(rows, chunk_rows))
        if not some:
            break
        write_rows(file_of(chunk), some, keys)
        count += len(some)
        progress(count)
    return Sheet(count)


def _unseen(done: int) -> None:
    del done
