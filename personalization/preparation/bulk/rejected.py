"""Everything that was delivered and does not go on, to be sealed and sent in again: some thousand rows at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from personalization.intake.cells import SheetRow
from personalization.intake.limits import PIECEWISE_LIMITS
from personalization.intake.receipt import RejectedRow
from personalization.intake.zip_directory import ZipDirectory, ZipEntry
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.checking import number_in
from personalization.preparation.bulk.dealing import DealtRows
from personalization.preparation.bulk.index import DeliveryIndex, marker
from personalization.preparation.bulk.layout import BatchFolder
from personalization.preparation.bulk.marking import RESIDENCE_PLACE
from personalization.preparation.bulk.plan import Plan

ROWS_A_FILE: Final = 2000


def rejected_rows(folder: BatchFolder, plan: Plan, keys: KeyStore) -> Iterator[list[RejectedRow]]:
    """What was delivered about the rows at fault, in lists of at most `ROWS_A_FILE`.

    Pictures and residences that belong to no row are in the findings only.

    Args:
        folder: of the batch, with its verdict.
        plan: how it was dealt out.
        keys: the batch's store.
    """
    waiting: list[RejectedRow] = []
    dealt = DealtRows(folder, plan, keys)
    with contextlib.closing(_Collector(folder, plan, keys, dealt)) as collector, folder.rejected.open("rb") as stream:
        numbers = (json.loads(line)[0] for line in stream)
        wanted = next(numbers, None)
        for chunk in plan.chunks if wanted is not None else ():
            for row in dealt.applicants(chunk):
                if row.number == wanted:
                    waiting.append(collector.collect(row))
                    wanted = next(numbers, None)
                if len(waiting) == ROWS_A_FILE:
                    yield waiting
                    waiting = []
    if waiting:
        yield waiting


class _Collector:
    """Finds the pictures and residences of a row."""

    def __init__(self, folder: BatchFolder, plan: Plan, keys: KeyStore, dealt: DealtRows) -> None:
        self._dealt = dealt
        self._mark = marker(plan.mark_key(keys))
        self._index = DeliveryIndex(folder.index)
        self._content = plan.pictures.open(keys)
        self._directory = ZipDirectory(self._content, PIECEWISE_LIMITS, "pictures")

    def close(self) -> None:
        self._index.close()
        self._content.close()

    def collect(self, row: SheetRow) -> RejectedRow:
        number = number_in(row)
        if not number:
            return RejectedRow(row)
        mark = self._mark(number)
        pictures = self._pictures(self._index.pictures([mark]).get(mark, ()))
        residences = [RESIDENCE_PLACE.unpack(found) for found in self._index.residences([mark]).get(mark, ())]
        return RejectedRow(
            row,
            tuple(self._dealt.residences(chunk)[at] for chunk, at in residences),
            tuple(pictures),
        )

    def _pictures(self, places: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
        for place in places:
            entry = ZipEntry.of_locator(place)
            if entry.unpacked <= PIECEWISE_LIMITS.picture_bytes:
                yield PurePosixPath(self._directory.name(entry)).name, self._directory.read(entry)
