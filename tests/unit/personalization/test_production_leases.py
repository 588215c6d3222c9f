"""Leases and fences: who lost his lease is refused by the journal, and by the card."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import select, text, update

from personalization.errors import PersonalizationError
from personalization.production.fence import Fence
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.batches import batch_status
from personalization.production.journal.claims import (
    ClaimLost,
    Outcome,
    begin_to_make,
    claim_doubtful,
    claim_to_make,
    in_doubt,
    record_made,
    spoil_in_doubt,
)
from personalization.production.journal.place import SqliteFile
from personalization.production.journal.shifts import begin_shift, end_shift, open_shift, renew_shift
from personalization.production.journal.stations import (
    SeatLost,
    StationFacts,
    all_stations,
    living,
    lose,
    order_batch,
    order_station,
)
from personalization.production.journal.tables import Batch, Run, Shift
from personalization.production.journal.tables import Station as Seat
from personalization.production.lease import Lease
from personalization.production.lives import LeaseWatch
from personalization.production.policy import Policy
from personalization.production.run import resume_batch
from personalization.production.states import BatchState, BlankState, Order, RowState, RunState, StationState
from personalization.production.station import Ending, Line, Progress, Station, give_up_the_lost
from personalization.production.work import Condition, EnterStep, Look, Maker
from reader_bridge.connection import CardConnection
from tests.doubles import postgres
from tests.unit.personalization.scripted_line import HONEST, Outfit, card_state, load_batch, receive, set_card

ROOT = Path(__file__).parents[3]


class Clock:
    """Steady time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    steady = Clock()
    for module in ("lives", "lease", "station"):
        monkeypatch.setattr(f"personalization.production.{module}.elapsed_s", steady)
    return steady


def station(journal: Journal, batch_id: int, name: str, line: Line | None = None, **policy: object) -> Station:
    quiet = Line(lambda _seconds: False, lambda _progress: None)
    with Outfit()() as equipment:
        return Station(journal, batch_id, name, equipment, Policy(**policy), line or quiet)  # type: ignore[arg-type]


def without_lock(facts: StationFacts) -> StationFacts:
    """The same station as another machine sees it, which knows nothing of its lock."""
    return replace(facts, lock="")


def seats(journal: Journal, batch_id: int) -> list[StationFacts]:
    with journal.reading() as connection:
        return living(connection, batch_id)


def test_fences_are_ordered_as_claims_are_in_time() -> None:
    fences = [Fence(1, 1), Fence(1, 2), Fence(2, 1), Fence(1 << 40, 1), Fence(1 << 40, 0xFFFF)]
    assert fences == sorted(fences)
    assert [Fence.parse(fence.encode()) for fence in fences] == fences
    assert sorted(fence.encode() for fence in fences) == [fence.encode() for fence in fences]
    for foreign in (b"", bytes(10), b"\x46\x01", fences[0].encode() + b"\x00", b"\x46\x02" + bytes(8)):
        assert Fence.parse(foreign) is None


def test_a_beat_that_stands_still_for_a_lease_is_over(journal: Journal, clock: Clock) -> None:
    batch = load_batch(journal, 1)
    lease = Lease.join(journal, batch.id, "far", 30)
    watch = LeaseWatch(journal)

    def look() -> list[int]:
        return watch.lost([without_lock(seat) for seat in seats(journal, batch.id)])

    for _ in range(29):
        assert look() == []
        clock.now += 1
    with journal.transaction() as connection:
        lease.renew(connection)
    for _ in range(30):
        assert look() == []
        clock.now += 1
    assert look() == [lease.station_id]
    lease.abandon()


def test_a_gap_in_watching_proves_nothing(journal: Journal, clock: Clock) -> None:
    """The watcher was stopped, or the database was away: then nobody could give a sign of life."""
    batch = load_batch(journal, 1)
    lease = Lease.join(journal, batch.id, "far", 30)
    watch = LeaseWatch(journal)
    (seat,) = seats(journal, batch.id)
    assert watch.lost([without_lock(seat)]) == []
    clock.now += 300
    assert watch.lost([without_lock(seat)]) == []
    clock.now += 29
    assert watch.lost([without_lock(seat)]) == []
    clock.now += 2
    assert watch.lost([without_lock(seat)]) == [lease.station_id]
    lease.abandon()


@pytest.mark.parametrize("jump_s", [-1_000_000, 1_000_000])
def test_a_clock_that_jumps_costs_nobody_his_lease(journal: Journal, clock: Clock, jump_s: int) -> None:
    """The journal's times are moved as if the database's clock had jumped; leases are told by beats."""
    batch = load_batch(journal, 1)
    lease = Lease.join(journal, batch.id, "far", 30)
    watch = LeaseWatch(journal)
    (seat,) = seats(journal, batch.id)
    assert watch.lost([without_lock(seat)]) == []
    for _ in range(50):
        with journal.transaction() as connection:
            lease.renew(connection)
            connection.execute(update(Seat).values(lease_until=Seat.lease_until - jump_s * 1_000_000))
        clock.now += 1
        assert watch.lost([without_lock(seat) for seat in seats(journal, batch.id)]) == []
    (seat,) = seats(journal, batch.id)
    lost_after = 0
    while not watch.lost([without_lock(seat)]):
        clock.now += 1
        lost_after += 1
    assert lost_after == 30
    lease.abandon()


def test_a_life_of_long_ago_is_over_at_first_sight(journal: Journal) -> None:
    batch = load_batch(journal, 1)
    lease = Lease.join(journal, batch.id, "far", 30)
    with journal.transaction() as connection:
        connection.execute(update(Seat).values(lease_until=Seat.lease_until - 61_000_000))
    (seat,) = seats(journal, batch.id)
    assert LeaseWatch(journal).lost([without_lock(seat)]) == [lease.station_id]
    lease.abandon()


def test_a_lock_that_is_free_proves_death_where_it_was_held(journal: Journal) -> None:
    batch = load_batch(journal, 1)
    lease = Lease.join(journal, batch.id, "near", 3600)
    (seat,) = seats(journal, batch.id)
    assert LeaseWatch(journal).lost([seat]) == []
    lease.abandon()
    assert LeaseWatch(journal).lost([replace(seat, lock="another-boot:1:2")]) == []
    assert LeaseWatch(journal).lost([seat]) == [lease.station_id]


def test_a_lock_that_this_account_may_not_try_proves_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """EACCES: another account's process may hold it, so that its lease has to run out."""
    batch = load_batch(journal, 1)
    lease = Lease.join(journal, batch.id, "another account's", 3600)
    (seat,) = seats(journal, batch.id)
    lease.abandon()

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(FileLock, "acquire", forbidden)
        assert LeaseWatch(journal).lost([seat]) == []
    assert LeaseWatch(journal).lost([seat]) == [lease.station_id]


def test_two_stations_of_one_name_are_told_apart(journal: Journal) -> None:
    batch = load_batch(journal, 1)
    first, second = (Lease.join(journal, batch.id, "station-1", 30) for _ in range(2))
    assert (first.name, second.name) == ("station-1", "station-1.2")
    for lease in (first, second):
        lease.leave("done")
    assert seats(journal, batch.id) == []


def test_who_lost_his_lease_is_refused_by_the_journal(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 2)
    receive(journal, tmp_path, [HONEST] * 2)
    lease = Lease.join(journal, batch.id, "station-1", 30)
    with journal.transaction() as connection:
        claims = claim_to_make(connection, batch.id, lease.name, 2, seat=lease.station_id)
    (seat,) = seats(journal, batch.id)
    with journal.transaction() as connection:
        assert lose(connection, "coordinator", seat)
        assert not lose(connection, "somebody slower", seat)
    with pytest.raises(SeatLost), journal.transaction() as connection:
        lease.renew(connection)
    with pytest.raises(ClaimLost), journal.transaction() as connection:
        record_made(connection, lease.name, [Outcome(claim, b"", "{}") for claim in claims])
    assert batch_status(journal, "batch").runs[RunState.MADE] == 0
    lease.abandon()


def test_a_sign_of_life_saves_from_being_given_up(journal: Journal) -> None:
    batch = load_batch(journal, 1)
    lease = Lease.join(journal, batch.id, "station-1", 30)
    (seat,) = seats(journal, batch.id)
    with journal.transaction() as connection:
        lease.renew(connection)
    with journal.transaction() as connection:
        assert not lose(connection, "coordinator", seat)
    lease.leave("done")


def test_a_lease_that_runs_out_frees_only_cards_that_received_nothing(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 3)
    receive(journal, tmp_path, [HONEST] * 3)
    lease = Lease.join(journal, batch.id, "station-1", 30)
    with journal.transaction() as connection:
        claims = claim_to_make(connection, batch.id, lease.name, 3, seat=lease.station_id, begin=False)
    with journal.transaction() as connection:
        begin_to_make(connection, claims[0])
    (seat,) = seats(journal, batch.id)
    with journal.transaction() as connection:
        lose(connection, "coordinator", seat)
    status = batch_status(journal, "batch")
    assert (status.rows[RowState.WAITING], status.rows[RowState.IN_PRODUCTION]) == (2, 1)
    assert (status.stock[BlankState.IN_STOCK], status.stock[BlankState.IN_USE]) == (2, 1)
    with journal.reading() as connection:
        assert [claim.run_id for claim in in_doubt(connection, batch.id)] == [claims[0].run_id]
        attempts = connection.execute(text("SELECT attempts FROM rows ORDER BY number")).scalars().all()
    assert attempts == [1, 0, 0]
    with pytest.raises(ClaimLost), journal.transaction() as connection:
        begin_to_make(connection, claims[1])
    lease.abandon()


def test_a_tray_that_is_begun_card_by_card_is_made(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 4)
    receive(journal, tmp_path, [HONEST] * 4)
    assert station(journal, batch.id, "station-1", begin_each=True).work() is Ending.DONE
    with journal.reading() as connection:
        begun = connection.execute(select(Run.begun_at, Run.claimed_at)).all()
    assert all(row.begun_at is not None and row.begun_at > row.claimed_at for row in begun)


def test_the_next_fence_of_a_run_is_higher_than_the_last(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path, [HONEST])
    first, second = (Lease.join(journal, batch.id, name, 30) for name in ("one", "two"))
    with journal.transaction() as connection:
        (claim,) = claim_to_make(connection, batch.id, first.name, 1, seat=first.station_id)
    first.leave("lost")
    with journal.transaction() as connection:
        (taken,) = claim_doubtful(connection, batch.id, second.name, 5, seat=second.station_id)
        assert claim_doubtful(connection, batch.id, second.name, 5, seat=second.station_id) == []
    assert taken.card_fence > claim.card_fence
    second.leave("done")


def test_a_station_that_lost_its_lease_begins_anew_and_makes_nothing_twice(
    journal: Journal, tmp_path: Path, clock: Clock
) -> None:
    """It stands still for longer than its lease inside a card, and is given up meanwhile."""
    batch = load_batch(journal, 6)
    receive(journal, tmp_path, [HONEST] * 6)
    reports: list[Progress] = []
    stopped: list[int] = []

    def stand_still(step: str) -> None:
        if step == "started" and not stopped:
            stopped.append(1)
            clock.now += 31
            (seat,) = seats(journal, batch.id)
            with journal.transaction() as connection:
                lose(connection, "coordinator", seat)

    with Outfit()() as equipment:
        slow = replace(equipment, maker=StoppedAt(equipment.maker, stand_still))
        line = Line(lambda _seconds: False, reports.append)
        assert Station(journal, batch.id, "station-1", slow, Policy(tray=3), line).work() is Ending.DONE
    status = batch_status(journal, "batch")
    assert (status.good, status.runs[RunState.SPOILED], status.stock[BlankState.GOOD]) == (6, 0, 6)
    assert status.recovered == {"keyed": 1, "untouched": 2}
    with journal.reading() as connection:
        lives = all_stations(connection, batch.id)
    assert [(life.state, life.ending) for life in lives] == [
        (StationState.LOST, "lost"),
        (StationState.ENDED, "done"),
    ]
    assert sum(life.done.good for life in lives) == 6
    rows = [card_state(path)[1] for path in tmp_path.glob("*.card")]
    assert sorted(rows) == [1, 2, 3, 4, 5, 6]


@dataclass(frozen=True)
class StoppedAt:
    """A maker whose process is stopped as a step begins."""

    maker: Maker
    stop: Callable[[str], None]

    def look(self, card: CardConnection) -> Look:
        return self.maker.look(card)

    def terminate(self, card: CardConnection, card_number: bytes) -> bool:
        return self.maker.terminate(card, card_number)

    def make(
        self,
        card: CardConnection,
        record: object,
        card_number: bytes | None,
        enter: EnterStep,
        fence: Fence | None = None,
    ) -> bytes:
        def entering(step: str) -> None:
            self.stop(step)
            enter(step)

        return self.maker.make(card, record, card_number, entering, fence)


def test_orders_pause_resume_and_drain_a_station_while_it_works(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 30)
    receive(journal, tmp_path, [HONEST] * 30)
    asked: list[float] = []
    shown: list[StationState] = []

    def order(to: Order | None) -> None:
        with journal.transaction() as connection:
            order_station(connection, "li", batch.id, "station-1", to)

    def wait(seconds: float) -> bool:
        """Called between cards (0) and while the station stands still."""
        asked.append(seconds)
        if len(asked) == 4:
            order(Order.PAUSE)
        elif seconds > 0.1:
            shown.extend(seat.state for seat in seats(journal, batch.id))
            order(Order.DRAIN if len(shown) > 1 else None)
        elif shown and len(asked) > 40:
            order(Order.PAUSE)
        return False

    assert station(journal, batch.id, "station-1", Line(wait, lambda _p: None), tray=1).work() is Ending.DRAINED
    assert shown == [StationState.PAUSED] * 2
    status = batch_status(journal, "batch")
    assert (status.runs[RunState.OPEN], status.runs[RunState.INSPECTING]) == (0, 0)
    assert 0 < status.made < 30
    with pytest.raises(PersonalizationError, match="station-unknown"):
        order(Order.PAUSE)


def test_a_batch_that_does_not_run_takes_no_order(journal: Journal) -> None:
    batch = load_batch(journal, 1)
    with pytest.raises(PersonalizationError, match="batch-not-running"), journal.transaction() as connection:
        order_batch(connection, "li", batch.id, Order.PAUSE)


def test_an_operator_gives_up_a_card_in_doubt(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    paths = receive(journal, tmp_path, [HONEST] * 2)
    with journal.transaction() as connection:
        claim_to_make(connection, batch.id, "gone", 1)
    set_card(paths[0], Condition.KEYED, 1)
    with journal.transaction() as connection:
        (claim,) = in_doubt(connection, batch.id)
        spoil_in_doubt(connection, "li", claim, 3)
        assert in_doubt(connection, batch.id) == []
    assert station(journal, batch.id, "station-1").work() is Ending.DONE
    status = batch_status(journal, "batch")
    assert (status.good, status.stock[BlankState.SPOILED], status.runs[RunState.SPOILED]) == (1, 1, 1)
    assert [card_state(path)[0] for path in paths] == [Condition.TERMINATED, Condition.FINISHED]


def shift_of_another_machine(journal: Journal, batch_id: int, lease_s: float) -> int:
    with journal.transaction() as connection:
        connection.execute(update(Batch).values(state=BatchState.RUNNING.value))
        return begin_shift(
            connection, batch_id, 2, host="elsewhere", lock="boot:1:2", lease_us=int(lease_s * 1_000_000)
        )


def test_a_station_without_a_coordinator_drains(journal: Journal, clock: Clock) -> None:
    """Nobody would hear its alarm."""
    batch = load_batch(journal, 1)
    shift = shift_of_another_machine(journal, batch.id, 30)
    lease = Lease.join(journal, batch.id, "far", 30)
    for _ in range(70):
        clock.now += 1
        with journal.transaction() as connection:
            renew_shift(connection, shift)
        assert lease.order() is None
    silent = 0
    while lease.order() is None:
        clock.now += 1
        silent += 1
    assert 60 <= silent <= 72
    with journal.transaction() as connection:
        renew_shift(connection, shift)
    clock.now += 11
    assert lease.order() is None
    with journal.transaction() as connection:
        end_shift(connection, shift, "drained")
    clock.now += 11
    assert lease.order() is Order.DRAIN
    lease.leave("drained")


def test_a_coordinator_of_another_machine_that_lives_is_left_alone(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path, [HONEST])
    shift = shift_of_another_machine(journal, batch.id, 3600)
    with alive(journal, shift), pytest.raises(PersonalizationError, match="batch-busy") as refused:
        resume_batch(journal, "batch", Outfit(), who="li")
    assert refused.value.parameters["host"] == "elsewhere"
    assert batch_status(journal, "batch").batch.state is BatchState.RUNNING


@contextmanager
def alive(journal: Journal, shift: int) -> Iterator[None]:
    """The coordinator of that shift gives its signs of life."""
    code = (
        "import pickle, sys, time\n"
        "from personalization.production.journal import open_journal\n"
        "from personalization.production.journal.shifts import renew_shift\n"
        "journal = open_journal(pickle.loads(bytes.fromhex(sys.argv[1])), migrate=False)\n"
        "while True:\n"
        "    journal.write(lambda connection: renew_shift(connection, int(sys.argv[2])))\n"
        "    time.sleep(0.3)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, pickle.dumps(journal.place).hex(), str(shift)], cwd=ROOT)
    try:
        yield
    finally:
        process.kill()
        process.wait(60)


def test_a_coordinator_whose_lease_ran_out_is_replaced(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path, [HONEST])
    old = shift_of_another_machine(journal, batch.id, 1)
    assert resume_batch(journal, "batch", Outfit(), Policy(stations=1), who="li").status.good == 1
    with journal.reading() as connection:
        shifts = connection.execute(select(Shift.id, Shift.outcome).order_by(Shift.id)).all()
        assert open_shift(connection, batch.id) is None
    assert [(row.id == old, row.outcome) for row in shifts] == [(True, "lost"), (False, "done")]


def test_two_coordinators_that_start_at_once_make_nothing_twice(tmp_path: Path) -> None:
    """On two machines, which see nothing of each other but the journal."""
    place = postgres.empty_journal()
    with open_journal(place) as journal:
        load_batch(journal, 10)
        receive(journal, tmp_path / "cards", [HONEST] * 12)
        command = [sys.executable, "-m", "tests.unit.personalization.production_kill"]
        places = [replace(place, locks=tmp_path / name) for name in ("here", "there")]
        both = [
            subprocess.Popen(
                [*command, pickle.dumps(one).hex(), "0.002"],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for one in places
        ]  # fmt: skip
        told = [process.communicate(timeout=300) for process in both]
        codes = sorted(process.returncode for process in both)
        status = batch_status(journal, "batch")
        with journal.reading() as connection:
            runs = connection.execute(select(Run.row_id, Run.blank_id).where(Run.state == "good")).all()
    assert (status.good, status.runs[RunState.SPOILED], codes) == (10, 0, [0, 1]), told
    assert len({run.row_id for run in runs}) == len({run.blank_id for run in runs}) == len(runs) == 10
    refused = next(err for (_, err), process in zip(told, both, strict=True) if process.returncode)
    assert any(code in refused for code in ("batch-busy", "batch-complete")), told
    rows = [card_state(path)[1] for path in (tmp_path / "cards").glob("*.card")]
    assert sorted(row for row in rows if row) == list(range(1, 11))


def start(journal: Journal, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.unit.personalization.production_station", pickle.dumps(journal.place).hex(),
         *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop_between_transactions(process_id: int, journal: Journal) -> None:
    """SIGSTOP, where it does not keep a SQLite journal locked; a server ends such a session by itself."""
    os.kill(process_id, signal.SIGSTOP)
    while isinstance(journal.place, SqliteFile) and locked(journal.place.path):
        os.kill(process_id, signal.SIGCONT)
        time.sleep(0.01)
        os.kill(process_id, signal.SIGSTOP)


def locked(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=0.2, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


@pytest.mark.parametrize("journal_place", [pytest.param("sqlite", marks=pytest.mark.long), "postgresql"], indirect=True)
def test_a_station_that_is_stopped_past_its_lease_and_goes_on_makes_nothing_twice(
    journal: Journal, tmp_path: Path
) -> None:
    batch = load_batch(journal, 12)
    receive(journal, tmp_path, [HONEST] * 12)
    stopped = start(journal, str(batch.id), "stopped", "1", "0.1")
    until(lambda: batch_status(journal, "batch").made > 2, stopped)
    stop_between_transactions(stopped.pid, journal)
    try:
        watch = LeaseWatch(journal)
        while not give_up_the_lost(journal, "coordinator", batch.id, watch):
            time.sleep(0.1)
        others = station(journal, batch.id, "other", lease_s=1).work()
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    out, err = stopped.communicate(timeout=120)
    assert (out.split(), err) == (["done"], "")
    assert others in {Ending.DONE, Ending.IN_DOUBT}  # the stopped one may hold a card's file
    status = batch_status(journal, "batch")
    assert (status.good, status.runs[RunState.SPOILED]) == (12, 0)
    assert sorted(card_state(path)[1] for path in tmp_path.glob("*.card")) == list(range(1, 13))
    with journal.reading() as connection:
        assert next(iter(all_stations(connection, batch.id))).state is StationState.LOST


def test_a_journal_of_the_last_release_goes_on(tmp_path: Path) -> None:
    """Migration 0005: a killed shift has ended, an open run is in doubt."""
    journal_place = SqliteFile(tmp_path / "journal.sqlite")
    configuration = Config()
    configuration.set_main_option("script_location", "personalization.production.journal:migrations")
    with open_journal(journal_place, migrate=False) as old, old.engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0004")
        connection.execute(
            text("INSERT INTO batches VALUES (1, 'batch', :hash, '330381', 1, 'p', 's', 'running', NULL, 1)"),
            {"hash": bytes(32)},
        )
        connection.execute(
            text("INSERT INTO rows VALUES (1, 1, 1, 'in-production', :permit, :permit, 0, 1, NULL)"),
            {"permit": bytes(32)},
        )
        connection.execute(
            text("INSERT INTO blanks VALUES (1, '4341524400000000000a', :where, 'lot', 'in-use', 0, NULL, NULL, 1)"),
            {"where": str(tmp_path / "0001.card")},
        )
        connection.execute(
            text("INSERT INTO runs VALUES (1, 1, 1, 1, :permit, 'open', 'station-1', NULL, 1, NULL, 7, NULL, NULL)"),
            {"permit": bytes(32)},
        )
        for number in (1, 2):
            connection.execute(
                text(f"INSERT INTO shifts VALUES ({number}, 1, 2, 1, 5, NULL, NULL)")  # noqa: S608 - a number
            )
    with open_journal(journal_place) as journal, journal.reading() as connection:
        ended = connection.execute(select(Shift.ended_at, Shift.outcome)).all()
        assert [tuple(row) for row in ended] == [(5, "lost")] * 2
        assert [claim.run_id for claim in in_doubt(connection, 1)] == [1]
        assert connection.execute(select(Run.begun_at)).scalars().all() == [7]
