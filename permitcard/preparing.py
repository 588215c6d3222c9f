"""Preparing a delivery of any size and entering it in the journal, without making a card yet."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import Timeout

from permitcard.job import Job
from permitcard.products import permit_profile
from personalization.errors import PersonalizationError
from personalization.folder_rights import file_lock, make_folder
from personalization.intake.applicant import Finding
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.delivered import DeliveredFiles
from personalization.preparation.bulk.engine import (
    Commission,
    Prepared,
    ProgressBar,
    Refusal,
    begin,
    discard,
    find_work,
    prepare_delivery,
)
from personalization.preparation.bulk.findings import finding_document
from personalization.preparation.bulk.layout import BatchFolder
from personalization.preparation.bulk.plan import Arrival, rows_of_a_chunk
from personalization.preparation.bulk.verdict import FindingSink, Verdict
from personalization.preparation.bulk.workers import HereWorker, LocalWorkers, Workers, Workplace
from personalization.production.acts import Act, Role
from personalization.production.journal.batches import BatchEntry, RejectedRow, RowEntry, register_batch
from personalization.production.journal.history import batch_of_file, known_permits
from personalization.production.operators import Approval, approved, require_two

_LOCK: Final = ".preparing.lock"
_ENVIRONMENT: Final = 3


@dataclass(frozen=True, slots=True)
class Staff:
    """Who prepares.

    Attributes:
        workers: processes of this machine; 0 is the coordinator itself.
        scheduler: address of a Dask scheduler, whose workers are used instead.
    """

    workers: int = 0
    scheduler: str | None = None

    def hire(self, keys: KeyStore) -> Workers:
        """Those who carry orders out; ``keys`` is the batch's store, for work in this process."""
        if self.scheduler is not None:
            from personalization.preparation.bulk.cluster import ClusterWorkers

            return ClusterWorkers(self.scheduler)
        return LocalWorkers(self.workers) if self.workers else HereWorker(keys)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch that waits to be made.

    Attributes:
        identifier: the batch.
        manifest: the signed list of its chunks.
        rows: rows that go on.
        verdict: what intake found.
        rejects: sealed files of refused rows.
    """

    identifier: str
    manifest: Path
    rows: int
    verdict: Verdict
    rejects: tuple[Path, ...]


def prepare(
    job: Job,
    file: Path,
    staff: Staff,
    *,
    accept_good: bool = False,
    chunk_rows: int | None = None,
    findings: Path | None = None,
    progress: ProgressBar,
) -> Loaded | Refusal:
    """Prepare a delivery, or go on with the preparation of it that was interrupted.

    Args:
        job: the centre at work.
        file: the delivered zip, or the table with its pictures zip beside it.
        staff: who prepares.
        accept_good: go on with the good rows where others are at fault.
        chunk_rows: rows of a chunk; None goes by how many rows are declared.
        findings: file for all findings, one JSON object a line; values are masked.
        progress: told how far each step is.

    Raises:
        PersonalizationError: as `prepare_delivery`; "role-missing", "approval-missing", "batch-file-seen",
            "preparation-busy" (exit 3).
    """
    job.operator.require(Role.PREPARE)
    files = DeliveredFiles.of(file)
    sha256, each = files.digests()
    batches = job.centre.root / "batches"
    make_folder(batches)
    with _alone(batches), _sink(findings) as sink:
        work = find_work(batches, sha256)
        if (batch := batch_of_file(job.journal, sha256)) is not None:
            if work is not None:
                work[0].clear_work()  # the journal knew the batch, and then the process was killed
            raise PersonalizationError("batch-file-seen", file=file.name, batch=batch)
        folder, arrival = work or _begun(batches, sha256, each)
        approvals: list[Approval | None] = []
        commission = Commission(
            files=files,
            arrival=arrival,
            place=Workplace(folder.root.absolute(), folder.identifier, job.centre.key_store(), permit_profile),
            store=job.keys,
            workers=staff.hire,
            known=functools.partial(known_permits, job.journal),
            progress=progress,
            findings=sink,
            accept_good=accept_good,
            chunk_rows=chunk_rows or rows_of_a_chunk(files.name.count),
        )

        def approve(verdict: Verdict) -> None:
            del verdict
            approvals.append(require_two(job.journal, job.roster, job.operator, Act.ACCEPT_GOOD, sha256.hex()))

        found = prepare_delivery(commission, approve)
        if isinstance(found, Refusal):
            return found
        _register(job, found, commission, approvals)
        return Loaded(folder.identifier, folder.manifest, found.manifest.rows, found.verdict, found.rejects)


def abandon(job: Job, file: Path) -> str | None:
    """Forget a preparation that was begun and not finished: its keys, and all that it has written.

    Returns:
        The batch that it would have been; None when there is no such preparation.

    Raises:
        PersonalizationError: "role-missing", "preparation-busy" (exit 3), the file is not there or is none of ours.
    """
    job.operator.require(Role.PREPARE)
    sha256, _ = DeliveredFiles.of(file).digests()
    batches = job.centre.root / "batches"
    make_folder(batches)
    with _alone(batches):
        work = find_work(batches, sha256)
        if work is None:
            return None
        known = batch_of_file(job.journal, sha256) is not None
        if known:
            work[0].clear_work()
        else:
            discard(work[0], job.keys)
        return None if known else work[0].identifier


def _begun(batches: Path, sha256: bytes, each: tuple[bytes, ...]) -> tuple[BatchFolder, Arrival]:
    arrival = Arrival.now(sha256, each)
    return begin(batches, arrival), arrival


def _register(job: Job, found: Prepared, commission: Commission, approvals: list[Approval | None]) -> None:
    """Enter the batch in the journal; a permit that came in by another batch meanwhile refuses it as a whole."""
    manifest = str(found.folder.manifest.absolute().relative_to(job.centre.root.absolute()))
    entry = BatchEntry(
        identifier=found.folder.identifier,
        source_hash=bytes.fromhex(commission.arrival.sha256),
        area=commission.files.name.area_code,
        delivered=found.verdict.rows,
        prepared=manifest,
        source=manifest,
        rows=(RowEntry(row, index, permit, citizen) for index, (row, permit, citizen) in enumerate(found.rows())),
        rejected=(RejectedRow(row, rule) for row, rule in found.rejected()),
    )
    facts = approved(approvals[0]) if approvals and approvals[0] is not None else None
    try:
        register_batch(job.journal, entry, job.operator.name, facts=facts)
    except PersonalizationError as error:
        if error.exit_code != _ENVIRONMENT:
            discard(found.folder, job.keys)
        raise
    found.finish()


@contextmanager
def _alone(batches: Path) -> Generator[None]:
    """One preparation at a time in a centre."""
    lock = file_lock(batches / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise PersonalizationError("preparation-busy", exit_code=_ENVIRONMENT) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _sink(path: Path | None) -> Generator[FindingSink]:
    """Where all findings go."""
    if path is None:
        yield _forget
        return
    with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        yield _writer(stream.write)


def _writer(write: Callable[[str], int]) -> FindingSink:
    def sink(found: Finding) -> None:
        write(json.dumps(finding_document(found), ensure_ascii=False) + "\n")

    return sink


def _forget(found: Finding) -> None:
    del found
