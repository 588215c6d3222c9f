"""Characters on the contact line: convention, parity, error signal and repetition.

A character is a start moment, eight bits, and a parity bit that makes the number of ones even. Who finds the parity
wrong under T=0 pulls the line down, and the sender repeats the character.

Source: ISO/IEC 7816-3:2006, clauses 7.2, 7.3 and 8.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from card_os.iso7816.atr import Convention

MAX_REPETITIONS: Final = 3
"""How often a character is sent again after an error signal; then the sender stops."""
_BITS: Final = 8
_ALL: Final = 0xFF
_PARITY: Final = 0x100

Disturbance = Callable[[int], int | None]
"""What arrives of the nine moments of a character; None = nothing."""


class ParityError(Exception):
    """The moments of a character do not have even parity."""


def _reverse(byte: int) -> int:
    return int(f"{byte:08b}"[::-1], 2)


def encode_character(byte: int, convention: Convention = Convention.DIRECT) -> int:
    """The nine moments after the start: bit 0 is sent first, bit 8 is parity, 1 is the high state Z."""
    parity = byte.bit_count() & 1
    if convention is Convention.DIRECT:
        return byte | parity << _BITS
    return (_reverse(byte) ^ _ALL) | (parity ^ 1) << _BITS


def decode_character(moments: int, convention: Convention = Convention.DIRECT) -> int:
    """The byte in nine moments.

    Raises:
        ParityError: the number of ones, parity included, is odd.
    """
    if convention is Convention.INVERSE:
        moments ^= _ALL | _PARITY
    if moments.bit_count() & 1:
        raise ParityError
    byte = moments & _ALL
    return _reverse(byte) if convention is Convention.INVERSE else byte


def carry_characters(data: bytes, disturbance: Disturbance, convention: Convention = Convention.DIRECT) -> bytes:
    """Send bytes over a disturbed line with repetition; returns what arrives.

    A sender whose character is refused more than `MAX_REPETITIONS` times sends nothing more.
    """
    arrived = bytearray()
    for byte in data:
        for _ in range(1 + MAX_REPETITIONS):
            moments = disturbance(encode_character(byte, convention))
            if moments is None:
                break
            try:
                arrived.append(decode_character(moments, convention))
            except ParityError:
                continue
            break
        else:
            return bytes(arrived)
    return bytes(arrived)
