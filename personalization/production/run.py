"""The coordinator: opens a batch's stations, hears their progress, stops them in order, and resumes after a crash."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from time import monotonic
from typing import Final, Protocol

from filelock import Timeout
from sqlalchemy import insert, update

from personalization.errors import PersonalizationError
from personalization.production.journal.batches import BatchFacts, BatchStatus, batch_status, change_batch, find_batch
from personalization.production.journal.claims import retry_failed
from personalization.production.journal.database import Journal, now_us, open_journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.place import JournalPlace
from personalization.production.journal.tables import Shift
from personalization.production.policy import Policy
from personalization.production.recovery import Recovery, needs_recovery, recover, station_lock
from personalization.production.states import BatchState, RowState
from personalization.production.station import Ending, Line, Progress, Station
from personalization.production.work import Outfitter

COORDINATOR: Final = "coordinator"
ROWS_FAILED: Final = "rows-failed"
"""Why a batch stopped that has nothing left to make but rows that used up their blanks; resuming tries them again."""

_HEARTBEAT_S: Final = 1.0
_JOIN_S: Final = 30.0
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
_CLEAN: Final = frozenset({Ending.DONE.value, Ending.DRAINED.value})


class ProgressBar(Protocol):
    """Told how far the run is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """``done`` of ``total`` cards of ``stage`` ("recover", "make" or "inspect") are finished."""
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


@dataclass(frozen=True, slots=True)
class _Order:
    """What a station process is started with; picklable."""

    journal: JournalPlace
    batch_id: int
    name: str
    outfit: Outfitter
    policy: Policy


@dataclass(frozen=True, slots=True)
class _Ended:
    """Last word of a station: an `Ending`, or the code and parameters of an error."""

    code: str
    parameters: dict[str, object] = field(default_factory=dict)
    exit_code: int = 1


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
) -> RunResult:
    """Go on with a batch where it was, also after a crash: half-made cards first, then what is left or had failed.

    Arguments and errors as for `run_batch`; further "batch-complete" and "station-alive".
    """
    policy = policy or Policy()
    policy.check()
    with ExitStack() as held:
        batch = find_batch(journal, identifier)
        try:
            held.enter_context(journal.lock(f"batch-{batch.id}").acquire(timeout=0))
        except Timeout:
            raise PersonalizationError("batch-busy", exit_code=3, batch=identifier) from None
        if find_batch(journal, identifier).state is BatchState.COMPLETE:
            raise PersonalizationError("batch-complete", exit_code=2, batch=identifier)
        return _Coordinator(journal, batch, outfit, policy, who, keys or {}, progress or _silent).conduct()


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
    ) -> None:
        self._journal = journal
        self._batch = batch
        self._outfit = outfit
        self._policy = policy
        self._who = who
        self._keys = dict(keys)
        self._progress = progress
        self._pipes: list[Pipe] = []
        self._draining = False
        self._ended: list[_Ended] = []

    def conduct(self) -> RunResult:
        shift = self._begin()
        outcome = "crashed"
        try:
            with self._signals():
                recovery = self._recover()
                if not self._draining:
                    self._run_stations(shift)
            outcome = self._outcome()
        except PersonalizationError as error:
            outcome = error.code
            raise
        finally:
            self._end(shift, outcome)
        self._raise_first_error()
        return RunResult(batch_status(self._journal, self._batch.identifier), recovery, outcome == Ending.DRAINED.value)

    def _begin(self) -> int:
        at = now_us()
        values = {
            "batch_id": self._batch.id,
            "stations": self._policy.stations,
            "started_at": at,
            "last_seen_at": at,
        }
        with self._journal.transaction() as connection:
            change_batch(connection, self._batch.id, BatchState.RUNNING)
            facts = {"stations": self._policy.stations, "keys": self._keys}
            record(connection, self._who, [Entry(What.BATCH_RUNNING, self._batch.id, facts=facts)])
            retry_failed(connection, self._who, self._batch.id)
            return connection.execute(insert(Shift).values(values).returning(Shift.id)).scalar_one()

    def _end(self, shift: int, outcome: str) -> None:
        at = now_us()
        complete = outcome == Ending.DONE.value
        what = What.BATCH_COMPLETE if complete else What.BATCH_STOPPED
        state = BatchState.COMPLETE if complete else BatchState.STOPPED
        with self._journal.transaction() as connection:
            values = {"ended_at": at, "last_seen_at": at, "outcome": outcome}
            connection.execute(update(Shift).where(Shift.id == shift).values(values))
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
        with self._outfit() as equipment:
            return recover(
                self._journal,
                self._batch.id,
                equipment,
                self._policy,
                lambda done, total: self._progress("recover", done, total),
            )

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

    def _drain(self) -> None:
        for pipe in self._pipes:
            with suppress(OSError):
                pipe.send(None)

    def _run_stations(self, shift: int) -> None:
        context = get_context("spawn")
        processes = []
        policy = self._policy.for_rows(batch_status(self._journal, self._batch.identifier).left)
        try:
            for number in range(1, self._policy.stations + 1):
                ours, theirs = context.Pipe()
                name = f"station-{number}"
                order = _Order(self._journal.place, self._batch.id, name, self._outfit, policy)
                process = context.Process(target=station_process, args=(order, theirs), name=name)
                with _signals_held_back():
                    process.start()
                theirs.close()
                processes.append(process)
                self._pipes.append(ours)
            self._listen(shift)
        finally:
            for pipe in self._pipes:
                pipe.close()  # a station that still works sees the end of its line and drains
            for process in processes:
                process.join(_JOIN_S)

    def _listen(self, shift: int) -> None:
        """Hear the stations until each has said its last word."""
        status = batch_status(self._journal, self._batch.identifier)
        total = status.accepted
        made, good = status.made, status.good
        open_pipes, told, seen = list(self._pipes), False, monotonic()
        while open_pipes:
            ready = wait(open_pipes, timeout=_HEARTBEAT_S / 2)
            for pipe in [pipe for pipe in open_pipes if pipe in ready]:
                word = self._hear(pipe)
                if isinstance(word, Progress):
                    made, good = made + word.made, good + word.good
                    self._progress("make", min(made, total), total)
                    self._progress("inspect", good, total)
                    continue
                open_pipes.remove(pipe)
                self._ended.append(word)
            if not told and (self._draining or any(ended.code not in _CLEAN for ended in self._ended)):
                self._drain()
                told = True
            if monotonic() - seen >= _HEARTBEAT_S:
                seen = monotonic()
                self._heartbeat(shift)

    def _hear(self, pipe: Pipe) -> Progress | _Ended:
        try:
            word = pipe.recv()
        except (EOFError, OSError):
            return _Ended("station-failed", {"cause": "process-died"}, 3)
        return word if isinstance(word, Progress | _Ended) else _Ended("station-failed", {"cause": "bad-word"}, 3)

    def _heartbeat(self, shift: int) -> None:
        with self._journal.transaction() as connection:
            connection.execute(update(Shift).where(Shift.id == shift).values(last_seen_at=now_us()))


@contextmanager
def _signals_held_back() -> Generator[None]:
    """Hold back the signals that stop a run, where the system can: a process that is started inherits it.

    Ctrl-C reaches the whole group, and a station that is still starting has no handler that would let it drain.
    """
    if os.name != "posix":
        yield
        return
    resource_tracker.ensure_running()  # it would let the signals through again if it were started with the station
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def station_process(order: _Order, pipe: Pipe) -> None:
    """Body of a station process: opens its own journal session, keys and SAM, works, and says why it ended."""
    drain = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: drain.set())
    if os.name == "posix":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)

    def ordered_to_drain(seconds: float) -> bool:
        # An order, and also the end of the line when the coordinator is gone.
        if not drain.is_set() and pipe.poll(seconds):
            drain.set()
        return drain.is_set()

    def report(progress: Progress) -> None:
        with suppress(OSError):
            pipe.send(progress)

    try:
        with ExitStack() as held:
            journal = held.enter_context(open_journal(order.journal, migrate=False))
            held.enter_context(journal.lock(station_lock(order.batch_id, order.name)).acquire(timeout=0))
            equipment = held.enter_context(order.outfit())
            gc.freeze()  # what is here now stays for the whole batch and need not be looked through at each collection
            line = Line(ordered_to_drain, report)
            ending = Station(journal, order.batch_id, order.name, equipment, order.policy, line).work()
        word = _Ended(ending.value)
    except PersonalizationError as error:
        word = _Ended(error.code, error.parameters, error.exit_code)
    except Timeout:
        word = _Ended("station-alive", {"station": order.name}, 3)
    with suppress(OSError):
        pipe.send(word)
