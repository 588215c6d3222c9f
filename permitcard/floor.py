"""Stations and orders on the floor: joining a batch, telling stations what to do, giving up cards in doubt."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from permitcard.signer_dates import require_signer_of_today
from personalization.errors import PersonalizationError
from personalization.production.acts import Role
from personalization.production.journal.batches import BatchFacts, find_batch
from personalization.production.journal.claims import Claim, in_doubt, spoil_in_doubt
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.shifts import open_shift
from personalization.production.journal.stations import (
    Progress,
    StationFacts,
    all_stations,
    lift_pause,
    living,
    order_batch,
    order_station,
)
from personalization.production.lives import host_name
from personalization.production.policy import Policy
from personalization.production.states import BatchState, Order
from personalization.production.station import Ending, Line, Station

if TYPE_CHECKING:
    from permitcard.job import Job
    from personalization.production.journal.database import Journal

_USAGE: Final = 2
_CLEAN: Final = frozenset({Ending.DONE, Ending.DRAINED})


LONGEST_NAME: Final = 48
"""Characters of a station's name; a number may come behind it."""


class Shift(NamedTuple):
    """What a station did that joined a batch.

    Attributes:
        batch: identifier.
        station: its name.
        ending: why it ended.
        done: what it did.
    """

    batch: str
    station: str
    ending: Ending
    done: Progress


def policy_of(job: Job, stations: int) -> Policy:
    """Limits of a run; where cards are real, each is written down as begun by itself, for it takes seconds anyway."""
    return Policy(stations=stations, begin_each=job.keys.production)


def join_batch(job: Job, identifier: str, name: str | None) -> Shift:
    """Work as one more station on a batch that a coordinator has opened, here or on another machine.

    SIGINT and SIGTERM drain it.

    Args:
        job: the centre.
        identifier: the batch.
        name: the station's name; host and process when absent.

    Raises:
        PersonalizationError: exit 2: "role-missing", "batch-unknown", "batch-not-running"; an `Ending` that is a reason
            to stop; what key store, journal or prepared file met.
    """
    job.operator.require(Role.RUN)
    batch = _running(job, identifier)
    called = name or f"{host_name()[:LONGEST_NAME]}-{os.getpid()}"
    done = [Progress()]

    def report(progress: Progress) -> None:
        done[0] = Progress(*(before + more for before, more in zip(done[0], progress, strict=True)))

    require_signer_of_today(job.keys)
    with job.journal.transaction() as connection:
        entry = Entry(What.STATION_MANNED, batch.id, facts={"station": called, "keys": job.key_values()})
        record(connection, job.operator.name, [entry])
    policy = policy_of(job, 1)
    with _drained_by_signals() as drain, job.outfit(identifier)() as equipment:
        ending = Station(job.journal, batch.id, called, equipment, policy, Line(drain.wait, report)).work()
    if ending not in _CLEAN:
        raise PersonalizationError(ending.value, batch=identifier)
    return Shift(identifier, called, ending, done[0])


@contextmanager
def _drained_by_signals() -> Generator[threading.Event]:
    drain = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda _number, _frame: drain.set())
    try:
        yield drain
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _running(job: Job, identifier: str) -> BatchFacts:
    batch = find_batch(job.journal, identifier)
    if batch.state is not BatchState.RUNNING:
        raise PersonalizationError("batch-not-running", exit_code=_USAGE)
    return batch


def stations_of(journal: Journal, identifier: str, *, everything: bool) -> Sequence[StationFacts]:
    """Stations of a batch that live, or all that ever worked on it."""
    batch = find_batch(journal, identifier)
    with journal.reading() as connection:
        return all_stations(connection, batch.id) if everything else living(connection, batch.id)


def tell_station(job: Job, identifier: str, name: str, order: Order | None) -> None:
    """Tell a station to pause, to drain, or to go on.

    Raises:
        PersonalizationError: exit 2: "role-missing", "batch-unknown", "station-unknown".
    """
    job.operator.require(Role.RUN)
    batch = find_batch(job.journal, identifier)
    with job.journal.transaction() as connection:
        order_station(connection, job.operator.name, batch.id, name, order)


def tell_batch(job: Job, identifier: str, order: Order) -> None:
    """Tell all stations of a batch to pause or to drain.

    Raises:
        PersonalizationError: exit 2: "role-missing", "batch-unknown", "batch-not-running".
    """
    job.operator.require(Role.RUN)
    batch = find_batch(job.journal, identifier)
    with job.journal.transaction() as connection:
        order_batch(connection, job.operator.name, batch.id, order)


def go_on(job: Job, identifier: str) -> bool:
    """Let a batch go on that stands still on order; False when it does not, or has no living coordinator."""
    job.operator.require(Role.RUN)
    batch = find_batch(job.journal, identifier)
    with job.journal.transaction() as connection:
        shift = open_shift(connection, batch.id)
        alive = shift is not None and shift.over_us < 0
        return alive and lift_pause(connection, job.operator.name, batch.id)


def doubtful_cards(job: Job, identifier: str) -> Sequence[Claim]:
    """Claims of a batch whose cards may have been touched, and which nobody alive has in hand."""
    batch = find_batch(job.journal, identifier)
    with job.journal.reading() as connection:
        return in_doubt(connection, batch.id)


def give_up(job: Job, identifier: str, row: int) -> Claim:
    """Record the card of a row, which is in doubt and cannot be read, as spoilt and barred; the row gets another one.

    Raises:
        PersonalizationError: exit 2: "role-missing", "batch-unknown", "row-not-in-doubt".
    """
    job.operator.require(Role.RUN)
    batch = find_batch(job.journal, identifier)
    with job.journal.transaction() as connection:
        found = [claim for claim in in_doubt(connection, batch.id) if claim.row_number == row]
        if not found:
            raise PersonalizationError("row-not-in-doubt", exit_code=_USAGE, batch=identifier, row=row)
        spoil_in_doubt(connection, job.operator.name, found[0], Policy().max_attempts)
    return found[0]
