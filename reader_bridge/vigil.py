"""Waits for the next command of a fast host without going to sleep first.

A host that has its answer sends the next command within some tens of microseconds. To put a thread to sleep and to wake
it takes the system as long as the card's own work, and the processor's caches are cold when it comes back. Awake, the
thread gives its processor to whoever wants it each time that it has looked.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Final, Self

_VIGIL_SECONDS: Final = 0.0005
"""Longest time awake: some three exchanges through a PC/SC service."""
_LATE_SECONDS: Final = 0.0003
"""What comes within this time after a vigil in vain was late because of it: the host had to wait for a processor."""
_MOST: Final = 1024
_AT_ONCE: Final = 0


def _give_way() -> None:
    """Let another thread or process have the processor, where the system can be asked to."""
    if sys.platform == "linux":
        os.sched_yield()


class Vigil:
    """Waits until a link can be read: awake for a moment when messages have come quickly, else asleep.

    One quick message begins it. Where staying awake kept the host from its work, it takes twice as many of them the
    next time, up to 1024, and one less after each time that it did not. With one processor nobody stays awake.

    Args:
        ready: true when the link can be read or has ended, at once (argument 0) or as soon as that is so (None).
        turn: held by the one who is awake; those who share it do not take the processors from each other.
        processors: how many this process may use.
        clock: seconds.
    """

    def __init__(
        self,
        ready: Callable[[int | None], object],
        turn: threading.Lock,
        processors: int,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._ready = ready
        self._turn = turn
        self._possible = processors > 1
        self._clock = clock
        self._quick = 0
        self._needed = 1

    @classmethod
    def over(cls, link: socket.socket, turn: threading.Lock) -> Self:
        """Over a connected socket; where the system cannot give a processor away, its reader sleeps in the socket."""
        if sys.platform != "linux":
            return cls(lambda _: True, turn, 1)
        poll = select.poll()
        poll.register(link, select.POLLIN)
        return cls(poll.poll, turn, len(os.sched_getaffinity(0)))

    def wait(self) -> None:
        """Return when the link can be read or has ended."""
        clock = self._clock
        tried = self._quick >= self._needed and self._turn.acquire(blocking=False)
        if tried:
            try:
                came = self._stay_awake()
            finally:
                self._turn.release()
            if came:
                self._needed = max(self._needed - 1, 1)
                return
        begun = clock()
        self._ready(None)
        slept = clock() - begun
        if tried:
            self._quick = 0
            if slept < _LATE_SECONDS:
                self._needed = min(self._needed * 2, _MOST)
        elif self._possible and slept < _VIGIL_SECONDS:
            self._quick += 1

    def _stay_awake(self) -> bool:
        """True when something came in time."""
        ready, clock = self._ready, self._clock
        begun = clock()
        while not ready(_AT_ONCE):
            if clock() - begun > _VIGIL_SECONDS:
                return False
            _give_way()
        return True
