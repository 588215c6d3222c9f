"""Text fields of fixed width in the form of GA/T 490: UTF-16LE, padded with spaces.

Readers of that form show a field as it stands, so a text that is too long is cut at a character: never inside a
surrogate pair, and never between a character and the marks or variation selectors that belong to it. The full text
stands in EF.IDENTITY.

Source: GA/T 490-2019 (text file of the identity card, 256 bytes); Unicode 15, clause 3.6 (combining character
sequences), clause 23.4 (variation selectors).
"""

from __future__ import annotations

import unicodedata
from typing import Final

_UNIT: Final = 2
_SPACE: Final = " ".encode("utf-16-le")
_MARKS: Final = frozenset({"Mn", "Mc", "Me"})
_ZERO_WIDTH_JOINER: Final = "\u200d"


def encode_field(text: str, length: int) -> bytes:
    """``text`` in exactly ``length`` bytes: cut at a character where it is too long, padded where it is short.

    Raises:
        ValueError: ``length`` is odd, or ``text`` holds half a surrogate pair.
    """
    if length % _UNIT:
        raise ValueError(f"a field of UTF-16 has an even length, not {length}")
    encoded = text.encode("utf-16-le")
    if len(encoded) > length:
        encoded = fit(text, length // _UNIT).encode("utf-16-le")
    return encoded + _SPACE * ((length - len(encoded)) // _UNIT)


def fit(text: str, units: int) -> str:
    """The longest beginning of ``text`` that takes at most ``units`` UTF-16 code units and splits no character."""
    used = 0
    for position, character in enumerate(text):
        used += 1 if ord(character) <= 0xFFFF else 2  # noqa: PLR2004 - the Basic Multilingual Plane ends here
        if used > units:
            return text[: _boundary(text, position)]
    return text


def _boundary(text: str, position: int) -> int:
    """The last place at or before ``position`` where a character ends."""
    while position and _continues(text, position):
        position -= 1
    return position


def _continues(text: str, position: int) -> bool:
    """True when the character at ``position`` belongs to the one before it."""
    character = text[position]
    return (
        unicodedata.category(character) in _MARKS
        or character == _ZERO_WIDTH_JOINER
        or text[position - 1] == _ZERO_WIDTH_JOINER
    )
