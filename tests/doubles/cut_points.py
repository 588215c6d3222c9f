"""Where a sweep cuts power."""

from __future__ import annotations

from collections.abc import Iterator

from card_os.hardware.power import CutMoment

_EACH = (CutMoment.ERASING, CutMoment.PROGRAMMING, CutMoment.AFTER)


def cut_points(units: int, step: int = 1) -> Iterator[tuple[int, CutMoment]]:
    """Every way in which power can go during so many programming units, the first being 1.

    Before a unit the memory is what it was after the unit before: that moment is new at the first unit only.

    Args:
        units: programming units of what is cut.
        step: distance of the units that are cut at, 1 for all of them.
    """
    yield 1, CutMoment.BEFORE
    for unit in range(1, units + 1, step):
        if unit > 1 and step > 1:
            yield unit, CutMoment.BEFORE
        for moment in _EACH:
            yield unit, moment
