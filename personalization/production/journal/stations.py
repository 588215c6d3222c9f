"""Stations in the journal: their leases, their orders and what they did.

Every function runs in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, bindparam, exists, insert, select, update

from personalization.errors import PersonalizationError
from personalization.production.journal.clock import DatabaseClock
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Batch, Blank, Row, Run, Shift
from personalization.production.journal.tables import Station as Seat
from personalization.production.states import (
    LIVE_STATIONS,
    STATION_TRANSITIONS,
    BatchState,
    BlankState,
    Order,
    RowState,
    RunState,
    StationState,
)

_LIVE: Final = tuple(state.value for state in LIVE_STATIONS)
_USAGE: Final = 2
LEASE_OVER: Final = "lease-over"
"""Why an untouched card went back."""


class Progress(NamedTuple):
    """What was committed since the last report.

    Attributes:
        made: cards made.
        good: cards that passed inspection.
        spoiled: cards lost.
        failed: rows given up.
    """

    made: int = 0
    good: int = 0
    spoiled: int = 0
    failed: int = 0


class Told(NamedTuple):
    """What a station learns when it gives a sign of life.

    Attributes:
        order: the stricter of its own order and the batch's, None to go on.
        supervisor: beat of the batch's coordinator, None when there is none.
    """

    order: Order | None
    supervisor: int | None


@dataclass(frozen=True, slots=True)
class StationFacts:
    """A life of a station as the journal knows it.

    Attributes:
        id: key in the journal.
        batch_id: batch.
        shift_id: shift in which it joined.
        name: its name.
        host: its machine.
        lock: see `personalization.production.lives`.
        state: where it is.
        order: what it was told.
        beat: count of its signs of life.
        lease_us: length of its lease, microseconds.
        over_us: for how long the lease had run out when this was read, microseconds; negative while it runs.
        joined_at: microseconds since 1970 UTC, as `seen_at` and `ended_at`, by the database's clock.
        seen_at: last sign of life.
        ended_at: None while it lives.
        ending: why it ended.
        done: what it did.
        busy_us: time that it had cards in hand.
    """

    id: int
    batch_id: int
    shift_id: int | None
    name: str
    host: str
    lock: str
    state: StationState
    order: Order | None
    beat: int
    lease_us: int
    over_us: int
    joined_at: int
    seen_at: int
    ended_at: int | None
    ending: str | None
    done: Progress
    busy_us: int

    @property
    def lock_name(self) -> str:
        """Name of the lock that it holds on its machine."""
        return station_lock(self.batch_id, self.name)


class SeatLost(PersonalizationError):
    """The station's lease has run out and others were told so: nothing that it had in hand is its own any more."""

    def __init__(self, station: str) -> None:
        super().__init__("claim-lost", exit_code=3, station=station)


def station_lock(batch_id: int, name: str) -> str:
    """Name of the lock that a station holds while it lives."""
    return f"batch-{batch_id}-{name}"


def held_by_the_living() -> ColumnElement[bool]:
    """Condition on `Run`: a living station has it in hand."""
    return exists().where(Seat.id == Run.holder, Seat.state.in_(_LIVE))


def living(connection: Connection, batch_id: int) -> list[StationFacts]:
    """Stations of a batch that have neither ended nor been given up."""
    return _facts(connection, Seat.batch_id == batch_id, Seat.state.in_(_LIVE))


def all_stations(connection: Connection, batch_id: int, shift_id: int | None = None) -> list[StationFacts]:
    """All lives of stations of a batch, or of one shift of it, oldest first."""
    which = [Seat.batch_id == batch_id]
    if shift_id is not None:
        which.append(Seat.shift_id == shift_id)
    return _facts(connection, *which)


def _facts(connection: Connection, *conditions: ColumnElement[bool]) -> list[StationFacts]:
    statement = select(Seat.__table__, (DatabaseClock() - Seat.lease_until).label("over_us"))
    return [
        StationFacts(
            row.id, row.batch_id, row.shift_id, row.name, row.host, row.lock, StationState(row.state),
            Order(row.order) if row.order else None, row.beat, row.lease_us, row.over_us, row.joined_at, row.seen_at,
            row.ended_at, row.ending, Progress(row.made, row.good, row.spoiled, row.failed), row.busy_us,
        )
        for row in connection.execute(statement.where(*conditions).order_by(Seat.id))
    ]  # fmt: skip


def join(connection: Connection, batch_id: int, name: str, *, host: str, lock: str, lease_us: int) -> int:
    """A station begins to live; returns the key of its row.

    Raises:
        IntegrityError: a living station of the batch has that name.
    """
    shift = select(Shift.id).where(Shift.batch_id == batch_id, Shift.ended_at.is_(None)).scalar_subquery()
    values = {
        "batch_id": batch_id,
        "shift_id": shift,
        "name": name,
        "host": host,
        "lock": lock,
        "state": StationState.WORKING.value,
        "beat": 0,
        "lease_us": lease_us,
        "lease_until": DatabaseClock() + lease_us,
        "joined_at": DatabaseClock(),
        "seen_at": DatabaseClock(),
        "made": 0,
        "good": 0,
        "spoiled": 0,
        "failed": 0,
        "busy_us": 0,
    }
    key = connection.execute(insert(Seat).values(values).returning(Seat.id)).scalar_one()
    record(connection, name, [Entry(What.STATION_JOINED, batch_id, facts={"host": host})])
    return key


_SUPERVISOR: Final = (
    select(Shift.beat).where(Shift.batch_id == Seat.batch_id, Shift.ended_at.is_(None)).scalar_subquery()
)
_BATCH_ORDER: Final = select(Batch.order).where(Batch.id == Seat.batch_id).scalar_subquery()
_RENEW: Final = (
    update(Seat)
    .where(Seat.id == bindparam("key"), Seat.state.in_(_LIVE))
    .values(
        state=bindparam("new_state"),
        beat=Seat.beat + 1,
        seen_at=DatabaseClock(),
        lease_until=DatabaseClock() + Seat.lease_us,
        made=Seat.made + bindparam("more_made", type_=Integer),
        good=Seat.good + bindparam("more_good", type_=Integer),
        spoiled=Seat.spoiled + bindparam("more_spoiled", type_=Integer),
        failed=Seat.failed + bindparam("more_failed", type_=Integer),
        busy_us=Seat.busy_us + bindparam("busy", type_=BigInteger),
    )
    .returning(Seat.order, _BATCH_ORDER.label("batch_order"), _SUPERVISOR.label("supervisor"))
)


def renew(
    connection: Connection, station_id: int, name: str, state: StationState, done: Progress, busy_us: int
) -> Told:
    """Give a sign of life, which prolongs the lease, and add what was done since the last one.

    Raises:
        SeatLost: the station was given up.
    """
    more = {f"more_{name}": count for name, count in done._asdict().items()}
    values = {"key": station_id, "new_state": state.value, "busy": busy_us, **more}
    found = connection.execute(_RENEW, values).one_or_none()
    if found is None:
        raise SeatLost(name)
    orders = {Order(order) for order in (found.order, found.batch_order) if order}
    order = Order.DRAIN if Order.DRAIN in orders else next(iter(orders), None)
    return Told(order, found.supervisor)


def leave(connection: Connection, station_id: int, name: str, batch_id: int, ending: str) -> None:
    """The station ends; what it still held is for others. Nothing happens when it was given up before."""
    if _end(connection, station_id, StationState.ENDED, ending):
        _let_go(connection, name, station_id)
        record(connection, name, [Entry(What.STATION_ENDED, batch_id, facts={"ending": ending})])


def lose(connection: Connection, who: str, station: StationFacts) -> bool:
    """Give a station up: it may write no more, and what it held goes back or is in doubt.

    Args:
        connection: open transaction.
        who: who noticed.
        station: as it was seen; a sign of life since then saves it.

    Returns:
        False when it was saved, or somebody else was faster.
    """
    if not _end(connection, station.id, StationState.LOST, "lost", beat=station.beat):
        return False
    in_doubt, released = _let_go(connection, who, station.id)
    facts = {"station": station.name, "host": station.host, "in_doubt": in_doubt, "released": released}
    record(connection, who, [Entry(What.STATION_LOST, station.batch_id, facts=facts)])
    return True


def _end(
    connection: Connection, station_id: int, target: StationState, ending: str, *, beat: int | None = None
) -> bool:
    sources = [source.value for source, targets in STATION_TRANSITIONS.items() if target in targets]
    statement = update(Seat).where(Seat.id == station_id, Seat.state.in_(sources))
    if beat is not None:
        statement = statement.where(Seat.beat == beat)
    values = {"state": target.value, "ending": ending, "ended_at": DatabaseClock(), "order": None}
    return connection.execute(statement.values(values)).rowcount == 1


def _let_go(connection: Connection, who: str, station_id: int) -> tuple[int, int]:
    """Release what was not begun; returns how many runs are in doubt, and how many were released."""
    held = (Run.holder == station_id,)
    untouched = connection.execute(
        select(Run.id, Run.fence, Run.row_id, Run.blank_id, Run.batch_id).where(
            *held, Run.state == RunState.OPEN.value, Run.begun_at.is_(None)
        )
    ).all()
    for run in untouched:
        release_untouched(connection, run.id, run.fence, run.row_id, run.blank_id)
    facts = {"reason": LEASE_OVER}
    record(
        connection,
        who,
        [Entry(What.RELEASED, run.batch_id, run.row_id, run.blank_id, run.id, facts) for run in untouched],
    )
    doubtful = update(Run).where(*held, Run.state == RunState.OPEN.value).values(fence=Run.fence + 1)
    return connection.execute(doubtful).rowcount, len(untouched)


def release_untouched(connection: Connection, run_id: int, fence: int, row_id: int, blank_id: int) -> None:
    """Row and blank of a run whose card has received no byte go back as they were."""
    run = update(Run).where(Run.id == run_id, Run.fence == fence, Run.state == RunState.OPEN.value)
    connection.execute(run.values(state=RunState.RELEASED.value, fence=Run.fence + 1, reason=LEASE_OVER))
    row = update(Row).where(Row.id == row_id, Row.state == RowState.IN_PRODUCTION.value)
    connection.execute(row.values(state=RowState.WAITING.value, attempts=Row.attempts - 1))
    blank = update(Blank).where(Blank.id == blank_id, Blank.state == BlankState.IN_USE.value)
    connection.execute(blank.values(state=BlankState.IN_STOCK.value))


def order_station(connection: Connection, who: str, batch_id: int, name: str, order: Order | None) -> None:
    """Tell one living station to pause, to drain, or (None) to go on.

    Raises:
        PersonalizationError: "station-unknown", exit 2: no such station lives.
    """
    statement = update(Seat).where(Seat.batch_id == batch_id, Seat.name == name, Seat.state.in_(_LIVE))
    if connection.execute(statement.values(order=_order(order))).rowcount != 1:
        raise PersonalizationError("station-unknown", exit_code=_USAGE, station=name)
    _ordered(connection, who, batch_id, order, name)


def order_batch(connection: Connection, who: str, batch_id: int, order: Order | None) -> None:
    """Tell all stations of a running batch to pause, to drain, or (None) to go on.

    Raises:
        PersonalizationError: "batch-not-running", exit 2.
    """
    statement = update(Batch).where(Batch.id == batch_id, Batch.state == BatchState.RUNNING.value)
    if connection.execute(statement.values(order=_order(order))).rowcount != 1:
        raise PersonalizationError("batch-not-running", exit_code=_USAGE)
    _ordered(connection, who, batch_id, order, "")


def lift_pause(connection: Connection, who: str, batch_id: int) -> bool:
    """Let the stations of a running batch go on; False when they were not told to pause."""
    statement = update(Batch).where(
        Batch.id == batch_id, Batch.state == BatchState.RUNNING.value, Batch.order == Order.PAUSE.value
    )
    if connection.execute(statement.values(order=None)).rowcount != 1:
        return False
    _ordered(connection, who, batch_id, None, "")
    return True


def _order(order: Order | None) -> str | None:
    return None if order is None else order.value


def _ordered(connection: Connection, who: str, batch_id: int, order: Order | None, name: str) -> None:
    facts = {"order": _order(order) or "go-on", **({"station": name} if name else {})}
    record(connection, who, [Entry(What.ORDERED, batch_id, facts=facts)])
