"""Dealing out: one pass over a delivery that puts its rows into sealed chunks and its pictures into an index.

This is the only part of preparation that one process does alone. It opens no picture and judges no row.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Final

from personalization.intake.cells import SheetRow, shown
from personalization.intake.delivery import DeliveryName
from personalization.intake.limits import PIECEWISE_LIMITS
from personalization.intake.zip_directory import ZipDirectory
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.delivered import Located, applicant_rows, residence_rows
from personalization.preparation.bulk.index import IndexWriter, Mark, marker, random_mark_key
from personalization.preparation.bulk.layout import BatchFolder
from personalization.preparation.bulk.parts import PartPlace
from personalization.preparation.bulk.plan import Plan, seal_mark_key
from personalization.preparation.bulk.sheet_rows import write_rows

_OWNER_ONLY: Final = 0o700
RESIDENCE_PLACE: Final = struct.Struct(">II")
"""Where a residence is: its chunk, and its place in the chunk from 0."""


def deal_out(
    folder: BatchFolder,
    name: DeliveryName,
    located: Located,
    keys: KeyStore,
    chunk_rows: int,
    progress: Callable[[int], None],
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
    for sub in (folder.rows(1).parent, folder.residences(1).parent):
        sub.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
    key = random_mark_key()
    mark = marker(key)
    index = IndexWriter(folder.index)
    try:
        _deal_pictures(located.pictures, keys, index, mark)
        residences = 0
        for chunk, rows in enumerate(_chunks(residence_rows(located, keys), chunk_rows), 1):
            for place, row in enumerate(rows):
                index.add_residence(mark(_citizen(row)), RESIDENCE_PLACE.pack(chunk, place))
            write_rows(folder.residences(chunk), rows, keys)
            residences += len(rows)
        index.finish()
    finally:
        index.close()
    count = 0
    for chunk, rows in enumerate(_chunks(applicant_rows(located, keys), chunk_rows), 1):
        write_rows(folder.rows(chunk), rows, keys)
        count += len(rows)
        progress(count)
    plan = Plan(
        folder.identifier,
        name.area_code,
        name.count,
        chunk_rows,
        count,
        residences,
        located.pictures,
        seal_mark_key(key, folder.identifier, keys),
    )
    plan.write(folder.plan)
    return plan


def _deal_pictures(place: PartPlace, keys: KeyStore, index: IndexWriter, mark: Mark) -> None:
    content = place.open(keys)
    try:
        for entry in ZipDirectory(content, PIECEWISE_LIMITS, "pictures").entries():
            index.add_picture(mark(picture_stem(entry.name)), entry.locator())
    finally:
        content.close()


def picture_stem(name: str) -> str:
    """A picture's file name without folder and ending: a citizen number, if all is well."""
    if "/" in name or name.endswith("."):
        return PurePosixPath(name).stem
    return name.rpartition(".")[0] or name


def _citizen(row: SheetRow) -> str:
    return shown(row.cells[0]) if row.cells else ""


def _chunks(rows: Iterator[SheetRow], size: int) -> Iterator[list[SheetRow]]:
    waiting: list[SheetRow] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
