"""What the residents' platform is told: every permit of the centre, from its dossier, or as it was made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from permitcard.dossiers import SealedDossiers, delivered_term
from permitcard.job import Job
from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.keys.signed_document import sign_document, written
from personalization.permit.desk.dossier import Dossier, Withdrawal
from personalization.permit.electronic.claims import CHINA
from personalization.permit.linked import LinkedNumbers
from personalization.permit.platform_file import PlatformLine, platform_document, read_platform_document
from personalization.preparation.source_file import SourceFile
from personalization.production.acts import Role
from personalization.production.journal.cards import MadePermit, made_permits

_MICROSECONDS: Final = 1_000_000


class WrittenFile(NamedTuple):
    """A file for the platform.

    Attributes:
        permits: lines in it.
        faults: how often each fault is in it.
        unnamed: permits whose numbers nobody here knows any more: their batch was erased before a desk saw them.
    """

    permits: int
    faults: dict[str, int]
    unnamed: int


def write_platform_file(job: Job, path: Path, day: dt.date) -> WrittenFile:
    """Write the signed file of a day.

    Raises:
        PersonalizationError: "role-missing" (exit 2); keys or journal fail.
    """
    job.operator.require(Role.DESK)
    dossiers = dict(SealedDossiers(job.journal, job.keys, job.operator.name).all())
    lines: list[PlatformLine] = []
    unnamed = 0
    for made, applicant in _made(job):
        dossier = dossiers.pop(made.recognised, None)
        if dossier is not None and dossier.number:
            lines.append(_replaced(PlatformLine.of_dossier(dossier, _linked(applicant)), made))
        elif applicant is not None:
            lines.append(_replaced(_untouched(applicant, dossier), made))
        else:
            unnamed += 1
    lines += [PlatformLine.of_dossier(dossier, LinkedNumbers()) for dossier in dossiers.values() if dossier.number]
    unnamed += sum(not dossier.number for dossier in dossiers.values())
    document = platform_document(lines, day)
    write_atomically(path, written(sign_document(document, job.keys)))
    return WrittenFile(len(lines), read_platform_document(document, str(path)), unnamed)


def _made(job: Job) -> Iterator[tuple[MadePermit, Applicant | None]]:
    """Every permit that was made, with its data unless they were erased."""
    for (batch, source), permits in groupby(made_permits(job.journal), key=lambda one: (one.batch, one.source)):
        yield from _of_batch(job, batch, job.centre.root / source, list(permits))


def _of_batch(
    job: Job, batch: str, path: Path, permits: list[MadePermit]
) -> Iterator[tuple[MadePermit, Applicant | None]]:
    try:
        keys = job.keys.of_batch(batch)
    except PersonalizationError as error:
        if error.code != "batch-keys-missing":  # they are destroyed when a batch is erased
            raise
        yield from ((permit, None) for permit in permits)
        return
    with SourceFile(path, keys, batch=batch) as source:
        for permit in permits:
            yield permit, source.applicant(permit.row)


def _replaced(line: PlatformLine, made: MadePermit) -> PlatformLine:
    """A permit ends when a newer one of the same citizen passed inspection, also where no desk was told."""
    if made.replaced_at is None or line.why:
        return line
    day = dt.datetime.fromtimestamp(made.replaced_at / _MICROSECONDS, CHINA).date()
    return replace(line, term=line.term.cancelled_on(day), why=Withdrawal.REPLACED.value)


def _untouched(applicant: Applicant, dossier: Dossier | None) -> PlatformLine:
    """The line of a card that no desk has seen since dossiers keep numbers."""
    linked = _linked(applicant)
    term = delivered_term(applicant)
    if dossier is None:
        return PlatformLine(applicant.permit_number, term, "", 0, linked)
    return replace(PlatformLine.of_dossier(dossier, linked), permit_number=applicant.permit_number)


def _linked(applicant: Applicant | None) -> LinkedNumbers:
    if applicant is None:
        return LinkedNumbers()
    return LinkedNumbers(applicant.citizen_card_number or "", applicant.citizen_card_account or "")
