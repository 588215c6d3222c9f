"""Check characters of citizen numbers and of bank account numbers."""

from __future__ import annotations

import operator
from typing import Final

_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHARACTERS: Final = "10X98765432"
_MODULUS: Final = 11
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_DECIMAL: Final = 10


def citizen_check_character(body: str) -> str:
    """The check character of a citizen number: 0 to 9 or X.

    Args:
        body: the first 17 digits.

    Source: GB 11643-1999, after ISO 7064 MOD 11-2.
    """
    return _CHARACTERS[sum(map(operator.mul, _WEIGHTS, map(int, body))) % _MODULUS]


def luhn_sum(digits: str) -> int:
    """The Luhn sum modulo 10 of a number with its check digit; 0 when the number is sound.

    Source: ISO/IEC 7812-1, annex B.
    """
    plain = sum(map(int, digits[::-2]))
    return (plain + sum(map(_DOUBLED.__getitem__, map(int, digits[-2::-2])))) % _DECIMAL


def luhn_check_digit(body: str) -> str:
    """The digit that makes ``body`` and the digit a sound number."""
    return str(-luhn_sum(body + "0") % _DECIMAL)
