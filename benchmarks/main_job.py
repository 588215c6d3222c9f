"""The main job: permits made and inspected on both interfaces, beside the bare cryptography of the same cards.

Keys are in the file store, the journal is durable, portraits have 3 to 5 KB on the card and were delivered larger, so
that inspection compares pictures. Making and inspecting are processor time of the station's process, medians over the
cards. Commits are shown apart, as time on the clock, for they wait for the disk.

The floor of making is one SCP03 session with 60 commands of 239 bytes under level 33, both sides computed, on keyed
objects; the floor of inspecting is three P-256 signatures; a whole card is both. The floor of a commit is a bare one of
SQLite, with the same durability, in the same folder.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from time import perf_counter_ns, process_time_ns
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import event

from permitcard.centre import Centre
from permitcard.job import Job
from personalization.intake.sample import write_sample
from personalization.keys.file_store import FileKeyStore
from personalization.production.journal.batches import find_batch
from personalization.production.policy import Policy
from personalization.production.station import Ending, Line, Station
from personalization.production.work import Connector, Equipment, Interfaces

_CARDS: Final = 192
_SEED: Final = 7
_TRAY: Final = 16
_COMMANDS: Final = 60
_SIGNATURES: Final = 3
_OPENING_MACS: Final = 13
_REPEATS: Final = 25
_NS_PER_US: Final = 1000
_US_PER_S: Final = 1_000_000

Row = tuple[str, float, float]


def _median_us(work: Callable[[], object]) -> float:
    """Median µs of processor time of one call."""
    runs: list[float] = []
    for _ in range(_REPEATS):
        start = process_time_ns()
        work()
        runs.append((process_time_ns() - start) / _NS_PER_US)
    return median(runs)


def _floor_making() -> float:
    """13 keyed CMACs to open; then on each side two CMACs and one CBC update a command."""
    key = algorithms.AES(bytes(16))
    command, response, data, block = bytes(261), bytes(18), bytes(256), bytes(32)

    def mac(keyed: CMAC, message: bytes) -> None:
        state = keyed.copy()
        state.update(message)
        state.finalize()

    def work() -> None:
        for _ in range(_OPENING_MACS):
            opening = CMAC(key)
            opening.update(block)
            opening.finalize()
        keyed = CMAC(key)
        for direction in (Cipher(key, modes.CBC(bytes(16))).encryptor(), Cipher(key, modes.CBC(bytes(16))).decryptor()):
            for _ in range(_COMMANDS):
                direction.update(data)
                mac(keyed, command)
                mac(keyed, response)

    return _median_us(work)


def _floor_inspecting() -> float:
    """Three P-256 signatures."""
    key = ec.generate_private_key(ec.SECP256R1())

    def work() -> None:
        for _ in range(_SIGNATURES):
            key.sign(bytes(32), ec.ECDSA(SHA256()))

    return _median_us(work)


def _floor_commit(folder: Path) -> float:
    """Median µs on the clock of a bare durable commit of a tray's rows."""
    runs: list[float] = []
    with closing(sqlite3.connect(folder / "floor.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE row (content BLOB)")
        for _ in range(_REPEATS):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO row VALUES (?)", [(bytes(1500),)] * _TRAY)
            start = perf_counter_ns()
            connection.execute("COMMIT")
            runs.append((perf_counter_ns() - start) / _NS_PER_US)
    return median(runs)


@dataclass(slots=True)
class _Stopwatch:
    """What one station took, in µs."""

    cards: list[float] = field(default_factory=list[float])
    commits: list[float] = field(default_factory=list[float])
    committing: int = 0

    def connector(self, connect: Connector) -> Connector:
        """The same connector; the processor time from opening a card to letting it go is noted."""

        @contextmanager
        def timed(location: str) -> Generator[Interfaces]:
            start = process_time_ns()
            with connect(location) as card:
                yield card
            self.cards.append((process_time_ns() - start) / _NS_PER_US)

        return timed

    def before_commit(self, *_: object) -> None:
        """SQLAlchemy is about to commit."""
        self.committing = perf_counter_ns()

    def after_commit(self, *_: object) -> None:
        """The connection goes back to its pool, which it does right after."""
        if self.committing:
            self.commits.append((perf_counter_ns() - self.committing) / _NS_PER_US)
            self.committing = 0


@contextmanager
def _loaded(folder: Path) -> Generator[tuple[Job, str]]:
    """A new centre with a prepared batch and its blanks."""
    centre = Centre(folder / "centre")
    FileKeyStore.create(centre.keys, centre.make_test_passphrase().read())
    with Job.open(centre) as job:
        prepared = job.load(job.check(write_sample(folder / "delivered", _CARDS, _SEED)))
        job.stock_up(_CARDS)
        yield job, prepared.identifier


def _one_station(job: Job, batch: str) -> tuple[_Stopwatch, float]:
    """Work off a batch in this process; also the processor time in µs a card, everything included."""
    watch = _Stopwatch()
    identifier = find_batch(job.journal, batch).id
    event.listen(job.journal.engine, "commit", watch.before_commit)
    event.listen(job.journal.engine, "checkin", watch.after_commit)
    with job.outfit(batch)() as equipment:
        timed: Equipment = replace(equipment, connect=watch.connector(equipment.connect))
        line = Line(wait=lambda _: False, report=lambda _: None)
        start = process_time_ns()
        ending = Station(job.journal, identifier, "benchmark", timed, Policy(stations=1, tray=_TRAY), line).work()
        took = (process_time_ns() - start) / _NS_PER_US
    if ending is not Ending.DONE or len(watch.cards) != 2 * _CARDS:
        raise RuntimeError(f"the station ended with {ending} after {len(watch.cards)} cards")
    return watch, took / _CARDS


def _two_stations(job: Job, batch: str) -> float:
    """µs on the clock a card, start of the processes included."""
    start = perf_counter_ns()
    result = job.run(batch, Policy(stations=2))
    took = (perf_counter_ns() - start) / _NS_PER_US
    if result.status.good != _CARDS:
        raise RuntimeError(f"{result.status.good} of {_CARDS} cards are good")
    return took / _CARDS


def _rate(us: float) -> str:
    return f"{_US_PER_S / us:.0f} cards/s"


def run() -> list[Row]:
    """Measure; floors and ours in the same run."""
    making, inspecting = _floor_making(), _floor_inspecting()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _loaded(folder / "one") as (job, batch):
            watch, whole = _one_station(job, batch)
        with _loaded(folder / "two") as (job, batch):
            two = _two_stations(job, batch)
        commit = _floor_commit(folder)
    # Trays of one stage follow each other: first a tray is made, then it is inspected.
    made = [took for at, took in enumerate(watch.cards) if at // _TRAY % 2 == 0]
    inspected = [took for at, took in enumerate(watch.cards) if at // _TRAY % 2]
    card = median(made) + median(inspected)
    print(f"  {_rate(card)} made and inspected on one core, {_rate(whole)} with station and journal")
    return [
        ("a card made", median(made), making),
        ("a card inspected on both interfaces", median(inspected), inspecting),
        ("a card made and inspected, one core", card, making + inspecting),
        ("the same with station and journal, one core", whole, making + inspecting),
        (f"commits, a card ({len(watch.commits)} for {_CARDS})", sum(watch.commits) / _CARDS, commit / _TRAY),
        (f"two stations with their start: {_rate(two)}", two, (making + inspecting) / 2),
    ]
