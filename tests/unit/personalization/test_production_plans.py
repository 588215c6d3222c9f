"""The journal's indexes: the same from migrations as from the models, and used by every question that needs one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import IntegrityError

from personalization.errors import PersonalizationError
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.batches import batch_status
from personalization.production.journal.cards import find_permit, knows_permit
from personalization.production.journal.claims import claim_to_make
from personalization.production.journal.corrections import good_card
from personalization.production.journal.history import JournalHistory
from personalization.production.journal.place import JournalPlace, SqliteFile
from personalization.production.journal.scans import claim_scanned
from personalization.production.journal.tables import Base
from personalization.production.states import LIVE_ROWS, RowState
from tests.doubles import postgres
from tests.unit.personalization.scripted_line import digest, load_batch, receive

ROWS = 200
BATCHES = ("one", "two", "three")


def indexes(connection: Connection, schema: str) -> dict[str, str]:
    """Definition of each index, in the database's own words."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    else:
        found = connection.execute(
            text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = :schema"), {"schema": schema}
        )
    return {name: words.replace(f"{schema}.", "") for name, words in found if name != "alembic_version_pkc"}


def test_migrations_make_exactly_the_indexes_of_the_models(journal: Journal, tmp_path: Path) -> None:
    """Conditions and expressions, in which the laws of uniqueness are, included."""
    with journal.engine.connect() as connection:
        migrated = indexes(connection, "public")
    place = SqliteFile(tmp_path / "models.sqlite") if isinstance(journal.place, SqliteFile) else journal.place
    with open_journal(place, migrate=False) as other, other.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("CREATE SCHEMA models"))
            connection.execute(text("SET LOCAL search_path TO models"))
        Base.metadata.create_all(connection)
        modelled = indexes(connection, "models")
        connection.rollback()
    assert migrated == modelled
    assert {"uq_rows_permit_live", "uq_runs_row_active", "uq_runs_permit_live", "uq_runs_blank_chip"} < set(migrated)


@contextmanager
def asked(journal: Journal) -> Generator[list[tuple[str, Any]]]:
    """Statements about rows that are executed in the block, with their values."""
    statements: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, values: Any, _context: object, many: bool) -> None:
        if "rows" in statement and not many and not statement.startswith("INSERT"):
            statements.append((statement, values))

    event.listen(journal.engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(journal.engine, "before_cursor_execute", hear)


def plan(connection: Connection, statement: str, values: Any) -> str:
    """How the database answers a statement."""
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        return "\n".join(row[-1] for row in found)
    return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values))


def claim(journal: Journal, permit: bytes, batch_id: int = 2) -> None:
    with journal.transaction() as connection:
        claim_scanned(connection, batch_id, "reader", permit, "", seat=1)


def claim_next(journal: Journal) -> None:
    with journal.transaction() as connection:
        claim_to_make(connection, 2, "station", 8)


def card_of_row(journal: Journal) -> None:
    with journal.reading() as connection:
        good_card(connection, 2, 100)


PERMIT = digest("permit two 100")
QUESTIONS: dict[str, tuple[Callable[[Journal], object], *tuple[str, ...]]] = {
    # A question, and what a plan says that answers it as it should, in the words of either database.
    "the card of a permit": (lambda journal: find_permit(journal, PERMIT), "uq_rows_permit_live"),
    "whether a permit is known": (lambda journal: knows_permit(journal, PERMIT), "uq_rows_permit_live"),
    "permits of earlier batches": (
        lambda journal: JournalHistory(journal, digest, digest).known_permit_numbers(
            [f"permit two {number}" for number in range(40)]
        ),
        "uq_rows_permit_live",
    ),
    "the row of a barcode": (lambda journal: claim(journal, PERMIT), "uq_rows_permit_live"),
    "the batch of a barcode": (lambda journal: claim(journal, PERMIT, 1), "uq_rows_permit_live"),
    "holders of permits": (
        lambda journal: JournalHistory(journal, digest, digest).permit_holders(
            [f"two-{number}" for number in range(40)]
        ),
        "ix_rows_citizen",
    ),
    "the card of a row": (card_of_row, "batch_id_number", "(batch_id=? AND number=?)"),
    "the next rows to make": (claim_next, "rows_batch_id"),
    "rows by state": (lambda journal: batch_status(journal, "two"), "rows_batch_id"),
}


@pytest.fixture
def filled(journal: Journal, tmp_path: Path) -> Journal:
    """Three batches, one row of each with a permit that was cancelled, and ten blanks."""
    for identifier in BATCHES:
        load_batch(journal, ROWS, identifier)
    receive(journal, tmp_path / "cards", [0] * 10)
    with journal.transaction() as connection:
        connection.execute(text("UPDATE rows SET state = 'cancelled' WHERE number = 1"))
    if not isinstance(journal.place, SqliteFile):
        postgres.server().ask("ANALYZE", journal.place.driver_url.database or "")
    return journal


def test_no_question_reads_all_rows(filled: Journal) -> None:
    """Each is answered by an index, whatever the number of rows in the journal or in the batch."""
    for question, (ask, *said) in QUESTIONS.items():
        with asked(filled) as statements, suppress(PersonalizationError):
            ask(filled)
        assert statements, question
        with filled.reading() as connection:
            if not isinstance(filled.place, SqliteFile):
                connection.execute(text("SET LOCAL enable_seqscan = off"))  # as it would be with more rows
            plans = [plan(connection, statement, values) for statement, values in statements]
        assert any(each in words for words in plans for each in said), question
        for words in plans:
            assert "SCAN rows\n" not in f"{words}\n", question
            assert "Seq Scan on rows" not in words, question
            assert "SEARCH rows USING INDEX sqlite_autoindex_rows_1 (batch_id=?)\n" not in f"{words}\n", question


def test_a_permit_is_live_once_and_found_in_every_state(filled: Journal) -> None:
    """The one index does the work of two: it is unique among live rows, and knows the others."""
    more = text("INSERT INTO rows (batch_id, number, state, permit, attempts) VALUES (1, :number, :state, :permit, 0)")
    for number, state in enumerate(RowState, ROWS):
        values = {"permit": digest(f"another {state}"), "state": state.value}
        with filled.transaction() as connection:
            connection.execute(more, {**values, "number": 10 * number})
        with pytest.raises(IntegrityError) if state in LIVE_ROWS else nullcontext(), filled.transaction() as connection:
            connection.execute(more, {**values, "number": 10 * number + 1})
        assert knows_permit(filled, digest(f"another {state}"))


def test_a_journal_of_the_last_release_gets_the_one_index(tmp_path: Path) -> None:
    """Migration 0007, of a journal with rows in every state, one of which was cancelled twice."""
    for place in (SqliteFile(tmp_path / "journal.sqlite"), postgres.server().new_database()):
        upgrade_from_0006(place)


def upgrade_from_0006(place: JournalPlace) -> None:
    configuration = Config()
    configuration.set_main_option("script_location", "personalization.production.journal:migrations")
    states = [*RowState, RowState.CANCELLED]
    with open_journal(place, migrate=False) as old, old.engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0006")
        connection.execute(
            text(
                "INSERT INTO batches (id, identifier, source_hash, area, delivered, prepared, source, state, "
                "received_at) VALUES (1, 'batch', :hash, '330381', 7, 'p', 's', 'stopped', 1)"
            ),
            {"hash": bytes(32)},
        )
        for number, state in enumerate(states, 1):
            connection.execute(
                text("INSERT INTO rows VALUES (:number, 1, :number, :state, :permit, :permit, 0, 0, NULL)"),
                {"number": number, "state": state.value, "permit": digest(state.value)},
            )
    with open_journal(place) as journal:
        assert batch_status(journal, "batch").rows == {state: states.count(state) for state in RowState}
        assert all(knows_permit(journal, digest(state.value)) for state in RowState)
        with journal.reading() as connection:
            found = indexes(connection, "public")
        assert "ix_rows_permit" not in found
        with pytest.raises(IntegrityError, match="uq_rows_permit_live"), journal.transaction() as connection:
            connection.execute(
                text("INSERT INTO rows VALUES (99, 1, 99, 'waiting', :permit, NULL, 0, 0, NULL)"),
                {"permit": digest(RowState.GOOD.value)},
            )
