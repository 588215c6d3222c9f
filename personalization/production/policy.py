"""What a run is allowed to do, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from personalization.errors import PersonalizationError

_MAX_STATIONS: Final = 64
_MAX_TRAY: Final = 256
_TRAYS_A_STATION: Final = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of a run.

    Attributes:
        stations: processes that make and inspect, 1..64.
        tray: most cards that a station claims and records together, 1..256; 1 for a reader with one slot.
        max_attempts: blanks that one row may use before it has failed.
        stop_after_failures: failed cards in a row at one station that stop the run.
        stop_after_refusals: cards in a row with unknown keys at one station that stop the run.
    """

    stations: int = 2
    tray: int = 16
    max_attempts: int = 3
    stop_after_failures: int = 5
    stop_after_refusals: int = 2

    def for_rows(self, rows: int) -> Policy:
        """The same, with trays small enough that each station gets several of ``rows`` rows."""
        return replace(self, tray=min(self.tray, max(1, rows // (_TRAYS_A_STATION * self.stations))))

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            PersonalizationError: "policy-value".
        """
        limits = (
            ("stations", self.stations, _MAX_STATIONS),
            ("tray", self.tray, _MAX_TRAY),
            ("max_attempts", self.max_attempts, _MAX_TRAY),
            ("stop_after_failures", self.stop_after_failures, _MAX_TRAY),
            ("stop_after_refusals", self.stop_after_refusals, _MAX_TRAY),
        )
        for name, value, maximum in limits:
            if not 1 <= value <= maximum:
                raise PersonalizationError("policy-value", exit_code=2, name=name, value=value, maximum=maximum)
