"""A demonstration that is killed when some of its cards are made and some are not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path

from permitcard.centre import Centre
from tests.console.command_line import CommandLine

PATIENCE_S = 600
ATTEMPTS = 5
"""On a machine that is busy a run may be finished before it is killed."""


def killed_demo(command: CommandLine, centre: Centre, cards: int, made: int) -> tuple[str, str]:
    """Make a batch and kill all its processes as soon as cards are made.

    Args:
        command: runs it.
        centre: where; what is there is gone afterwards.
        cards: rows of the batch.
        made: cards that are made before the kill; some more may be by then, not all.

    Returns:
        What it printed, on standard output and standard error.
    """
    for _ in range(ATTEMPTS):
        shutil.rmtree(centre.root, ignore_errors=True)
        with command.start("demo", "--cards", str(cards), "--centre", centre.root) as process:
            end = time.monotonic() + PATIENCE_S
            while _made(centre.journal) < made and process.poll() is None and time.monotonic() < end:
                time.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            written = process.communicate(timeout=PATIENCE_S)
        if process.returncode == -signal.SIGKILL and _made(centre.journal) >= made and _good(centre.journal) < cards:
            return written
    raise AssertionError(f"no run was killed in its middle; the last said: {written[1]}")


def _made(journal: Path) -> int:
    return _count(journal, "SELECT count(*) FROM events WHERE what = 'made'")


def _good(journal: Path) -> int:
    return _count(journal, "SELECT count(*) FROM rows WHERE state = 'good'")


def _count(journal: Path, question: str) -> int:
    """A count of the journal, 0 where it has no such table yet."""
    if not journal.exists():
        return 0
    with (
        contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection,
        contextlib.suppress(sqlite3.OperationalError),
    ):
        return int(connection.execute(question).fetchone()[0])
    return 0
