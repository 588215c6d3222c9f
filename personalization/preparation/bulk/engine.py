"""From a delivered file to a prepared batch, of any size, in steps that each leave their result on disk.

| step | who | leaves |
|---|---|---|
| deal | the coordinator | plan: where the rows of each chunk are |
| mark | workers, by piece | marks of pictures and residences, which the coordinator joins to an index |
| check | workers, by chunk | applicants and faces of rows without a fault, marks, findings |
| verdict | the coordinator | which rows go on |
| prepare | workers, by chunk | records, letters, a signed statement |
| close | the coordinator | signed manifest, refused rows |

A step that finds its result goes on with the next, so that an interrupted preparation is begun again and does only what
is left. Memory is that of one chunk, whatever the batch has.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from personalization.intake.receipt import batch_identifier
from personalization.intake.rejects import seal_rejects
from personalization.keys.authorities import authorities_of
from personalization.keys.keystore import KeyStore
from personalization.keys.signed_document import read_signed
from personalization.preparation.bulk.dealing import deal_out
from personalization.preparation.bulk.delivered import DeliveredFiles, locate
from personalization.preparation.bulk.layout import CHUNK_STATEMENT, BatchFolder
from personalization.preparation.bulk.making import CHUNK_KIND, ROWS, chunk_extent, read_chunk_rows
from personalization.preparation.bulk.marking import join_marks
from personalization.preparation.bulk.plan import Arrival, Plan
from personalization.preparation.bulk.rejected import rejected_rows
from personalization.preparation.bulk.verdict import FindingSink, Judge, KnownPermits, Verdict
from personalization.preparation.bulk.workers import Order, Stage, Workers, Workplace, disk_reported
from personalization.preparation.manifest import ChunkEntry, Manifest

REJECTS_ENDING: Final = ".rejects"
_FAILURES: Final = 1
_ENVIRONMENT: Final = 3
_DAMAGED: Final = "work-file-damaged"
_KEYS_GONE: Final = "batch-keys-missing"


class ProgressBar(Protocol):
    """Told how far a step is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` rows of ``stage``."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """A delivery that does not go on; nothing of it is left.

    Attributes:
        identifier: of the batch that it would have been.
        verdict: why.
    """

    identifier: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch that is prepared, and not known to the journal yet.

    Attributes:
        folder: its paths.
        manifest: its chunks.
        verdict: what intake found.
        rejects: sealed files of refused rows.
    """

    folder: BatchFolder
    manifest: Manifest
    verdict: Verdict
    rejects: tuple[Path, ...]

    def rows(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Row number and recognition values of permit and citizen of each row, in the order of the records."""
        for entry in self.manifest.chunks:
            yield from read_chunk_rows(self.folder.root / entry.folder / ROWS)

    def rejected(self) -> Iterator[tuple[int, str]]:
        """Row numbers that were refused, with the first rule that each breaks."""
        with self.folder.rejected.open("rb") as stream:
            for line in stream:
                number, rule = json.loads(line)
                yield number, rule

    def finish(self) -> None:
        """Remove what is needed no more, once the journal knows the batch."""
        self.folder.clear_work()


@dataclass(frozen=True, slots=True)
class Commission:
    """What is prepared, with what.

    Attributes:
        files: the delivery.
        arrival: its hashes, and when it came.
        place: where it is worked on.
        store: the centre's open key store.
        workers: who works, given the batch's open store.
        known: permits of earlier batches.
        progress: told how far each step is.
        findings: told every finding.
        chunk_rows: rows of a chunk.
        accept_good: whether good rows go on where others are at fault.
    """

    files: DeliveredFiles
    arrival: Arrival
    place: Workplace
    store: KeyStore
    workers: Callable[[KeyStore], Workers]
    known: KnownPermits
    progress: ProgressBar
    findings: FindingSink
    chunk_rows: int
    accept_good: bool = False


def new_identifier(arrival: Arrival) -> str:
    """The number of a batch, by when it came."""
    return batch_identifier(dt.datetime.fromisoformat(arrival.received))


def find_work(batches: Path, sha256: bytes) -> tuple[BatchFolder, Arrival] | None:
    """The work on a delivery that was begun and not finished."""
    for path in sorted(batches.glob("*/work/delivery.json")):
        try:
            arrival = Arrival.read(path)
        except PersonalizationError:
            continue  # whose work it was is not known any more
        if arrival.sha256 == sha256.hex():
            root = path.parent.parent
            return BatchFolder(root, root.name), arrival
    return None


def prepare_delivery(commission: Commission, approve: Callable[[Verdict], None]) -> Prepared | Refusal:
    """Prepare a delivery, or go on where an earlier attempt stopped.

    Args:
        commission: what and with what.
        approve: asked when rows are refused and the others are to go on; raises when that is not allowed.

    Raises:
        PersonalizationError: exit 3, the work stays, and goes on when the cause is mended: key store, disk, workers;
            exit 2, it stays too: ``approve`` refuses; exit 1, the delivery cannot be used as a whole; nothing of it is
            left then, nor of work that is damaged ("work-file-damaged").
    """
    folder = commission.place.folder
    try:
        with disk_reported(folder.root):
            return _Engine(commission).prepare(approve)
    except PersonalizationError as error:
        if error.exit_code == _FAILURES or error.code == _DAMAGED:
            discard(folder, commission.store)
        raise


def discard(folder: BatchFolder, store: KeyStore) -> None:
    """Forget a delivery: its keys first, so that nothing that is left can be read."""
    store.destroy_batch_keys(folder.identifier)
    shutil.rmtree(folder.root, ignore_errors=True)


class _Engine:
    def __init__(self, commission: Commission) -> None:
        self._commission = commission
        self._folder = commission.place.folder
        self._progress = commission.progress
        self._keys = self._batch_store()

    def prepare(self, approve: Callable[[Verdict], None]) -> Prepared | Refusal:
        workers = self._commission.workers(self._keys)
        try:
            return self._prepare(self._deal(), workers, approve)
        finally:
            workers.close()

    def _prepare(self, plan: Plan, workers: Workers, approve: Callable[[Verdict], None]) -> Prepared | Refusal:
        if not plan.rows:
            raise PersonalizationError("batch-empty", rows=0)
        if not self._folder.index.exists():
            self._work(workers, Stage.MARK, plan.piece_sizes, self._folder.marked)
            join_marks(self._folder, plan)
        self._work(workers, Stage.CHECK, plan.sizes, self._folder.checked)
        verdict = self._judge(plan)
        if verdict.errors and not self._commission.accept_good:
            discard(self._folder, self._commission.store)
            return Refusal(self._folder.identifier, verdict)
        if verdict.errors:
            approve(verdict)
        if not verdict.good:
            raise PersonalizationError("batch-empty", rows=verdict.rows)
        self._work(workers, Stage.MAKE, plan.sizes, self._folder.chunk)
        manifest = self._close(plan)
        return Prepared(self._folder, manifest, verdict, self._reject(plan))

    def _batch_store(self) -> KeyStore:
        """The batch's own keys: those of an earlier attempt while its work is there, else new ones."""
        store, identifier = self._commission.store, self._folder.identifier
        if self._folder.plan.exists():
            try:
                return store.of_batch(identifier)
            except PersonalizationError as error:
                if error.code != _KEYS_GONE:
                    raise
                self._begin_again()
        store.make_batch_keys(identifier)
        return store.of_batch(identifier)

    def _begin_again(self) -> None:
        """Remove all that an earlier attempt has sealed."""
        for path in self._folder.root.iterdir():
            if path != self._folder.work:
                _remove(path)
        for path in self._folder.work.iterdir():
            if path != self._folder.delivery:
                _remove(path)

    def _deal(self) -> Plan:
        if self._folder.plan.exists():
            return Plan.read(self._folder.plan)
        self._begin_again()
        files = self._commission.files
        located = locate(files, self._folder.work, self._keys)
        return deal_out(
            self._folder,
            files.name,
            located,
            self._keys,
            self._commission.chunk_rows,
            lambda done: self._progress("deal", done, max(done, files.name.count)),
        )

    def _work(self, workers: Workers, stage: Stage, sizes: Mapping[int, int], done_at: Callable[[int], Path]) -> None:
        """Have done what is left of a stage; ``done_at`` is what each chunk, or piece, of it leaves."""
        total = sum(sizes.values())
        left = [chunk for chunk in sizes if not done_at(chunk).exists()]
        done = total - sum(sizes[chunk] for chunk in left)
        self._progress(stage.value, done, total)
        for rows in workers.perform([Order(self._commission.place, stage, chunk) for chunk in left]):
            done += rows
            self._progress(stage.value, min(done, total), total)
        self._progress(stage.value, total, total)

    def _judge(self, plan: Plan) -> Verdict:
        if self._folder.verdict.exists():
            return Verdict.read(self._folder.verdict)
        return Judge(self._folder, plan, self._keys, self._commission.known).judge(self._commission.findings)

    def _close(self, plan: Plan) -> Manifest:
        """List the chunks; each statement is verified, so that the manifest vouches for what workers made."""
        authority = authorities_of(self._keys)
        if self._folder.manifest.exists():
            return Manifest.read(self._folder.manifest, authority)
        entries: list[ChunkEntry] = []
        for chunk in plan.chunks:
            folder = self._folder.chunk(chunk)
            document = read_signed(folder / CHUNK_STATEMENT, authority)
            if (document["kind"], document["batch"], document["chunk"]) != (CHUNK_KIND, plan.identifier, chunk):
                raise PersonalizationError("chunk-not-genuine", exit_code=_ENVIRONMENT, file=str(folder))
            rows, first, last = chunk_extent(folder / ROWS)
            if rows != document["rows"]:
                raise PersonalizationError("work-file-damaged", exit_code=_ENVIRONMENT, file=ROWS, reason="")
            name = str(folder.relative_to(self._folder.root))
            entries.append(ChunkEntry(name, rows, first, last, document["files"]))
        arrival = self._commission.arrival
        manifest = Manifest(plan.identifier, plan.area_code, arrival.sha256, arrival.files, tuple(entries))
        manifest.write(self._folder.manifest, self._keys)
        return manifest

    def _reject(self, plan: Plan) -> tuple[Path, ...]:
        """Seal what was refused, some thousand rows a file."""
        paths: list[Path] = []
        for number, rows in enumerate(rejected_rows(self._folder, plan, self._keys), 1):
            ending = REJECTS_ENDING if number == 1 else f"{REJECTS_ENDING}-{number}"
            path = self._folder.root / f"{self._folder.identifier}{ending}"
            if not path.exists():
                seal_rejects(self._folder.identifier, self._commission.files.name, rows, path, self._keys)
            paths.append(path)
        return tuple(paths)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def begin(batches: Path, arrival: Arrival) -> BatchFolder:
    """Make the folder of a new batch and say which delivery it is the work on.

    Raises:
        PersonalizationError: "directory-unwritable", "disk-full", exit 3.
    """
    identifier = new_identifier(arrival)
    folder = BatchFolder(batches / identifier, identifier)
    with disk_reported(batches):
        make_folder(folder.work, exist_ok=False)
        arrival.write(folder.delivery)
    return folder
