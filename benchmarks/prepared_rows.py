"""What a row costs on its way from a table to sealed chunks, measured for `benchmarks.bulk_preparation`."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from PIL import Image

from benchmarks.turns import best
from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.preparing import Loaded, Staff, prepare
from permitcard.products import permit_profile
from personalization.intake.code_tables import code_tables
from personalization.intake.delimited import read_text
from personalization.intake.limits import PIECEWISE_LIMITS, FieldLimits
from personalization.intake.row_check import RowChecker, applicant_of
from personalization.intake.sample.residents import RUIAN
from personalization.intake.sample.unpacked import write_unpacked_sample
from personalization.keys.file_store import FileKeyStore
from personalization.preparation.bulk.workers import Stage
from personalization.preparation.data_groups import DataGroups
from personalization.preparation.document_signature import DocumentSigner
from personalization.preparation.faces import FaceMaker
from personalization.preparation.portrait import is_production_picture
from personalization.preparation.prepare import Preparer, Recognition
from personalization.preparation.sealed_file import Purpose, create_sealed
from personalization.preparation.source_file import decode_applicant, encode_applicant

ROWS = 1000
SAMPLES = 20
_PAUSE_S = 2.0
_AT_WORK = frozenset(stage.value for stage in Stage)
SEALED_BYTES = 15_000

Row = tuple[str, float, float]


class Floor:
    """The least that a row needs, with a portrait of the card's size."""

    def __init__(self, portrait: bytes) -> None:
        self._portrait = portrait
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._algorithm = ec.ECDSA(Prehashed(SHA256()))
        self._aead = AESGCM(os.urandom(32))
        self._written = os.urandom(SEALED_BYTES)

    def portrait(self) -> None:
        """Unpack it."""
        Image.open(io.BytesIO(self._portrait), formats=("JPEG",)).load()

    def keys(self) -> None:
        """One key pair, one signature, one hash."""
        ec.generate_private_key(ec.SECP256R1())
        self._key.sign(hashlib.sha256(self._portrait).digest(), self._algorithm)

    def sealing(self) -> None:
        """Encrypt and authenticate."""
        self._aead.encrypt(bytes(12), self._written, None)


def best_of_each(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """The same over different items, for one of them."""

    def once() -> None:
        for item in items:
            work(item)

    return best(once, 1) / len(items)


def parts() -> list[Row]:
    """Parts of a row, and a whole row of a batch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = write_unpacked_sample(folder / "delivery", ROWS, 11, ready=True)
        floor = Floor(next(_pictures(table)))
        return [*_parts(folder, table, floor), _whole(folder, table, floor)]


def _pictures(table: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(table.with_name(f"{table.stem}-pictures.zip")) as archive:
        for name in archive.namelist():
            yield archive.read(name)


def _parts(folder: Path, table: Path, floor: Floor) -> list[Row]:
    keys = FileKeyStore.create(folder / "keys.json", os.urandom(16).hex().encode(), scrypt_n=16)
    keys.make_batch_keys("BENCH")
    sealed = keys.of_batch("BENCH")
    text = table.read_text("utf-8").splitlines(keepends=True)
    rows = list(read_text(text, PIECEWISE_LIMITS, "csv"))[1:]
    portraits = list(_pictures(table))
    checker = RowChecker(RUIAN, code_tables(), FieldLimits())
    applicants = [
        applicant_of(checker.check(row), portrait, None) for row, portrait in zip(rows, portraits, strict=True)
    ]
    preparer, faces = Preparer(permit_profile(), sealed), FaceMaker()
    groups, signer = DataGroups(permit_profile()), DocumentSigner(permit_profile(), sealed)
    contents = {0x0101: bytes(300), 0x0102: bytes(256), 0x0103: portraits[0], 0x0105: bytes(65)}
    recognition = Recognition(bytes(32), bytes(32))
    sources = [encode_applicant(applicant) for applicant in applicants]
    record, letter = preparer.complete(applicants[0], portraits[0], recognition)
    encoded = (record.encode(), sources[0], faces.make(applicants[0], portraits[0]).encode(), letter.encode())
    decode, crypto, seal = best(floor.portrait, 100), best(floor.keys, 100), best(floor.sealing, 100)

    def write() -> None:
        with create_sealed(folder / "sealed", Purpose.PREPARED, "BENCH", sealed) as writer:
            for row in range(ROWS):
                writer.append(row, encoded[row % len(encoded)])

    reading = best(lambda: list(csv.reader(text, strict=True)), 1) / len(rows)
    return [
        ("  parse", best(lambda: list(read_text(text, PIECEWISE_LIMITS, "csv")), 1) / len(rows), reading),
        ("  validate", best_of_each(checker.check, rows), reading),
        ("  portrait decoded and checked", best_of_each(is_production_picture, portraits[:64]), decode),
        ("  applicant encoded, and decoded for the second step", _there_and_back(applicants, sources), reading),
        ("  card face", best_of_each(lambda one: faces.make(one, one.portrait).encode(), applicants), reading),
        ("  text of the files", best_of_each(groups.build, applicants), crypto),
        ("  signature", best(lambda: signer.sign(contents), 200), crypto),
        (
            "  chip key, PINs, DGIs, signature: all of the record",
            best_of_each(lambda one: preparer.complete(one, one.portrait, recognition), applicants),
            crypto,
        ),
        ("  record and letter encoded", best(record.encode, 200) + best(letter.encode, 200), crypto),
        ("  sealed and written, four records", 4 * best(write, 1) / ROWS, seal),
    ]


def _there_and_back(applicants: Sequence[Any], sources: Sequence[bytes]) -> float:
    return best_of_each(encode_applicant, applicants) + best_of_each(decode_applicant, sources)


class Stopwatch:
    """What the coordinator does alone and what it waits for, from its progress; and the floor at the same time.

    A machine that does other work too is slower in the mean than at its best, so that a long run is compared with a
    floor that is measured all along.

    Args:
        floor: what is measured.
        pause_s: between two measurements, for they take time of the workers'.
    """

    def __init__(self, floor: Floor, pause_s: float = 0.0) -> None:
        self.steps: dict[str, float] = {}
        """CPU time of this process by step."""
        self.alone = Spent(0.0, 0.0)
        """While no worker has anything to do."""
        self._floor = floor
        self._pause_s = pause_s
        self._floors: list[float] = []
        self._measured = -math.inf
        self._stage = ""
        self._last = Spent.now()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """See `ProgressBar`."""
        del done, total
        spent = Spent.now() - self._last
        self.steps[stage] = self.steps.get(stage, 0.0) + spent.cpu
        if stage != self._stage or stage not in _AT_WORK:
            self.alone = Spent(self.alone.cpu + spent.cpu, self.alone.clock + spent.clock)
        self._stage = stage
        if time.perf_counter() - self._measured >= self._pause_s:
            self._measure()
        self._last = Spent.now()

    def _measure(self) -> None:
        begun = used()
        for _ in range(SAMPLES):
            self._floor.portrait()
            self._floor.keys()
            self._floor.sealing()
        self._floors.append((used() - begun) / SAMPLES * 1e6)
        self._measured = time.perf_counter()

    @property
    def floor(self) -> float:
        """Mean of the floor, µs."""
        return sum(self._floors) / len(self._floors)


class Spent(NamedTuple):
    """Seconds of CPU, and by the clock."""

    cpu: float
    clock: float

    @classmethod
    def now(cls) -> Spent:
        """This process, since some time."""
        return cls(used(), time.perf_counter())

    def __sub__(self, before: Spent) -> Spent:
        return Spent(self.cpu - before.cpu, self.clock - before.clock)


def used() -> float:
    """CPU time of this process, in seconds."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


@contextmanager
def opened(folder: Path) -> Generator[Job]:
    """A centre of its own."""
    place = Centre(Path(tempfile.mkdtemp(dir=folder)))
    FileKeyStore.create(place.keys, place.make_test_passphrase().read(), scrypt_n=1024)
    with Job.open(place) as job:
        yield job


def _whole(folder: Path, table: Path, floor: Floor) -> Row:
    """µs of CPU a row, all steps in this process, without entering the journal; and the floor meanwhile."""
    found: list[tuple[float, float]] = []
    for _ in range(3):
        with opened(folder) as job:
            watch = Stopwatch(floor)
            prepared = prepare(job, table, Staff(), progress=watch)
        if not isinstance(prepared, Loaded):
            raise SystemExit(f"the sample was refused: {prepared.verdict.rules}")
        found.append((sum(watch.steps.values()) / prepared.rows * 1e6, watch.floor))
    return "a row from table to signed chunks", *min(found, key=lambda times: times[0] / times[1])


def take_turns(count: int, turns: Sequence[int]) -> None:
    """Prepare ``count`` rows with as many workers as each turn says, and set each turn against the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = write_unpacked_sample(folder / "delivery", count, 11, ready=True)
        first, *others = [_turn(folder, table, workers) for workers in turns]
    for workers, spent in zip(turns[1:], others, strict=True):
        rate, cpu = first.clock / spent.clock, spent.cpu / first.cpu
        print(f"{workers} workers: {rate:.2f} × the rate of the first turn, by {cpu:.2f} × its CPU time")


def _turn(folder: Path, table: Path, workers: int) -> Spent:
    """One preparation, and what it needed; returns what all processes spent."""
    before, idle = _children(), psutil.cpu_times().idle
    with opened(folder) as job:
        watch, start = Stopwatch(Floor(next(_pictures(table))), _PAUSE_S), time.perf_counter()
        found = prepare(job, table, Staff(workers), progress=watch)
        seconds = time.perf_counter() - start
        watch("journal", 0, 0)
    rows, of_workers = found.verdict.rows, _children() - before
    coordinator, alone = sum(watch.steps.values()), watch.alone
    own = (coordinator + of_workers) / rows * 1e6
    others = (os.cpu_count() or 1) - (psutil.cpu_times().idle - idle + coordinator + of_workers) / seconds
    print(f"{rows:,} rows, {workers} workers: {seconds:.1f} s, {rows / seconds:,.0f} rows/s")
    print(f"  CPU {own:.0f} µs a row, floor meanwhile {watch.floor:.0f} µs, {own / watch.floor:.1f} ×")
    print(
        f"  of it {coordinator / rows * 1e6:.0f} µs in the coordinator; other work had {max(others, 0):.1f} processors"
    )
    for stage, spent in watch.steps.items():
        print(f"  {stage:<10} {spent / rows * 1e6:>8.1f} µs a row in the coordinator")
    if workers:
        allowed = (alone.cpu + of_workers) / (alone.cpu + of_workers / 2)
        print(
            f"  serial {alone.cpu / rows * 1e6:.0f} µs a row ({alone.clock / rows * 1e6:.0f} by the clock), "
            f"parallel {of_workers / rows * 1e6:.0f} µs: two workers can be {allowed:.2f} × one"
        )
        print(f"  workers were at work for {of_workers / workers / (seconds - alone.clock):.0%} of the time they had")
    peak, largest = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"  largest memory: coordinator {peak:.0f} MB, worker {largest:.0f} MB")
    return Spent(coordinator + of_workers, seconds)


def _children() -> float:
    """CPU time of all processes that have ended, in seconds."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
