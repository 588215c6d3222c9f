from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import func, select

from personalization.errors import PersonalizationError
from personalization.production.account import take_account
from personalization.production.journal import Journal, statements
from personalization.production.journal.batches import batch_status, batches_at_work
from personalization.production.journal.claims import (
    Outcome,
    Stage,
    claim_to_inspect,
    claim_to_make,
    record_made,
    record_spoiled,
)
from personalization.production.journal.tables import Blank, Evidence, Run
from personalization.production.lease import Lease
from personalization.production.policy import Policy
from personalization.production.recovery import Recovery, recover
from personalization.production.run import resume_batch, run_batch
from personalization.production.states import BatchState, BlankState, RowState, RunState
from personalization.production.station import IDLE_S, Ending, Line, Station
from personalization.production.stock import count_stock
from personalization.production.tracing import unpack_trace
from personalization.production.work import HALF_MADE, Condition
from tests.unit.personalization.scripted_line import (
    ABSENT,
    FAULTY,
    HONEST,
    MISREAD,
    MUTE_ONCE,
    OTHER_KEYS,
    SILENT,
    STUBBORN,
    Outfit,
    card_state,
    load_batch,
    receive,
    set_card,
)

ROOT = Path(__file__).parents[3]
KILLS = 5
MANY_KILLS = 20
MOST = 3
ROWS_OF_A_SIGNAL = 60
SLOWLY_S = 0.04
"""An exchange with a card: a run that gets a signal has work for ten seconds, whoever is kept waiting meanwhile."""
PATIENCE_S = 300
ON_SQLITE = pytest.mark.parametrize("journal_place", ["sqlite"], indirect=True)
"""On a server the same happens in ``tests/model/test_production_chaos.py``."""


def work(journal: Journal, batch_id: int, policy: Policy | None = None, orders: Iterator[bool] | None = None) -> Ending:
    """One station in this process."""
    drain = orders or iter(lambda: False, True)
    line = Line(lambda _seconds: next(drain, True), lambda _progress: None)
    with Outfit()() as equipment:
        return Station(journal, batch_id, "station-1", equipment, policy or Policy(), line).work()


def mend(journal: Journal, batch_id: int) -> Recovery:
    """Recovery in this process."""
    with Outfit()() as equipment:
        return recover(journal, batch_id, equipment, Policy())


def account(journal: Journal, folder: Path, identifier: str = "batch") -> None:
    """Each row has one good card or a reason, no permit is on two cards, each blank is where it is said to be."""
    status = batch_status(journal, identifier)
    assert sum(status.rows.values()) == status.batch.delivered
    assert take_account(journal).adds_up
    stock = count_stock(journal)
    assert stock.received == sum(stock.by_state.values()) == len(list(folder.glob("*.card")))
    with journal.reading() as connection:
        good = connection.execute(
            select(Run.row_id, Blank.location).join(Blank, Blank.id == Run.blank_id).where(Run.state == "good")
        ).all()
        blanks = {row.location: row.state for row in connection.execute(select(Blank.location, Blank.state))}
    assert len({row.row_id for row in good}) == len(good) == status.rows[RowState.GOOD]
    usable = [location for location, state in blanks.items() if state != BlankState.SPOILED.value]
    live = Counter(row for condition, row in map(card_state, usable) if condition is Condition.FINISHED)
    assert set(live.values()) <= {1}
    for location, state in blanks.items():
        condition, _ = card_state(location)
        if state == BlankState.GOOD.value:
            assert condition is Condition.FINISHED
        if state == BlankState.IN_STOCK.value:
            assert condition is Condition.UNTOUCHED


def test_two_stations_make_and_inspect_a_batch(journal: Journal, tmp_path: Path) -> None:
    load_batch(journal, 20, rejected=1)
    receive(journal, tmp_path / "cards", [HONEST] * 22)
    seen: list[tuple[str, int, int]] = []
    result = run_batch(
        journal,
        "batch",
        Outfit(),
        Policy(tray=4),
        who="operator",
        progress=lambda stage, done, total: seen.append((stage, done, total)),
    )
    account(journal, tmp_path / "cards")
    assert (result.status.good, result.status.left, result.drained) == (20, 0, False)
    assert result.status.batch.state is BatchState.COMPLETE
    assert result.status.seconds > 0
    assert isinstance(result.status.seconds, float)
    assert seen[-1] == ("inspect", 20, 20)
    stations = {stage: done for stage, done, _ in seen if stage.startswith("station.")}
    assert sum(stations.values()) == 20
    assert count_stock(journal).by_state[BlankState.IN_STOCK] == 2
    with journal.reading() as connection:
        stages = connection.execute(select(Evidence.stage, Evidence.trace)).all()
    assert Counter(row.stage for row in stages) == {"make": 20, "inspect": 20}
    made = next(row.trace for row in stages if row.stage == "make")  # a server gives rows in any order
    names = [entry.name for entry in unpack_trace(made)]
    assert names == ["READ BINARY", "READ BINARY", *["UPDATE BINARY"] * 4]


def test_a_batch_is_run_once(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path / "cards", [HONEST] * 2)
    run_batch(journal, "batch", Outfit(), Policy(stations=1), who="operator")
    with pytest.raises(PersonalizationError, match="batch-started"):
        run_batch(journal, "batch", Outfit(), who="operator")
    with pytest.raises(PersonalizationError, match="batch-complete"):
        resume_batch(journal, "batch", Outfit(), who="operator")
    assert batch_status(journal, batch.identifier).good == 1


def test_two_coordinators_do_not_share_a_batch(journal: Journal) -> None:
    batch = load_batch(journal, 1)
    with (
        FileLock(journal.lock(f"batch-{batch.id}").lock_file),
        pytest.raises(PersonalizationError, match="batch-busy"),
    ):
        run_batch(journal, "batch", Outfit(), who="operator")


def test_a_spoiled_card_is_terminated_and_its_row_gets_another_blank(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 4)
    behaviours = [FAULTY, HONEST, MISREAD, STUBBORN, SILENT, MUTE_ONCE, HONEST, HONEST]
    paths = receive(journal, tmp_path, behaviours)
    assert work(journal, batch.id) is Ending.DONE
    account(journal, tmp_path)
    status = batch_status(journal, "batch")
    assert (status.good, status.stock[BlankState.SPOILED]) == (4, 4)
    with journal.reading() as connection:
        found = connection.execute(select(Blank.reason, Blank.disposal).where(Blank.state == "spoiled")).all()
    assert {tuple(row) for row in found} == {
        ("started: status-word", "terminated"),
        ("inspection: field.row", "terminated"),
        ("inspection: field.row", "not-terminated"),
        ("reader: mute", "not-terminated"),
    }
    assert card_state(paths[0])[0] is Condition.TERMINATED


def test_repeated_failure_stops_the_station(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 9)
    receive(journal, tmp_path, [FAULTY] * 9)
    assert work(journal, batch.id, Policy(stop_after_failures=3)) is Ending.REPEATED_FAILURE
    account(journal, tmp_path)
    assert count_stock(journal).by_state[BlankState.SPOILED] == 3


def test_inspections_that_fail_again_and_again_stop_the_station_however_well_cards_are_made(
    journal: Journal, tmp_path: Path
) -> None:
    """Trays are shorter than what stops: between two inspections cards are made, and all of those succeed."""
    batch = load_batch(journal, 9)
    receive(journal, tmp_path, [MISREAD] * 20)
    assert work(journal, batch.id, Policy(tray=2, stop_after_failures=3)) is Ending.REPEATED_FAILURE
    account(journal, tmp_path)
    assert count_stock(journal).by_state[BlankState.SPOILED] == 3


def test_unknown_keys_stop_the_station_and_spoil_nothing(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 9)
    paths = receive(journal, tmp_path, [OTHER_KEYS] * 9)
    assert work(journal, batch.id) is Ending.KEY_GUARD
    account(journal, tmp_path)
    stock = count_stock(journal).by_state
    assert (stock[BlankState.BARRED], stock[BlankState.SPOILED], stock[BlankState.IN_STOCK]) == (2, 0, 7)
    assert {card_state(path)[0] for path in paths} == {Condition.UNTOUCHED}
    with journal.reading() as connection:
        assert sorted(connection.execute(select(Blank.key_failures)).scalars()) == [0] * 7 + [1] * 2


def test_the_coordinator_stops_on_the_alarm_of_one_station(journal: Journal, tmp_path: Path) -> None:
    load_batch(journal, 9)
    receive(journal, tmp_path, [OTHER_KEYS] * 9)
    with pytest.raises(PersonalizationError, match="key-guard-alarm"):
        run_batch(journal, "batch", Outfit(), Policy(tray=1), who="operator")
    status = batch_status(journal, "batch")
    assert (status.batch.state, status.batch.reason) == (BatchState.STOPPED, "key-guard-alarm")
    assert status.runs[RunState.OPEN] == 0


def test_an_empty_stock_stops_the_run_and_new_blanks_let_it_go_on(journal: Journal, tmp_path: Path) -> None:
    load_batch(journal, 5)
    receive(journal, tmp_path / "cards", [HONEST] * 3)
    with pytest.raises(PersonalizationError, match="stock-empty"):
        run_batch(journal, "batch", Outfit(), who="operator")
    assert batch_status(journal, "batch").good == 3
    receive(journal, tmp_path / "cards", [HONEST] * 2, first=4)
    assert resume_batch(journal, "batch", Outfit(), who="operator").status.good == 5
    account(journal, tmp_path / "cards")


@pytest.mark.parametrize("journal_place", ["postgresql"], indirect=True)
def test_rows_that_another_station_is_claiming_are_no_sign_of_an_empty_stock(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 2)
    receive(journal, tmp_path / "cards", [HONEST] * 2)
    pauses = 0
    with journal.engine.connect() as other:
        locked = other.execute(statements.WAITING_ROWS, {"batch": batch.id, "most": 2}).all()  # not yet committed

        def wait(seconds: float) -> bool:
            nonlocal pauses
            pauses += seconds == IDLE_S
            if pauses == 3 and other.in_transaction():
                other.rollback()  # that station died
            return False

        with Outfit()() as equipment:
            line = Line(wait, lambda _progress: None)
            ending = Station(journal, batch.id, "station-1", equipment, Policy(), line).work()
    assert (len(locked), ending, batch_status(journal, "batch").good) == (2, Ending.DONE, 2)
    assert pauses >= 3
    account(journal, tmp_path / "cards")


def test_a_row_that_used_up_its_blanks_is_tried_again_by_a_resume(journal: Journal, tmp_path: Path) -> None:
    load_batch(journal, 2)
    receive(journal, tmp_path / "cards", [FAULTY, FAULTY, HONEST])
    policy = Policy(stations=1, max_attempts=2)
    status = run_batch(journal, "batch", Outfit(), policy, who="operator").status
    assert (status.good, status.rows[RowState.FAILED], status.batch.state) == (1, 1, BatchState.STOPPED)
    assert status.batch.reason == "rows-failed"
    receive(journal, tmp_path / "cards", [FAULTY, HONEST], first=4)
    status = resume_batch(journal, "batch", Outfit(), policy, who="operator").status
    assert (status.good, status.batch.state) == (2, BatchState.COMPLETE)
    account(journal, tmp_path / "cards")


def test_a_card_that_another_process_holds_is_left_alone(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    (path,) = receive(journal, tmp_path, [HONEST])
    with FileLock(f"{path}.lock"):
        assert work(journal, batch.id, Policy(stop_after_failures=2)) is Ending.REPEATED_FAILURE
    account(journal, tmp_path)
    assert count_stock(journal).by_state[BlankState.IN_STOCK] == 1


def test_a_batch_is_at_work_from_its_first_card_to_its_last(journal: Journal, tmp_path: Path) -> None:
    """Also when nobody works on it: a card that was made and not inspected has the keys of its making."""
    batch = load_batch(journal, 2)
    receive(journal, tmp_path, [HONEST] * 2)
    assert batches_at_work(journal) == []
    assert work(journal, batch.id, Policy(tray=1), iter([False] * 2)) is Ending.DRAINED
    assert batch_status(journal, "batch").runs[RunState.MADE] == 1
    assert batches_at_work(journal) == ["batch"]
    assert work(journal, batch.id) is Ending.DONE
    assert batches_at_work(journal) == []


def behave(path: Path, behaviour: int) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] + bytes((behaviour,)))


def test_a_card_that_is_not_in_its_reader_is_no_bad_card(journal: Journal, tmp_path: Path) -> None:
    """Nothing was sent: the station stops, the blank stays a blank and a made card is inspected later."""
    batch = load_batch(journal, 2)
    first, second = receive(journal, tmp_path, [ABSENT, HONEST])
    with pytest.raises(PersonalizationError, match="reader-missing"):
        work(journal, batch.id)
    account(journal, tmp_path)
    assert count_stock(journal).by_state[BlankState.IN_STOCK] == 2
    behave(first, HONEST)
    assert work(journal, batch.id, orders=iter([False] * 3)) is Ending.DRAINED
    assert batch_status(journal, "batch").runs[RunState.MADE] == 2
    behave(second, ABSENT)
    with pytest.raises(PersonalizationError, match="reader-missing"):
        work(journal, batch.id)
    behave(second, HONEST)
    assert work(journal, batch.id) is Ending.DONE
    account(journal, tmp_path)
    status = batch_status(journal, "batch")
    assert (status.good, status.stock[BlankState.SPOILED]) == (2, 0)


def test_another_chip_than_the_stock_says_is_barred(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    first, second = receive(journal, tmp_path, [HONEST] * 2)
    first.write_bytes(b"OTHER CHIP" + first.read_bytes()[10:])
    assert work(journal, batch.id) is Ending.DONE
    assert card_state(first)[0] is Condition.UNTOUCHED
    assert card_state(second) == (Condition.FINISHED, 1)
    assert count_stock(journal).by_state[BlankState.BARRED] == 1


def test_an_order_to_drain_finishes_the_card_and_gives_the_rest_back(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 8)
    receive(journal, tmp_path, [HONEST] * 8)
    assert work(journal, batch.id, orders=iter([False] * 3)) is Ending.DRAINED
    account(journal, tmp_path)
    status = batch_status(journal, "batch")
    assert (status.runs[RunState.MADE], status.runs[RunState.OPEN], status.left) == (2, 0, 8)
    assert status.rows[RowState.WAITING] == 6


def test_policies_that_make_no_sense_are_refused(journal: Journal) -> None:
    load_batch(journal, 1)
    with pytest.raises(PersonalizationError, match="policy-value"):
        run_batch(journal, "batch", Outfit(), Policy(stations=65), who="operator")


@pytest.mark.parametrize(
    ("condition", "good", "in_stock", "spoiled"),
    [
        (Condition.UNTOUCHED, 1, 1, 0),
        (Condition.KEYED, 1, 1, 0),
        (Condition.STARTED, 1, 1, 0),
        (Condition.PERSONALIZED, 1, 1, 0),
        (Condition.FINISHED, 1, 1, 0),
        (Condition.TERMINATED, 1, 0, 1),
        (Condition.FOREIGN, 1, 0, 1),
    ],
)
def test_what_the_card_says_decides(
    journal: Journal, tmp_path: Path, condition: Condition, good: int, in_stock: int, spoiled: int
) -> None:
    batch = load_batch(journal, 1)
    paths = receive(journal, tmp_path / "cards", [HONEST] * 2)
    with journal.transaction() as connection:
        claim_to_make(connection, batch.id, "station-1", 1)
    set_card(paths[0], condition, 1)
    recovery = mend(journal, batch.id)
    assert work(journal, batch.id) is Ending.DONE
    account(journal, tmp_path / "cards")
    status = batch_status(journal, "batch")
    stock = status.stock
    assert (status.good, stock[BlankState.IN_STOCK], stock[BlankState.SPOILED]) == (good, in_stock, spoiled)
    assert recovery.by_condition == status.recovered == {condition.value: 1}
    assert recovery.half_made == (condition in HALF_MADE)


def test_recovery_makes_a_half_made_card_again_and_again(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    (path,) = receive(journal, tmp_path, [FAULTY])
    with journal.transaction() as connection:
        claim_to_make(connection, batch.id, "station-1", 1)
    set_card(path, Condition.KEYED)
    assert mend(journal, batch.id).spoiled == 1
    assert work(journal, batch.id) is Ending.STOCK_EMPTY
    assert card_state(path)[0] is Condition.TERMINATED
    assert batch_status(journal, "batch").rows[RowState.WAITING] == 1


def test_recovery_terminates_what_was_spoiled_before_the_crash(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    paths = receive(journal, tmp_path, [HONEST] * 2)
    with journal.transaction() as connection:
        (claim,) = claim_to_make(connection, batch.id, "station-1", 1)
        record_spoiled(connection, "station-1", Outcome(claim, b"", "{}", reason="torn"), Stage.MAKE, 3)
    mend(journal, batch.id)
    assert work(journal, batch.id) is Ending.DONE
    assert [card_state(path)[0] for path in paths] == [Condition.TERMINATED, Condition.FINISHED]


def test_an_inspection_that_was_interrupted_is_made_again(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    (path,) = receive(journal, tmp_path, [HONEST])
    set_card(path, Condition.FINISHED, 1)
    with journal.transaction() as connection:
        claims = claim_to_make(connection, batch.id, "station-1", 1)
        record_made(connection, "station-1", [Outcome(claims[0], b"", "{}")])
        claim_to_inspect(connection, batch.id, "station-2", 1)
    recovery = mend(journal, batch.id)
    assert work(journal, batch.id) is Ending.DONE
    assert (recovery.inspections, recovery.looked_at, batch_status(journal, "batch").good) == (1, 0, 1)


@pytest.mark.parametrize("journal_place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_a_card_still_held_by_a_living_process_stays_in_doubt(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 2)
    path, _ = receive(journal, tmp_path / "cards", [HONEST] * 2)
    with journal.transaction() as connection:
        claim_to_make(connection, batch.id, "station-1", 1)
    policy = Policy(stations=1, lease_s=3)  # longer than until the station asks for the card again
    with FileLock(f"{path}.lock"), pytest.raises(PersonalizationError, match="rows-in-doubt"):
        resume_batch(journal, "batch", Outfit(), policy, who="operator")
    status = batch_status(journal, "batch")
    assert (status.runs[RunState.OPEN], status.good, status.batch.reason) == (1, 1, "rows-in-doubt")
    assert resume_batch(journal, "batch", Outfit(), policy, who="operator").status.good == 2
    account(journal, tmp_path / "cards")


def test_a_living_station_keeps_its_runs(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 2)
    receive(journal, tmp_path, [HONEST] * 2)
    lease = Lease.join(journal, batch.id, "station-1", 600)
    with journal.transaction() as connection:
        made, _ = claim_to_make(connection, batch.id, lease.name, 2, seat=lease.station_id)
        record_made(connection, lease.name, [Outcome(made, b"", "{}")])
        claim_to_inspect(connection, batch.id, lease.name, 1, seat=lease.station_id)
    assert (mend(journal, batch.id).looked_at, mend(journal, batch.id).inspections) == (0, 0)
    lease.abandon()  # as the operating system does with the lock of a process that died
    recovery = mend(journal, batch.id)
    assert (recovery.looked_at, recovery.released, recovery.inspections) == (1, 1, 1)


def start(journal: Journal, delay_s: float) -> subprocess.Popen[str]:
    """A coordinator in a process group of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.unit.personalization.production_kill",
            pickle.dumps(journal.place).hex(),
            str(delay_s),
        ],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(journal: Journal, finished: int, process: subprocess.Popen[str]) -> None:
    """Until so many more cards are made, or the process has ended."""
    while process.poll() is None:
        status = batch_status(journal, "batch")
        if status.made >= finished:
            return
        time.sleep(0.005)


def wait_for_station(process: subprocess.Popen[str]) -> None:
    """Until a station process begins to start, or the coordinator has ended."""
    while process.poll() is None:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            with suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return
        time.sleep(0.001)


@ON_SQLITE
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_a_signal_while_stations_start_drains_the_run(journal: Journal, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group, also a station that has no handler yet."""
    load_batch(journal, ROWS_OF_A_SIGNAL)
    receive(journal, tmp_path / "cards", [HONEST] * ROWS_OF_A_SIGNAL)
    process = start(journal, SLOWLY_S)
    wait_for_station(process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "drained\n", "")
    account(journal, tmp_path / "cards")


def test_a_signal_drains_the_run(journal: Journal, tmp_path: Path) -> None:
    load_batch(journal, ROWS_OF_A_SIGNAL)
    receive(journal, tmp_path / "cards", [HONEST] * ROWS_OF_A_SIGNAL)
    process = start(journal, SLOWLY_S)
    wait_until(journal, 4, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "drained\n", "")
    status = batch_status(journal, "batch")
    assert status.batch.state is BatchState.STOPPED
    assert (status.runs[RunState.OPEN], status.runs[RunState.INSPECTING]) == (0, 0)
    assert 0 < status.made < ROWS_OF_A_SIGNAL
    account(journal, tmp_path / "cards")


def claims(journal: Journal) -> int:
    """Claims ever made."""
    with journal.reading() as connection:
        return connection.execute(select(func.count()).select_from(Run)).scalar_one()


def kill_and_resume(journal: Journal, folder: Path, kills: int, seed: int) -> int:
    """Kill the whole process group at random moments, resume each time; returns the half-made cards found.

    It goes on beyond ``kills`` until a card was hit between its first and its last write.
    """
    dice = random.Random(seed)
    rows = 12 * kills
    load_batch(journal, rows)
    receive(journal, folder, [HONEST] * (rows + 5))
    done = 0
    while done < kills or (done < MOST * kills and not batch_status(journal, "batch").half_made):
        before = claims(journal)
        process = start(journal, 0.002)
        while process.poll() is None and claims(journal) == before:
            time.sleep(0.002)
        time.sleep(dice.random() * 0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
        done += 1
    result = resume_batch(journal, "batch", Outfit(), who="operator")
    assert (result.status.good, result.status.left) == (rows, 0)
    assert sum(result.status.rows.values()) == rows
    account(journal, folder)
    half_made = result.status.half_made
    sys.stdout.write(f"{done} kills: cards found by recovery {result.status.recovered}, half-made {half_made}\n")
    return half_made


@ON_SQLITE
@pytest.mark.long
def test_killed_runs_lose_nothing_and_make_nothing_twice(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        assert kill_and_resume(journal, tmp_path / "cards", KILLS, seed=1) > 0


@ON_SQLITE
@pytest.mark.long
def test_many_killed_runs_lose_nothing_and_make_nothing_twice(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        assert kill_and_resume(journal, tmp_path / "cards", MANY_KILLS, seed=2) > 0
