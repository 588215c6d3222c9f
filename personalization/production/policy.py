"""What a run is allowed to do, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from personalization.errors import PersonalizationError

_MAX_STATIONS: Final = 64
_MAX_TRAY: Final = 256
_MAX_LEASE_S: Final = 3600
_TRAYS_A_STATION: Final = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of a run.

    Attributes:
        stations: processes that make and inspect, 0..64; with 0 the batch is opened for stations that join it.
        tray: most cards that a station claims and records together, 1..256; 1 for a reader with one slot.
        max_attempts: blanks that one row may use before it has failed.
        stop_after_failures: failed cards in a row at one station, in making or in inspection, that stop the run.
        stop_after_refusals: cards in a row with unknown keys at one station that stop the run.
        lease_s: seconds for which a station or coordinator counts as living after its last sign of life, 1..3600.
        begin_each: write to the journal before each single card that it is begun, so that a lease that runs out frees
            the rest of a tray at once; a commit a card, which a real card of some seconds does not feel.
        patience_s: how long a station waits for a journal that is gone, seconds, 1..3600.
        restarts: stations that may be started again after they were killed.
    """

    stations: int = 2
    tray: int = 16
    max_attempts: int = 3
    stop_after_failures: int = 5
    stop_after_refusals: int = 2
    lease_s: int = 30
    begin_each: bool = False
    patience_s: int = 60
    restarts: int = 3

    def for_rows(self, rows: int) -> Policy:
        """The same, with trays small enough that each station gets several of ``rows`` rows."""
        return replace(self, tray=min(self.tray, max(1, rows // (_TRAYS_A_STATION * max(1, self.stations)))))

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            PersonalizationError: "policy-value".
        """
        limits = (
            ("stations", self.stations, 0, _MAX_STATIONS),
            ("tray", self.tray, 1, _MAX_TRAY),
            ("max_attempts", self.max_attempts, 1, _MAX_TRAY),
            ("stop_after_failures", self.stop_after_failures, 1, _MAX_TRAY),
            ("stop_after_refusals", self.stop_after_refusals, 1, _MAX_TRAY),
            ("lease_s", self.lease_s, 1, _MAX_LEASE_S),
            ("patience_s", self.patience_s, 1, _MAX_LEASE_S),
            ("restarts", self.restarts, 0, _MAX_TRAY),
        )
        for name, value, minimum, maximum in limits:
            if not minimum <= value <= maximum:
                raise PersonalizationError(
                    "policy-value", exit_code=2, name=name, value=value, minimum=minimum, maximum=maximum
                )
