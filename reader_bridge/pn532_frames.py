"""Frames and commands of the contactless module PN532 on its serial interface (HSU).

A frame is 00 00 FF ‖ LEN ‖ LCS ‖ TFI ‖ data ‖ DCS ‖ 00, with LEN counting TFI and data; longer ones have FF FF ‖ LEN
(2, big-endian) ‖ LCS instead. LCS and DCS make their sums zero. TFI is D4 to the module and D5 from it. Each frame is
acknowledged with 00 00 FF 00 FF 00.

Source: NXP UM0701-02, PN532 User Manual, clauses 6.2.1 (frames), 7.1 (error codes), 7.2 and 7.3 (commands).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from reader_bridge.line_buffer import LineBuffer

ACK: Final = bytes.fromhex("0000FF00FF00")
NACK: Final = bytes.fromhex("0000FFFF0000")
ERROR: Final = bytes.fromhex("0000FF01FF7F8100")
WAKE_UP: Final = bytes((0x55, 0x55)) + bytes(14)
"""What wakes a module that sleeps: 55, and time to start."""
HOST_TO_MODULE: Final = 0xD4
MODULE_TO_HOST: Final = 0xD5
MAX_DATA: Final = 262
"""Bytes of DataOut and DataIn of one exchange."""
MORE: Final = 0x40
"""MI: more of the message follows, in Tg of a command and in the status of an answer."""
STATUS_CODE: Final = 0x3F
_START: Final = b"\x00\xff"
_EXTENDED: Final = b"\xff\xff"
_MAX_NORMAL: Final = 0xFF
_MAX_FRAME: Final = 265
_POSTAMBLE: Final = b"\x00"


class Command(IntEnum):
    """Command codes; the answer has the next one."""

    GET_FIRMWARE_VERSION = 0x02
    SAM_CONFIGURATION = 0x14
    RF_CONFIGURATION = 0x32
    IN_DATA_EXCHANGE = 0x40
    IN_COMMUNICATE_THRU = 0x42
    IN_DESELECT = 0x44
    IN_LIST_PASSIVE_TARGET = 0x4A
    IN_RELEASE = 0x52


class Baud(IntEnum):
    """BrTy of InListPassiveTarget: what is looked for."""

    TYPE_A = 0x00
    TYPE_B = 0x03


class Status(IntEnum):
    """Error codes (table 2 of 7.1)."""

    OK = 0x00
    TIME_OUT = 0x01
    CRC = 0x02
    PARITY = 0x03
    BUFFER = 0x09
    RF_PROTOCOL = 0x0B
    PARAMETER = 0x10
    DATA_FORMAT = 0x13
    WRONG_CONTEXT = 0x27
    RELEASED = 0x29
    CARD_DISAPPEARED = 0x2C


class RfItem(IntEnum):
    """CfgItem of RFConfiguration."""

    FIELD = 0x01
    MAX_RETRIES = 0x05


class Event(Enum):
    """What comes over the line besides data."""

    ACK = "acknowledged"
    NACK = "the last frame is wanted again"
    ERROR = "the module does not understand the command"
    DAMAGED = "a frame with a wrong check byte"


def _check(data: bytes) -> bytes:
    return bytes((-sum(data) & 0xFF,))


def frame(data: bytes, direction: int) -> bytes:
    """A frame with TFI and data."""
    body = bytes((direction,)) + data
    if len(body) <= _MAX_NORMAL:
        length = bytes((len(body),))
        head = length + _check(length)
    else:
        length = len(body).to_bytes(2, "big")
        head = _EXTENDED + length + _check(length)
    return b"\x00" + _START + head + body + _check(body) + _POSTAMBLE


class FrameReader(LineBuffer):
    """Cuts what comes over the line into data and events; noise between frames is passed over.

    Args:
        direction: TFI of what is taken.
    """

    __slots__ = ("_direction",)

    def __init__(self, direction: int) -> None:
        super().__init__()
        self._direction = direction

    def next(self) -> bytes | Event | None:
        """The next data (without TFI) or event; None = more bytes are needed."""
        buffer = self._buffer
        while (at := buffer.find(_START)) >= 0:
            del buffer[: at + len(_START)]
            found = self._after_start()
            if found is None:
                buffer[:0] = _START
                return None
            return found
        # Half a start may be the beginning of a frame.
        del buffer[: len(buffer) - buffer.endswith(_START[:1])]
        return None

    def _after_start(self) -> bytes | Event | None:
        """What stands behind a start; it is taken out of the buffer when it is whole."""
        buffer = self._buffer
        if len(buffer) < len(_EXTENDED):
            return None
        head = bytes(buffer[:2])
        if head in {b"\x00\xff", b"\xff\x00"}:
            del buffer[:2]
            return Event.ACK if head == b"\x00\xff" else Event.NACK
        first = 2
        if head == _EXTENDED:
            first = 5
            if len(buffer) < first:
                return None
            length, checked = int.from_bytes(buffer[2:4], "big"), bytes(buffer[2:5])
        else:
            length, checked = buffer[0], head
        if sum(checked) & 0xFF or not 0 < length <= _MAX_FRAME:
            return Event.DAMAGED
        end = first + length
        if len(buffer) <= end:
            return None
        body, check = bytes(buffer[first:end]), buffer[end]
        del buffer[: end + 1]
        if sum(body) + check & 0xFF:
            return Event.DAMAGED
        if body == b"\x7f":
            return Event.ERROR
        return body[1:] if body[0] == self._direction else Event.DAMAGED
