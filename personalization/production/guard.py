"""The key guard: wrong keys stop a station long before a card could lock itself."""

from __future__ import annotations


class KeyGuard:
    """Counts cards in a row that did not know our keys.

    A card that refuses is set aside at once and never tried again without an operator, so each chip sees at most one
    wrong attempt where its own counter grants ten; this counter is about the other mistake, wrong keys or wrong stock
    at the station, which would set the whole stock aside.

    Args:
        limit: cards in a row at which the alarm goes off, at least 1.
    """

    __slots__ = ("_limit", "_refused")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._refused = 0

    @property
    def alarm(self) -> bool:
        """True when the station has to stop."""
        return self._refused >= self._limit

    def refused(self) -> None:
        """A card refused our keys, or did not prove that it knows them."""
        self._refused += 1

    def accepted(self) -> None:
        """A card and we hold the same keys."""
        self._refused = 0
