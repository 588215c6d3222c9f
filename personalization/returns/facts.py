"""What became of each row of a batch, and which cards newer ones replaced: from the journal, without any name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, select
from sqlalchemy.orm import aliased

from personalization.errors import PersonalizationError
from personalization.production.journal.batches import find_batch, is_released
from personalization.production.journal.database import Journal
from personalization.production.journal.events import What
from personalization.production.journal.tables import Batch, Blank, Cancellation, Event, Row, Run
from personalization.production.row_ranges import parse_rows
from personalization.production.states import RowState, RunState

_USAGE: Final = 2

ROWS: Final = "rows"
"""Fact of an entry of written letters: whose."""


class Result(StrEnum):
    """What became of a row, as the return file says it; 01 is the status that the platform gives a replaced permit."""

    MADE = "00"
    CANCELLED = "01"
    NOT_MADE = "02"
    REFUSED = "03"


class Replacement(StrEnum):
    """Why a card is replaced."""

    NEWER_PERMIT = "01"
    MADE_AGAIN = "02"


_RESULTS: Final = {
    RowState.GOOD: Result.MADE,
    RowState.CANCELLED: Result.CANCELLED,
    RowState.REJECTED: Result.REFUSED,
}


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row.

    Attributes:
        row: row in the delivered sheet.
        result: what became of it.
        reason: code of why there is no card, else empty.
        card_number: chip serial as hex, empty without a card.
        made_at: microseconds since 1970 UTC, 0 without a card.
        inspected_at: the same.
    """

    row: int
    result: Result
    reason: str
    card_number: str
    made_at: int
    inspected_at: int


@dataclass(frozen=True, slots=True)
class ReplacedCard:
    """A card that a card of this batch replaced.

    Attributes:
        why: by a newer permit, or made again.
        batch: batch of the old card.
        row: its row.
        card_number: chip serial of the old card as hex; empty where the older row had none yet.
        new_row: row of the new card in this batch.
        new_card_number: its chip serial.
        at: microseconds since 1970 UTC.
    """

    why: Replacement
    batch: str
    row: int
    card_number: str
    new_row: int
    new_card_number: str
    at: int


@dataclass(frozen=True, slots=True)
class ReturnFacts:
    """All of one batch.

    Attributes:
        identifier: the batch.
        area: six digits of GB/T 2260.
        rows: in the order of the sheet.
        replaced: in the order of their new rows.
    """

    identifier: str
    area: str
    rows: Sequence[RowResult]
    replaced: Sequence[ReplacedCard]


def collect_returns(journal: Journal, identifier: str) -> ReturnFacts:
    """Collect what a released batch gives back.

    Raises:
        PersonalizationError: exit 2: "batch-unknown", "batch-not-released".
    """
    batch = find_batch(journal, identifier)
    with journal.reading() as connection:
        if not is_released(connection, batch.id):
            raise PersonalizationError("batch-not-released", exit_code=_USAGE, batch=identifier)
        rows = _rows(connection, batch.id)
        cards = {row.row: row.card_number for row in rows}
        replaced = [*_newer(connection, batch.id), *_again(connection, batch.id, identifier, cards)]
    return ReturnFacts(identifier, batch.area, rows, sorted(replaced, key=lambda card: (card.new_row, card.at)))


def lettered_rows(connection: Connection, batch_id: int) -> frozenset[int]:
    """Rows whose PIN letters were written before."""
    told = select(Event.facts).where(Event.batch_id == batch_id, Event.what == What.LETTERS_WRITTEN.value)
    written = [json.loads(facts or "{}") for facts in connection.execute(told).scalars()]
    return frozenset[int]().union(*(parse_rows(str(facts[ROWS])) for facts in written))


def rows_without_letter(connection: Connection, batch_id: int) -> int:
    """How many rows have a good card and no PIN letter yet."""
    good = select(Row.number).where(Row.batch_id == batch_id, Row.state == RowState.GOOD.value)
    return len(set(connection.execute(good).scalars()) - lettered_rows(connection, batch_id))


def _rows(connection: Connection, batch_id: int) -> list[RowResult]:
    finished = Run.state.in_((RunState.GOOD.value, RunState.CANCELLED.value))
    statement = (
        select(Row.number, Row.state, Row.reason, Blank.card_number, Run.made_at, Run.inspected_at)
        .outerjoin(Run, (Run.row_id == Row.id) & finished)
        .outerjoin(Blank, Blank.id == Run.blank_id)
        .where(Row.batch_id == batch_id)
        .order_by(Row.number)
    )
    return [
        RowResult(
            row.number,
            _RESULTS.get(RowState(row.state), Result.NOT_MADE),
            "" if row.card_number else row.reason or "",
            row.card_number or "",
            row.made_at or 0,
            row.inspected_at or 0,
        )
        for row in connection.execute(statement)
    ]


def _newer(connection: Connection, batch_id: int) -> list[ReplacedCard]:
    """Cards of older permits of the same citizens."""
    old, new, old_run, new_run = aliased(Row), aliased(Row), aliased(Run), aliased(Run)
    old_blank, new_blank = aliased(Blank), aliased(Blank)
    has_card = (RunState.GOOD.value, RunState.CANCELLED.value)
    statement = (
        select(
            Batch.identifier, old.number, old_blank.card_number, new.number, new_blank.card_number, Cancellation.at
        )
        .select_from(Cancellation)
        .join(old, old.id == Cancellation.old_row_id)
        .join(new, new.id == Cancellation.new_row_id)
        .join(Batch, Batch.id == old.batch_id)
        .outerjoin(old_run, (old_run.row_id == old.id) & (old_run.state == RunState.CANCELLED.value))
        .outerjoin(old_blank, old_blank.id == old_run.blank_id)
        .outerjoin(new_run, (new_run.row_id == new.id) & new_run.state.in_(has_card))
        .outerjoin(new_blank, new_blank.id == new_run.blank_id)
        .where(new.batch_id == batch_id)
    )  # fmt: skip
    return [
        ReplacedCard(Replacement.NEWER_PERMIT, batch, row, card or "", new_row, new_card or "", at)
        for batch, row, card, new_row, new_card, at in connection.execute(statement)
    ]


def _again(connection: Connection, batch_id: int, identifier: str, cards: dict[int, str]) -> list[ReplacedCard]:
    """Cards of this batch that were rejected after their inspection."""
    statement = (
        select(Row.number, Blank.card_number, Event.at)
        .join(Row, Row.id == Event.row_id)
        .join(Blank, Blank.id == Event.blank_id)
        .where(Event.batch_id == batch_id, Event.what == What.REJECTED.value)
        .order_by(Event.id)
    )
    return [
        ReplacedCard(Replacement.MADE_AGAIN, identifier, row, card, row, cards.get(row, ""), at)
        for row, card, at in connection.execute(statement)
    ]
