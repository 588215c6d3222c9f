"""Values for findings: enough to find the cell again, too little to learn the value."""

from __future__ import annotations

from typing import Final

from personalization.intake.applicant import Column

# Codes and days of the office, not of the person: shown whole when they look as they should.
_PLAIN: Final = {
    Column.SEX: 2,
    Column.ETHNIC_GROUP: 2,
    Column.ISSUE_DATE: 8,
    Column.ENDORSEMENT_DUE: 8,
    Column.AREA_CODE: 6,
    Column.PRODUCTION_DATE: 8,
}
_LONG: Final = 9  # from here on two characters at each end are shown
_LONGEST: Final = 24
_MASK: Final = "*"


def mask(column: Column, value: str) -> str:
    """``value`` with its middle hidden; unprintable characters at its ends are written as their code point."""
    if not value:
        return ""
    if column in _PLAIN and value.isascii() and value.isdigit() and len(value) <= _PLAIN[column]:
        return value
    if len(value) > _LONGEST:
        return f"{_shown(value[0])}{_MASK * 3}({len(value)})"
    if len(value) >= _LONG:
        return f"{_shown(value[:2])}{_MASK * (len(value) - 4)}{_shown(value[-2:])}"
    if len(value) == 1:
        return _MASK
    return _shown(value[0]) + _MASK * (len(value) - 1)


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else f"<U+{ord(character):04X}>" for character in text)
