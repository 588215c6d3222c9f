"""What each statement of the journal names, whom it leaves alone, and what it leaves in the audit trail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.orm import InstrumentedAttribute

from personalization.errors import PersonalizationError
from personalization.production.journal import Journal
from personalization.production.journal.articles import approve_article, find_article, hold_for_article, is_held
from personalization.production.journal.batches import BatchFacts, batches_at_work, change_batch
from personalization.production.journal.cards import find_card, find_permit, knows_permit
from personalization.production.journal.cases import find_case
from personalization.production.journal.claims import (
    Claim,
    ClaimLost,
    Outcome,
    Stage,
    active_count,
    claim_to_inspect,
    claim_to_make,
    free_count,
    held_count,
    in_doubt,
    open_claims,
    record_good,
    record_made,
    record_released,
    record_spoiled,
    record_uninspected,
    record_unreachable,
    retry_failed,
    take_over,
    waiting_count,
)
from personalization.production.journal.corrections import (
    cards_in,
    good_card,
    move_cards,
    reject_good,
    rejected_and_alive,
)
from personalization.production.journal.dossiers import SealedEntry, find_dossier, save_dossier
from personalization.production.journal.events import What
from personalization.production.journal.sams import (
    begin_sam,
    find_sam,
    finish_sam,
    list_sams,
    record_terminated,
    retire_sam,
)
from personalization.production.journal.shifts import begin_shift, end_shift, lose_shift, open_shift, renew_shift
from personalization.production.journal.spoiled import undisposed
from personalization.production.journal.stations import (
    join,
    leave,
    lift_pause,
    living,
    lose,
    order_batch,
    order_station,
)
from personalization.production.journal.tables import Batch, Blank, Event, Row, Run, Shift
from personalization.production.states import BatchState, BlankState, Order, RowState, RunState, SamState
from tests.unit.personalization.scripted_line import HONEST, digest, load_batch, receive

pytestmark = pytest.mark.parametrize("journal_place", ["sqlite"], indirect=True)

LEASE_US = 30_000_000
SAM = "4A5A01440A0000000001"


def told(journal: Journal, *wanted: What) -> list[tuple[str, dict[str, object] | None]]:
    """Who and facts of the entries of these kinds, in order."""
    statement = select(Event.who, Event.facts).where(Event.what.in_([what.value for what in wanted])).order_by(Event.id)
    with journal.reading() as connection:
        found = connection.execute(statement).all()
    return [(row.who, None if row.facts is None else json.loads(row.facts)) for row in found]


def happened(journal: Journal, first: int = 0) -> list[str]:
    with journal.reading() as connection:
        return list(connection.execute(select(Event.what).where(Event.id > first).order_by(Event.id)).scalars())


def outcome(claim: Claim, reason: str = "") -> Outcome:
    return Outcome(claim, b"trace", "{}", b"checks", reason)


def value(journal: Journal, column: InstrumentedAttribute[Any]) -> list[Any]:
    """A column of all rows of its table, in order of their keys."""
    with journal.reading() as connection:
        return list(connection.execute(select(column).order_by(column.class_.id)).scalars())


def seat(connection: Connection, batch: BatchFacts, name: str) -> int:
    return join(connection, batch.id, name, host="here", lock="", lease_us=LEASE_US)


@pytest.fixture
def batch(journal: Journal, tmp_path: Path) -> BatchFacts:
    """Three rows and four blanks."""
    receive(journal, tmp_path, [HONEST] * 4)
    return load_batch(journal, 3)


@pytest.fixture
def other(journal: Journal, batch: BatchFacts) -> BatchFacts:
    """Another batch of two rows, for what must be left alone."""
    del batch
    return load_batch(journal, 2, "other")


def claimed(journal: Journal, batch: BatchFacts, count: int = 1, holder: int | None = None) -> list[Claim]:
    return journal.write(lambda connection: claim_to_make(connection, batch.id, "maker", count, seat=holder))


def make(journal: Journal, claims: list[Claim]) -> None:
    journal.write(lambda connection: record_made(connection, "maker", [outcome(claim) for claim in claims]))


def inspected(journal: Journal, batch: BatchFacts, count: int = 1) -> list[Claim]:
    return journal.write(lambda connection: claim_to_inspect(connection, batch.id, "inspector", count))


def finish(journal: Journal, batch: BatchFacts, count: int = 1) -> None:
    make(journal, claimed(journal, batch, count))
    claims = inspected(journal, batch, count)
    journal.write(lambda connection: record_good(connection, "inspector", [outcome(claim) for claim in claims]))


# ---------------------------------------------------------------------------------- claims


def test_the_life_of_a_card_stands_in_the_trail(journal: Journal, batch: BatchFacts) -> None:
    finish(journal, batch)
    assert happened(journal) == ["blanks-received", "batch-loaded", "claimed", "made", "good"]
    assert told(journal, What.BATCH_LOADED) == [("operator", {"accepted": 3, "rejected": 0})]
    assert told(journal, What.CLAIMED, What.MADE) == [("maker", None)] * 2
    with journal.reading() as connection:
        assert connection.execute(select(Event.facts).where(Event.what == What.MADE)).scalar_one() is None
    assert told(journal, What.GOOD) == [("inspector", None)]
    with journal.reading() as connection:
        keys = connection.execute(
            select(Event.batch_id, Event.row_id, Event.blank_id, Event.run_id).order_by(Event.id)
        ).all()
    assert [tuple(row) for row in keys[2:]] == [(batch.id, 1, 1, 1)] * 3


def test_an_untouched_card_goes_back_as_it_was(journal: Journal, batch: BatchFacts) -> None:
    (claim,) = claimed(journal, batch)
    journal.write(lambda connection: record_released(connection, "maker", claim, "not-begun"))
    assert told(journal, What.RELEASED) == [("maker", {"reason": "not-begun", "blank": "in-stock"})]
    assert value(journal, Blank.state)[0] == BlankState.IN_STOCK
    assert value(journal, Blank.reason)[0] is None
    assert (value(journal, Row.state)[0], value(journal, Row.attempts)[0]) == (RowState.WAITING, 0)


def test_a_card_of_another_kind_is_barred_with_its_reason(journal: Journal, batch: BatchFacts) -> None:
    (claim,) = claimed(journal, batch)
    journal.write(lambda connection: record_released(connection, "m", claim, "wrong-blank", BlankState.BARRED))
    assert (value(journal, Blank.state)[0], value(journal, Blank.reason)[0]) == (BlankState.BARRED, "wrong-blank")
    assert told(journal, What.RELEASED) == [("m", {"reason": "wrong-blank", "blank": "barred"})]


def test_a_state_that_the_table_does_not_lead_to_is_never_written(journal: Journal, batch: BatchFacts) -> None:
    (claim,) = claimed(journal, batch)
    with pytest.raises(ValueError, match="in-use does not lead to sample"), journal.transaction() as connection:
        record_released(connection, "maker", claim, "x", BlankState.SAMPLE)
    assert (value(journal, Blank.state)[0], value(journal, Run.state)[0]) == (BlankState.IN_USE, RunState.OPEN)


@pytest.mark.parametrize(("most", "failed"), [(2, False), (1, True)])
def test_a_row_that_fails_is_told_of_and_another_is_not(
    journal: Journal, batch: BatchFacts, most: int, failed: bool
) -> None:
    (claim,) = claimed(journal, batch)
    journal.write(lambda connection: record_spoiled(connection, "s", outcome(claim, "torn"), Stage.MAKE, most))
    assert told(journal, What.SPOILED) == [("s", {"reason": "torn", "stage": "make"})]
    assert told(journal, What.ROW_FAILED) == ([("s", {"attempts": 1})] if failed else [])
    assert (value(journal, Blank.reason)[0], value(journal, Row.reason)[0]) == ("torn", "torn")


def test_failed_rows_of_one_batch_wait_again_with_all_their_blanks(
    journal: Journal, batch: BatchFacts, other: BatchFacts
) -> None:
    for which in (batch, other):
        (claim,) = claimed(journal, which)
        spoiled = outcome(claim, "torn")
        journal.write(lambda connection, lost=spoiled: record_spoiled(connection, "s", lost, Stage.MAKE, 1))  # type: ignore[misc]
    assert value(journal, Row.state).count(RowState.FAILED) == 2
    assert journal.write(lambda connection: retry_failed(connection, "li", batch.id)) == 1
    assert value(journal, Row.state) == [RowState.WAITING] * 3 + [RowState.FAILED, RowState.WAITING]
    assert value(journal, Row.attempts) == [0, 0, 0, 1, 0]
    assert told(journal, What.ROW_RETRIED) == [("li", None)]


def test_an_inspection_that_was_not_begun_waits_for_another_inspector(journal: Journal, batch: BatchFacts) -> None:
    make(journal, claimed(journal, batch))
    (claim,) = inspected(journal, batch)
    journal.write(lambda connection: record_uninspected(connection, "inspector", claim))
    assert (value(journal, Run.state), value(journal, Run.inspected_by)) == ([RunState.MADE], [None])
    with pytest.raises(ClaimLost), journal.transaction() as connection:
        record_uninspected(connection, "inspector", claim)


def test_a_card_that_cannot_be_reached_stays_in_doubt_and_is_nobody_s(journal: Journal, batch: BatchFacts) -> None:
    holder = journal.write(lambda connection: seat(connection, batch, "maker"))
    first, second = claimed(journal, batch, 2, holder)
    assert journal.read(lambda connection: in_doubt(connection, batch.id)) == []
    journal.write(lambda connection: record_unreachable(connection, first))
    assert value(journal, Run.holder) == [None, holder]
    found = journal.read(lambda connection: in_doubt(connection, batch.id))
    assert [claim.run_id for claim in found] == [first.run_id]
    with pytest.raises(ClaimLost), journal.transaction() as connection:
        record_unreachable(connection, replace(second, fence=second.fence + 1))
    assert value(journal, Run.holder) == [None, holder]


def test_who_takes_over_is_told_of_and_raises_the_fence_of_those_runs_alone(
    journal: Journal, batch: BatchFacts
) -> None:
    first, second = claimed(journal, batch, 2)
    (taken,) = journal.write(lambda connection: take_over(connection, "recovery", [first]))
    assert (taken.fence, taken.station, value(journal, Run.fence)) == (2, "recovery", [2, 1])
    assert told(journal, What.TAKEN_OVER) == [("recovery", {"fence": 2})]
    for stale in (first, replace(second, state=RunState.INSPECTING), replace(second, fence=0)):
        with pytest.raises(ClaimLost), journal.transaction() as connection:
            take_over(connection, "recovery", [stale])
    assert value(journal, Run.fence) == [2, 1]


def test_claims_that_are_found_say_whose_they_were(journal: Journal, batch: BatchFacts) -> None:
    make(journal, claimed(journal, batch))
    inspected(journal, batch)
    claimed(journal, batch)
    found = journal.read(lambda connection: open_claims(connection, batch.id))
    assert [(claim.state, claim.station) for claim in found] == [
        (RunState.INSPECTING, "inspector"),
        (RunState.OPEN, "maker"),
    ]


def test_counts_are_of_one_batch(journal: Journal, batch: BatchFacts, other: BatchFacts) -> None:
    holder = journal.write(lambda connection: seat(connection, other, "one"))
    claimed(journal, other, 2, holder)

    def counts(which: BatchFacts) -> tuple[int, int, int]:
        return journal.read(
            lambda connection: (
                waiting_count(connection, which.id),
                active_count(connection, which.id),
                held_count(connection, which.id),
            )
        )

    assert (counts(batch), counts(other)) == ((1, 0, 0), (0, 2, 1))
    assert journal.read(free_count) == 1
    claimed(journal, batch, 3)
    assert (counts(batch), journal.read(free_count)) == ((1, 2, 0), 0)


@pytest.mark.parametrize("spared", ["disposed", "of another batch", "held", "released"])
def test_spoiled_cards_wait_to_be_put_out_of_service(
    journal: Journal, batch: BatchFacts, other: BatchFacts, spared: str
) -> None:
    holder = journal.write(lambda connection: seat(connection, batch, "maker")) if spared == "held" else None
    which = other if spared == "of another batch" else batch
    first, second = claimed(journal, batch)[0], claimed(journal, which, 1, holder)[0]
    with journal.transaction() as connection:
        record_spoiled(connection, "s", outcome(first, "torn"), Stage.MAKE, 3)
        if spared == "released":
            record_released(connection, "s", second, "x")
        else:
            record_spoiled(connection, "s", outcome(second, "torn"), Stage.MAKE, 3)
        if spared == "disposed":
            connection.execute(update(Blank).where(Blank.id == second.blank_id).values(disposal="terminated"))
        found = undisposed(connection, batch.id)
    assert [card.card_number for card in found] == [first.card_number]


# -------------------------------------------------------------------------------- stations


def test_a_station_that_leaves_lets_go_of_its_own_cards_alone(journal: Journal, batch: BatchFacts) -> None:
    """Untouched ones go back, begun ones are in doubt; those of a living station stay in its hands."""
    with journal.transaction() as connection:
        one, two = seat(connection, batch, "one"), seat(connection, batch, "two")
        (begun,) = claim_to_make(connection, batch.id, "one", 1, seat=one)
        (untouched,) = claim_to_make(connection, batch.id, "one", 1, seat=one, begin=False)
        (kept,) = claim_to_make(connection, batch.id, "two", 1, seat=two, begin=False)
    first = len(happened(journal))
    journal.write(lambda connection: leave(connection, one, "one", batch.id, "done"))
    with journal.reading() as connection:
        runs = {row.id: (row.state, row.fence) for row in connection.execute(select(Run.id, Run.state, Run.fence))}
    assert runs == {
        begun.run_id: (RunState.OPEN, 2),
        untouched.run_id: (RunState.RELEASED, 2),
        kept.run_id: (RunState.OPEN, 1),
    }
    assert happened(journal, first) == ["released", "station-ended"]
    assert told(journal, What.RELEASED) == [("one", {"reason": "lease-over"})]
    assert told(journal, What.STATION_ENDED) == [("one", {"ending": "done"})]
    doubtful = journal.read(lambda connection: in_doubt(connection, batch.id))
    assert [claim.run_id for claim in doubtful] == [begun.run_id]
    assert value(journal, Row.attempts) == [1, 0, 1]
    journal.write(lambda connection: leave(connection, one, "one", batch.id, "again"))
    assert len(told(journal, What.STATION_ENDED)) == 1


def test_a_station_that_is_lost_is_told_of_with_what_it_held(journal: Journal, batch: BatchFacts) -> None:
    with journal.transaction() as connection:
        one = seat(connection, batch, "one")
        claim_to_make(connection, batch.id, "one", 2, seat=one)
        claim_to_make(connection, batch.id, "one", 1, seat=one, begin=False)
        (facts,) = living(connection, batch.id)
    assert journal.write(lambda connection: lose(connection, "two", facts)) is True
    assert told(journal, What.STATION_LOST) == [
        ("two", {"station": "one", "host": "here", "in_doubt": 2, "released": 1})
    ]
    assert journal.write(lambda connection: lose(connection, "two", facts)) is False
    assert journal.read(lambda connection: living(connection, batch.id)) == []


def test_orders_are_of_one_batch_and_stand_in_the_trail(journal: Journal, batch: BatchFacts, other: BatchFacts) -> None:
    with journal.transaction() as connection:
        for one in (batch, other):
            change_batch(connection, one.id, BatchState.RUNNING)
            order_batch(connection, "li", one.id, Order.PAUSE)
        seat(connection, batch, "one")
        order_station(connection, "li", batch.id, "one", Order.DRAIN)
        assert lift_pause(connection, "wang", batch.id) is True
        assert lift_pause(connection, "wang", batch.id) is False
    assert value(journal, Batch.order) == [None, Order.PAUSE]
    assert told(journal, What.ORDERED) == [
        ("li", {"order": "pause"}),
        ("li", {"order": "pause"}),
        ("li", {"order": "drain", "station": "one"}),
        ("wang", {"order": "go-on"}),
    ]


# ------------------------------------------------------------------ shifts, articles, batches


def test_a_shift_is_of_its_batch_and_lives_by_its_beat(journal: Journal, batch: BatchFacts, other: BatchFacts) -> None:
    def began(connection: Connection, which: BatchFacts) -> int:
        return begin_shift(connection, which.id, 1, host="here", lock="lock", lease_us=LEASE_US)

    own, foreign = journal.write(lambda connection: (began(connection, batch), began(connection, other)))
    seen = journal.read(lambda connection: open_shift(connection, batch.id))
    assert seen is not None
    assert (seen.id, seen.host, seen.beat) == (own, "here", 0)
    assert -LEASE_US <= seen.over_us < 0
    assert journal.write(lambda connection: renew_shift(connection, own)) is True
    assert value(journal, Shift.beat) == [1, 0]
    assert journal.write(lambda connection: lose_shift(connection, "two", seen)) is False  # a sign of life since
    later = journal.read(lambda connection: open_shift(connection, batch.id))
    assert later is not None
    assert -LEASE_US <= later.over_us < 0
    assert journal.write(lambda connection: lose_shift(connection, "two", later)) is True
    assert told(journal, What.COORDINATOR_LOST) == [("two", {"host": "here"})]
    assert journal.read(lambda connection: open_shift(connection, batch.id)) is None
    assert journal.write(lambda connection: renew_shift(connection, own)) is False
    assert journal.write(lambda connection: end_shift(connection, own, "done")) is False
    assert journal.write(lambda connection: end_shift(connection, foreign, "done")) is True
    assert value(journal, Shift.outcome) == ["lost", "done"]


def test_a_batch_is_held_until_its_own_first_article_is_approved(
    journal: Journal, batch: BatchFacts, other: BatchFacts
) -> None:
    for one in (batch, other):
        journal.write(lambda connection, one=one: hold_for_article(connection, "li", one.id))  # type: ignore[misc]
    assert journal.read(lambda connection: find_article(connection, batch.id)) is None
    finish(journal, batch)
    found = journal.read(lambda connection: find_article(connection, batch.id))
    assert found is not None
    assert (found.row_number, found.batch_id) == (1, batch.id)
    assert journal.read(lambda connection: find_article(connection, other.id)) is None
    journal.write(lambda connection: approve_article(connection, "wang", batch.id, {"approval": None}))
    assert told(journal, What.ARTICLE_APPROVED) == [("wang", {"approval": None})]
    assert [journal.read(lambda connection, one=one: is_held(connection, one.id)) for one in (batch, other)] == [  # type: ignore[misc]
        False,
        True,
    ]


def test_a_batch_is_at_work_while_it_runs_or_a_card_of_it_is_begun(
    journal: Journal, batch: BatchFacts, other: BatchFacts
) -> None:
    assert batches_at_work(journal) == []
    claims = claimed(journal, batch)
    assert batches_at_work(journal) == [batch.identifier]
    journal.write(lambda connection: record_released(connection, "maker", claims[0], "x"))
    journal.write(lambda connection: change_batch(connection, other.id, BatchState.RUNNING))
    assert batches_at_work(journal) == [other.identifier]


# ------------------------------------------------------------------------ people's decisions


def rejected(journal: Journal, batch: BatchFacts) -> None:
    def work(connection: Connection) -> None:
        card = good_card(connection, batch.id, 1)
        assert card is not None
        reject_good(connection, "li", card, "rejected: chip", {"approval": None})

    journal.write(work)


def test_rejected_cards_that_answer_are_those_of_the_batch(
    journal: Journal, batch: BatchFacts, other: BatchFacts
) -> None:
    for one in (batch, other):
        finish(journal, one)
        rejected(journal, one)
    found = journal.read(lambda connection: rejected_and_alive(connection, batch.id))
    assert [card.id for card in found] == [1]
    journal.write(lambda connection: connection.execute(update(Blank).values(disposal="not-terminated")))
    assert len(journal.read(lambda connection: rejected_and_alive(connection, batch.id))) == 1
    journal.write(lambda connection: connection.execute(update(Blank).values(disposal="terminated")))
    assert journal.read(lambda connection: rejected_and_alive(connection, batch.id)) == []


def test_a_card_that_is_rejected_twice_at_once_is_rejected_once(journal: Journal, batch: BatchFacts) -> None:
    finish(journal, batch)
    card = journal.read(lambda connection: good_card(connection, batch.id, 1))
    assert card is not None
    rejected(journal, batch)
    with pytest.raises(PersonalizationError, match="journal-moved-on") as caught, journal.transaction() as connection:
        reject_good(connection, "wang", card, "rejected: chip", {})
    assert caught.value.exit_code == 3
    assert len(told(journal, What.REJECTED)) == 1


def test_cards_of_the_stock_move_from_where_they_are_and_keep_why(journal: Journal, batch: BatchFacts) -> None:
    (claim,) = claimed(journal, batch)
    journal.write(lambda connection: record_spoiled(connection, "s", outcome(claim, "torn"), Stage.MAKE, 3))

    def move(sources: tuple[BlankState, ...], target: BlankState, what: What) -> Callable[[Connection], None]:
        return lambda connection: move_cards(
            connection, "li", cards_in(connection, [BlankState.SPOILED]), sources, target, what
        )

    with pytest.raises(PersonalizationError, match="card-not-so") as caught:
        journal.write(move((BlankState.SAMPLE,), BlankState.DESTROYED, What.DESTROYED))
    assert caught.value.parameters["state"] == "spoiled"
    journal.write(move((BlankState.SPOILED,), BlankState.DESTROYED, What.DESTROYED))
    assert (value(journal, Blank.state)[0], value(journal, Blank.reason)[0]) == (BlankState.DESTROYED, "torn")
    assert told(journal, What.DESTROYED) == [("li", {"from": "spoiled"})]


# -------------------------------------------------------------------- cards, SAMs, sealed records


def test_a_permit_is_found_by_its_good_card_and_a_chip_by_its_last_row(
    journal: Journal, batch: BatchFacts, other: BatchFacts
) -> None:
    (claim,) = claimed(journal, batch)
    permit, chip = digest("permit batch 1"), bytes.fromhex(claim.card_number)
    with pytest.raises(PersonalizationError, match="permit-unknown") as caught:
        find_permit(journal, permit)
    assert caught.value.exit_code == 2
    assert knows_permit(journal, permit)
    assert not knows_permit(journal, digest("nobody"))
    journal.write(lambda connection: record_released(connection, "maker", claim, "x"))
    finish(journal, other, 2)
    assert find_card(journal, chip) == ("other", 1)
    finish(journal, batch)
    assert find_permit(journal, permit) == ("batch", 1)
    assert find_permit(journal, digest("permit other 2")) == ("other", 2)
    with pytest.raises(PersonalizationError, match="card-unknown") as caught:
        find_card(journal, bytes(10))
    assert caught.value.exit_code == 2


def test_a_sam_is_begun_made_retired_and_put_out_of_service(journal: Journal) -> None:
    def begin(keys: str, generation: int = 1) -> None:
        begin_sam(
            journal, "li", SAM, profile="p 1", generation=generation, keys={"desk": keys}, facts={"approval": None}
        )

    begin("aaaaaa")
    begin("bbbbbb", 2)  # interrupted, and made on
    (entry,) = list_sams(journal)
    assert (entry.card_number, entry.state, entry.keys, entry.generation) == (
        SAM.lower(),
        SamState.BEGUN,
        {"desk": "bbbbbb"},
        2,
    )
    finish_sam(journal, "li", SAM)
    assert find_sam(journal, SAM.lower()).state is find_sam(journal, SAM).state is SamState.IN_USE
    assert find_sam(journal, SAM).made_at is not None
    with pytest.raises(PersonalizationError, match="sam-made") as caught:
        begin("cccccc")
    assert caught.value.exit_code == 2
    record_terminated(journal, "li", SAM)  # not retired: its chip is in use
    assert find_sam(journal, SAM).disposal is None
    retire_sam(journal, "wang", SAM, "lost")
    entry = find_sam(journal, SAM)
    assert (entry.state, entry.reason, entry.disposal) == (SamState.RETIRED, "lost", "not-terminated")
    record_terminated(journal, "wang", SAM)
    assert find_sam(journal, SAM).disposal == "terminated"
    with pytest.raises(PersonalizationError, match="sam-retired"):
        begin("dddddd")
    with pytest.raises(PersonalizationError, match="sam-retired"):
        retire_sam(journal, "wang", SAM, "again")
    with pytest.raises(PersonalizationError, match="sam-unknown"):
        retire_sam(journal, "wang", "00" * 10, "lost")
    assert told(journal, What.SAM_MADE) == [("li", {"card_id": SAM})]
    assert told(journal, What.SAM_RETIRED) == [("wang", {"card_id": SAM, "reason": "lost"})]
    assert [facts["generation"] for _, facts in told(journal, What.SAM_BEGUN) if facts] == [1, 2]


def test_a_dossier_takes_the_place_of_the_version_that_was_read(journal: Journal) -> None:
    key, others = digest("one"), digest("two")
    assert save_dossier(journal, key, SealedEntry(b"first", 0), "li", "adopt") == 1
    assert save_dossier(journal, others, SealedEntry(b"other", 0), "li", "adopt") == 1
    assert save_dossier(journal, key, SealedEntry(b"second", 1), "wang", "endorse") == 2
    for stale in (0, 1, 3):
        with pytest.raises(PersonalizationError, match="dossier-changed"):
            save_dossier(journal, key, SealedEntry(b"lost", stale), "zhao", "move")
    assert find_dossier(journal, key) == (b"second", 2)
    assert find_dossier(journal, others) == (b"other", 1)
    assert find_dossier(journal, digest("none")) is None
    assert told(journal, What.DOSSIER_SAVED) == [
        ("li", {"operation": "adopt", "version": 1}),
        ("li", {"operation": "adopt", "version": 1}),
        ("wang", {"operation": "endorse", "version": 2}),
    ]


def test_a_case_that_nobody_opened_is_said_to_be_unknown(journal: Journal) -> None:
    with pytest.raises(PersonalizationError, match="case-unknown") as caught:
        find_case(journal, 7)
    assert (caught.value.exit_code, caught.value.parameters) == (2, {"number": 7})
