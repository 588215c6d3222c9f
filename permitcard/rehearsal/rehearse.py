"""Rehearses a delivered file, in this process or in several side by side."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from card_os.hardware.image import ImageError, find_chip
from permitcard.processors import usable_processors
from permitcard.rehearsal.bench import open_bench
from permitcard.rehearsal.crew import Rehearsed, side_by_side
from permitcard.rehearsal.findings import Rehearsal, RehearsedCard, Setting
from permitcard.rehearsal.place import PROTOCOLS
from permitcard.rejected_rows import rejected_rows
from personalization.errors import PersonalizationError
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from reader_bridge.connection import ReaderError
from reader_bridge.reader_models import reader_model

if TYPE_CHECKING:
    from personalization.intake.applicant import Applicant
    from personalization.intake.receipt import Receipt

_ROWS_A_WORKER: Final = 16
"""Fewer are rehearsed sooner than another process has begun."""


def check_setting(setting: Setting) -> None:
    """Refuse what cannot be rehearsed on.

    Raises:
        ReaderError: "chip-unknown", "chip-wrong", "reader-model-unknown".
        PersonalizationError: "rehearsal-protocol", exit 2.
    """
    try:
        find_chip(setting.chip)
    except ImageError as error:
        raise ReaderError(error.code, **error.parameters) from error
    if setting.protocol not in PROTOCOLS:
        raise PersonalizationError("rehearsal-protocol", exit_code=2, protocol=setting.protocol)
    reader_model(setting.reader)


def rehearse(
    file: Path,
    setting: Setting,
    *,
    most: int | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Rehearsal:
    """Rehearse a delivered file.

    Args:
        file: the delivery.
        setting: chip, reader and line.
        most: rehearse at most so many rows, spread over the batch; all when absent.
        workers: processes; 0 works in this one, absent as many as there are processors for 16 rows each and more.
        progress: told rows done and rows to do.

    Raises:
        PersonalizationError: the file as a whole cannot be used; "rehearsal-protocol"; "rehearsal-worker-lost".
        ReaderError: "chip-unknown", "chip-wrong", "reader-model-unknown".
    """
    check_setting(setting)
    receipt = receive_batch(file, RememberedBatches(), dt.datetime.now(dt.UTC))
    applicants = _spread(receipt.applicants, most)
    cards: list[RehearsedCard] = []
    room = 0
    with closing(_rehearsed(setting, applicants, _workers(workers, len(applicants)))) as rehearsed:
        for done in rehearsed:
            cards.append(done.card)
            room = done.room
            if progress:
                progress(len(cards), len(applicants))
    cards.sort(key=lambda card: card.row)
    endurance = find_chip(setting.chip).endurance
    return Rehearsal(file.name, setting, receipt.row_count, _refused(receipt), cards, endurance, room)


def _workers(asked: int | None, rows: int) -> int:
    """Processes for so many rows; 0 when this one does it."""
    if asked is not None:
        return min(asked, rows)
    count = min(usable_processors(), rows // _ROWS_A_WORKER)
    return count if count > 1 else 0


def _rehearsed(setting: Setting, applicants: Sequence[Applicant], workers: int) -> Generator[Rehearsed]:
    """Rows as they are done."""
    if workers:
        yield from side_by_side(setting, applicants, workers)
        return
    with open_bench(setting) as bench:
        for applicant in applicants:
            yield Rehearsed(bench.rehearse(applicant), bench.room)


def _spread(applicants: Sequence[Applicant], most: int | None) -> Sequence[Applicant]:
    if most is None or most >= len(applicants):
        return applicants
    return [applicants[place * len(applicants) // most] for place in range(most)]


def _refused(receipt: Receipt) -> dict[str, int]:
    """Refused rows by the first rule that they break."""
    return dict(sorted(Counter(row.reason for row in rejected_rows(receipt)).items()))
