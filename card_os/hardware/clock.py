"""Virtual time: what the card's work costs, independent of the machine that computes it."""

from __future__ import annotations


class VirtualClock:
    """Nanoseconds since the clock was made; moves only when work spends time.

    Attributes:
        now_ns: virtual time in nanoseconds.
    """

    __slots__ = ("now_ns",)

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def spend(self, ns: int) -> None:
        """Let ``ns`` nanoseconds (0 or more) pass."""
        self.now_ns += ns

    def __repr__(self) -> str:
        return f"VirtualClock({self.now_ns})"
