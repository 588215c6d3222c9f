"""Times of the journal: whole microseconds since 1970 UTC, by this machine's clock or by the database's."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

MICROSECONDS: Final = 1_000_000


def now_us() -> int:
    """This machine's clock."""
    return time.time_ns() // 1000


def elapsed_s() -> float:
    """Seconds that never run back, time asleep included where the system counts it; their zero means nothing."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class DatabaseClock(GenericFunction[int]):
    """The database's own clock, one for all machines; with SQLite that is this machine's."""

    type = BigInteger()
    name = "journal_clock"
    inherit_cache = True


@compiles(DatabaseClock, "postgresql")
def _of_server(_element: DatabaseClock, _compiler: Any, **_options: object) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
