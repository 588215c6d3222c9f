"""Telling the dead from the living: by locks that the operating system frees, where that is proof, else by leases.

A process that holds a lock writes its name into the journal: which boot of which system, which file. Somebody under the
same boot who sees the same file, and gets that lock, knows that its owner is dead. Everybody else waits for the lease.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock, Timeout

from personalization.production.journal.clock import MICROSECONDS, elapsed_s
from personalization.production.journal.database import Journal

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_LONGEST: Final = 255


class Sign(Protocol):
    """What the journal knows of somebody's life."""

    @property
    def id(self) -> int:
        """Key of its row."""
        ...

    @property
    def lock_name(self) -> str:
        """Name of the lock that it holds on its machine."""
        ...

    @property
    def lock(self) -> str | None:
        """Which lock that is, see `lock_identity`."""
        ...

    @property
    def beat(self) -> int:
        """Count of its signs of life."""
        ...

    @property
    def lease_us(self) -> int:
        """Length of its lease, microseconds."""
        ...

    @property
    def over_us(self) -> int:
        """For how long the lease had run out by the database's clock when this was read; negative while it runs."""
        ...


def host_name() -> str:
    """This machine, for people."""
    return platform.node()[:_LONGEST] or "?"


def lock_identity(lock: FileLock) -> str:
    """Which lock this is: boot, device and inode. Empty when there is no such file."""
    try:
        status = Path(lock.lock_file).stat()
    except OSError:
        return ""
    return f"{_boot()}:{status.st_dev}:{status.st_ino}"


def _boot() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return platform.node()


def is_dead(journal: Journal, sign: Sign) -> bool:
    """Whether a lock proves that its owner is dead; False when it lives, or when this machine cannot know."""
    lock = journal.lock(sign.lock_name)
    if not sign.lock or lock_identity(lock) != sign.lock:
        return False
    with suppress(Timeout, PermissionError), lock.acquire(timeout=0):  # what we may not lock proves nothing
        return lock_identity(lock) == sign.lock
    return False


@dataclass(slots=True)
class LeaseWatch:
    """Decides whose lease has run out, on a clock that no adjustment touches.

    A beat has to stand still for the whole lease while we looked. A lease that had run out for as long again when it
    was first seen is over at once: that is a life of long ago. A gap in our own watching proves nothing and starts it
    anew, for we may have been stopped ourselves, or the database away.

    Attributes:
        journal: where lock files are.
    """

    journal: Journal
    _seen: dict[int, tuple[int, float]] = field(default_factory=dict)
    _looked: float | None = None

    def lost(self, signs: Sequence[Sign]) -> list[int]:
        """Keys of those that are dead or whose lease has run out; to be called again and again.

        Args:
            signs: all that the journal takes for living, as just read.
        """
        now = elapsed_s()
        first = self._looked is None
        shortest = min((sign.lease_us for sign in signs), default=0) / MICROSECONDS
        if self._looked is not None and now - self._looked > shortest:
            self._seen.clear()
        self._looked = now
        return [sign.id for sign in signs if is_dead(self.journal, sign) or self._ran_out(sign, now, first=first)]

    def _ran_out(self, sign: Sign, now: float, *, first: bool) -> bool:
        beat, since = self._seen.get(sign.id, (None, now))
        if beat != sign.beat:
            self._seen[sign.id] = (sign.beat, now)
            return first and sign.over_us >= sign.lease_us
        return now - since >= sign.lease_us / MICROSECONDS
