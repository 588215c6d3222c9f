"""Text on a terminal: from outside shown, and never obeyed; of whatever script in its column.

Names of files, readers and lots, and what a damaged delivery holds, may carry control characters: a terminal would move
its cursor, change its title, answer as if somebody typed, or turn the direction of what follows. They are shown by
their numbers, in a form that JSON understands too.

Source: ECMA-48, clauses 5.2 and 5.3 (C0 and C1); Unicode Standard Annex #9, clause 2 (directional formatting), and #11
(East Asian width).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_OBEYED: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""All controls but tab and line feed; a lone surrogate is what no terminal can be sent."""

_WIDE: Final = frozenset("WFA")
"""Wide, full width, and ambiguous, which fonts for Chinese show as wide."""


def printable(text: str) -> str:
    """The text, with its number in hexadecimal in place of each character that a terminal obeys."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def columns_of(text: str) -> int:
    """Columns that a text takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in _WIDE else 1 for character in text)


def at_left(text: str, columns: int) -> str:
    """The text at the left of so many columns; a longer one as it is."""
    return text + " " * (columns - columns_of(text))


def at_right(text: str, columns: int) -> str:
    """The text at the right of so many columns; a longer one as it is."""
    return " " * (columns - columns_of(text)) + text
