"""A whole batch at one station: cards per second with a durable journal, and what the journal costs of it."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.preparation import PublicKeyWork, best  # noqa: E402 - the path is set above
from personalization.production.journal import Journal, open_journal  # noqa: E402 - same
from personalization.production.policy import Policy  # noqa: E402 - same
from personalization.production.station import Ending, Line, Station  # noqa: E402 - same
from tests.model.real_line import load  # noqa: E402 - same

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


def run() -> list[Row]:
    """Rows for `benchmarks.run`."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with open_journal(root / "journal.sqlite") as opened:
            journal = TimedJournal(opened.place, opened.engine)
            batch, outfit = load(opened, root, CARDS, CARDS)
            line = Line(lambda _seconds: False, lambda _progress: None)
            with outfit() as equipment:
                station = Station(journal, batch.id, "station-1", equipment, Policy(), line)
                cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
                ending = station.work()
                cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
        if ending is not Ending.DONE:
            raise SystemExit(f"the station ended: {ending}")
        commit = durable_commits(root)
    floor = best(PublicKeyWork().of_a_card, 50)
    a_card = 1000 * CARDS
    rates = (1e9 * CARDS / cpu, 1e9 * CARDS / wall)
    print("  {:.0f} cards a second of one core, {:.0f} by the clock, journal durable".format(*rates))
    return [
        ("a card made, inspected and journalled", cpu / a_card, floor),
        ("  of it the journal, processor", TimedJournal.cpu_ns / a_card, commit),
        ("  of it the journal, by the clock", TimedJournal.wall_ns / a_card, commit),
        ("a transaction of a tray, by the clock", TimedJournal.wall_ns / TimedJournal.commits / 1000, commit),
    ]


if __name__ == "__main__":
    for label, ours, least in run():
        print(f"  {label:<56} {ours:>8.1f} µs {least:>8.1f} µs {ours / least:>6.1f} ×")
