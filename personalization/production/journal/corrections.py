"""What people decide about cards, as compare-and-set statements beside those of stations (`claims`).

Every function runs in the caller's transaction and writes its audit entries.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Update, func, select, update

from personalization.errors import PersonalizationError
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Batch, Blank, Event, Row, Run
from personalization.production.states import (
    BATCH_TRANSITIONS,
    BLANK_TRANSITIONS,
    ROW_TRANSITIONS,
    RUN_TRANSITIONS,
    BatchState,
    BlankState,
    Disposal,
    RowState,
    RunState,
)

_S = TypeVar("_S", bound=StrEnum)
_USAGE = 2
REASON_LENGTH = 64
"""Characters that the table of blanks takes; a server refuses more."""


class GoodCard(NamedTuple):
    """A card that passed inspection, with the row that it carries.

    Attributes:
        run_id: key of its run.
        row_id: key of its row.
        row_number: row in the delivered sheet.
        batch_id: batch.
        blank_id: key of the blank.
        card_number: chip serial as hex.
        location: where the card is.
    """

    run_id: int
    row_id: int
    row_number: int
    batch_id: int
    blank_id: int
    card_number: str
    location: str


class StockCard(NamedTuple):
    """A card of the stock.

    Attributes:
        id: key of the blank.
        card_number: chip serial as hex.
        location: where it is.
        lot: delivery lot.
        state: where it stands.
        reason: why it is spoiled or barred, empty when it is neither.
        disposal: what became of a spoiled one, empty when nothing is known.
    """

    id: int
    card_number: str
    location: str
    lot: str
    state: BlankState
    reason: str
    disposal: str


def good_card(connection: Connection, batch_id: int, row_number: int) -> GoodCard | None:
    """The good card of a row, None when it has none."""
    found = connection.execute(
        select(Run.id, Run.row_id, Row.number, Run.batch_id, Run.blank_id, Blank.card_number, Blank.location)
        .join(Row, Row.id == Run.row_id)
        .join(Blank, Blank.id == Run.blank_id)
        .where(Row.batch_id == batch_id, Row.number == row_number, Run.state == RunState.GOOD.value)
    ).one_or_none()
    return GoodCard._make(found) if found is not None else None


def reject_good(connection: Connection, who: str, card: GoodCard, reason: str, facts: Mapping[str, object]) -> None:
    """A good card turned out bad: it is barred for ever, and its row waits for a new blank.

    Args:
        connection: open transaction.
        who: operator.
        card: the card.
        reason: code of why.
        facts: who approved.
    """
    run = update(Run).where(Run.id == card.run_id, Run.state == _from(RUN_TRANSITIONS, RunState.GOOD, RunState.SPOILED))
    _one(connection, run.values(state=RunState.SPOILED.value, reason=reason))
    _move_blank(connection, card.blank_id, BlankState.GOOD, BlankState.SPOILED, reason)
    row = update(Row).where(Row.id == card.row_id, Row.state == _from(ROW_TRANSITIONS, RowState.GOOD, RowState.WAITING))
    _one(connection, row.values(state=RowState.WAITING.value, attempts=0, reason=reason))
    complete = _from(BATCH_TRANSITIONS, BatchState.COMPLETE, BatchState.STOPPED)
    batch = update(Batch).where(Batch.id == card.batch_id, Batch.state == complete)
    connection.execute(batch.values(state=BatchState.STOPPED.value, reason=What.REJECTED.value))
    told = {"reason": reason, **facts}
    record(connection, who, [Entry(What.REJECTED, card.batch_id, card.row_id, card.blank_id, card.run_id, told)])


def rejected_and_alive(connection: Connection, batch_id: int) -> list[StockCard]:
    """Rejected cards of a batch that nobody has put out of service or destroyed."""
    rejected = select(Event.blank_id).where(Event.batch_id == batch_id, Event.what == What.REJECTED.value)
    return _stock_cards(
        connection,
        Blank.id.in_(rejected),
        Blank.state == BlankState.SPOILED.value,
        Blank.disposal.is_(None) | (Blank.disposal != Disposal.TERMINATED.value),
    )


def masters_of(connection: Connection, batch_id: int, card_number: str) -> dict[str, str]:
    """Check values (hex) of the keys with which a card of a batch was made, by name; empty when nobody wrote them down.

    Args:
        connection: open transaction.
        batch_id: batch.
        card_number: chip serial as hex.
    """
    made = (
        select(func.max(Event.id))
        .join(Blank, Blank.id == Event.blank_id)
        .where(Event.batch_id == batch_id, Event.what == What.MADE.value, Blank.card_number == card_number)
    )
    begun = connection.execute(
        select(Event.facts)
        .where(Event.batch_id == batch_id, Event.what == What.BATCH_RUNNING.value, Event.id < made.scalar_subquery())
        .order_by(Event.id.desc())
        .limit(1)
    ).scalar()
    return dict(json.loads(begun).get("keys", {})) if begun else {}


def cards_in(connection: Connection, states: Sequence[BlankState]) -> list[StockCard]:
    """Cards of the stock in any of the states."""
    return _stock_cards(connection, Blank.state.in_([state.value for state in states]))


def cards_by_number(connection: Connection, card_numbers: Sequence[str]) -> list[StockCard]:
    """The cards with these chip serials (hex, either case), each once.

    Raises:
        PersonalizationError: "card-unknown", exit 2.
    """
    wanted = sorted({number.lower() for number in card_numbers})
    found: dict[str, StockCard] = {}
    for number in wanted:
        cards = _stock_cards(connection, Blank.card_number == number)
        if not cards:
            raise PersonalizationError("card-unknown", exit_code=_USAGE, card_id=number.upper())
        found[number] = cards[0]
    return [found[number] for number in wanted]


def move_cards(
    connection: Connection,
    who: str,
    cards: Sequence[StockCard],
    sources: Collection[BlankState],
    target: BlankState,
    what: What,
    *,
    reason: str | None = None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Bring cards of the stock from one of ``sources`` to ``target``, all or none.

    Raises:
        PersonalizationError: "card-not-so", a card is not where it could go there from; exit 2.
    """
    for card in cards:
        if card.state not in sources:
            raise PersonalizationError(
                "card-not-so",
                exit_code=_USAGE,
                card_id=card.card_number.upper(),
                state=card.state.value,
                wanted=target.value,
            )
        _move_blank(connection, card.id, card.state, target, reason if reason is not None else card.reason or None)
    entries = [Entry(what, blank_id=card.id, facts={"from": card.state.value, **(facts or {})}) for card in cards]
    record(connection, who, entries)


def _stock_cards(connection: Connection, *conditions: object) -> list[StockCard]:
    columns = (Blank.id, Blank.card_number, Blank.location, Blank.lot, Blank.state, Blank.reason, Blank.disposal)
    statement = select(*columns).where(*conditions).order_by(Blank.id)  # type: ignore[arg-type]  # columns' own conditions
    return [
        StockCard(
            row.id, row.card_number, row.location, row.lot, BlankState(row.state), row.reason or "", row.disposal or ""
        )
        for row in connection.execute(statement)
    ]


def _move_blank(connection: Connection, key: int, source: BlankState, target: BlankState, reason: str | None) -> None:
    statement = update(Blank).where(Blank.id == key, Blank.state == _from(BLANK_TRANSITIONS, source, target))
    kept = reason if reason is None else reason[:REASON_LENGTH]  # the audit trail has all of it
    _one(connection, statement.values(state=target.value, reason=kept))


def _from(transitions: Mapping[_S, frozenset[_S]], source: _S, target: _S) -> str:
    """The source state's name, when it leads to ``target``."""
    if target not in transitions[source]:
        raise ValueError(f"{source} does not lead to {target}")
    return source.value


def _one(connection: Connection, statement: Update) -> None:
    if connection.execute(statement).rowcount != 1:
        raise PersonalizationError("journal-moved-on", exit_code=3)
