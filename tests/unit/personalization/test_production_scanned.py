"""Pre-printed cards: the barcode decides the row, and what cannot be is refused before anything is claimed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from personalization.errors import PersonalizationError
from personalization.production.account import take_account
from personalization.production.journal.articles import hold_for_article
from personalization.production.journal.batches import batch_status, change_batch
from personalization.production.journal.database import Journal, open_journal
from personalization.production.journal.tables import Blank, Row, Run
from personalization.production.policy import Policy
from personalization.production.scanned import Scan, make_scanned
from personalization.production.states import BatchState, BlankState, RowState
from personalization.production.stock import count_stock
from tests.unit.personalization.scripted_line import HONEST, MISREAD, Outfit, card_state, digest, load_batch, receive

ROWS = 4


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def code(row: int) -> str:
    return f"{row:018d}"


def recognise(number: str) -> bytes:
    """The scripted batch knows its permits by name and row."""
    return digest(f"permit batch {int(number)}")


def card(number: int) -> str:
    return (b"CARD" + number.to_bytes(6, "big")).hex()


def read(journal: Journal, batch_id: int, *readings: str) -> list[Scan]:
    with Outfit()() as equipment:
        return make_scanned(journal, batch_id, equipment, Policy(), readings, recognise, lambda _scan: None)


def begin(journal: Journal, tmp_path: Path, behaviours: list[int] | None = None) -> tuple[int, list[Path]]:
    paths = receive(journal, tmp_path / "cards", behaviours or [HONEST] * (ROWS + 2))
    batch = load_batch(journal, ROWS)
    load_batch(journal, 1, "other")
    with journal.transaction() as connection:
        change_batch(connection, batch.id, BatchState.RUNNING)
    return batch.id, paths


def refusals(scans: list[Scan]) -> list[str]:
    return [scan.error.code if scan.error is not None else "" for scan in scans]


def test_the_barcode_decides_which_row_is_made(journal: Journal, tmp_path: Path) -> None:
    batch_id, paths = begin(journal, tmp_path)
    scans = read(journal, batch_id, code(3), "", f"{code(1)} {card(5).upper()}\n")
    assert [(scan.row, scan.good) for scan in scans] == [(3, True), (1, True)]
    assert card_state(paths[0])[1] == 3
    assert card_state(paths[4])[1] == 1
    assert batch_status(journal, "batch").rows[RowState.WAITING] == ROWS - 2
    assert take_account(journal).adds_up


def test_what_cannot_be_is_refused_and_the_next_one_read(journal: Journal, tmp_path: Path) -> None:
    batch_id, _ = begin(journal, tmp_path)
    scans = read(
        journal,
        batch_id,
        code(2),
        code(2),  # a second body with the same code
        code(99),
        "33038120300000001",
        f"{code(1)} not-a-chip",
        f"{code(1)} {card(1)} more",
        f"{code(1)} {card(1)}",  # the chip carries row 2
        f"{code(1)} {card(77)}",
        f"{code(1)} {card(3)}",
    )
    assert refusals(scans) == [
        "", "barcode-read-before", "barcode-unknown", "barcode-malformed", "barcode-malformed", "barcode-malformed",
        "barcode-mismatch", "card-unknown", "",
    ]  # fmt: skip
    mismatch = scans[6].error
    assert mismatch is not None
    assert (mismatch.parameters["row"], mismatch.parameters["other_row"]) == (1, 2)
    assert scans[8].good
    stock = count_stock(journal).by_state
    assert (stock[BlankState.GOOD], stock[BlankState.IN_USE]) == (2, 0)
    with journal.reading() as connection:
        assert len(connection.execute(select(Run.id)).all()) == 2, "a refused code claims nothing"
    assert take_account(journal).adds_up


def test_cards_of_other_batches_and_of_rows_that_are_not_wanted(journal: Journal, tmp_path: Path) -> None:
    batch_id, _ = begin(journal, tmp_path)
    with journal.transaction() as connection:
        connection.execute(update(Row).where(Row.batch_id == batch_id, Row.number == 4).values(state="cancelled"))
        connection.execute(update(Row).where(Row.batch_id != batch_id).values(permit=recognise(code(50))))
        connection.execute(update(Blank).where(Blank.card_number == card(2)).values(state="sample"))
    scans = read(journal, batch_id, code(4), code(50), f"{code(1)} {card(2)}")
    assert refusals(scans) == ["barcode-not-wanted", "barcode-other-batch", "card-not-so"]


def test_a_card_that_fails_is_told_and_its_body_is_not_used_again(journal: Journal, tmp_path: Path) -> None:
    batch_id, _ = begin(journal, tmp_path, [MISREAD, HONEST, HONEST])
    lost, again = read(journal, batch_id, code(1), code(1))
    assert (lost.row, lost.good, lost.reason) == (1, False, "inspection: field.row")
    assert (again.row, again.good) == (1, True)
    assert count_stock(journal).by_state[BlankState.SPOILED] == 1
    assert take_account(journal).adds_up


def test_a_batch_that_waits_for_its_first_article_makes_no_second_card(journal: Journal, tmp_path: Path) -> None:
    batch_id, _ = begin(journal, tmp_path)
    with journal.transaction() as connection:
        hold_for_article(connection, "li", batch_id)
    assert refusals(read(journal, batch_id, code(2), code(3))) == ["", "barcode-held"]


def test_an_empty_stock_stops_the_reading(journal: Journal, tmp_path: Path) -> None:
    batch_id, _ = begin(journal, tmp_path, [HONEST])
    with pytest.raises(PersonalizationError, match="stock-empty"):
        read(journal, batch_id, code(1), code(2))
    assert batch_status(journal, "batch").good == 1
