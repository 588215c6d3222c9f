"""Stops a station before wrong keys can lock a card."""

from __future__ import annotations

from typing import Final

from personalization.errors import PersonalizationError

_ALLOWED_FAILURES: Final = 1


class KeyGuard:
    """Counts failed authentications by card for the length of a run and refuses another one after the first.

    A card blocks a key set after ten failures, and nothing gives the tries back but a success; so the second attempt is
    for a person to decide on.
    """

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures: dict[bytes, int] = {}

    def check(self, card: bytes) -> None:
        """Let an authentication begin.

        Args:
            card: key diversification data of the card, 10 bytes.

        Raises:
            PersonalizationError: "authentication-stopped": it failed before in this run.
        """
        failures = self._failures.get(card, 0)
        if failures >= _ALLOWED_FAILURES:
            raise PersonalizationError("authentication-stopped", card=card.hex().upper(), failures=failures)

    def failed(self, card: bytes) -> None:
        """Count a failure, found by us or told by the card."""
        self._failures[card] = self._failures.get(card, 0) + 1

    def failures(self, card: bytes) -> int:
        """Failures so far."""
        return self._failures.get(card, 0)
