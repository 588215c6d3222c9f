"""Preparation in chunks finds and makes what the way through memory does, however it is cut, shared and interrupted."""

from __future__ import annotations

import csv
import datetime as dt
import gc
import io
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection

from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.preparing import Loaded, Staff, abandon, prepare
from personalization.errors import PersonalizationError
from personalization.intake.applicant import Finding
from personalization.intake.cells import SheetRow
from personalization.intake.delivery import PICTURES_END, RESIDENCE_END
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.intake.rejects import open_rejects
from personalization.intake.sample.unpacked import write_unpacked_sample
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk import cluster as cluster_module
from personalization.preparation.bulk import index, workers
from personalization.preparation.bulk.dealing import DealtRows
from personalization.preparation.bulk.engine import Refusal
from personalization.preparation.bulk.layout import BatchFolder
from personalization.preparation.bulk.workers import Stage
from personalization.preparation.sealed_file import Purpose
from personalization.production.journal import batches, driver
from personalization.production.journal.batches import batch_status
from personalization.production.states import RowState
from tests.console.command_line import ROOT
from tests.doubles.prepared_batches import Row, judge, rows_of

RESIDENTS = 60
CHUNK = 16
CHUNKS = -(-RESIDENTS // CHUNK)
ORDERS = {Stage.MARK: CHUNKS + 2, Stage.CHECK: CHUNKS, Stage.MAKE: CHUNKS}
"""Orders of a batch; the second sheet has two chunks."""
DAMAGED = next((ROOT / "examples" / "damaged").glob("*.zip"))


def silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


@pytest.fixture(scope="module")
def keys_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One key store for all centres, so that what they make can be compared."""
    place = Centre(tmp_path_factory.mktemp("keys") / "centre")
    FileKeyStore.create(place.keys, place.make_test_passphrase().read(), scrypt_n=16)
    return place.root


def make_centre(root: Path, keys_of_all: Path) -> Centre:
    shutil.copytree(keys_of_all, root)
    return Centre(root)


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with its residences and pictures beside it."""
    return write_unpacked_sample(tmp_path_factory.mktemp("delivery"), RESIDENTS, 5, faces=6)


@pytest.fixture
def centre(tmp_path: Path, keys_of_all: Path) -> Centre:
    return make_centre(tmp_path / "centre", keys_of_all)


def loaded(centre: Centre, file: Path, staff: Staff | None = None, **more: object) -> Loaded:
    with Job.open(centre) as job:
        found = prepare(job, file, staff or Staff(), chunk_rows=CHUNK, progress=silent, **more)  # type: ignore[arg-type]
    assert isinstance(found, Loaded), found
    return found


@dataclass(frozen=True, slots=True)
class Done:
    """A batch that one process has prepared."""

    centre: Centre
    found: Loaded


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, delivery: Path, keys_of_all: Path) -> Done:
    centre = make_centre(tmp_path_factory.mktemp("done") / "centre", keys_of_all)
    return Done(centre, loaded(centre, delivery))


def content(centre: Centre, batch: str) -> list[object]:
    keys = centre.key_store().open()
    manifest = centre.batch(batch) / f"{batch}.manifest"
    return [row.without_what_is_drawn() for row in rows_of(manifest, keys.of_batch(batch), batch)]


# ------------------------------------------------------------ the same as through memory


def test_every_row_is_prepared_signed_and_has_its_letter(done: Done, delivery: Path) -> None:
    keys = done.centre.key_store().open()
    assert judge(done.found.manifest, keys.of_batch(done.found.identifier), done.found.identifier) == RESIDENTS
    expected = receive_batch(delivery, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    found = [row.applicant for row in rows_of_done(done, keys)]
    assert tuple(found) == expected


def rows_of_done(done: Done, keys: KeyStore) -> Iterator[Row]:
    batch = done.found.identifier
    return rows_of(done.found.manifest, keys.of_batch(batch), batch)


def test_the_journal_knows_the_batch_and_the_work_is_gone(done: Done) -> None:
    with Job.open(done.centre) as job:
        status = batch_status(job.journal, done.found.identifier)
        assert (status.rows[RowState.WAITING], status.accepted) == (RESIDENTS, RESIDENTS)
        facts = job.outfit(done.found.identifier)
        assert facts.prepared == facts.source == facts.faces == done.found.manifest
    folder = done.centre.batch(done.found.identifier)
    assert {path.name for path in folder.iterdir()} == {"chunks", done.found.manifest.name}
    chunks = -(-RESIDENTS // CHUNK)
    assert [path.name for path in sorted((folder / "chunks").iterdir())] == [f"{n:05d}" for n in range(1, chunks + 1)]


def key(found: Finding) -> tuple[object, ...]:
    return found.rule, found.row, found.column, found.masked, found.severity, sorted(found.parameters.items())


def all_findings(centre: Centre, file: Path, folder: Path) -> list[tuple[object, ...]]:
    listed = folder / "findings.jsonl"
    with Job.open(centre) as job:
        found = prepare(job, file, Staff(), chunk_rows=CHUNK, progress=silent, findings=listed)
    assert isinstance(found, Refusal)
    documents = [json.loads(line) for line in listed.read_text("utf-8").splitlines()]
    assert len(documents) == sum(found.verdict.rules.values())
    return sorted((key(engine_finding(document)) for document in documents), key=repr)


def engine_finding(document: dict[str, object]) -> Finding:
    from personalization.preparation.bulk.findings import finding_of

    return finding_of(document)


def test_the_damaged_example_gives_the_same_findings_and_leaves_nothing(centre: Centre, tmp_path: Path) -> None:
    """Also for a workbook in a zip: rules of cells, rows, pictures, second sheet, and of rows with each other."""
    receipt = receive_batch(DAMAGED, RememberedBatches(), dt.datetime.now(dt.UTC))
    assert all_findings(centre, DAMAGED, tmp_path) == sorted(map(key, receipt.findings), key=repr)
    left = [path.name for path in (centre.root / "batches").iterdir() if not path.name.startswith(".")]
    assert left == []
    assert list((centre.root / "batch-keys").iterdir()) == []


def test_good_rows_go_on_and_refused_ones_come_back_as_they_were(centre: Centre, tmp_path: Path) -> None:
    receipt = receive_batch(DAMAGED, RememberedBatches(), dt.datetime.now(dt.UTC))
    found = loaded(centre, DAMAGED, accept_good=True)
    keys = centre.key_store().open().of_batch(found.identifier)
    assert judge(found.manifest, keys, found.identifier) == len(receipt.applicants) == found.rows
    assert [row.applicant for row in rows_of(found.manifest, keys, found.identifier)] == list(receipt.applicants)
    bad = {row.source.number for row in receipt.rejected if row.source is not None}
    with Job.open(centre) as job:
        assert batch_status(job.journal, found.identifier).rows[RowState.REJECTED] == len(bad)
    opened = receive_batch(
        open_rejects(found.rejects[0], tmp_path / "opened", keys), RememberedBatches(), dt.datetime.now(dt.UTC)
    )
    assert opened.row_count == len(bad)


# ------------------------------------------------------------ rows of different chunks


def rewritten(delivery: Path, folder: Path, change: Callable[[list[list[str]]], object]) -> Path:
    """A copy of the delivery with another table."""
    folder.mkdir()
    for end in (PICTURES_END, RESIDENCE_END):
        shutil.copy(delivery.with_name(delivery.stem + end), folder)
    rows = list(csv.reader(io.StringIO(delivery.read_text("utf-8"), newline="")))
    change(rows)
    target = folder / delivery.name
    with target.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return target


@pytest.mark.parametrize(("column", "rule"), [(0, "duplicate-permit-number"), (10, "duplicate-bank-account")])
def test_a_number_that_occurs_in_two_chunks_is_found(
    centre: Centre, tmp_path: Path, delivery: Path, column: int, rule: str
) -> None:
    def double(rows: list[list[str]]) -> None:
        adults = [row for row in rows[1:] if row[10]]
        adults[-1][column] = adults[0][column]

    file = rewritten(delivery, tmp_path / "double", double)
    receipt = receive_batch(file, RememberedBatches(), dt.datetime.now(dt.UTC))
    assert rule in {found.rule for found in receipt.findings}
    assert all_findings(centre, file, tmp_path) == sorted(map(key, receipt.findings), key=repr)


def test_a_row_that_another_chunk_puts_at_fault_is_in_no_file(centre: Centre, tmp_path: Path, delivery: Path) -> None:
    def double(rows: list[list[str]]) -> None:
        rows[-1][0] = rows[1][0][:8] + rows[-1][0][8] + rows[1][0][9:]
        rows[1][0] = rows[-1][0]

    file = rewritten(delivery, tmp_path / "double", double)
    found = loaded(centre, file, accept_good=True)
    keys = centre.key_store().open().of_batch(found.identifier)
    numbers = [row.applicant.row_number for row in rows_of(found.manifest, keys, found.identifier)]
    assert found.rows == len(numbers)
    assert not {2, RESIDENTS + 1} & set(numbers)
    assert judge(found.manifest, keys, found.identifier) == found.rows


def test_a_permit_of_an_earlier_batch_is_known_again(centre: Centre, tmp_path: Path, delivery: Path) -> None:
    loaded(centre, delivery)

    def other(rows: list[list[str]]) -> None:
        rows[2][6] += "一号"

    again = rewritten(delivery, tmp_path / "again", other)
    found = {(finding[0], finding[1]) for finding in all_findings(centre, again, tmp_path)}
    assert found == {("permit-number-seen", row) for row in range(2, RESIDENTS + 2)}
    with Job.open(centre) as job, pytest.raises(PersonalizationError, match="batch-file-seen"):
        prepare(job, delivery, Staff(), progress=silent)


# ------------------------------------------------------------ interrupted, shared, done twice


class Stopped(Exception):
    """What ends a preparation in a test as a kill would."""


def test_an_interrupted_preparation_goes_on_where_it_stopped(
    centre: Centre, delivery: Path, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before every piece and chunk of all stages: what was done stays as it is, file by file."""
    work, cuts = workers.Bench.work, 0
    seen: dict[str, Stage] = {}

    def cut(bench: workers.Bench, stage: Stage, chunk: int) -> int:
        if f"{stage}{chunk}" not in seen:
            seen[f"{stage}{chunk}"] = stage
            raise Stopped
        return work(bench, stage, chunk)

    monkeypatch.setattr(workers.Bench, "work", cut)
    kept: dict[Path, int] = {}
    found: Loaded | None = None
    while found is None:
        try:
            found = loaded(centre, delivery)
        except Stopped:
            cuts += 1
        now = {path: path.stat().st_ino for path in (centre.root / "batches").glob("*/**/0000?")}
        assert all(now[path] == inode for path, inode in kept.items() if path in now and found is None)
        kept |= now
    assert {stage: list(seen.values()).count(stage) for stage in Stage} == dict(ORDERS)
    assert cuts == sum(ORDERS.values())
    assert content(centre, found.identifier) == content(done.centre, done.found.identifier)


def killed(root: Path, file: Path, *, entered: bool) -> None:
    """In a process of its own, which is killed in the middle of the rows, or when the journal knows them all."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def insert(
        connection: Connection,
        table: str,
        shared: Mapping[str, object],
        columns: Sequence[str],
        rows: Iterable[tuple[object, ...]],
    ) -> int:
        def some() -> Iterator[tuple[object, ...]]:
            yield from itertools.islice(rows, RESIDENTS // 2)
            die()

        return driver.insert_many(connection, table, shared, columns, some())

    patch = pytest.MonkeyPatch()
    if entered:
        patch.setattr(BatchFolder, "clear_work", die)
    else:
        patch.setattr(batches, "insert_many", insert)
    loaded(Centre(root), file)


def test_a_batch_is_in_the_journal_whole_or_not_at_all(centre: Centre, delivery: Path, done: Done) -> None:
    """Killed while rows are entered, and again when all are; the same command goes on, and knows that it was done."""
    for entered in (False, True):
        process = multiprocessing.get_context("spawn").Process(
            target=killed, args=(centre.root, delivery), kwargs={"entered": entered}
        )
        process.start()
        process.join(300)
        assert process.exitcode == -signal.SIGKILL
        with Job.open(centre) as job:
            known = batches.list_batches(job.journal)
        assert len(known) == entered
        assert len(list(centre.root.glob("batches/*/work"))) == 1
    with pytest.raises(PersonalizationError, match="batch-file-seen"):
        loaded(centre, delivery)
    assert list(centre.root.glob("batches/*/work")) == []
    assert content(centre, known[0]) == content(done.centre, done.found.identifier)
    with Job.open(centre) as job:
        assert batch_status(job.journal, known[0]).left == RESIDENTS


@pytest.mark.parametrize(
    "place", ["dealing._cut_directory", "dealing.cut_text", "sheets._slice", "index.IndexWriter.finish"]
)
def test_a_dealing_that_was_interrupted_begins_anew(
    centre: Centre, delivery: Path, done: Done, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Between the parts, between two chunks of one table, and where the marks are joined; what is left says nothing."""

    def cut(*arguments: object) -> object:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(f"personalization.preparation.bulk.{place}", cut)
        with pytest.raises(Stopped):
            loaded(centre, delivery)
    left = {path.name for path in (centre.root / "batches").glob("*/work/*")}
    assert left == {"delivery.json"} | ({"plan.json", "marked", "index.sqlite.part"} if "finish" in place else set())
    found = loaded(centre, delivery)
    assert content(centre, found.identifier) == content(done.centre, done.found.identifier)


@pytest.mark.parametrize(
    ("encoding", "ends", "quoting", "packed"),
    [
        ("gb18030", "\r\n", csv.QUOTE_MINIMAL, None),
        ("utf-8-sig", "\r", csv.QUOTE_ALL, None),
        ("utf-8", "\n", csv.QUOTE_ALL, zipfile.ZIP_DEFLATED),
        ("gb18030", "\n", csv.QUOTE_ALL, zipfile.ZIP_STORED),
    ],
    ids=["gb18030-crlf", "bom-cr-quoted", "utf-8-packed", "gb18030-stored"],
)
def test_a_table_is_cut_whatever_its_text_is_written_in(
    centre: Centre,
    tmp_path: Path,
    delivery: Path,
    done: Done,
    encoding: str,
    ends: str,
    quoting: int,
    packed: int | None,
) -> None:
    """Beside its pictures or in a zip, with empty records between the rows: the same applicants, on other rows."""
    (tmp_path / "written").mkdir()
    file = tmp_path / "written" / delivery.name
    for end in (".csv", RESIDENCE_END):
        rows = list(csv.reader(io.StringIO(delivery.with_name(delivery.stem + end).read_text("utf-8"), newline="")))
        rows[CHUNK + 1 : CHUNK + 1] = [[""] * len(rows[0])]
        with file.with_name(file.stem + end).open("w", encoding=encoding, newline="") as stream:
            csv.writer(stream, lineterminator=ends, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    shutil.copy(delivery.with_name(delivery.stem + PICTURES_END), file.parent)
    if packed is not None:
        with zipfile.ZipFile(file.with_suffix(".zip"), "w", packed) as archive:
            for path in file.parent.glob("*-*"):
                if path.suffix != ".zip" or path.name.endswith(PICTURES_END):
                    archive.write(path, path.name)
        file = file.with_suffix(".zip")
    found = loaded(centre, file)
    keys = centre.key_store().open().of_batch(found.identifier)
    rows_made = list(rows_of(found.manifest, keys, found.identifier))
    rows_before = list(rows_of_done(done, done.centre.key_store().open()))
    assert [row.applicant.row_number for row in rows_made] == [
        number + (number > CHUNK + 1) for number in (row.applicant.row_number for row in rows_before)
    ]
    assert [row.applicant._replace(row_number=0) for row in rows_made] == [
        row.applicant._replace(row_number=0) for row in rows_before
    ]


def test_residences_come_in_any_order_and_each_chunk_of_them_is_read_once(
    centre: Centre, tmp_path: Path, delivery: Path, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = rewritten(delivery, tmp_path / "shuffled", list)
    residences = file.with_name(file.stem + RESIDENCE_END)
    head, *lines = residences.read_text("utf-8").splitlines(keepends=True)
    random.Random(3).shuffle(lines)
    residences.write_text(head + "".join(lines), "utf-8")
    reads: list[int] = []
    read = DealtRows.residences

    def counted(dealt: DealtRows, chunk: int) -> list[SheetRow]:
        reads.append(chunk)
        return read(dealt, chunk)

    monkeypatch.setattr(DealtRows, "residences", counted)
    found = loaded(centre, file)
    assert content(centre, found.identifier) == content(done.centre, done.found.identifier)
    of_marking = ORDERS[Stage.MARK] - CHUNKS
    assert len(reads) <= of_marking + CHUNKS * of_marking


def test_a_number_that_is_asked_for_twice_has_its_places_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of one citizen in one chunk, far from each other."""
    monkeypatch.setattr(index, "QUESTIONS_AT_ONCE", 2)
    marks = [bytes([number]) * index.MARK_LENGTH for number in range(3)]
    writer = index.IndexWriter(tmp_path / "index.sqlite")
    writer.add_pictures((mark, b"place") for mark in marks)
    writer.finish()
    reader = index.DeliveryIndex(tmp_path / "index.sqlite")
    try:
        assert reader.pictures([*marks, marks[0]]) == {mark: [b"place"] for mark in marks}
    finally:
        reader.close()


def test_two_workers_make_what_one_makes(centre: Centre, delivery: Path, done: Done) -> None:
    found = loaded(centre, delivery, Staff(workers=2))
    assert content(centre, found.identifier) == content(done.centre, done.found.identifier)
    keys = centre.key_store().open().of_batch(found.identifier)
    assert judge(found.manifest, keys, found.identifier) == RESIDENTS
    assert multiprocessing.active_children() == []


def test_a_chunk_makes_no_cycles(centre: Centre, delivery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collections wait until a chunk is done; what nothing refers to is gone by then, but for a handful."""
    left: list[int] = []
    work = workers.Bench.work

    def watched(bench: workers.Bench, stage: Stage, chunk: int) -> int:
        gc.collect()
        gc.disable()
        rows = work(bench, stage, chunk)
        assert not gc.isenabled()
        left.append(gc.collect())
        gc.enable()
        return rows

    monkeypatch.setattr(workers.Bench, "work", watched)
    gc.collect()
    gc.freeze()  # what other tests have left need not be looked through at each chunk
    loaded(centre, delivery)
    firsts = {0, ORDERS[Stage.MARK], ORDERS[Stage.MARK] + CHUNKS}  # the first of a stage imports
    later = [count for at, count in enumerate(left) if at not in firsts]
    assert len(later) == len(left) - len(firsts) == sum(ORDERS.values()) - len(firsts)
    assert max(later) < 4 * CHUNK  # some dozens for the chunk as such, none for a row


def test_a_chunk_that_is_made_twice_is_one_attempt_or_the_other(
    centre: Centre, delivery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler that runs an order twice at the same time: PIN letter and record stay together."""
    perform = workers.HereWorker.perform

    def twice(self: workers.HereWorker, orders: list[workers.Order]) -> Iterator[int]:
        for order in orders:
            folder = order.place.folder
            if order.stage is Stage.MARK:  # nothing is drawn at random
                yield from perform(self, [order])
                first = folder.marked(order.chunk).read_bytes()
                folder.marked(order.chunk).unlink()
                list(perform(self, [order]))
                assert folder.marked(order.chunk).read_bytes() == first
                continue
            target = folder.chunk(order.chunk) if order.stage is Stage.MAKE else folder.checked(order.chunk)
            yield from perform(self, [order])
            made = {path.name: path.read_bytes() for path in target.iterdir()}
            hidden = target.rename(target.with_name("hidden"))
            list(perform(self, [order]))  # the second attempt is whole too
            shutil.rmtree(target)
            hidden.rename(target)
            assert {path.name: path.read_bytes() for path in target.iterdir()} == made

    monkeypatch.setattr(workers.HereWorker, "perform", twice)
    found = loaded(centre, delivery)
    keys = centre.key_store().open().of_batch(found.identifier)
    assert judge(found.manifest, keys, found.identifier) == RESIDENTS


def test_all_of_a_chunk_is_on_the_disk_before_it_gets_its_name(
    centre: Centre, delivery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of power a chunk that is there is whole."""
    flushed: dict[int, int] = {}
    appeared: list[set[str]] = []
    fsync, rename = os.fsync, Path.rename

    def flush(descriptor: int) -> None:
        fsync(descriptor)
        found = os.fstat(descriptor)
        flushed[found.st_ino] = found.st_mtime_ns

    def appear(path: Path, target: Path) -> Path:
        if path.is_dir() and path.suffix == ".part":
            inside = list(path.iterdir())
            for each in [path, *inside]:
                assert flushed[each.stat().st_ino] == each.stat().st_mtime_ns, each.name
            appeared.append({each.name for each in inside})
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "rename", appear)
    loaded(centre, delivery)
    checked, prepared = {"source", "faces", "marks", "findings"}, {purpose.label for purpose in Purpose}
    assert appeared == [checked] * CHUNKS + [prepared | {"rows", "chunk.json"}] * CHUNKS


@pytest.mark.parametrize(("stage", "file"), [(Stage.CHECK, "marks"), (Stage.MAKE, "rows")])
def test_a_row_that_a_file_of_the_work_has_lost_is_missed(
    centre: Centre, delivery: Path, monkeypatch: pytest.MonkeyPatch, stage: Stage, file: str
) -> None:
    """Cut between two rows, so that the file itself looks sound."""
    work = workers.Bench.work

    def lose(bench: workers.Bench, now: Stage, chunk: int) -> int:
        rows = work(bench, now, chunk)
        if (now, chunk) == (stage, 2):
            path = next(centre.root.glob(f"batches/*/**/{chunk:05d}/{file}"))
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) - len(whole) // CHUNK])
        return rows

    monkeypatch.setattr(workers.Bench, "work", lose)
    with pytest.raises(PersonalizationError, match="work-file-damaged"):
        loaded(centre, delivery)


def test_the_attempt_that_comes_second_is_thrown_away(tmp_path: Path) -> None:
    from personalization.preparation.bulk.layout import appearing

    target = tmp_path / "chunks" / "00001"
    with appearing(target) as slow:
        (slow / "prepared").write_bytes(b"slow")
        with appearing(target) as fast:
            (fast / "prepared").write_bytes(b"fast")
    assert (target / "prepared").read_bytes() == b"fast"
    assert [path.name for path in target.parent.iterdir()] == ["00001"]


def test_a_scheduler_that_is_not_there_is_told_and_the_work_goes_on_later(
    centre: Centre, delivery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "PATIENCE_S", 1)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with Job.open(centre) as job, pytest.raises(PersonalizationError) as caught:
            prepare(job, delivery, Staff(scheduler=f"tcp://127.0.0.1:{port}"), chunk_rows=CHUNK, progress=silent)
    assert (caught.value.code, caught.value.exit_code) == ("scheduler-unreachable", 3)
    assert loaded(centre, delivery).rows == RESIDENTS


def test_an_interrupted_preparation_can_be_forgotten(
    centre: Centre, delivery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(bench: workers.Bench, stage: Stage, chunk: int) -> int:
        raise Stopped

    with Job.open(centre) as job:
        with monkeypatch.context() as patch:
            patch.setattr(workers.Bench, "work", stop)
            with pytest.raises(Stopped):
                prepare(job, delivery, Staff(), chunk_rows=CHUNK, progress=silent)
        begun = next((centre.root / "batches").glob("*/work")).parent.name
        assert abandon(job, delivery) == begun
        assert not centre.batch(begun).exists()
        assert not job.keys.destroy_batch_keys(begun)
        assert abandon(job, delivery) is None
    assert loaded(centre, delivery).rows == RESIDENTS
