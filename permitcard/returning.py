"""Giving a batch back: sealed files for the platform, the bank and the police stations, and opening them.

Refused rows, which go back too, are sealed by intake.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from personalization.errors import PersonalizationError
from personalization.intake.rejects import open_rejects, rejects_batch
from personalization.preparation.sealed_file import Purpose
from personalization.preparation.source_file import SourceFile
from personalization.production.acts import Role
from personalization.production.journal.batches import find_batch
from personalization.production.journal.events import Entry, What, record
from personalization.returns.envelope import ENDING
from personalization.returns.facts import collect_returns
from personalization.returns.files import open_return, seal_return
from personalization.returns.tables import Recipient, ReturnTables

if TYPE_CHECKING:
    from permitcard.job import Job
    from personalization.intake.applicant import Applicant
    from personalization.returns.envelope import RecipientCertificate


class ReturnFile(NamedTuple):
    """One sealed file.

    Attributes:
        recipient: who gets it.
        path: where it is.
        tables: rows by table.
    """

    recipient: Recipient
    path: Path
    tables: dict[str, int]


def write_returns(job: Job, identifier: str) -> list[ReturnFile]:
    """Seal the files of a released batch; those that are there are replaced.

    Raises:
        PersonalizationError: exit 2: "role-missing", "batch-unknown", "batch-not-released"; "batch-keys-missing"
            (exit 3), the batch was erased.
    """
    job.operator.require(Role.RELEASE)
    facts = collect_returns(job.journal, identifier)
    keys = job.keys.of_batch(identifier)
    written: list[ReturnFile] = []
    with ExitStack() as held:
        tables = ReturnTables(facts, _Applicants(job, held).applicant)
        for recipient in Recipient:
            path = job.centre.batch(identifier) / f"{identifier}.return-{recipient.value}"
            made = tables.of(recipient)
            seal_return(path, identifier, recipient, made, keys)
            written.append(ReturnFile(recipient, path, {table.name: len(table.rows) for table in made}))
    counts = {file.recipient.value: file.tables for file in written}
    _record(job, identifier, What.RETURN_WRITTEN, counts)
    return written


def open_file(
    job: Job, path: Path, directory: Path, recipient: RecipientCertificate | None = None
) -> tuple[Recipient, list[Path]]:
    """Open a sealed file of a return; the audit trail says who did.

    Raises:
        PersonalizationError: as `open_return`; "role-missing", exit 2.
    """
    job.operator.require(Role.RELEASE)
    header, files = open_return(path, directory, job.keys.of_batch, recipient)
    _record(job, header.batch, What.RETURN_OPENED, {"recipient": header.recipient.value, **_for(recipient)})
    return header.recipient, files


def open_refused(job: Job, path: Path, directory: Path, recipient: RecipientCertificate | None = None) -> Path:
    """Open a sealed file of refused rows; the audit trail says who did. Returns the delivery.

    Raises:
        PersonalizationError: as `open_rejects`; "role-missing", exit 2.
    """
    job.operator.require(Role.PREPARE)
    batch = rejects_batch(path)
    seal, ending = (None, "") if recipient is None else (recipient.seal, ENDING)
    opened = open_rejects(path, directory, job.keys.of_batch(batch), seal=seal, ending=ending)
    _record(job, batch, What.REJECTS_OPENED, _for(recipient))
    return opened


def _for(recipient: RecipientCertificate | None) -> dict[str, object]:
    return {} if recipient is None else {"certificate": recipient.fingerprint}


def _record(job: Job, identifier: str, what: What, facts: Mapping[str, object]) -> None:
    batch = find_batch(job.journal, identifier)
    with job.journal.transaction() as connection:
        record(connection, job.operator.name, [Entry(what, batch.id, facts=facts)])
    job.checkpoint_if_possible()


class _Applicants:
    """Applicants of this and earlier batches; each batch's file is opened once."""

    def __init__(self, job: Job, held: ExitStack) -> None:
        self._job = job
        self._held = held
        self._files: dict[str, SourceFile | None] = {}

    def applicant(self, batch: str, row: int) -> Applicant | None:
        if batch not in self._files:
            self._files[batch] = self._open(batch)
        file = self._files[batch]
        return None if file is None else file.applicant(row)

    def _open(self, batch: str) -> SourceFile | None:
        path = self._job.sealed(batch, Purpose.SOURCE)
        try:
            return self._held.enter_context(SourceFile(path, self._job.keys.of_batch(batch), batch=batch))
        except PersonalizationError as error:
            if error.code != "batch-keys-missing":
                raise
            return None
