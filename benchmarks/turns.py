"""What a call takes on a busy machine: two things in turns, or one as the best of several rounds."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time_ns
from typing import Final

ROUNDS: Final = 300
REPEATS: Final = 60
ROUNDS_OF_ONE: Final = 5


def beside(
    ours: Callable[[], object], floor: Callable[[], object], rounds: int = ROUNDS, repeats: int = REPEATS
) -> tuple[float, float]:
    """Least of several short runs in turn, µs of processor time for one call: what is above it is other programs'."""
    runs = [(_once(ours, rounds), _once(floor, rounds)) for _ in range(repeats)]
    return min(run[0] for run in runs), min(run[1] for run in runs)


def best(work: Callable[[], object], repetitions: int) -> float:
    """Least of several rounds, µs of processor time for one repetition."""
    return min(_once(work, repetitions) for _ in range(ROUNDS_OF_ONE))


def _once(work: Callable[[], object], rounds: int) -> float:
    start = thread_time_ns()
    for _ in range(rounds):
        work()
    return (thread_time_ns() - start) / rounds / 1000
