"""The account of cards: every step in numbers, over any span, and what does not fit."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from personalization.production.account import Place, StepCount, take_account
from personalization.production.disposal import destroy_cards, destruction_list, discard_blanks, take_samples
from personalization.production.journal import Journal
from personalization.production.journal.claims import (
    Claim,
    Outcome,
    Stage,
    claim_to_inspect,
    claim_to_make,
    record_good,
    record_made,
    record_released,
    record_spoiled,
)
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Blank, Event
from personalization.production.states import BlankState
from personalization.production.stock import NewBlank, receive_blanks
from tests.unit.personalization.scripted_line import HONEST, load_batch, receive

pytestmark = pytest.mark.parametrize("journal_place", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of `record` is a second after the one before."""
    seconds = itertools.count(1_000_000, 1_000_000)
    monkeypatch.setattr("personalization.production.journal.events.now_us", lambda: next(seconds))


def outcomes(claims: list[Claim], reason: str = "") -> list[Outcome]:
    return [Outcome(claim, b"trace", "{}", b"checks", reason) for claim in claims]


def worked(journal: Journal, folder: Path) -> None:
    """Of seven blanks one is a sample; of four rows one is good, one waits for inspection, one is spoiled, one back."""
    receive(journal, folder, [HONEST] * 7)
    batch = load_batch(journal, 4)
    take_samples(journal, 1, "incoming inspection", "li")
    with journal.transaction() as connection:
        record(connection, "li", [Entry(What.BATCH_RUNNING, batch.id)])
        claims = claim_to_make(connection, batch.id, "one", 4)
        record_made(connection, "one", outcomes(claims[:2]))
        record_spoiled(connection, "one", outcomes(claims[2:3], "torn")[0], Stage.MAKE, 3)
        record_released(connection, "one", claims[3], "not-begun")
        record(connection, "li", [Entry(What.BATCH_STOPPED, batch.id)])
    with journal.transaction() as connection:
        record(connection, "wang", [Entry(What.BATCH_RUNNING, batch.id)])
        record_good(connection, "one", outcomes(claim_to_inspect(connection, batch.id, "one", 1)))
        record(connection, "wang", [Entry(What.BATCH_STOPPED, batch.id)])


def test_every_step_is_counted(journal: Journal, tmp_path: Path) -> None:
    worked(journal, tmp_path)
    account = take_account(journal)
    assert dict(account.steps) == {
        Place.STOCK: StepCount(before=0, came=8, out=4, reject=0, back=0, sample=1, after=3),
        Place.MAKING: StepCount(before=0, came=4, out=2, reject=1, back=1, sample=0, after=0),
        Place.INSPECTION: StepCount(before=0, came=2, out=1, reject=0, back=0, sample=0, after=1),
        Place.FINISHED: StepCount(before=0, came=1, out=0, reject=0, back=0, sample=0, after=1),
    }
    assert account.adds_up
    assert {place: count for place, count in account.places.items() if count} == {
        Place.STOCK: 3,
        Place.INSPECTION: 1,
        Place.FINISHED: 1,
        Place.SPOILED: 1,
        Place.SAMPLE: 1,
    }


def test_a_shift_begins_with_what_the_one_before_left(journal: Journal, tmp_path: Path) -> None:
    worked(journal, tmp_path)
    first, second = take_account(journal).shifts
    assert (first.batch, first.operator, second.operator) == ("batch", "li", "wang")
    assert 0 < first.started_at < first.ended_at < second.started_at < second.ended_at
    assert first.steps == {
        Place.MAKING: StepCount(0, 4, 2, 1, 1, 0, 0),
        Place.INSPECTION: StepCount(0, 2, 0, 0, 0, 0, 2),
    }
    assert second.steps == {
        Place.MAKING: StepCount(0, 0, 0, 0, 0, 0, 0),
        Place.INSPECTION: StepCount(2, 0, 1, 0, 0, 0, 1),
    }


def test_a_shift_that_was_killed_has_no_end(journal: Journal, tmp_path: Path) -> None:
    receive(journal, tmp_path, [HONEST])
    batch = load_batch(journal, 1)
    with journal.transaction() as connection:
        for who in ("li", "wang", "zhao"):
            record(connection, who, [Entry(What.BATCH_RUNNING, batch.id)])
        record(connection, "zhao", [Entry(What.BATCH_COMPLETE, batch.id)])
        record(connection, "li", [Entry(What.BATCH_RUNNING, batch.id)])
    shifts = take_account(journal).shifts
    assert [(shift.operator, bool(shift.ended_at)) for shift in shifts] == [
        ("li", False),
        ("wang", False),
        ("zhao", True),
        ("li", False),
    ]


def test_a_span_begins_and_ends_where_it_is_said(journal: Journal, tmp_path: Path) -> None:
    """What happened at its end is not in it any more."""
    worked(journal, tmp_path)
    with journal.reading() as connection:
        at = {row.what: row.at for row in connection.execute(select(Event.what, Event.at).order_by(Event.id))}
    account = take_account(journal, since=at[What.CLAIMED.value], until=at[What.SPOILED.value])
    assert dict(account.steps) == {
        Place.STOCK: StepCount(before=6, came=0, out=4, reject=0, back=0, sample=0, after=2),
        Place.MAKING: StepCount(before=0, came=4, out=2, reject=0, back=0, sample=0, after=2),
        Place.INSPECTION: StepCount(before=0, came=2, out=0, reject=0, back=0, sample=0, after=2),
        Place.FINISHED: StepCount(before=0, came=0, out=0, reject=0, back=0, sample=0, after=0),
    }
    assert account.adds_up
    nothing = take_account(journal, since=at[What.BATCH_STOPPED.value] + 1)
    assert nothing.steps[Place.STOCK] == StepCount(3, 0, 0, 0, 0, 0, 3)
    assert (nothing.shifts, nothing.adds_up) == ((), True)


@pytest.mark.parametrize("name", ["before", "came", "out", "reject", "back", "sample", "after"])
def test_a_step_adds_up_only_with_every_number(journal: Journal, name: str) -> None:
    del journal
    count = StepCount(before=5, came=8, out=4, reject=3, back=2, sample=1, after=3)
    assert count.adds_up
    assert not count._replace(**{name: getattr(count, name) + 1}).adds_up


def test_a_card_that_is_taken_out_of_the_journal_is_missed(journal: Journal, tmp_path: Path) -> None:
    receive(journal, tmp_path, [HONEST] * 3)
    with journal.transaction() as connection:
        connection.execute(delete(Blank).where(Blank.id == 2))
    account = take_account(journal)
    assert not account.adds_up
    assert dict(account.differences) == {(Place.OUTSIDE, Place.STOCK): -1}


def test_destroying_removes_images_of_simulated_cards_and_counts_them(journal: Journal, tmp_path: Path) -> None:
    """A real card is destroyed by hand; a file that is called like its reader is none of its."""
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/1.card").write_bytes(b"image")
    (tmp_path / "pcsc:ACME#1").write_bytes(b"something else")
    chips = [bytes.fromhex(f"4A5A01440A00000000{number:02X}") for number in (1, 2, 3)]
    places = ("sim:cards/1.card", "sim:cards/gone.card", "pcsc:ACME#1")
    receive_blanks(
        journal, [NewBlank(chip, place) for chip, place in zip(chips, places, strict=True)], lot="L", who="li"
    )
    discard_blanks(journal, [chip.hex().upper() for chip in chips], "scratched", "li")
    _, removed = destroy_cards(journal, destruction_list(journal), tmp_path, "li", None)
    assert removed == 1
    assert not (tmp_path / "cards/1.card").exists()
    assert (tmp_path / "pcsc:ACME#1").read_bytes() == b"something else"
    with journal.reading() as connection:
        assert set(connection.execute(select(Blank.state)).scalars()) == {BlankState.DESTROYED.value}
    assert take_account(journal).places[Place.DESTROYED] == 3
