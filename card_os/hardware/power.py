"""The power supply of the memory: counts programming units and can fail at any of them."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Final

NEVER: Final = sys.maxsize
"""`PowerSupply.cut_at` when no cut is armed."""


class CutMoment(Enum):
    """Where in a programming unit the power goes.

    A unit is erased, then programmed. ERASING leaves the word half erased, PROGRAMMING leaves it erased and half
    programmed: neither the old nor the new value, in all bytes of the word.
    """

    BEFORE = "before"
    ERASING = "erasing"
    PROGRAMMING = "programming"
    AFTER = "after"


class PowerSupply:
    """Power of one chip, seen by its memory.

    Attributes:
        count: programming units that were completed or begun since the supply was made.
        cut_at: value of ``count`` at which the power goes; read by the memory on every write.
        moment: where in that unit.
    """

    __slots__ = ("count", "cut_at", "moment")

    def __init__(self) -> None:
        self.count = 0
        self.cut_at = NEVER
        self.moment = CutMoment.BEFORE

    @property
    def on(self) -> bool:
        """False after a cut, until `restore`."""
        return self.cut_at > 0

    @property
    def armed(self) -> bool:
        """True when a cut is to come."""
        return 0 < self.cut_at < NEVER

    def arm(self, unit: int, moment: CutMoment = CutMoment.BEFORE) -> None:
        """Cut at the ``unit``-th programming unit from now (1 or more).

        Raises:
            ValueError: ``unit`` below 1.
        """
        if unit < 1:
            raise ValueError("programming units are counted from 1")
        self.cut_at = self.count + unit
        self.moment = moment

    def cut(self) -> None:
        """Take the power away now: every write raises `CardTorn` until `restore`."""
        self.cut_at = 0

    def restore(self) -> None:
        """Give power back, with no cut armed."""
        self.cut_at = NEVER
