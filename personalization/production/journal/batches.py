"""Batches and their rows: taking them in, finding them, counting them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal, now_us
from personalization.production.journal.driver import insert_many
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Batch, Blank, Event, Row, Run, Shift
from personalization.production.states import (
    ACTIVE_RUNS,
    BATCH_TRANSITIONS,
    BatchState,
    BlankState,
    RowState,
    RunState,
)
from personalization.production.work import HALF_MADE

_MICROSECONDS: Final = 1_000_000
_MADE: Final = (RunState.MADE, RunState.INSPECTING, RunState.GOOD, RunState.CANCELLED)


class RowEntry(NamedTuple):
    """One accepted row as it enters the journal; its attributes are the columns'.

    Attributes:
        number: row in the delivered sheet.
        prepared_index: place in the prepared file, 0 is the first.
        permit: `KeyStore.recognise` of the permit number.
        citizen: `KeyStore.recognise` of the citizen number.
    """

    number: int
    prepared_index: int
    permit: bytes
    citizen: bytes


class RejectedRow(NamedTuple):
    """One row that intake refused; its attributes are the columns'.

    Attributes:
        number: row in the delivered sheet.
        reason: code of the first rule that it breaks.
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A batch as it enters the journal.

    Attributes:
        identifier: name of the batch, unique, such as the delivered file's name without its ending.
        source_hash: SHA-256 or HMAC of the delivered file, 32 bytes.
        area: six digits of GB/T 2260.
        delivered: rows that were delivered.
        prepared: path of the prepared file.
        source: path of the sealed source data that inspection compares with.
        rows: accepted rows.
        rejected: refused rows.
    """

    identifier: str
    source_hash: bytes
    area: str
    delivered: int
    prepared: str
    source: str
    rows: Iterable[RowEntry]
    rejected: Iterable[RejectedRow] = ()


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """A batch as the journal knows it.

    Attributes:
        id: key in the journal.
        identifier: name.
        area: six digits of GB/T 2260.
        delivered: rows that were delivered.
        prepared: path of the prepared file.
        source: path of the sealed source data.
        state: where it is.
        reason: code of why it stopped.
        received_at: microseconds since 1970 UTC.
    """

    id: int
    identifier: str
    area: str
    delivered: int
    prepared: str
    source: str
    state: BatchState
    reason: str | None
    received_at: int


def reasons_of_unfinished(journal: Journal, batch_id: int) -> dict[str, int]:
    """How many rows have no good card after all, by the reason of the last card that they lost; the most first."""
    unfinished = (RowState.WAITING.value, RowState.FAILED.value)
    statement = (
        select(Row.reason, func.count())
        .where(Row.batch_id == batch_id, Row.state.in_(unfinished), Row.reason.is_not(None))
        .group_by(Row.reason)
    )
    with journal.reading() as connection:
        found = [(str(reason), int(number)) for reason, number in connection.execute(statement)]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """Where a batch is, in numbers that add up.

    Attributes:
        batch: the batch.
        rows: rows by state; their sum is what was delivered.
        runs: runs by state; the active ones are cards in somebody's hands.
        stock: the whole stock's blanks by state.
        seconds: time that coordinators worked on it.
        recovered: cards found by recovery, by condition.
    """

    batch: BatchFacts
    rows: dict[RowState, int]
    runs: dict[RunState, int]
    stock: dict[BlankState, int]
    seconds: float
    recovered: dict[str, int] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Rows that production was asked to make."""
        return sum(self.rows.values()) - self.rows[RowState.REJECTED]

    @property
    def good(self) -> int:
        """Rows with a card that passed inspection, later cancelled ones included."""
        return self.rows[RowState.GOOD] + self.runs[RunState.CANCELLED]

    @property
    def made(self) -> int:
        """Cards that were made and not spoiled since."""
        return sum(self.runs[state] for state in _MADE)

    @property
    def half_made(self) -> int:
        """Cards that recovery found between their first and their last write."""
        return sum(count for condition, count in self.recovered.items() if condition in HALF_MADE)

    @property
    def left(self) -> int:
        """Rows that still need a card."""
        return self.rows[RowState.WAITING] + self.rows[RowState.IN_PRODUCTION]

    @property
    def cards_per_second(self) -> float:
        """Good cards by working time, 0 before there is any."""
        return self.good / self.seconds if self.seconds else 0.0


def register_batch(
    journal: Journal, entry: BatchEntry, who: str, *, facts: Mapping[str, object] | None = None
) -> BatchFacts:
    """Take an accepted batch in; all of it or nothing.

    Args:
        journal: where to.
        entry: the batch with its rows.
        who: operator.
        facts: more for the audit trail, such as who approved.

    Raises:
        PersonalizationError: "batch-known", the identifier or file is in the journal already; "permit-known", one of
            its permits is.
    """
    try:
        with journal.transaction() as connection:
            batch_id, accepted, rejected = _insert(connection, entry)
            counts = {"accepted": accepted, "rejected": rejected, **(facts or {})}
            record(connection, who, [Entry(What.BATCH_LOADED, batch_id, facts=counts)])
    except IntegrityError as error:
        code = "permit-known" if "rows" in str(error.orig) else "batch-known"
        raise PersonalizationError(code, batch=entry.identifier) from None
    return find_batch(journal, entry.identifier)


def _insert(connection: Connection, entry: BatchEntry) -> tuple[int, int, int]:
    """The batch's key, and how many rows were accepted and rejected; rows are taken as they come."""
    values = {
        "identifier": entry.identifier,
        "source_hash": entry.source_hash,
        "area": entry.area,
        "delivered": entry.delivered,
        "prepared": entry.prepared,
        "source": entry.source,
        "state": BatchState.LOADED.value,
        "received_at": now_us(),
    }
    batch_id = connection.execute(insert(Batch).values(values).returning(Batch.id)).scalar_one()
    accepted = _insert_rows(connection, batch_id, RowState.WAITING, RowEntry._fields, entry.rows)
    rejected = _insert_rows(connection, batch_id, RowState.REJECTED, RejectedRow._fields, entry.rejected)
    return batch_id, accepted, rejected


def _insert_rows(
    connection: Connection, batch_id: int, state: RowState, columns: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> int:
    shared = {"batch_id": batch_id, "state": state.value, "attempts": 0}
    return insert_many(connection, Row.__tablename__, shared, columns, rows)


def find_batch(journal: Journal, identifier: str) -> BatchFacts:
    """The batch of that name.

    Raises:
        PersonalizationError: "batch-unknown".
    """
    wanted = select(Batch.__table__).where(Batch.identifier == identifier)
    found = journal.read(lambda connection: connection.execute(wanted).one_or_none())
    if found is None:
        raise PersonalizationError("batch-unknown", exit_code=2, batch=identifier)
    return BatchFacts(
        found.id,
        found.identifier,
        found.area,
        found.delivered,
        found.prepared,
        found.source,
        BatchState(found.state),
        found.reason,
        found.received_at,
    )


def list_batches(journal: Journal) -> list[str]:
    """Names of all batches, oldest first."""
    with journal.reading() as connection:
        return list(connection.execute(select(Batch.identifier).order_by(Batch.id)).scalars())


def batches_at_work(journal: Journal, *, begun: bool = True) -> list[str]:
    """Names of the batches that are running, or of which a card is begun and not finished; oldest first.

    Args:
        journal: the open journal.
        begun: also those that stand still, for their begun cards.
    """
    active = select(Run.id).where(Run.batch_id == Batch.id, Run.state.in_([state.value for state in ACTIVE_RUNS]))
    running = Batch.state == BatchState.RUNNING.value
    at_work = or_(running, active.exists()) if begun else running
    with journal.reading() as connection:
        return list(connection.execute(select(Batch.identifier).where(at_work).order_by(Batch.id)).scalars())


def change_batch(connection: Connection, batch_id: int, state: BatchState, reason: str | None = None) -> None:
    """Move a batch to ``state``.

    Raises:
        PersonalizationError: "batch-state", it is not in a state from which that is allowed.
    """
    sources = [source.value for source, targets in BATCH_TRANSITIONS.items() if state in targets]
    statement = update(Batch).where(Batch.id == batch_id, Batch.state.in_(sources))
    if connection.execute(statement.values(state=state.value, reason=reason)).rowcount != 1:
        raise PersonalizationError("batch-state", exit_code=2, wanted=state.value)


def release_batch(journal: Journal, identifier: str, who: str, facts: Mapping[str, object]) -> None:
    """Record that a complete batch leaves the centre.

    Raises:
        PersonalizationError: exit 2: "batch-unknown", "batch-not-complete", "batch-released".
    """
    batch = find_batch(journal, identifier)
    with journal.transaction() as connection:
        # Locked: who rejects a card of it, or releases it too, waits, or has been before and is seen.
        state = connection.execute(select(Batch.state).where(Batch.id == batch.id).with_for_update()).scalar_one()
        _require_releasable(connection, batch, state)
        record(connection, who, [Entry(What.BATCH_RELEASED, batch.id, facts=facts)])


def require_releasable(journal: Journal, identifier: str) -> None:
    """Refuse a batch that could not be released now, before a second person is sent for.

    Raises:
        PersonalizationError: as `release_batch`.
    """
    batch = find_batch(journal, identifier)
    journal.read(lambda connection: _require_releasable(connection, batch, batch.state))


def _require_releasable(connection: Connection, batch: BatchFacts, state: str) -> None:
    if state != BatchState.COMPLETE.value:
        raise PersonalizationError("batch-not-complete", exit_code=2, batch=batch.identifier)
    if is_released(connection, batch.id):
        raise PersonalizationError("batch-released", exit_code=2, batch=batch.identifier)


def is_released(connection: Connection, batch_id: int) -> bool:
    """Whether a batch has left the centre, and no card of it was rejected since."""
    told = (What.BATCH_RELEASED.value, What.REJECTED.value)
    last = select(Event.what).where(Event.batch_id == batch_id, Event.what.in_(told)).order_by(Event.id.desc()).limit(1)
    return connection.execute(last).scalar() == What.BATCH_RELEASED.value


def batch_status(journal: Journal, identifier: str) -> BatchStatus:
    """Count a batch; one consistent view, also while stations work.

    Raises:
        PersonalizationError: "batch-unknown".
    """
    batch = find_batch(journal, identifier)
    return journal.read(lambda connection: _status(connection, batch))


def _status(connection: Connection, batch: BatchFacts) -> BatchStatus:
    rows = _count(connection, Row.state, Row.batch_id == batch.id)
    runs = _count(connection, Run.state, Run.batch_id == batch.id)
    stock = _count(connection, Blank.state)
    length = func.coalesce(Shift.ended_at, Shift.last_seen_at) - Shift.started_at
    worked = func.sum(case((length > 0, length), else_=0))  # the clock may have been set back
    found_us = connection.execute(select(worked).where(Shift.batch_id == batch.id)).scalar()
    recovered = connection.execute(
        select(Event.facts).where(Event.batch_id == batch.id, Event.what == What.RECOVERED.value)
    ).scalars()
    return BatchStatus(
        batch,
        {state: rows.get(state.value, 0) for state in RowState},
        {state: runs.get(state.value, 0) for state in RunState},
        {state: stock.get(state.value, 0) for state in BlankState},
        int(found_us or 0) / _MICROSECONDS,  # a server sums up in decimals
        _conditions(recovered),
    )


def _count(
    connection: Connection, state: InstrumentedAttribute[str], *conditions: ColumnElement[bool]
) -> dict[str, int]:
    """Rows of a table by state."""
    found = connection.execute(select(state, func.count()).where(*conditions).group_by(state))
    return {row[0]: row[1] for row in found}


def _conditions(facts: Iterable[str | None]) -> dict[str, int]:
    conditions = Counter(json.loads(entry)["condition"] for entry in facts if entry)
    return dict(sorted(conditions.items()))
