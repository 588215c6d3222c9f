"""A station's hold on its work: it lives by a lease, and looks whether it still does before each step on a card.

The station counts its lease from the moment before it asked for it, on a clock that no adjustment touches, and others
count it from the moment when they saw it granted; so it knows that it is over before they do. A process that stood
still past its lease asks the journal before it goes on, and is told.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from filelock import FileLock, Timeout
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from personalization.errors import PersonalizationError
from personalization.production.journal import stations
from personalization.production.journal.clock import MICROSECONDS, elapsed_s
from personalization.production.journal.database import Journal
from personalization.production.journal.stations import Progress, Told
from personalization.production.lives import host_name, lock_identity
from personalization.production.states import Order, StationState

_RENEWALS: Final = 3
"""Signs of life in the time of one lease."""

_ORPHAN_LEASES: Final = 2
_MOST_NAMES: Final = 100


class Lease:
    """One life of a station in the journal; made by `join`, given up by `leave`.

    Attributes:
        name: the station's name.
        station_id: key of its row.
        told: what it was last told.
    """

    def __init__(
        self, journal: Journal, batch_id: int, name: str, station_id: int, lock: FileLock, lease_s: float
    ) -> None:
        self.name = name
        self.station_id = station_id
        self.told = Told(None, None)
        self._journal = journal
        self._batch_id = batch_id
        self._lock = lock
        self._lease_s = lease_s
        self._state = StationState.WORKING
        self._supervisor: tuple[int, float] | None = None
        self._orphaned = False
        self._since = elapsed_s()
        self.extended(elapsed_s())

    @classmethod
    def join(cls, journal: Journal, batch_id: int, name: str, lease_s: float) -> Lease:
        """Begin to live under that name, or the next one with a number when a living station has it.

        Raises:
            PersonalizationError: "station-alive", all such names are taken; "journal-unavailable".
        """
        for number in range(1, _MOST_NAMES):
            tried = name if number == 1 else f"{name}.{number}"
            lock = journal.lock(stations.station_lock(batch_id, tried))
            with suppress(Timeout, IntegrityError):
                lock.acquire(timeout=0)
                sent, place = elapsed_s(), {"host": host_name(), "lock": lock_identity(lock)}
                try:
                    key = journal.write(_joining(batch_id, tried, int(lease_s * MICROSECONDS), place))
                except BaseException:
                    lock.release()
                    raise
                lease = cls(journal, batch_id, tried, key, lock, lease_s)
                lease.extended(sent)
                return lease
        raise PersonalizationError("station-alive", exit_code=3, station=name)

    def renew(self, connection: Connection, done: Progress = Progress(), busy_us: int = 0) -> None:  # noqa: B008 - a constant
        """Give a sign of life in the caller's transaction; `extended` counts once that has committed.

        Raises:
            SeatLost: others were told that the lease is over.
        """
        self.told = stations.renew(connection, self.station_id, self.name, self._state, done, busy_us)

    def extended(self, since: float) -> None:
        """The lease was granted in answer to what was sent at ``since`` (`elapsed_s`)."""
        self._due = since + self._lease_s / _RENEWALS
        away, self._since = since - self._since > self._lease_s, since  # then we could not hear the coordinator either
        beat = self.told.supervisor
        if beat is None:
            self._orphaned = self._supervisor is not None
        elif self._supervisor is None or self._supervisor[0] != beat or away:
            self._supervisor, self._orphaned = (beat, since), False

    def hold(self) -> None:
        """Make sure that the lease still holds; to be called before each step that changes a card.

        Raises:
            SeatLost: it does not.
        """
        sent = elapsed_s()
        if sent >= self._due:
            self._journal.write(self.renew)
            self.extended(sent)

    def order(self) -> Order | None:
        """What the station was told last, at most a third of the lease ago; one without a coordinator drains.

        Raises:
            SeatLost: the lease does not hold.
        """
        self.hold()
        since = elapsed_s() if self._supervisor is None else self._supervisor[1]
        if self._orphaned or elapsed_s() - since > _ORPHAN_LEASES * self._lease_s:
            return Order.DRAIN
        return self.told.order

    def pause(self, *, paused: bool) -> None:
        """Show in the journal whether the station stands still on order."""
        self._state = StationState.PAUSED if paused else StationState.WORKING
        sent = elapsed_s()
        self._journal.write(self.renew)
        self.extended(sent)

    def leave(self, ending: str) -> None:
        """End this life; what was left in hand goes back or is in doubt."""
        try:
            self._journal.write(
                lambda connection: stations.leave(connection, self.station_id, self.name, self._batch_id, ending)
            )
        finally:
            self._lock.release()

    def abandon(self) -> None:
        """Let go without a word to the journal, which does not answer or knows already."""
        self._lock.release()


def _joining(batch_id: int, name: str, lease_us: int, place: dict[str, str]) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        return stations.join(connection, batch_id, name, host=place["host"], lock=place["lock"], lease_us=lease_us)

    return work
