"""Signals that stop a program, held back while it starts another process of its own.

Ctrl-C reaches the whole group, and a process that is still starting has nothing yet that would let it end well. It
inherits what is held back, and lets it through when it is ready.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Final

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_held_back() -> Generator[None]:
    """Hold back the signals that stop a program, where the system can."""
    if os.name != "posix":
        yield
        return
    resource_tracker.ensure_running()  # it would let the signals through again if it were started with the process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_signals_through() -> None:
    """In the process that was started: those that came meanwhile arrive now."""
    if os.name == "posix":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
