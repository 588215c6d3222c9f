"""The last things that passed over a line, with their times, for whoever has to find out why an exchange failed.

What is kept tells kinds, lengths and headers of messages, never what they carry.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

_KEPT: Final = 64
_NANOSECONDS: Final = 1_000_000_000


class LineHistory:
    """The last entries of a line; safe to read from another thread.

    Args:
        kept: how many entries.
        clock: monotonic time, ns.
    """

    __slots__ = ("_clock", "_entries")

    def __init__(self, kept: int = _KEPT, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._entries: deque[tuple[int, str, tuple[object, ...]]] = deque(maxlen=kept)

    def note(self, template: str, *values: object) -> None:
        """Keep an entry; it is put into words (`str.format`) when somebody asks."""
        self._entries.append((self._clock(), template, values))

    def lines(self) -> list[str]:
        """Oldest first: seconds before now, seconds since the entry before, what it was."""
        now = self._clock()
        before: int | None = None
        lines: list[str] = []
        for at, template, values in tuple(self._entries):
            pause = 0 if before is None else at - before
            lines.append(
                f"{(at - now) / _NANOSECONDS:+12.6f} s {pause / _NANOSECONDS:+10.6f} s  {template.format(*values)}"
            )
            before = at
        return lines
