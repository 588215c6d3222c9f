"""Error detection codes of the transmission protocols.

Source: ISO/IEC 7816-3:2006, clause 11.3.4 (LRC and CRC of T=1, the CRC after ISO/IEC 13239); ISO/IEC 14443-3:2018,
clauses 6.2.4 (CRC_A) and 7.2.2 (CRC_B).
"""

from __future__ import annotations

from functools import reduce
from operator import xor
from typing import Final

_POLYNOMIAL: Final = 0x8408
"""x^16 + x^12 + x^5 + 1, least significant bit first."""
_INITIAL_A: Final = 0x6363
_INITIAL_B: Final = 0xFFFF
_BITS: Final = 8
CRC_LENGTH: Final = 2
_FOLDED_FROM: Final = 32


def _row(value: int) -> int:
    for _ in range(_BITS):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_ROWS: Final = tuple(_row(value) for value in range(256))


def _register(data: bytes, value: int) -> int:
    for byte in data:
        value = value >> 8 ^ _ROWS[(value ^ byte) & 0xFF]
    return value


def lrc(data: bytes) -> bytes:
    """Exclusive-or of all bytes, one byte."""
    if len(data) <= _FOLDED_FROM:
        return bytes((reduce(xor, data, 0),))
    number, width = int.from_bytes(data, "little"), _BITS << (len(data) - 1).bit_length()
    while width > _BITS:  # halves over each other, much faster than byte after byte
        width >>= 1
        number = number >> width ^ number & (1 << width) - 1
    return bytes((number,))


def crc_a(data: bytes) -> bytes:
    """CRC_A, two bytes, little-endian as sent."""
    return _register(data, _INITIAL_A).to_bytes(CRC_LENGTH, "little")


def crc_b(data: bytes) -> bytes:
    """CRC_B, two bytes, little-endian as sent."""
    return (_register(data, _INITIAL_B) ^ _INITIAL_B).to_bytes(CRC_LENGTH, "little")


def crc_t1(data: bytes) -> bytes:
    """CRC of T=1, two bytes, big-endian as sent and without the final inversion.

    Deviates: ISO/IEC 7816-3 names ISO/IEC 13239 and leaves inversion and order open; this is what the CCID drivers and
    readers in the field send.
    """
    return _register(data, _INITIAL_B).to_bytes(CRC_LENGTH, "big")
