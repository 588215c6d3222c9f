"""The coordinator's hold on a batch: one shift that has not ended, with a lease, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from personalization.production.journal.clock import DatabaseClock
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Shift


@dataclass(frozen=True, slots=True)
class ShiftFacts:
    """A shift that has not ended.

    Attributes:
        id: key in the journal.
        batch_id: batch.
        host: its coordinator's machine.
        lock: see `personalization.production.lives`.
        beat: count of its signs of life.
        lease_us: length of its lease, microseconds.
        over_us: for how long the lease had run out when this was read, microseconds; negative while it runs.
    """

    id: int
    batch_id: int
    host: str
    lock: str | None
    beat: int
    lease_us: int
    over_us: int

    @property
    def lock_name(self) -> str:
        """Name of the lock that the coordinator holds on its machine."""
        return batch_lock(self.batch_id)


def batch_lock(batch_id: int) -> str:
    """Name of the lock that a coordinator holds while it lives."""
    return f"batch-{batch_id}"


def open_shift(connection: Connection, batch_id: int) -> ShiftFacts | None:
    """The batch's shift that has not ended, None when there is none."""
    statement = select(
        Shift.id, Shift.batch_id, Shift.host, Shift.lock, Shift.beat, Shift.lease_us,
        (DatabaseClock() - Shift.lease_until).label("over_us"),
    )  # fmt: skip
    found = connection.execute(statement.where(Shift.batch_id == batch_id, Shift.ended_at.is_(None))).one_or_none()
    if found is None:
        return None
    return ShiftFacts(
        found.id, found.batch_id, found.host or "?", found.lock, found.beat, found.lease_us, found.over_us
    )


def begin_shift(connection: Connection, batch_id: int, stations: int, *, host: str, lock: str, lease_us: int) -> int:
    """Begin a shift; returns its key.

    Raises:
        IntegrityError: another one has not ended.
    """
    values = {
        "batch_id": batch_id,
        "stations": stations,
        "started_at": DatabaseClock(),
        "last_seen_at": DatabaseClock(),
        "host": host,
        "lock": lock,
        "beat": 0,
        "lease_us": lease_us,
        "lease_until": DatabaseClock() + lease_us,
    }
    return connection.execute(insert(Shift).values(values).returning(Shift.id)).scalar_one()


def renew_shift(connection: Connection, shift_id: int) -> bool:
    """Give a sign of life; False when somebody else has taken the batch over."""
    statement = (
        update(Shift)
        .where(Shift.id == shift_id, Shift.ended_at.is_(None))
        .values(beat=Shift.beat + 1, last_seen_at=DatabaseClock(), lease_until=DatabaseClock() + Shift.lease_us)
    )
    return connection.execute(statement).rowcount == 1


def end_shift(connection: Connection, shift_id: int, outcome: str) -> bool:
    """End a shift; False when somebody else has taken the batch over."""
    statement = (
        update(Shift)
        .where(Shift.id == shift_id, Shift.ended_at.is_(None))
        .values(ended_at=DatabaseClock(), last_seen_at=DatabaseClock(), outcome=outcome)
    )
    return connection.execute(statement).rowcount == 1


def lose_shift(connection: Connection, who: str, shift: ShiftFacts) -> bool:
    """End the shift of a coordinator that is dead or let its lease run out; False when it gave a sign of life since."""
    statement = (
        update(Shift)
        .where(Shift.id == shift.id, Shift.ended_at.is_(None), Shift.beat == shift.beat)
        .values(ended_at=Shift.last_seen_at, outcome="lost")
    )
    if connection.execute(statement).rowcount != 1:
        return False
    record(connection, who, [Entry(What.COORDINATOR_LOST, shift.batch_id, facts={"host": shift.host})])
    return True
