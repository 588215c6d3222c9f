"""The station processes that a coordinator starts, hears, sends home, and starts again when they were killed."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Final

from personalization.errors import PersonalizationError
from personalization.held_signals import let_signals_through, signals_held_back
from personalization.pipes import Pipe
from personalization.production.journal.database import open_journal
from personalization.production.journal.place import JournalPlace
from personalization.production.policy import Policy
from personalization.production.station import Line, Progress, Station
from personalization.production.work import Outfitter

_JOIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class StationOrder:
    """What a station process is started with; picklable.

    Attributes:
        journal: where the journal is.
        batch_id: batch to work on.
        name: the station's name.
        outfit: makes its equipment.
        policy: limits.
    """

    journal: JournalPlace
    batch_id: int
    name: str
    outfit: Outfitter
    policy: Policy


@dataclass(frozen=True, slots=True)
class Ended:
    """Last word of a station: an `Ending`, or the code and parameters of an error.

    Attributes:
        code: the ending's or the error's.
        parameters: facts for the message.
        exit_code: of the error.
    """

    code: str
    parameters: dict[str, object] = field(default_factory=dict)
    exit_code: int = 1


@dataclass(slots=True)
class _Member:
    order: StationOrder
    process: SpawnProcess
    pipe: Pipe


class Crew:
    """Stations of one coordinator.

    Args:
        restarts: how many may be started again after they were killed, all together.
    """

    def __init__(self, restarts: int) -> None:
        self._members: list[_Member] = []
        self._gone: list[_Member] = []
        self._restarts = restarts
        self._going_home = False

    @property
    def at_work(self) -> bool:
        """Whether any has not said its last word."""
        return bool(self._members)

    def start(self, order: StationOrder) -> None:
        """Start a station."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=station_process, args=(order, theirs), name=order.name)
        with signals_held_back():
            process.start()
        theirs.close()
        self._members.append(_Member(order, process, ours))

    def hear(self, seconds: float) -> list[Progress | Ended]:
        """What stations say within ``seconds``; one that was killed is started again, or has failed."""
        words: list[Progress | Ended] = []
        if not self._members:
            time.sleep(seconds)
            return words
        ready = wait([member.pipe for member in self._members], timeout=seconds)
        for member in [member for member in self._members if member.pipe in ready]:
            word = _word(member.pipe)
            if isinstance(word, Progress):
                words.append(word)
                continue
            self._members.remove(member)
            self._gone.append(member)
            if word is not None:
                words.append(word)
            elif not self._replaced(member):
                words.append(Ended("station-failed", {"cause": "process-died"}, 3))
        return words

    def _replaced(self, member: _Member) -> bool:
        """Start a station again that somebody killed; one that broke down by itself would do it again."""
        member.process.join(_JOIN_S)
        killed = (member.process.exitcode or 0) < 0
        if killed and self._going_home:
            return True
        if not killed or self._restarts <= 0:
            return False
        self._restarts -= 1
        self.start(member.order)
        return True

    def send_home(self) -> None:
        """Tell all to drain."""
        self._going_home = True
        for member in self._members:
            with suppress(OSError):
                member.pipe.send(None)

    def kill(self) -> None:
        """End those that do not hear; what they had in hand is fenced off."""
        self._going_home = True
        for member in self._members:
            member.process.kill()

    def close(self) -> None:
        """Hang up, which a station that still works takes for an order to drain, and wait for the processes."""
        everybody = [*self._members, *self._gone]
        for member in everybody:
            member.pipe.close()
        for member in everybody:
            member.process.join(_JOIN_S)
            with suppress(ValueError):  # it still runs, and ends by itself
                member.process.close()


def _word(pipe: Pipe) -> Progress | Ended | None:
    """What came; None when the process is gone."""
    try:
        word = pipe.recv()
    except (EOFError, OSError):
        return None
    return word if isinstance(word, Progress | Ended) else Ended("station-failed", {"cause": "bad-word"}, 3)


def station_process(order: StationOrder, pipe: Pipe) -> None:
    """Body of a station process: opens its own journal session, keys and SAM, works, and says why it ended."""
    drain = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: drain.set())
    let_signals_through()

    def ordered_to_drain(seconds: float) -> bool:
        # An order, and also the end of the line when the coordinator is gone.
        if not drain.is_set() and pipe.poll(seconds):
            drain.set()
        return drain.is_set()

    def report(progress: Progress) -> None:
        with suppress(OSError):
            pipe.send(progress)

    word = man_station(order, Line(ordered_to_drain, report))
    with suppress(OSError):
        pipe.send(word)


def man_station(order: StationOrder, line: Line, opened: Callable[[], None] = gc.freeze) -> Ended:
    """Open what a station needs, work, and say why it ended.

    Args:
        order: where and how.
        line: how it hears and answers.
        opened: called when all is open; what is there then stays for the whole batch and need not be looked through at
            each collection of garbage.
    """
    try:
        with ExitStack() as held:
            patience_s = order.policy.patience_s
            journal = held.enter_context(open_journal(order.journal, migrate=False, patience_s=patience_s))
            equipment = held.enter_context(order.outfit())
            opened()
            ending = Station(journal, order.batch_id, order.name, equipment, order.policy, line).work()
        return Ended(ending.value)
    except PersonalizationError as error:
        return Ended(error.code, error.parameters, error.exit_code)
