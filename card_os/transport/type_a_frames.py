"""Frames of type A before the block protocol: short frames, anticollision frames with any number of bits, SEL and SAK.

Source: ISO/IEC 14443-3:2018, clauses 6.2 and 6.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import xor
from typing import Final, NamedTuple

from card_os.transport.checks import CRC_LENGTH, crc_a

REQA: Final = 0x26
WUPA: Final = 0x52
SHORT_FRAME_BITS: Final = 7
HLTA: Final = b"\x50\x00"
CASCADE_TAG: Final = 0x88
SELECT_CODES: Final = (0x93, 0x95, 0x97)
"""SEL of cascade levels 1 to 3."""
NVB_SELECT: Final = 0x70
NVB_START: Final = 0x20
SAK_CASCADE: Final = 0x04
"""UID not complete."""
SAK_BLOCK_PROTOCOL: Final = 0x20
"""The card speaks ISO/IEC 14443-4."""
UID_LENGTHS: Final = (4, 7, 10)
LEVEL_BITS: Final = 40
LEVEL_LENGTH: Final = 5
BITS: Final = 8
_TAIL: Final = 3
_LOW: Final = 0x0F
RATS: Final = 0xE0
PPS_START: Final = 0xD0


class Frame(NamedTuple):
    """Bits on the carrier, least significant bit of each byte first.

    Attributes:
        data: the bytes; the last one may be partial.
        bits: number of bits, at most eight for each byte.
    """

    data: bytes
    bits: int

    def __repr__(self) -> str:
        """Length only: a frame that is not of the activation may hold secrets."""
        return f"Frame({self.bits} bits)"

    @classmethod
    def standard(cls, data: bytes) -> Frame:
        """Whole bytes as they are."""
        return cls(data, BITS * len(data))

    @classmethod
    def checked(cls, data: bytes) -> Frame:
        """Whole bytes with CRC_A behind them."""
        return cls.standard(data + crc_a(data))

    @classmethod
    def short(cls, command: int) -> Frame:
        """A short frame: REQA or WUPA."""
        return cls(bytes((command,)), SHORT_FRAME_BITS)

    @property
    def payload(self) -> bytes | None:
        """The bytes before a right CRC_A; None when there is no such CRC."""
        body = self.data[:-CRC_LENGTH]
        whole = self.bits == BITS * len(self.data) and len(self.data) > CRC_LENGTH
        return body if whole and crc_a(body) == self.data[-CRC_LENGTH:] else None


def cascade_levels(uid: bytes) -> tuple[bytes, ...]:
    """The five bytes of each cascade level, BCC included (6.5.4).

    Raises:
        ValueError: not 4, 7 or 10 bytes.
    """
    if len(uid) not in UID_LENGTHS:
        raise ValueError("a UID has 4, 7 or 10 bytes")
    levels: list[bytes] = []
    while len(uid) > LEVEL_LENGTH - 1:
        levels.append(bytes((CASCADE_TAG,)) + uid[:_TAIL])
        uid = uid[_TAIL:]
    return tuple(level + bytes((reduce(xor, level),)) for level in (*levels, uid))


def level_bits(level: bytes) -> int:
    """The 40 bits of a level as a number, the first bit sent lowest."""
    return int.from_bytes(level, "little")


def anticollision_frame(select: int, known: int, count: int) -> Frame:
    """SEL ‖ NVB ‖ the ``count`` known bits (0..39) of a level (6.5.3.2)."""
    whole, rest = divmod(count, BITS)
    data = bytes((select, NVB_START + (whole << 4) + rest)) + known.to_bytes(LEVEL_LENGTH, "little")
    return Frame(data[: 2 + whole + bool(rest)], 2 * BITS + count)


def parse_anticollision(frame: Frame) -> tuple[int, int, int] | None:
    """SEL, known bits and their number; None when NVB does not fit the frame."""
    if frame.bits < 2 * BITS or frame.data[0] not in SELECT_CODES:
        return None
    nvb = frame.data[1]
    count = ((nvb >> 4) - 2) * BITS + (nvb & _LOW)
    if nvb & _LOW >= BITS or not 0 <= count < LEVEL_BITS or frame.bits != 2 * BITS + count:
        return None
    return frame.data[0], int.from_bytes(frame.data[2:], "little") & (1 << count) - 1, count


def rest_frame(level: bytes, count: int) -> Frame:
    """What a card sends after ``count`` known bits: the other bits of its level."""
    bits = LEVEL_BITS - count
    return Frame((level_bits(level) >> count).to_bytes(-(-bits // BITS), "little"), bits)


def superpose(frames: Sequence[Frame]) -> tuple[Frame, int | None]:
    """What a reader sees when several cards send at once: the bits up to the first collision, and its place.

    The place is None when all frames are equal.
    """
    values = [int.from_bytes(frame.data, "little") for frame in frames]
    difference = reduce(lambda all_bits, value: all_bits | value ^ values[0], values, 0)
    if not difference:
        return frames[0], None
    place = (difference & -difference).bit_length() - 1
    data = (values[0] & (1 << place) - 1).to_bytes(max(1, -(-place // BITS)), "little")
    return Frame(data, place), place
