"""After a batch is erased nothing personal is left in the files of a PostgreSQL server either: heap, indexes, log.

Nobody cleans the server: no VACUUM, no switch of its log. What it keeps of the batch was sealed before it came there.
"""

from __future__ import annotations

import datetime as dt
import zlib
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from sqlalchemy import select

from permitcard.centre import JOURNAL_PASSWORD_VARIABLE
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.production.journal.database import open_journal
from personalization.production.journal.tables import Blank, Evidence, Row, Run
from personalization.production.results import Results
from tests.console.conftest import SmallCentre
from tests.console.needles import PIN, search
from tests.console.test_no_leaks import personal, portraits, store_keys
from tests.doubles import postgres

PLANTED = "planted 阿依古丽 330381199002281234"
SHORTEST_MASKED = 8


def masked_values(small_centre: SmallCentre, batch: str) -> dict[str, str | bytes]:
    """What inspection showed of the batch's cards, as the journal keeps it."""
    results = Results.of_batch(small_centre.centre.key_store().open(), batch)
    statement = (
        select(Row.number, Blank.card_number, Evidence.checks)
        .select_from(Evidence)
        .join(Run, Run.id == Evidence.run_id)
        .join(Row, Row.id == Run.row_id)
        .join(Blank, Blank.id == Run.blank_id)
    )
    with open_journal(small_centre.centre.journal_place()) as journal, journal.reading() as connection:
        kept = connection.execute(statement).all()
    values = [
        value
        for row, card, checks in kept
        for _, _, _, *shown in results.open(checks, row, card)
        for value in shown
        if "*" in value and len(value) >= SHORTEST_MASKED and value.strip("*")
    ]
    return {f"masked {number}": value for number, value in enumerate(sorted(set(values)))}


class OnDisk:
    """What one database has written since it was made: its files, and the server's log from there."""

    def __init__(self, server: postgres.Postgres, database: str) -> None:
        self._server = server
        self._database = database
        self._log, self._offset = self._asked(
            "SELECT file_name, file_offset FROM pg_walfile_name_offset(pg_current_wal_insert_lsn())"
        )

    def _asked(self, question: LiteralString) -> Any:
        with psycopg.connect(
            host=str(self._server.folder), user=postgres.USER, password=postgres.PASSWORD, dbname=self._database
        ) as connection:
            return connection.execute(question).fetchone()

    def copy(self, folder: Path) -> Path:
        """Copy it out of the server's folder, without what every database has and without what is all zeros."""
        self._server.ask("CHECKPOINT", self._database)
        data = self._server.folder / "data"
        (mine,) = self._asked("SELECT oid::text FROM pg_database WHERE datname = current_database()")
        (common,) = self._asked("SELECT oid::text FROM pg_database WHERE datname = 'template0'")
        for kind in ("base", "pg_wal"):
            (folder / kind).mkdir(parents=True)
        for path in (data / "base" / mine).iterdir():
            twin = data / "base" / common / path.name
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # the server makes some files under another name first
            if not twin.exists() or twin.read_bytes() != content:
                (folder / "base" / path.name).write_bytes(content)
        for path in (data / "pg_wal").iterdir():
            if path.is_file() and path.name >= self._log:
                start = self._offset if path.name == self._log else 0
                (folder / "pg_wal" / path.name).write_bytes(path.read_bytes()[start:].rstrip(b"\0"))
        return folder


def test_nothing_personal_is_left_on_the_server(
    small_centre: SmallCentre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JOURNAL_PASSWORD_VARIABLE, postgres.PASSWORD)
    server = postgres.server()
    place = server.new_database()
    database = place.driver_url.database or ""
    on_disk = OnDisk(server, database)
    small_centre("journal", "use", place.url)
    small_centre("stock", "receive", "5")
    made: Any = small_centre("batch", "run", small_centre.delivered, "--simulate", "--stations", "1").document
    assert made["good"] == 4
    batch = str(made["batch"])

    keys: Any = small_centre.centre.key_store().open()
    applicants = receive_batch(small_centre.delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    secrets: dict[str, str | bytes] = {**portraits(applicants), **store_keys(keys, batch)}
    secrets["passphrase"] = small_centre.centre.test_passphrase.read_text("ascii").strip()
    for applicant in applicants:
        secrets |= personal(applicant)
    masked = masked_values(small_centre, batch)
    assert len(masked) > len(applicants)
    secrets |= {label: value for label, value in masked.items() if not str(value).isascii() or "*" * 6 in str(value)}
    assert not any(label.startswith(PIN) for label in secrets)

    small_centre("batch", "erase", batch)
    assert search([on_disk.copy(tmp_path / "erased")], secrets) == []

    packed = zlib.compress("\n".join(map(str, masked.values())).encode()).hex()
    server.ask(f"CREATE TABLE planted AS SELECT '{PLANTED}' AS clear, '\\x{packed}'::bytea AS packed", database)
    found = search([on_disk.copy(tmp_path / "planted")], {"clear": PLANTED, **masked})
    assert any("clear as utf-8" in finding and "pg_wal" in finding for finding in found), "in the log"
    assert any("clear as utf-8" in finding and "base" in finding for finding in found), "in the table"
    assert {label for label in masked if any(f"{label} as" in finding for finding in found)} == set(masked)


SHOWN = "浙江省瑞安市仙降街道****"
"""As inspection shows an address: long enough not to turn up in ciphertext by chance."""


def test_results_are_opened_for_their_row_and_card_only_and_not_after_the_keys_are_gone(
    small_centre: SmallCentre,
) -> None:
    from personalization.errors import PersonalizationError
    from tests.unit.personalization.scripted_line import ScriptedCheck, ScriptedInspection

    keys = small_centre.centre.key_store().open()
    keys.make_batch_keys("batch")
    inspection = ScriptedInspection(True, (ScriptedCheck("field.name", True, "contact", SHOWN),))
    packed = Results.of_batch(keys, "batch").pack(inspection, 3, "00112233")
    assert SHOWN.encode() not in packed
    assert [row[:4] for row in Results.of_batch(keys, "batch").open(packed, 3, "00112233")] == [
        ("field.name", True, "contact", SHOWN)
    ]
    for row, card in ((4, "00112233"), (3, "00112234")):
        with pytest.raises(PersonalizationError, match="sealed-data-refused"):
            Results.of_batch(keys, "batch").open(packed, row, card)
    keys.destroy_batch_keys("batch")
    assert Results.of_batch(keys, "batch").open(packed, 3, "00112233") == []
    with pytest.raises(PersonalizationError, match="batch-keys-missing"):
        Results.of_batch(keys, "batch").pack(inspection, 3, "00112233")


def test_results_of_earlier_releases_are_read(small_centre: SmallCentre) -> None:
    kept = zlib.compress(b'[["field.row", true, "contact", "3", "3"]]')
    keys = small_centre.centre.key_store().open()
    assert Results.of_batch(keys, "batch").open(kept, 3, "00112233") == [("field.row", True, "contact", "3", "3")]


def test_a_journal_without_results_has_none_to_show(tmp_path: Path) -> None:
    assert Results(None).open(None, 3, "00112233") == []
