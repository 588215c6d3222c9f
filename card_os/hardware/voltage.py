"""Classes of operating conditions: the voltages that a contact interface gives, and the ones a chip works at.

Source: ISO/IEC 7816-3:2006, clauses 5.2.1 (classes A, B and C) and 8.3 (TA of T=15: bit 1 class A, bit 2 B, bit 3 C).
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class VoltageClass(Enum):
    """Least and greatest supply in millivolts, and the bit in the answer to reset."""

    A = (4_500, 5_500, 0x01)
    B = (2_700, 3_300, 0x02)
    C = (1_620, 1_980, 0x04)

    def __init__(self, least: int, most: int, indicator: int) -> None:
        self.least = least
        self.most = most
        self.indicator = indicator


ALL_CLASSES: Final = frozenset(VoltageClass)
NOMINAL_MILLIVOLTS: Final = 5_000


def class_indicator(classes: frozenset[VoltageClass]) -> int:
    """TA of T=15, without clock stop."""
    return sum(item.indicator for item in classes)


def class_of(millivolts: int, classes: frozenset[VoltageClass] = ALL_CLASSES) -> VoltageClass | None:
    """The class among ``classes`` that a supply belongs to; None when a chip of these does not work with it."""
    return next((item for item in classes if item.least <= millivolts <= item.most), None)
