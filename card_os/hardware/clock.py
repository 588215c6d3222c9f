"""Virtual time: what the card's work costs, independent of the machine that computes it."""

from __future__ import annotations

from card_os.hardware.work import NO_TIMES, Work, WorkTimes


class VirtualClock:
    """Nanoseconds since the clock was made; moves only when work spends time.

    Args:
        now_ns: where it starts.
        times: what computing costs.

    Attributes:
        now_ns: virtual time in nanoseconds.
        times: what computing costs, in nanoseconds by kind of work.
    """

    __slots__ = ("now_ns", "times")

    def __init__(self, now_ns: int = 0, times: WorkTimes = NO_TIMES) -> None:
        self.now_ns = now_ns
        self.times = times

    def spend(self, ns: int) -> None:
        """Let ``ns`` nanoseconds (0 or more) pass."""
        self.now_ns += ns

    def work(self, kind: Work, count: int = 1) -> None:
        """Let the time pass that ``count`` pieces of work of a kind take."""
        self.now_ns += self.times.get(kind, 0) * count

    def __repr__(self) -> str:
        return f"VirtualClock({self.now_ns})"
