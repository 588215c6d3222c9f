"""Values for inspection reports: enough to see what is wrong, too little to learn who it is."""

from __future__ import annotations

from enum import Enum
from typing import Final

_MASK: Final = "*"
_LAST: Final = 4
_YEAR: Final = 4
_PLACE: Final = 3


class Masking(Enum):
    """How a value is shown."""

    OPEN = "open"
    NAME = "name"
    NUMBER = "number"
    BIRTH_DATE = "birth date"
    PLACE = "place"
    HIDDEN = "hidden"


def masked(value: str | None, masking: Masking) -> str:
    """``value`` as a report may show it; "(none)" for a value that is not there.

    OPEN: as it is, for data of the office. NAME: the first character. NUMBER: the last four, nothing of one that is
    not longer. BIRTH_DATE: the year. PLACE: the first three characters, the province as a rule. HIDDEN: its length.
    """
    if value is None:
        return "(none)"
    match masking:
        case Masking.OPEN:
            if value.isprintable():
                return value
            return "".join(character if character.isprintable() else _MASK for character in value)
        case Masking.NAME:
            return _shown_from_left(value, 1)
        case Masking.NUMBER:
            return _MASK * (len(value) - _LAST) + value[-_LAST:] if len(value) > _LAST else _MASK * len(value)
        case Masking.BIRTH_DATE:
            return _shown_from_left(value, _YEAR)
        case Masking.PLACE:
            return _shown_from_left(value, _PLACE)
        case Masking.HIDDEN:
            return f"({len(value)})"


def _shown_from_left(value: str, count: int) -> str:
    if len(value) <= count:
        return _MASK * len(value)
    shown = value[:count]
    return (shown if shown.isprintable() else _MASK * count) + _MASK * (len(value) - count)
