"""Check characters of citizen numbers and of bank account numbers."""

from __future__ import annotations

import operator
from typing import Final

_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHARACTERS: Final = "10X98765432"
_MODULUS: Final = 11
_DECIMAL: Final = 10
_ZERO: Final = ord("0")
_OFFSET: Final = _ZERO * sum(_WEIGHTS)
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
# Sums are those of the digits' codes, less that of as many zeros: every citizen number of a batch is asked.


def citizen_check_character(body: str) -> str:
    """The check character of a citizen number: 0 to 9 or X.

    Args:
        body: the first 17 digits.

    Source: GB 11643-1999, after ISO 7064 MOD 11-2.
    """
    return _CHARACTERS[(sum(map(operator.mul, _WEIGHTS, body.encode())) - _OFFSET) % _MODULUS]


def luhn_sum(digits: str) -> int:
    """The Luhn sum modulo 10 of a number with its check digit; 0 when the number is sound.

    Source: ISO/IEC 7812-1, annex B.
    """
    codes = digits.encode()
    return (sum(codes[::-2]) + sum(codes[-2::-2].translate(_DOUBLED)) - _ZERO * len(codes)) % _DECIMAL


def luhn_check_digit(body: str) -> str:
    """The digit that makes ``body`` and the digit a sound number."""
    return str(-luhn_sum(body + "0") % _DECIMAL)
