"""Rejected cards and what else people decide about cards: barred, destroyed, and never two live cards of a permit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from personalization.errors import PersonalizationError
from personalization.production.account import Place, take_account
from personalization.production.disposal import (
    destroy_cards,
    destruction_document,
    destruction_list,
    discard_blanks,
    require_list,
    restore_blanks,
    take_samples,
)
from personalization.production.journal.batches import batch_status, change_batch, is_released, release_batch
from personalization.production.journal.database import Journal, now_us, open_journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Blank, Event, Evidence, Row, Run
from personalization.production.policy import Policy
from personalization.production.reject_reason import RejectReason
from personalization.production.remake import (
    finish_rejections,
    reject_card,
    require_old_cards_dead,
    require_row,
)
from personalization.production.states import LIVE_RUNS, BatchState, BlankState, Disposal, RowState, RunState
from personalization.production.station import Line, Station
from personalization.production.stock import count_stock
from personalization.production.work import Condition, Equipment
from tests.unit.personalization.scripted_line import (
    ABSENT,
    BEHAVIOUR_AT,
    FAULTY,
    HONEST,
    MISREAD,
    OTHER_KEYS,
    STUBBORN,
    Outfit,
    card_state,
    load_batch,
    receive,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal.sqlite") as opened:
        yield opened


def work(journal: Journal, batch_id: int) -> None:
    """A shift of one station, in this process."""
    with journal.transaction() as connection:
        change_batch(connection, batch_id, BatchState.RUNNING)
    with Outfit()() as equipment:
        line = Line(lambda _: False, lambda _: None)
        Station(journal, batch_id, "station-1", equipment, Policy(tray=2, stop_after_failures=9), line).work()
    with journal.transaction() as connection:
        change_batch(connection, batch_id, BatchState.COMPLETE)


def made(journal: Journal, folder: Path, rows: int = 3, spare: int = 2) -> int:
    """A complete batch; returns its key."""
    batch = load_batch(journal, rows)
    receive(journal, folder, [HONEST] * (rows + spare))
    work(journal, batch.id)
    return batch.id


def location(journal: Journal, row: int, state: RunState) -> Path:
    with journal.reading() as connection:
        found = select(Blank.location).join(Run, Run.blank_id == Blank.id).join(Row, Row.id == Run.row_id)
        return Path(connection.execute(found.where(Row.number == row, Run.state == state.value)).scalar_one())


def live_cards(journal: Journal) -> list[int]:
    """Live runs by permit, from the database."""
    states = ", ".join(f"'{state.value}'" for state in LIVE_RUNS)
    question = f"SELECT count(*) FROM runs WHERE state IN ({states}) GROUP BY permit"  # noqa: S608 - our own states
    with journal.reading() as connection:
        return list(connection.execute(text(question)).scalars())


def test_a_rejected_card_is_barred_and_its_row_made_again_on_another(journal: Journal, tmp_path: Path) -> None:
    batch_id = made(journal, tmp_path / "cards")
    old = location(journal, 2, RunState.GOOD)
    rejected = reject_card(journal, "batch", 2, RejectReason.PRINTING, "li", None, Outfit()())
    assert (rejected.row, rejected.terminated) == (2, True)
    assert card_state(old)[0] is Condition.TERMINATED
    status = batch_status(journal, "batch")
    assert status.batch.state is BatchState.STOPPED
    assert (status.rows[RowState.WAITING], status.rows[RowState.GOOD]) == (1, 2)
    assert count_stock(journal).by_state[BlankState.SPOILED] == 1
    require_old_cards_dead(journal, batch_id, "li", Outfit()())
    work(journal, batch_id)
    new = location(journal, 2, RunState.GOOD)
    assert new != old
    assert card_state(new) == (Condition.FINISHED, 2)
    assert set(live_cards(journal)) == {1}
    with journal.reading() as connection:
        runs = connection.execute(
            select(Run.id, Run.state, Run.reason, Run.inspected_at)
            .join(Row, Row.id == Run.row_id)
            .where(Row.number == 2)
            .order_by(Run.id)
        ).all()
        kept = connection.execute(select(Evidence.stage).where(Evidence.run_id == runs[0].id)).scalars().all()
        told = connection.execute(select(Event.who).where(Event.what == "rejected")).scalars().all()
    assert [run.state for run in runs] == ["spoiled", "good"]
    assert (runs[0].reason, runs[0].inspected_at is not None) == ("rejected: printing", True)
    assert sorted(kept) == ["inspect", "make"], "the old card's history is kept"
    assert told == ["li"]
    assert take_account(journal).adds_up


def test_a_card_that_stays_alive_has_to_be_destroyed_first(journal: Journal, tmp_path: Path) -> None:
    batch_id = made(journal, tmp_path / "cards")
    old = location(journal, 1, RunState.GOOD)
    raw = bytearray(old.read_bytes())
    raw[BEHAVIOUR_AT] = STUBBORN
    old.write_bytes(raw)
    rejected = reject_card(journal, "batch", 1, RejectReason.RETURNED, "li", None, Outfit()())
    assert not rejected.terminated
    with pytest.raises(PersonalizationError) as caught:
        require_old_cards_dead(journal, batch_id, "li", Outfit()())
    assert (caught.value.code, caught.value.exit_code) == ("old-card-alive", 2)
    assert caught.value.parameters["card_id"] == rejected.card_number.upper()
    destroy_cards(journal, destruction_list(journal), tmp_path, "li", None)
    require_old_cards_dead(journal, batch_id, "li", Outfit()())
    work(journal, batch_id)
    assert batch_status(journal, "batch").good == 3
    assert set(live_cards(journal)) == {1}


class Killed(AbstractContextManager[Equipment]):
    """The process dies before it reaches the card."""

    def __enter__(self) -> Equipment:
        raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        raise AssertionError


def test_a_rejection_that_was_killed_is_finished_before_anything_is_made(journal: Journal, tmp_path: Path) -> None:
    batch_id = made(journal, tmp_path / "cards")
    old = location(journal, 3, RunState.GOOD)
    with pytest.raises(KeyboardInterrupt):
        reject_card(journal, "batch", 3, RejectReason.BODY, "li", None, Killed())
    assert card_state(old)[0] is Condition.FINISHED
    assert count_stock(journal).by_state[BlankState.SPOILED] == 1
    assert finish_rejections(journal, batch_id, "li", Outfit()()) == frozenset()
    assert card_state(old)[0] is Condition.TERMINATED


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("batch/9", "row-not-good"),
        ("batch", "subject-malformed"),
        ("batch/x", "subject-malformed"),
        ("other/1", "batch-unknown"),
    ],
)
def test_only_a_row_with_a_good_card_can_be_made_again(
    journal: Journal, tmp_path: Path, subject: str, code: str
) -> None:
    made(journal, tmp_path / "cards")
    assert require_row(journal, "batch/1") == ("batch", 1)
    with pytest.raises(PersonalizationError) as caught:
        require_row(journal, subject)
    assert (caught.value.code, caught.value.exit_code) == (code, 2)


def test_no_card_is_rejected_twice_nor_while_stations_work(journal: Journal, tmp_path: Path) -> None:
    batch_id = made(journal, tmp_path / "cards")
    reject_card(journal, "batch", 1, RejectReason.CHIP, "li", None, Outfit()())
    with pytest.raises(PersonalizationError, match="row-not-good"):
        reject_card(journal, "batch", 1, RejectReason.CHIP, "li", None, Outfit()())
    with journal.transaction() as connection:
        change_batch(connection, batch_id, BatchState.RUNNING)
    with pytest.raises(PersonalizationError, match="batch-at-work"):
        reject_card(journal, "batch", 2, RejectReason.CHIP, "li", None, Outfit()())


def test_a_released_batch_with_a_rejected_card_is_released_again(journal: Journal, tmp_path: Path) -> None:
    batch_id = made(journal, tmp_path / "cards")
    release_batch(journal, "batch", "wang", {})
    reject_card(journal, "batch", 1, RejectReason.RETURNED, "li", None, Outfit()())
    with journal.reading() as connection:
        assert not is_released(connection, batch_id)
    work(journal, batch_id)
    release_batch(journal, "batch", "wang", {})
    with pytest.raises(PersonalizationError, match="batch-released"):
        release_batch(journal, "batch", "wang", {})


def test_samples_and_discarded_blanks_leave_the_stock_and_are_destroyed(journal: Journal, tmp_path: Path) -> None:
    paths = receive(journal, tmp_path, [HONEST] * 6)
    samples = take_samples(journal, 2, "incoming inspection", "li")
    with pytest.raises(PersonalizationError, match="stock-too-small"):
        take_samples(journal, 5, "more", "li")
    with pytest.raises(PersonalizationError, match="stock-too-small"):
        take_samples(journal, 1, "of another lot", "li", lot="lot-9")
    discarded = discard_blanks(journal, [(b"CARD" + (6).to_bytes(6, "big")).hex().upper()], "scratched", "li")
    assert [card.location for card in discarded] == [str(paths[5])]
    stock = count_stock(journal).by_state
    assert (stock[BlankState.SAMPLE], stock[BlankState.SPOILED], stock[BlankState.IN_STOCK]) == (2, 1, 3)
    spoiled, everything = destruction_list(journal), destruction_list(journal, samples=True)
    assert (len(spoiled.cards), len(everything.cards)) == (1, 3)
    assert {card.card_number for card in samples} < {card.card_number for card in everything.cards}
    assert require_list(journal, everything.identifier).cards == everything.cards
    discard_blanks(journal, [everything_else(journal)], "bent", "li")
    with pytest.raises(PersonalizationError) as caught:
        require_list(journal, everything.identifier)
    assert (caught.value.code, caught.value.exit_code) == ("destruction-list-other", 2)
    final = destruction_list(journal, samples=True)
    destroy_cards(journal, final, tmp_path, "li", None)
    assert count_stock(journal).by_state[BlankState.DESTROYED] == 4
    with pytest.raises(PersonalizationError, match="nothing-to-destroy"):
        require_list(journal, final.identifier)
    document = destruction_document(journal, final.identifier, rehearsal=True)
    assert (document["count"], document["witness"], document["by"]) == (4, None, "li")
    cards = document["cards"]
    assert isinstance(cards, list)
    assert {card["reason"] for card in cards} == {"incoming inspection", "discarded: scratched", "discarded: bent"}
    with pytest.raises(PersonalizationError, match="destruction-unknown"):
        destruction_document(journal, "0" * 16, rehearsal=True)
    account = take_account(journal)
    assert account.adds_up
    assert (account.places[Place.DESTROYED], account.places[Place.STOCK]) == (4, 2)


def everything_else(journal: Journal) -> str:
    with journal.reading() as connection:
        return str(connection.execute(select(Blank.card_number).where(Blank.state == "in-stock").limit(1)).scalar_one())


def test_barred_blanks_are_restored_and_no_other_card_is(journal: Journal, tmp_path: Path) -> None:
    batch = load_batch(journal, 1)
    receive(journal, tmp_path, [OTHER_KEYS, HONEST])
    work(journal, batch.id)
    with journal.reading() as connection:
        barred = connection.execute(select(Blank.card_number).where(Blank.state == "barred")).scalar_one()
        good = connection.execute(select(Blank.card_number).where(Blank.state == "good")).scalar_one()
    assert take_account(journal).places[Place.BARRED] == 1
    with pytest.raises(PersonalizationError, match="card-not-so"):
        restore_blanks(journal, [barred, good], "wang")
    with pytest.raises(PersonalizationError, match="card-unknown"):
        restore_blanks(journal, ["00" * 10], "wang")
    with pytest.raises(PersonalizationError, match="card-not-so"):
        discard_blanks(journal, [good], "a good card is somebody's", "wang")
    restore_blanks(journal, [barred.upper(), barred], "wang")
    account = take_account(journal)
    assert (account.adds_up, account.places[Place.STOCK], account.places[Place.BARRED]) == (True, 1, 0)


def test_the_account_adds_up_by_step_and_shift(journal: Journal, tmp_path: Path) -> None:
    """Practice of card centres: each step counts in, out, reject and sample."""
    batch = load_batch(journal, 6)
    receive(journal, tmp_path, [HONEST, FAULTY, MISREAD, HONEST, OTHER_KEYS, *[HONEST] * 6])
    take_samples(journal, 1, "for the laboratory", "li")
    before = now_us()
    work(journal, batch.id)
    account = take_account(journal)
    assert account.adds_up
    stock, making, inspection, finished = account.steps.values()
    assert (stock.came, stock.sample) == (11, 1)
    assert stock.out == making.came
    assert (inspection.out, finished.came, finished.after) == (6, 6, 6)
    assert (making.reject, inspection.reject) == (2, 1)
    later = take_account(journal, since=before)
    assert later.steps[Place.STOCK].before == 10
    assert later.adds_up
    earlier = take_account(journal, until=before)
    assert earlier.steps[Place.STOCK].after == 10
    assert earlier.steps[Place.MAKING].came == 0
    assert earlier.adds_up


def test_a_card_that_is_not_where_the_trail_brought_it_is_found(journal: Journal, tmp_path: Path) -> None:
    made(journal, tmp_path / "cards")
    assert take_account(journal).adds_up
    with journal.transaction() as connection:
        connection.execute(update(Blank).where(Blank.state == "in-stock").values(state="sample"))
    account = take_account(journal)
    assert not account.adds_up
    assert dict(account.differences) == {(Place.STOCK, Place.SAMPLE): 2}


def test_an_entry_that_moves_a_card_from_where_it_is_not_is_found(journal: Journal, tmp_path: Path) -> None:
    made(journal, tmp_path / "cards")
    with journal.transaction() as connection:
        good = connection.execute(select(Event.id).where(Event.what == "good").order_by(Event.id)).scalars().first()
        connection.execute(update(Event).where(Event.id == good).values(what="made"))
    account = take_account(journal)
    assert account.irregular == (good,)
    assert not account.adds_up


def test_another_card_in_its_place_is_let_alone_and_the_old_one_is_asked_again(
    journal: Journal, tmp_path: Path
) -> None:
    """A reader holds whatever somebody has put into it; only the chip that is meant is put out of service."""
    batch_id = made(journal, tmp_path / "cards")
    old, other = location(journal, 1, RunState.GOOD), location(journal, 2, RunState.GOOD)
    taken_out = old.read_bytes()
    old.write_bytes(other.read_bytes())
    rejected = reject_card(journal, "batch", 1, RejectReason.CHIP, "li", None, Outfit()())
    assert (rejected.terminated, rejected.disposal) == (False, Disposal.NOT_REACHED)
    assert old.read_bytes() == other.read_bytes()
    with pytest.raises(PersonalizationError, match="old-card-alive"):
        require_old_cards_dead(journal, batch_id, "li", Outfit()())
    old.write_bytes(taken_out)
    require_old_cards_dead(journal, batch_id, "li", Outfit()())
    assert card_state(old)[0] is Condition.TERMINATED
    assert card_state(other)[0] is Condition.FINISHED


def test_a_card_that_was_not_in_its_reader_is_asked_again(journal: Journal, tmp_path: Path) -> None:
    batch_id = made(journal, tmp_path / "cards")
    old = location(journal, 1, RunState.GOOD)
    raw = bytearray(old.read_bytes())
    old.write_bytes(raw[:BEHAVIOUR_AT] + bytes((ABSENT,)))
    assert reject_card(journal, "batch", 1, RejectReason.CHIP, "li", None, Outfit()()).disposal is Disposal.NOT_REACHED
    old.write_bytes(raw)
    require_old_cards_dead(journal, batch_id, "li", Outfit()())
    assert card_state(old)[0] is Condition.TERMINATED


def test_a_card_of_an_erased_batch_is_not_made_again(journal: Journal, tmp_path: Path) -> None:
    """Nothing is left to make it from; the card that is out stays what it is."""
    batch_id = made(journal, tmp_path / "cards")
    with journal.transaction() as connection:
        record(connection, "li", [Entry(What.BATCH_ERASED, batch_id)])
    with pytest.raises(PersonalizationError, match="batch-erased") as caught:
        reject_card(journal, "batch", 2, RejectReason.CHIP, "li", None, Outfit()())
    assert caught.value.exit_code == 2
    assert batch_status(journal, "batch").rows[RowState.GOOD] == 3
