"""A whole batch at one station: cards per second with a durable journal, and what the journal costs of it."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
from sqlalchemy import Connection

from benchmarks.preparation import PublicKeyWork
from benchmarks.turns import best
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.place import JournalPlace, PostgresServer, SqliteFile
from personalization.production.policy import Policy
from personalization.production.station import Ending, Line, Station
from tests.doubles.postgres import PASSWORD, Postgres
from tests.model.real_line import load

CARDS = 100
COMMITS = 50

Row = tuple[str, float, float]


class TimedJournal(Journal):
    """A journal that adds up what its transactions take."""

    cpu_ns = 0
    wall_ns = 0
    commits = 0

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """A transaction on the clock, its commit included."""
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        with super().transaction() as connection:
            yield connection
        TimedJournal.cpu_ns += time.thread_time_ns() - cpu
        TimedJournal.wall_ns += time.perf_counter_ns() - wall
        TimedJournal.commits += 1


def durable_commits(folder: Path) -> float:
    """The floor: µs of the clock for one row committed by sqlite3 itself, write-ahead and synchronised."""
    connection = sqlite3.connect(folder / "floor.sqlite", isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "CREATE TABLE t (x)"):
        connection.execute(statement)
    start = time.perf_counter_ns()
    for number in range(COMMITS):
        connection.execute("INSERT INTO t VALUES (?)", (number,))
    took = (time.perf_counter_ns() - start) / COMMITS / 1000
    connection.close()
    return took


def durable_commits_of_server(place: PostgresServer) -> float:
    """The same by psycopg itself, over a socket of this machine."""
    with psycopg.connect(place.url, password=PASSWORD, autocommit=True) as connection:
        connection.execute("CREATE TABLE floor (x integer)")
        start = time.perf_counter_ns()
        for number in range(COMMITS):
            connection.execute("INSERT INTO floor VALUES (%s)", (number,))
        return (time.perf_counter_ns() - start) / COMMITS / 1000


class Times(NamedTuple):
    """What a batch at one station took, ns."""

    cpu: int
    wall: int
    journal_cpu: int
    journal_wall: int
    commits: int


def make_batch(place: JournalPlace, root: Path) -> Times:
    """Make and inspect a batch at one station, in this process."""
    root.mkdir()
    with open_journal(place) as opened:
        journal = TimedJournal(opened.place, opened.engine)
        TimedJournal.cpu_ns = TimedJournal.wall_ns = TimedJournal.commits = 0
        batch, outfit = load(opened, root, CARDS, CARDS)
        line = Line(lambda _seconds: False, lambda _progress: None)
        with outfit() as equipment:
            station = Station(journal, batch.id, "station-1", equipment, Policy(), line)
            cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
            ending = station.work()
            cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    if ending is not Ending.DONE:
        raise SystemExit(f"the station ended: {ending}")
    return Times(cpu, wall, TimedJournal.cpu_ns, TimedJournal.wall_ns, TimedJournal.commits)


def rows_of(name: str, times: Times, floor: float, commit: float) -> list[Row]:
    """Rows of one database, times of a card; the floor of the journal's is a durable commit of one row."""
    a_card = 1000 * CARDS
    rates = (1e9 * CARDS / times.cpu, 1e9 * CARDS / times.wall, times.commits / CARDS)
    shape = "  {}: {:.0f} cards a second of one core, {:.0f} by the clock, journal durable, {:.2f} commits a card"
    print(shape.format(name, *rates))
    return [
        (f"a card made, inspected and journalled, {name}", times.cpu / a_card, floor),
        ("  of it the journal, processor", times.journal_cpu / a_card, commit),
        ("  of it the journal, by the clock", times.journal_wall / a_card, commit),
        ("  a transaction of a tray, by the clock", times.journal_wall / times.commits / 1000, commit),
    ]


def run() -> list[Row]:
    """Rows for `benchmarks.run`; those of PostgreSQL where its server is installed."""
    floor = best(PublicKeyWork().of_a_card, 50)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        times = make_batch(SqliteFile(root / "journal.sqlite"), root / "sqlite")
        rows = rows_of("SQLite", times, floor, durable_commits(root))
        if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
            server = Postgres.make()
            try:
                place = server.new_database()
                times = make_batch(place, root / "postgresql")
                rows += rows_of("PostgreSQL", times, floor, durable_commits_of_server(place))
            finally:
                server.stop()
    return rows


if __name__ == "__main__":
    for label, ours, least in run():
        print(f"  {label:<56} {ours:>8.1f} µs {least:>8.1f} µs {ours / least:>6.1f} ×")
