"""Processes that rehearse rows side by side, each on a bench of its own.

Applicants travel through the pipes between the processes of one program; keys do not, for every bench makes its own.
"""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Final, NamedTuple

from permitcard.rehearsal.bench import open_bench
from permitcard.rehearsal.findings import RehearsedCard, Setting
from personalization.errors import PersonalizationError
from personalization.held_signals import let_signals_through, signals_held_back
from personalization.pipes import Pipe

if TYPE_CHECKING:
    from personalization.intake.applicant import Applicant

_JOIN_S: Final = 5.0


class Rehearsed(NamedTuple):
    """One row that is done.

    Attributes:
        card: what came of it.
        room: bytes of the largest object that fits on a blank; 0 when no blank was made yet.
    """

    card: RehearsedCard
    room: int


def side_by_side(setting: Setting, applicants: Sequence[Applicant], workers: int) -> Generator[Rehearsed]:
    """Rehearse rows in ``workers`` processes, 1 or more; gives each row as it is done.

    Raises:
        PersonalizationError: what a bench met; "rehearsal-worker-lost", exit 3.
    """
    rows = iter(applicants)
    with _crew(setting, workers) as pipes:
        busy: list[Pipe] = [pipe for pipe in pipes if _hand_over(pipe, rows)]
        while busy:
            for pipe in [pipe for pipe in busy if pipe in wait(busy)]:
                yield _word(pipe)
                if not _hand_over(pipe, rows):
                    busy.remove(pipe)


def _hand_over(pipe: Pipe, rows: Iterator[Applicant]) -> bool:
    """Give a worker its next row; False when there is none."""
    applicant = next(rows, None)
    if applicant is None:
        return False
    with suppress(OSError):  # it is gone, and its last word says so
        pipe.send(applicant)
    return True


def _word(pipe: Pipe) -> Rehearsed:
    """What a worker says.

    Raises:
        PersonalizationError: what its bench met; "rehearsal-worker-lost", exit 3.
    """
    try:
        word = pipe.recv()
    except (EOFError, OSError):
        raise PersonalizationError("rehearsal-worker-lost", exit_code=3) from None
    if isinstance(word, PersonalizationError):
        raise word
    if not isinstance(word, Rehearsed):
        raise TypeError(f"a worker said {type(word).__name__}")
    return word


@contextmanager
def _crew(setting: Setting, workers: int) -> Generator[list[Pipe]]:
    """Started workers; at the end they have gone home, or were ended: they hold nothing that lasts."""
    context = get_context("spawn")
    pipes: list[Pipe] = []
    processes: list[SpawnProcess] = []
    try:
        for number in range(workers):
            ours, theirs = context.Pipe()
            pipes.append(ours)
            process = context.Process(target=_work, args=(setting, theirs), name=f"rehearsal-{number + 1}")
            with signals_held_back():
                process.start()
            processes.append(process)
            theirs.close()
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(_JOIN_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()


def _work(setting: Setting, pipe: Pipe) -> None:
    """Body of a worker: a row comes, what became of it goes, until the line ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the rehearsal ends the line
    let_signals_through()
    with suppress(EOFError, OSError):
        try:
            with open_bench(setting) as bench:
                while True:
                    card = bench.rehearse(pipe.recv())
                    pipe.send(Rehearsed(card, bench.room))
        except PersonalizationError as error:
            pipe.send(error)
