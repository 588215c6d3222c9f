"""Making cards that were printed before, by reading their barcodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from permitcard.first_article import admit
from permitcard.signer_dates import require_signer_of_today
from personalization.production.acts import Role
from personalization.production.journal.batches import find_batch
from personalization.production.policy import Policy
from personalization.production.remake import require_old_cards_dead
from personalization.production.run import RunResult, resume_batch
from personalization.production.scanned import Scan, make_scanned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from permitcard.job import Job


def scan_batch(
    job: Job, identifier: str, readings: Iterable[str], told: Callable[[Scan], None], ready: Callable[[], None]
) -> tuple[RunResult, list[Scan]]:
    """Make a card of a batch for each barcode that is read; the batch is held meanwhile, and no station joins it.

    Args:
        job: the centre.
        identifier: the batch.
        readings: lines of a scanner.
        told: called with what came of each.
        ready: called when keys, SAM and batch are there, before the first is read.

    Raises:
        PersonalizationError: as `resume_batch`.
    """
    job.operator.require(Role.RUN)
    batch = find_batch(job.journal, identifier)
    admit(job, identifier)
    require_signer_of_today(job.keys)
    outfit = job.outfit(identifier)
    require_old_cards_dead(job.journal, batch.id, job.operator.name, outfit())
    scans: list[Scan] = []

    def by_hand() -> None:
        with outfit() as equipment:
            ready()
            scans.extend(make_scanned(job.journal, batch.id, equipment, Policy(), readings, job.recognise, told))

    try:
        result = resume_batch(
            job.journal,
            identifier,
            outfit,
            Policy(stations=0, tray=1),
            who=job.operator.name,
            keys=job.key_values(),
            by_hand=by_hand,
        )
    finally:
        job.checkpoint_if_possible()
    return result, scans
