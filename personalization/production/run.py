"""The coordinator: opens a batch's stations, hears their progress, stops them in order, and resumes after a crash.

It holds the batch by a lock on its machine and by a lease in the journal, so that a batch has one coordinator on all
machines. Stations need not be its own: others join the batch through the journal, and are heard and told through it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from filelock import FileLock, Timeout
from sqlalchemy import Connection, update
from sqlalchemy.exc import IntegrityError

from personalization.errors import PersonalizationError
from personalization.production.crew import Crew, Ended, StationOrder
from personalization.production.journal.batches import BatchFacts, BatchStatus, batch_status, change_batch, find_batch
from personalization.production.journal.claims import retry_failed
from personalization.production.journal.clock import MICROSECONDS, elapsed_s
from personalization.production.journal.database import Journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.shifts import (
    batch_lock,
    begin_shift,
    end_shift,
    lose_shift,
    open_shift,
    renew_shift,
)
from personalization.production.journal.stations import all_stations, living, order_batch
from personalization.production.journal.tables import Batch
from personalization.production.lives import LeaseWatch, host_name, lock_identity
from personalization.production.policy import Policy
from personalization.production.recovery import RECOVERY, Recovery, needs_recovery, recover
from personalization.production.states import BatchState, Order, RowState, StationState
from personalization.production.station import Ending, give_up_the_lost
from personalization.production.work import Outfitter

COORDINATOR: Final = "coordinator"
STATION_STAGE: Final = "station."
ROWS_FAILED: Final = "rows-failed"
"""Why a batch stopped that has nothing left to make but rows that used up their blanks; resuming tries them again."""

_HEARTBEAT_S: Final = 1.0
_WATCH_S: Final = 0.1
_DEAF_S: Final = 60.0
"""How long a station may take to hear that it is over, at least; then it is ended."""

_CLEAN: Final = frozenset({Ending.DONE.value, Ending.DRAINED.value})
_OVER: Final = frozenset(
    {Ending.DONE.value, Ending.STOCK_EMPTY.value, Ending.IN_DOUBT.value, Ending.FIRST_ARTICLE.value}
)
_SILENT_ENDS: Final = frozenset({"lost", "crashed"})


class ProgressBar(Protocol):
    """Told how far the run is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` cards of ``stage`` are finished.

        Stages are "recover", "make" and "inspect", and "station." with a name behind it for what one station made in
        this shift.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

    Attributes:
        status: the batch's counts after it.
        recovery: what was found and mended before the stations started.
        drained: True when a signal ended it before it was done.
    """

    status: BatchStatus
    recovery: Recovery
    drained: bool


def run_batch(
    journal: Journal,
    identifier: str,
    outfit: Outfitter,
    policy: Policy | None = None,
    *,
    who: str,
    keys: Mapping[str, str] | None = None,
    progress: ProgressBar | None = None,
) -> RunResult:
    """Make and inspect every row of a batch that was not run before.

    SIGINT and SIGTERM end it in order: every station finishes its card, the rest goes back.

    Args:
        journal: the open journal.
        identifier: the batch.
        outfit: makes a station's equipment; called in every station process.
        policy: limits, the defaults when absent.
        who: operator.
        keys: check values of the keys at work, by name, for the audit trail.
        progress: progress of the stages "recover", "make" and "inspect".

    Raises:
        PersonalizationError: "batch-unknown", "batch-started" (use `resume_batch`), "batch-busy", and once all stations
            stand still: "stock-empty", "key-guard-alarm", "repeated-failure", "station-failed", or what a station met.
    """
    if find_batch(journal, identifier).state is not BatchState.LOADED:
        raise PersonalizationError("batch-started", exit_code=2, batch=identifier)
    return resume_batch(journal, identifier, outfit, policy, who=who, keys=keys, progress=progress)


def resume_batch(
    journal: Journal,
    identifier: str,
    outfit: Outfitter,
    policy: Policy | None = None,
    *,
    who: str,
    keys: Mapping[str, str] | None = None,
    progress: ProgressBar | None = None,
    by_hand: Callable[[], None] | None = None,
) -> RunResult:
    """Go on with a batch where it was, also after a crash: half-made cards first, then what is left or had failed.

    Arguments and errors as for `run_batch`; further "batch-complete" and "station-alive". ``by_hand`` works in this
    process in the place of stations, while the batch is held.
    """
    policy = policy or Policy()
    policy.check()
    batch = find_batch(journal, identifier)
    lock = journal.lock(batch_lock(batch.id))
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        raise _busy(identifier, host_name()) from None
    with held:
        if find_batch(journal, identifier).state is BatchState.COMPLETE:
            raise PersonalizationError("batch-complete", exit_code=2, batch=identifier)
        _await_end_of_other(journal, batch, lock)
        return _Coordinator(journal, batch, outfit, policy, who, keys or {}, progress or _silent, lock).conduct(by_hand)


def _busy(identifier: str, host: str) -> PersonalizationError:
    return PersonalizationError("batch-busy", exit_code=3, batch=identifier, host=host)


def _await_end_of_other(journal: Journal, batch: BatchFacts, lock: FileLock) -> None:
    """Take the batch over from a coordinator that is dead, or watch until it shows that it lives.

    Raises:
        PersonalizationError: "batch-busy", it lives.
    """
    watch, seen = LeaseWatch(journal), None
    while (shift := journal.read(lambda connection: open_shift(connection, batch.id))) is not None:
        if shift.lock == lock_identity(lock) or shift.id in watch.lost([shift]):  # the lock is ours now
            journal.write(lambda connection, shift=shift: lose_shift(connection, COORDINATOR, shift))  # type: ignore[misc]
            continue
        if seen not in (None, (shift.id, shift.beat)):
            raise _busy(batch.identifier, shift.host)
        seen = (shift.id, shift.beat)
        time.sleep(_WATCH_S)


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


class _Coordinator:
    """One run of one batch; holds the batch's lock for as long as it lives."""

    def __init__(
        self,
        journal: Journal,
        batch: BatchFacts,
        outfit: Outfitter,
        policy: Policy,
        who: str,
        keys: Mapping[str, str],
        progress: ProgressBar,
        lock: FileLock,
    ) -> None:
        self._journal = journal
        self._batch = batch
        self._outfit = outfit
        self._policy = policy
        self._who = who
        self._keys = dict(keys)
        self._progress = progress
        self._lock = lock
        self._crew = Crew(policy.restarts)
        self._watch = LeaseWatch(journal)
        self._draining = False
        self._ended: list[Ended] = []
        self._own = {RECOVERY, *(f"station-{number}" for number in range(1, policy.stations + 1))}
        self._heard: set[int] = set()
        self._beaten = elapsed_s()
        self._shift = 0

    def conduct(self, by_hand: Callable[[], None] | None = None) -> RunResult:
        self._begin()
        outcome = "crashed"
        try:
            with self._signals():
                recovery = self._recover()
                if by_hand is not None:
                    by_hand()
                    self._ended.append(Ended(Ending.DONE.value if self._nothing_left() else Ending.DRAINED.value))
                elif not self._draining:
                    self._run_stations()
            outcome = self._outcome()
        except PersonalizationError as error:
            outcome = error.code
            raise
        finally:
            self._end(outcome)
        self._raise_first_error()
        return RunResult(batch_status(self._journal, self._batch.identifier), recovery, outcome == Ending.DRAINED.value)

    def _begin(self) -> None:
        def work(connection: Connection) -> int:
            shift = begin_shift(
                connection,
                self._batch.id,
                self._policy.stations,
                host=host_name(),
                lock=lock_identity(self._lock),
                lease_us=self._policy.lease_s * MICROSECONDS,
            )
            change_batch(connection, self._batch.id, BatchState.RUNNING)
            connection.execute(update(Batch).where(Batch.id == self._batch.id).values(order=None))
            facts = {"stations": self._policy.stations, "keys": self._keys}
            record(connection, self._who, [Entry(What.BATCH_RUNNING, self._batch.id, facts=facts)])
            retry_failed(connection, self._who, self._batch.id)
            return shift

        try:
            self._shift = self._journal.write(work)
        except IntegrityError:  # another machine was faster
            raise _busy(self._batch.identifier, "?") from None

    def _end(self, outcome: str) -> None:
        complete = outcome == Ending.DONE.value
        what = What.BATCH_COMPLETE if complete else What.BATCH_STOPPED
        state = BatchState.COMPLETE if complete else BatchState.STOPPED
        with self._journal.transaction() as connection:
            if not end_shift(connection, self._shift, outcome):
                return  # somebody took the batch over: it is theirs to say how it ended
            connection.execute(update(Batch).where(Batch.id == self._batch.id).values(order=None))
            change_batch(connection, self._batch.id, state, None if complete else outcome)
            record(connection, COORDINATOR, [Entry(what, self._batch.id, facts={"outcome": outcome})])

    def _outcome(self) -> str:
        problems = [ended.code for ended in self._ended if ended.code not in _CLEAN]
        if problems:
            return problems[0]
        if not any(ended.code == Ending.DONE.value for ended in self._ended):
            return Ending.DRAINED.value
        failed = batch_status(self._journal, self._batch.identifier).rows[RowState.FAILED]
        return ROWS_FAILED if failed else Ending.DONE.value

    def _raise_first_error(self) -> None:
        for ended in self._ended:
            if ended.code not in _CLEAN:
                facts = {"batch": self._batch.identifier, **ended.parameters}
                raise PersonalizationError(ended.code, exit_code=ended.exit_code, **facts)

    def _recover(self) -> Recovery:
        if not needs_recovery(self._journal, self._batch.id):
            return Recovery()

        def progress(done: int, total: int) -> None:
            self._progress("recover", done, total)
            self._live()

        with self._outfit() as equipment:
            return recover(self._journal, self._batch.id, equipment, self._policy, progress)

    @contextmanager
    def _signals(self) -> Generator[None]:
        """SIGINT and SIGTERM drain."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._drain_on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _drain_on_signal(self, _number: int, _frame: object) -> None:
        self._draining = True

    def _run_stations(self) -> None:
        policy = self._policy.for_rows(batch_status(self._journal, self._batch.identifier).left)
        try:
            for name in sorted(self._own - {RECOVERY}):
                self._crew.start(StationOrder(self._journal.place, self._batch.id, name, self._outfit, policy))
            self._listen()
        finally:
            self._crew.close()

    def _listen(self) -> None:
        """Hear the stations, through their lines and through the journal, until each has ended."""
        status = batch_status(self._journal, self._batch.identifier)
        accepted, begun = status.accepted, (status.made, status.good)
        made, good = begun
        told, over = False, None
        while True:
            for word in self._crew.hear(_HEARTBEAT_S / 2):
                if isinstance(word, Ended):
                    self._ended.append(word)
                    continue
                made, good = made + word.made, good + word.good
            if self._live(now=not self._crew.at_work):
                there = self._done(accepted)
                made, good = max(made, begun[0] + there[0]), max(good, begun[1] + there[1])
            self._progress("make", min(made, accepted), accepted)
            self._progress("inspect", min(good, accepted), accepted)
            if not told and (self._draining or any(ended.code not in _CLEAN for ended in self._ended)):
                self._send_home()
                told = True
            if over is None and (told or any(ended.code in _OVER for ended in self._ended)):
                over = elapsed_s()
            if over is not None and elapsed_s() - over > max(_DEAF_S, 2 * self._policy.lease_s):
                self._crew.kill()
            if self._all_ended(told=told):
                return

    def _all_ended(self, *, told: bool) -> bool:
        """Whether no station is at work any more, here or elsewhere, and none is waited for."""
        if self._crew.at_work or self._living():
            return False
        return told or bool(self._policy.stations) or self._nothing_left()

    def _live(self, *, now: bool = False) -> bool:
        """Give a sign of life and look after the stations' leases when that is due, or ``now``; whether it was.

        Raises:
            PersonalizationError: "batch-taken-over", another coordinator thought us dead.
        """
        if not now and elapsed_s() - self._beaten < _HEARTBEAT_S:
            return False
        self._beaten = elapsed_s()
        if not self._journal.write(lambda connection: renew_shift(connection, self._shift)):
            raise PersonalizationError("batch-taken-over", exit_code=3, batch=self._batch.identifier)
        give_up_the_lost(self._journal, COORDINATOR, self._batch.id, self._watch)
        return True

    def _living(self) -> int:
        return len(self._journal.read(lambda connection: living(connection, self._batch.id)))

    def _done(self, accepted: int) -> tuple[int, int]:
        """Cards made and good in this shift, as the journal has it; tells each station's, learns how others ended."""
        seats = self._journal.read(lambda connection: all_stations(connection, self._batch.id, self._shift))
        for seat in seats:
            stranger = seat.name.split(".")[0] not in self._own
            if stranger and seat.id not in self._heard and seat.state is StationState.ENDED:
                self._heard.add(seat.id)
                if seat.ending not in _SILENT_ENDS:
                    self._ended.append(Ended(seat.ending or "", {"station": seat.name}))
        by_name: Counter[str] = Counter()
        for seat in seats:
            by_name[seat.name] += seat.done.made  # over all lives of that name
        for name in sorted(by_name):
            self._progress(f"{STATION_STAGE}{name}", by_name[name], accepted)
        return sum(seat.done.made for seat in seats), sum(seat.done.good for seat in seats)

    def _send_home(self) -> None:
        """Tell all stations to drain, our own by their lines, others through the journal."""
        self._crew.send_home()

        def work(connection: Connection) -> None:
            if living(connection, self._batch.id):
                order_batch(connection, COORDINATOR, self._batch.id, Order.DRAIN)

        self._journal.write(work)

    def _nothing_left(self) -> bool:
        return batch_status(self._journal, self._batch.identifier).left == 0
