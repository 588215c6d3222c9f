"""What a batch gives back: each recipient gets what is its own, nothing is lost in a spreadsheet, nobody opens it."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest
from sqlalchemy import update

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant
from personalization.keys.file_store import FileKeyStore
from personalization.production.journal.batches import change_batch, release_batch
from personalization.production.journal.claims import Outcome, claim_to_inspect, claim_to_make, record_good, record_made
from personalization.production.journal.database import Journal, open_journal
from personalization.production.journal.tables import Run
from personalization.production.reject_reason import RejectReason
from personalization.production.remake import reject_card
from personalization.production.states import BatchState
from personalization.returns.facts import Replacement, Result, collect_returns
from personalization.returns.files import open_return, read_header, seal_return, write_csv, write_xlsx
from personalization.returns.tables import UNREGISTERED, Recipient, ReturnTables, Table
from tests.doubles.issuing_centre import PASSPHRASE, applicant, child
from tests.unit.personalization.scripted_line import HONEST, Outfit, load_batch, receive

BATCH = "RCO20260302101112345"
NEW_YEAR_IN_CHINA = int(dt.datetime(2026, 12, 31, 16, 30, tzinfo=dt.UTC).timestamp()) * 1_000_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    return FileKeyStore.create(tmp_path_factory.mktemp("keys") / "keys.json", PASSPHRASE, scrypt_n=16)


def make(journal: Journal, batch_id: int, count: int) -> None:
    """Claims and outcomes of a whole batch, without cards."""
    with journal.transaction() as connection:
        change_batch(connection, batch_id, BatchState.RUNNING)
        claims = claim_to_make(connection, batch_id, "station-1", count)
        assert len(claims) == count
        record_made(connection, "station-1", [Outcome(claim, b"", "{}") for claim in claims])
        claims = claim_to_inspect(connection, batch_id, "station-2", count)
        record_good(connection, "station-2", [Outcome(claim, b"", "{}", b"") for claim in claims])
        change_batch(connection, batch_id, BatchState.COMPLETE)


def released(journal: Journal, tmp_path: Path) -> None:
    """An older batch of one, then a batch of three whose first row replaces it, with a fourth row refused."""
    receive(journal, tmp_path / "cards", [HONEST] * 6)
    older = load_batch(journal, 1, "older", citizens=["somebody"])
    make(journal, older.id, 1)
    batch = load_batch(journal, 3, "newer", citizens=["somebody", "another", "third"], rejected=1)
    make(journal, batch.id, 3)
    with journal.transaction() as connection:
        connection.execute(update(Run).where(Run.batch_id == batch.id).values(made_at=NEW_YEAR_IN_CHINA))
    reject_card(journal, "newer", 2, RejectReason.RETURNED, "li", None, Outfit()())
    with pytest.raises(PersonalizationError, match="batch-not-released"):
        collect_returns(journal, "newer")
    make(journal, batch.id, 1)
    release_batch(journal, "newer", "wang", {})


def people(batch: str, row: int) -> Applicant | None:
    """Three residents of the newer batch; the older batch was erased."""
    if batch == "older":
        return None
    return {
        1: applicant(1, permit_number="330381203000000011"),
        2: child(2),
        3: applicant(3, permit_number="330381203000000033", name="=HYPERLINK(1)", residence=None),
    }[row]


def test_the_journal_tells_results_and_replaced_cards(journal: Journal, tmp_path: Path) -> None:
    released(journal, tmp_path)
    facts = collect_returns(journal, "newer")
    assert [(row.row, row.result) for row in facts.rows] == [
        (1, Result.MADE),
        (2, Result.MADE),
        (3, Result.MADE),
        (4, Result.REFUSED),
    ]
    assert len({row.card_number for row in facts.rows}) == 4, "three cards and none"
    again, newer = sorted(facts.replaced, key=lambda card: card.why, reverse=True)
    assert (newer.why, newer.batch, newer.row, newer.new_row) == (Replacement.NEWER_PERMIT, "older", 1, 1)
    assert newer.card_number == (b"CARD" + (1).to_bytes(6, "big")).hex()
    assert newer.new_card_number == facts.rows[0].card_number
    assert (again.why, again.batch, again.row, again.new_row) == (Replacement.MADE_AGAIN, "newer", 2, 2)
    assert again.card_number == (b"CARD" + (3).to_bytes(6, "big")).hex()
    assert again.new_card_number == facts.rows[1].card_number == (b"CARD" + (5).to_bytes(6, "big")).hex()


def test_each_recipient_gets_its_own_and_no_more(journal: Journal, tmp_path: Path) -> None:
    released(journal, tmp_path)
    tables = ReturnTables(collect_returns(journal, "newer"), people)
    results, replaced = tables.of(Recipient.PLATFORM)
    assert [row[1] for row in results.rows] == ["330381203000000011", "330381205000000002", "330381203000000033", ""]
    assert results.rows[0][5] == "20270101", "the day in China, where the year has begun"
    assert [row[5] for row in results.rows[3:]] == [""]
    older, again = sorted(replaced.rows, key=lambda row: row[4])
    assert (older[0], older[2], older[3], older[4], older[5]) == ("", "older", "1", "01", "330381203000000011")
    assert (again[0], again[4], again[5]) == ("330381205000000002", "02", "330381205000000002")
    (bank,) = tables.of(Recipient.BANK)
    assert [row[0] for row in bank.rows] == ["6217993300012345678"] * 2, "a child has no account"
    (stations,) = tables.of(Recipient.STATIONS)
    assert {name: [row[1] for row in rows] for name, rows in stations.sheets} == {
        "锦湖派出所": ["1"],
        UNREGISTERED: ["1", "2"],
    }
    for table, secrets in (
        (bank, ("330381203000000011", "330381205000000002")),
        (stations, ("6217993300012345678", "33038119900721124X")),
        (results, ("欧阳", "6217993300012345678", "33038119900721124X")),
    ):
        assert not any(secret in text for row in table.rows for text in row for secret in secrets)


def test_nothing_is_lost_or_calculated_in_a_spreadsheet() -> None:
    """RFC 4180; a cell that begins like a formula stays text."""
    texts = ("330381203000000011", "00", "=1+1", "欧阳𠮷娜", 'a "quoted", text', "@x", "")
    table = Table("t", tuple(f"列{number}" for number in range(len(texts))), [texts])
    raw = write_csv(table)
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\r\n") == 2
    read = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert read[1] == [texts[0], "00", "'=1+1", texts[3], texts[4], "'@x", ""]
    book = openpyxl.load_workbook(io.BytesIO(write_xlsx(table)))
    cells = next(iter(book.active.iter_rows(min_row=2)))  # type: ignore[union-attr]  # a fresh book has a sheet
    assert [cell.value or "" for cell in cells] == list(texts)
    assert {cell.data_type for cell in cells if cell.value} == {"s"}
    assert all(cell.number_format == "@" for cell in cells if cell.value)


def test_police_stations_get_a_sheet_each_whatever_they_are_called() -> None:
    names = ["甲/乙派出所", "甲_乙派出所", "甲:乙派出所", "长" * 40, "长" * 41, "A", "a"]
    sheets = [(name, [(name, "1")]) for name in names]
    table = Table("stations", ("派出所", "序号"), [row for _, rows in sheets for row in rows], sheets)
    book = openpyxl.load_workbook(io.BytesIO(write_xlsx(table)))
    assert len(book.sheetnames) == len(names)
    assert [book[sheet].cell(2, 1).value for sheet in book.sheetnames] == names


def test_a_sealed_return_opens_with_its_batch_and_unchanged_only(keys: FileKeyStore, tmp_path: Path) -> None:
    keys.make_batch_keys(BATCH)
    path = tmp_path / "sealed"
    table = Table("bank", ("银行卡号",), [("6217993300012345678",)])
    seal_return(path, BATCH, Recipient.BANK, [table], keys.of_batch(BATCH))
    content = path.read_bytes()
    assert b"6217993300012345678" not in content
    assert f"{BATCH}-bank.csv".encode() not in content, "what is packed in it"
    header, files = open_return(path, tmp_path / "open", keys.of_batch)
    assert (header.batch, header.recipient) == (BATCH, Recipient.BANK)
    assert sorted(file.name for file in files) == [f"{BATCH}-bank.csv", f"{BATCH}-bank.xlsx"]
    with pytest.raises(PersonalizationError) as caught:
        open_return(path, tmp_path / "open", keys.of_batch)
    assert (caught.value.code, caught.value.exit_code) == ("return-exists", 2)
    for position in (len(content) - 1, content.index(b"bank") - 2, header.length + 3):
        path.write_bytes(content[:position] + bytes((content[position] ^ 1,)) + content[position + 1 :])
        with pytest.raises(PersonalizationError):
            open_return(path, tmp_path / f"changed-{position}", keys.of_batch)
    path.write_bytes(content.replace(b"bank\n", b"platform\n", 1))
    with pytest.raises(PersonalizationError, match="sealed-data-refused"):
        open_return(path, tmp_path / "other", keys.of_batch)
    keys.destroy_batch_keys(BATCH)
    path.write_bytes(content)
    with pytest.raises(PersonalizationError, match="batch-keys-missing"):
        open_return(path, tmp_path / "erased", keys.of_batch)


@pytest.mark.parametrize(
    "content", [b"", b"PCRET1", b"PCRET1\n", b"PCRET1\nbatch\n", b"PCRET1\nbatch\nnobody\n", b"PCREJ1\nbatch\nbank\n"]
)
def test_what_is_no_sealed_return_is_told(content: bytes) -> None:
    with pytest.raises(PersonalizationError) as caught:
        read_header(content, "x")
    assert caught.value.code == "return-file-unreadable"
