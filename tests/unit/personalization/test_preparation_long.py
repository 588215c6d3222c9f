"""A million rows: memory flat, cost of a row flat, two workers nearly twice as fast as one, a cluster the same.

``PERMITCARD_LONG_ROWS`` takes another number of rows.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.preparing import Loaded, Staff, prepare
from personalization.intake.sample.unpacked import write_unpacked_sample
from personalization.keys.file_store import FileKeyStore
from tests.doubles.prepared_batches import judge, rows_of

pytestmark = pytest.mark.long

ROWS = int(os.environ.get("PERMITCARD_LONG_ROWS", "1000000"))
STEADY = 0.1
"""Part of the rows after which memory has to be flat."""

QUIET = 0.1
"""Processors that other work may have had for speeds of two runs to be compared by the clock."""


@dataclass(slots=True)
class Watch:
    """What a preparation needs, sampled as it goes on.

    Attributes:
        memory: bytes of the coordinator and of its largest worker, by step and part of the rows done.
        spent: CPU seconds of all processes, likewise.
    """

    memory: list[tuple[str, float, int, int]] = field(default_factory=list[tuple[str, float, int, int]])
    spent: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])

    def __call__(self, stage: str, done: int, total: int) -> None:
        own = psutil.Process()
        family = [own, *own.children(recursive=True)]
        sizes, seconds = [0], 0.0
        for process in family:
            try:
                sizes.append(process.memory_info().rss)
                times = process.cpu_times()
            except psutil.Error:
                continue
            seconds += times.user + times.system
        part = done / total if total else 1.0
        self.memory.append((stage, part, sizes[1] if len(sizes) > 1 else 0, max(sizes[2:], default=0)))
        self.spent.append((stage, part, seconds))

    def growth(self, stage: str) -> tuple[float, float]:
        """Largest memory over the smallest from `STEADY` on: of the coordinator, and of the largest worker."""
        steady = [(own, worker) for found, part, own, worker in self.memory if found == stage and STEADY <= part < 1]
        columns = ([size for size in column if size] for column in zip(*steady, strict=True))
        own, worker = (max(sizes) / min(sizes) if sizes else 1.0 for sizes in columns)
        return own, worker

    def slowing(self, stage: str) -> float:
        """CPU a row in the last half over that in the first."""
        points = [(part, seconds) for found, part, seconds in self.spent if found == stage and part < 1]
        middle = min(points, key=lambda point: abs(point[0] - (points[0][0] + points[-1][0]) / 2))
        first = (middle[1] - points[0][1]) / (middle[0] - points[0][0])
        last = (points[-1][1] - middle[1]) / (points[-1][0] - middle[0])
        return last / first


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_unpacked_sample(tmp_path_factory.mktemp("delivery"), ROWS, 21, ready=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = Centre(tmp_path_factory.mktemp("keys") / "centre")
    FileKeyStore.create(place.keys, place.make_test_passphrase().read(), scrypt_n=1024)
    return place.root


@dataclass(frozen=True, slots=True)
class Run:
    centre: Centre
    found: Loaded
    watch: Watch
    seconds: float
    quiet: bool


def run(centre: Path, keys: Path, delivery: Path, staff: Staff) -> Run:
    shutil.copytree(keys, centre)
    watch = Watch()
    with Job.open(Centre(centre)) as job:
        start, before = time.perf_counter(), busy()
        found = prepare(job, delivery, staff, progress=watch)
        seconds, used = time.perf_counter() - start, busy() - before
    assert isinstance(found, Loaded), found
    others = (used - (watch.spent[-1][2] - watch.spent[0][2])) / seconds
    return Run(Centre(centre), found, watch, seconds, others < QUIET)


def busy() -> float:
    """Seconds that all processors have worked."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, keys: Path, delivery: Path) -> Run:
    return run(tmp_path_factory.mktemp("one") / "centre", keys, delivery, Staff(1))


def report(capsys: pytest.CaptureFixture[str], name: str, found: Run) -> None:
    spent = found.watch.spent
    with capsys.disabled():
        cpu = (spent[-1][2] - spent[0][2]) / found.found.rows * 1e6
        print(f"\n{name}: {found.found.rows:,} rows in {found.seconds:.0f} s, {cpu:.0f} µs of CPU a row")  # noqa: T201
        for stage in ("deal", "mark", "check", "prepare"):
            points = [entry for entry in found.watch.memory if entry[0] == stage]
            if points:
                own, worker = max(entry[2] for entry in points) >> 20, max(entry[3] for entry in points) >> 20
                print(f"  {stage:<8} coordinator {own} MB, worker {worker} MB")  # noqa: T201


def test_memory_and_the_cost_of_a_row_are_flat(one: Run, capsys: pytest.CaptureFixture[str]) -> None:
    report(capsys, "one worker", one)
    assert one.found.rows == ROWS
    for stage in ("check", "prepare"):
        slowing, (own, worker) = one.watch.slowing(stage), one.watch.growth(stage)
        with capsys.disabled():
            print(f"  {stage:<8} growth {own:.3f} and {worker:.3f}, last half {slowing:.2f} of first")  # noqa: T201
        assert own <= 1.1
        assert worker <= 1.1
        assert slowing <= 1.3


def test_every_signature_and_letter_holds(one: Run) -> None:
    batch = one.found.identifier
    assert judge(one.found.manifest, one.centre.key_store().open().of_batch(batch), batch) == ROWS


def test_two_workers_are_nearly_twice_as_fast(
    one: Run, keys: Path, delivery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = run(tmp_path / "centre", keys, delivery, Staff(2))
    report(capsys, "two workers", two)
    spent = [found.watch.spent[-1][2] - found.watch.spent[0][2] for found in (one, two)]
    with capsys.disabled():
        print(f"  {one.seconds / two.seconds:.2f} × by the clock, CPU {spent[1] / spent[0]:.2f} ×")  # noqa: T201
    assert same(one, two)
    assert spent[1] <= 1.25 * spent[0], "two workers do the work of one, not more"
    if one.quiet and two.quiet and (os.cpu_count() or 1) >= 2:
        assert one.seconds / two.seconds >= 1.8


def test_a_cluster_makes_the_same(one: Run, keys: Path, delivery: Path, tmp_path: Path) -> None:
    distributed: Any = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        local_directory=str(tmp_path / "spill"),
    ) as cluster:
        found = run(tmp_path / "centre", keys, delivery, Staff(scheduler=cluster.scheduler_address))
    assert same(one, found)


def same(one: Run, other: Run) -> bool:
    """Whether two batches say the same, row by row, when they are opened."""
    pairs = zip(opened(one), opened(other), strict=True)
    return all(first == second for first, second in pairs)


def opened(found: Run) -> Iterator[object]:
    batch = found.found.identifier
    keys = found.centre.key_store().open().of_batch(batch)
    return (row.without_what_is_drawn() for row in rows_of(found.found.manifest, keys, batch))
