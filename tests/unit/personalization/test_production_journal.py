from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from personalization.errors import PersonalizationError
from personalization.production.journal import HEAD_REVISION, Journal, open_journal
from personalization.production.journal.batches import (
    BatchEntry,
    RowEntry,
    batch_status,
    change_batch,
    find_batch,
    list_batches,
    register_batch,
)
from personalization.production.journal.claims import (
    ClaimLost,
    Outcome,
    Stage,
    claim_to_inspect,
    claim_to_make,
    open_claims,
    record_good,
    record_made,
    record_released,
    record_spoiled,
    take_over,
)
from personalization.production.journal.history import JournalHistory
from personalization.production.journal.tables import Base, Cancellation, Event, Row, Run
from personalization.production.states import (
    BATCH_TRANSITIONS,
    BLANK_TRANSITIONS,
    ROW_TRANSITIONS,
    RUN_TRANSITIONS,
    BatchState,
    BlankState,
    RowState,
    RunState,
)
from personalization.production.stock import count_stock
from tests.unit.personalization.scripted_line import HONEST, digest, load_batch, receive


def outcomes(claims: list, reason: str = "") -> list[Outcome]:  # type: ignore[type-arg]  # claims of any stage
    return [Outcome(claim, b"trace", "{}", b"checks", reason) for claim in claims]


def make_and_pass(connection: Connection, batch_id: int, count: int) -> None:
    record_made(connection, "maker", outcomes(claim_to_make(connection, batch_id, "maker", count)))
    record_good(connection, "inspector", outcomes(claim_to_inspect(connection, batch_id, "inspector", count)))


@pytest.mark.parametrize(
    ("transitions", "states"),
    [
        (ROW_TRANSITIONS, RowState),
        (BLANK_TRANSITIONS, BlankState),
        (RUN_TRANSITIONS, RunState),
        (BATCH_TRANSITIONS, BatchState),
    ],
)
def test_each_state_has_its_transitions(
    transitions: Mapping[StrEnum, frozenset[StrEnum]], states: type[StrEnum]
) -> None:
    assert set(transitions) == set(states)
    assert all(target in states for targets in transitions.values() for target in targets)


def test_the_journal_is_its_owner_s(tmp_path: Path) -> None:
    """It tells which chip went out when, and knows permits and citizens again."""
    with open_journal(tmp_path / "journal.sqlite") as journal, journal.transaction() as connection:
        connection.execute(text("CREATE TABLE written (it INTEGER)"))
        files = list(tmp_path.glob("journal.sqlite*"))
        assert len(files) >= 3
        assert {path.stat().st_mode & 0o777 for path in files if path.is_file()} == {0o600}


@pytest.mark.filterwarnings("ignore:.* expression-based index")
def test_migrations_make_exactly_the_tables_of_the_models(journal: Journal) -> None:
    """Indexes, which Alembic compares in part only, are compared in `test_production_plans`."""

    def is_compared(_object: object, _name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        return kind != "index"

    with journal.reading() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_compared})
        assert compare_metadata(context, Base.metadata) == []


def test_the_head_revision_is_the_newest_script() -> None:
    configuration = Config()
    configuration.set_main_option("script_location", "personalization.production.journal:migrations")
    assert ScriptDirectory.from_config(configuration).get_heads() == [HEAD_REVISION]


def test_every_commit_is_synchronised(tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal.sqlite") as journal, journal.reading() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_journal_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal.sqlite") as opened, opened.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PersonalizationError, match="journal-newer"):
        open_journal(tmp_path / "journal.sqlite")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"no database, only words" * 100)
    with pytest.raises(PersonalizationError, match="journal-damaged"):
        open_journal(tmp_path / "journal.sqlite")


def test_a_batch_comes_in_whole_and_once(journal: Journal) -> None:
    load_batch(journal, 3, rejected=2)
    status = batch_status(journal, "batch")
    assert (status.accepted, status.left, status.rows[RowState.REJECTED]) == (3, 3, 2)
    assert sum(status.rows.values()) == status.batch.delivered
    entry = BatchEntry("other", digest("batch"), "330381", 0, "", "", ())
    with pytest.raises(PersonalizationError, match="batch-known"):
        register_batch(journal, entry, "operator")
    assert list_batches(journal) == ["batch"]


def test_a_permit_that_was_accepted_before_refuses_the_whole_batch(journal: Journal) -> None:
    load_batch(journal, 2)
    rows = [RowEntry(1, 0, digest("new"), digest("a")), RowEntry(2, 1, digest("permit batch 2"), digest("b"))]
    with pytest.raises(PersonalizationError, match="permit-known"):
        register_batch(journal, BatchEntry("later", digest("x"), "330381", 2, "", "", rows), "operator")
    with pytest.raises(PersonalizationError, match="batch-unknown"):
        find_batch(journal, "later")


def test_rows_of_any_number_come_in_as_they_are(journal: Journal) -> None:
    """More than one statement's worth, the last of them not full."""
    load_batch(journal, 450, rejected=203)
    with journal.reading() as connection:
        made = connection.execute(
            select(Row.number, Row.prepared_index, Row.permit, Row.citizen, Row.attempts, Row.reason)
            .where(Row.state == RowState.WAITING.value)
            .order_by(Row.id)
        ).all()
        refused = connection.execute(
            select(Row.number, Row.permit, Row.attempts, Row.reason)
            .where(Row.state == RowState.REJECTED.value)
            .order_by(Row.id)
        ).all()
    assert [tuple(row) for row in made] == [
        (number, number - 1, digest(f"permit batch {number}"), digest(f"batch-{number}"), 0, None)
        for number in range(1, 451)
    ]
    assert [tuple(row) for row in refused] == [(number, None, 0, "name-missing") for number in range(451, 654)]


def test_a_batch_whose_rows_end_in_a_failure_is_not_known(journal: Journal) -> None:
    def rows() -> Iterator[RowEntry]:
        for number in range(1, 300):
            yield RowEntry(number, number - 1, digest(f"permit {number}"), digest(f"citizen {number}"))
        raise PersonalizationError("work-file-damaged", exit_code=3)

    with pytest.raises(PersonalizationError, match="work-file-damaged"):
        register_batch(journal, BatchEntry("batch", digest("x"), "330381", 300, "", "", rows()), "operator")
    assert list_batches(journal) == []
    load_batch(journal, 3)
    assert batch_status(journal, "batch").left == 3


def test_a_blank_comes_in_once(journal: Journal, tmp_path: Path) -> None:
    receive(journal, tmp_path, [HONEST] * 3)
    with pytest.raises(PersonalizationError, match="blank-known"):
        receive(journal, tmp_path, [HONEST])
    assert count_stock(journal).received == 3


def test_a_claim_takes_as_many_as_there_are_rows_and_blanks(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 3)
    receive(journal, tmp_path, [HONEST] * 2)
    with journal.transaction() as connection:
        claims = claim_to_make(connection, batch.id, "station-1", 8)
        assert [claim.row_number for claim in claims] == [1, 2]
        assert claim_to_make(connection, batch.id, "station-2", 8) == []
    assert count_stock(journal).by_state[BlankState.IN_USE] == 2


@pytest.mark.parametrize("column", ["row_id", "blank_id", "permit"])
def test_the_database_refuses_a_second_live_run(journal: Journal, tmp_path: Path, column: str) -> None:
    batch = load_batch(journal, 2)
    receive(journal, tmp_path, [HONEST] * 2)
    with journal.transaction() as connection:
        first, second = claim_to_make(connection, batch.id, "station-1", 2)
    with journal.transaction() as connection:
        record_released(connection, "station-1", second, "test")
    with journal.reading() as connection:
        taken = connection.execute(select(Run.__table__).where(Run.id == first.run_id)).one()._asdict()
        free = connection.execute(select(Run.__table__).where(Run.id == second.run_id)).one()._asdict()
    values = {**free, "id": None, "state": RunState.OPEN.value, column: taken[column]}
    with pytest.raises(IntegrityError), journal.engine.begin() as connection:
        connection.execute(insert(Run).values(values))


def test_a_chip_that_carried_a_permit_never_takes_another(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 2)
    receive(journal, tmp_path, [HONEST])
    with journal.transaction() as connection:
        (claim,) = claim_to_make(connection, batch.id, "station-1", 1)
        record_spoiled(connection, "station-1", outcomes([claim], "torn")[0], Stage.MAKE, 3)
        assert claim_to_make(connection, batch.id, "station-1", 1) == []
    values = {"batch_id": batch.id, "row_id": 2, "blank_id": claim.blank_id, "permit": digest("x"), "fence": 1}
    with pytest.raises(IntegrityError), journal.engine.begin() as connection:
        connection.execute(insert(Run).values({**values, "state": "open", "station": "s", "claimed_at": 0}))


def test_who_lost_a_run_can_write_no_more(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path, [HONEST])
    with journal.transaction() as connection:
        claims = claim_to_make(connection, batch.id, "station-1", 1)
    with journal.transaction() as connection:
        (taken,) = take_over(connection, "recovery", open_claims(connection, batch.id))
    with pytest.raises(ClaimLost), journal.transaction() as connection:
        record_made(connection, "station-1", outcomes(claims))
    with journal.transaction() as connection:
        record_made(connection, "recovery", outcomes([taken]))
    assert batch_status(journal, "batch").runs[RunState.MADE] == 1


def test_an_inspection_whose_owner_died_goes_back(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path, [HONEST])
    with journal.transaction() as connection:
        record_made(connection, "maker", outcomes(claim_to_make(connection, batch.id, "maker", 1)))
        claim_to_inspect(connection, batch.id, "inspector", 1)
    with journal.transaction() as connection:
        (found,) = open_claims(connection, batch.id)
        assert found.station == "inspector"
        (taken,) = take_over(connection, "recovery", [found])
    assert taken.state is RunState.MADE


def test_cards_of_other_stations_are_inspected_first(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 2)
    receive(journal, tmp_path, [HONEST] * 2)
    with journal.transaction() as connection:
        for station in ("station-1", "station-2"):
            record_made(connection, station, outcomes(claim_to_make(connection, batch.id, station, 1)))
        (claim,) = claim_to_inspect(connection, batch.id, "station-1", 1)
    assert claim.row_number == 2


def test_a_transition_that_is_not_in_the_table_is_refused(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path, [HONEST])
    with journal.transaction() as connection:
        make_and_pass(connection, batch.id, 1)
    with pytest.raises(PersonalizationError, match="batch-state"), journal.transaction() as connection:
        change_batch(connection, batch.id, BatchState.COMPLETE)


def test_a_row_fails_after_its_last_blank(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path, [HONEST] * 3)
    with journal.transaction() as connection:
        for expected in (RowState.WAITING, RowState.FAILED):
            (claim,) = claim_to_make(connection, batch.id, "station-1", 1)
            assert record_spoiled(connection, "s", outcomes([claim], "torn")[0], Stage.MAKE, 2) is expected
        assert claim_to_make(connection, batch.id, "station-1", 1) == []
    stock = count_stock(journal)
    assert (stock.by_state[BlankState.SPOILED], stock.by_state[BlankState.IN_STOCK], stock.received) == (2, 1, 3)


def test_an_older_permit_is_cancelled_when_the_newer_card_is_good(journal: Journal, tmp_path: Path) -> None:
    receive(journal, tmp_path, [HONEST] * 4)
    old = load_batch(journal, 2, "old", citizens=["one", "two"])
    with journal.transaction() as connection:
        make_and_pass(connection, old.id, 2)
    new = load_batch(journal, 1, "new", citizens=["two"])
    with journal.transaction() as connection:
        record_made(connection, "maker", outcomes(claim_to_make(connection, new.id, "maker", 1)))
        assert connection.execute(select(Cancellation.old_row_id)).all() == []
        record_good(connection, "i", outcomes(claim_to_inspect(connection, new.id, "i", 1)))
        found = connection.execute(select(Cancellation.old_row_id, Cancellation.new_row_id)).all()
    assert [tuple(row) for row in found] == [(2, 3)]
    status = batch_status(journal, "old")
    assert (status.rows[RowState.GOOD], status.rows[RowState.CANCELLED], status.good) == (1, 1, 2)
    assert status.runs[RunState.CANCELLED] == 1


def test_an_older_permit_that_is_finished_late_is_cancelled_too(journal: Journal, tmp_path: Path) -> None:
    receive(journal, tmp_path, [HONEST] * 2)
    old = load_batch(journal, 1, "old", citizens=["two"])
    new = load_batch(journal, 1, "new", citizens=["two"])
    with journal.transaction() as connection:
        late = claim_to_make(connection, old.id, "maker", 1)
        make_and_pass(connection, new.id, 1)
        record_made(connection, "maker", outcomes(late))
        record_good(connection, "i", outcomes(claim_to_inspect(connection, old.id, "i", 1)))
    assert batch_status(journal, "old").rows[RowState.CANCELLED] == 1
    assert batch_status(journal, "new").rows[RowState.GOOD] == 1


def test_history_knows_files_permits_and_citizens_by_their_values(journal: Journal, tmp_path: Path) -> None:
    receive(journal, tmp_path, [HONEST])
    load_batch(journal, 1, citizens=["one"])
    history = JournalHistory(journal, lambda number: digest(f"permit batch {number}"), digest)
    assert history.batch_of_file(digest("batch")) == "batch"
    assert history.batch_of_file(digest("other")) is None
    assert history.known_permit_numbers([str(number) for number in range(1200)]) == {"1"}
    assert history.permit_holders(["one", "two"]) == {"one"}


def test_history_forgets_no_permit_but_a_cancelled_citizen(journal: Journal) -> None:
    load_batch(journal, 1, citizens=["one"])
    with journal.transaction() as connection:
        connection.execute(update(Row).values(state=RowState.CANCELLED.value))
    history = JournalHistory(journal, lambda number: digest(f"permit batch {number}"), digest)
    assert history.known_permit_numbers(["1"]) == {"1"}
    assert history.permit_holders(["one"]) == set()


def test_each_change_leaves_an_entry_that_refers_to_rows(journal: Journal, tmp_path: Path) -> None:
    receive(journal, tmp_path, [HONEST])
    batch = load_batch(journal, 1)
    with journal.transaction() as connection:
        make_and_pass(connection, batch.id, 1)
    with journal.reading() as connection:
        found = connection.execute(select(Event.what, Event.who, Event.row_id).order_by(Event.id)).all()
    assert [row.what for row in found] == ["blanks-received", "batch-loaded", "claimed", "made", "good"]
    assert [(row.who, row.row_id) for row in found[2:]] == [("maker", 1), ("maker", 1), ("inspector", 1)]


def test_a_transaction_that_fails_leaves_nothing(journal: Journal, tmp_path: Path) -> None:
    receive(journal, tmp_path, [HONEST])
    batch = load_batch(journal, 1)

    def claim_and_fail() -> None:
        with journal.transaction() as connection:
            claim_to_make(connection, batch.id, "station-1", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        claim_and_fail()
    assert count_stock(journal).by_state[BlankState.IN_STOCK] == 1
    assert batch_status(journal, "batch").left == 1
