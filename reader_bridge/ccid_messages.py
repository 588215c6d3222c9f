"""CCID messages, and the frames in which a reader of the GemPC Twin kind carries them over a serial line.

A message is type (1) ‖ dwLength (4, little-endian) ‖ bSlot (1) ‖ bSeq (1) ‖ three bytes of its own ‖ data. A frame is
SYNC 03 ‖ CTRL 06 ‖ message ‖ LRC, or 03 15 16 for "send again". The reader sends each frame back before it answers,
and tells a card movement with the two bytes 50 ‖ 02 (removed) or 03 (inserted), between its echo and its answer.

Source: USB Device Class: Smart Card CCID, revision 1.1, clauses 6.1 to 6.3; for the frames, the notes on the serial
protocol in the public CCID driver project (ccid_serial.c).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final, NamedTuple, Self

from card_os.transport.checks import lrc
from reader_bridge.line_buffer import LineBuffer

SYNC: Final = 0x03
ACK: Final = 0x06
NAK: Final = 0x15
NAK_FRAME: Final = bytes((SYNC, NAK, SYNC ^ NAK))
NOTIFY: Final = 0x50
CARD_ABSENT: Final = 0x02
CARD_PRESENT: Final = 0x03
TIME_REQUEST: Final = 0x80
"""A single byte of this value or above: the reader needs more time."""
HEADER_LENGTH: Final = 10
MAX_DATA: Final = 261
"""dwMaxCCIDMessageLength 271 without the header."""
_FRAME_START: Final = 2


class MessageType(IntEnum):
    """bMessageType."""

    SET_PARAMETERS = 0x61
    ICC_POWER_ON = 0x62
    ICC_POWER_OFF = 0x63
    GET_SLOT_STATUS = 0x65
    SECURE = 0x69
    ESCAPE = 0x6B
    GET_PARAMETERS = 0x6C
    RESET_PARAMETERS = 0x6D
    ICC_CLOCK = 0x6E
    XFR_BLOCK = 0x6F
    ABORT = 0x72
    DATA_BLOCK = 0x80
    SLOT_STATUS = 0x81
    PARAMETERS = 0x82
    ESCAPE_ANSWER = 0x83


class IccStatus(IntEnum):
    """bmICCStatus, the low bits of bStatus (6.2.6)."""

    ACTIVE = 0
    INACTIVE = 1
    ABSENT = 2


class CommandStatus(IntEnum):
    """bmCommandStatus, bits 7 and 6 of bStatus."""

    OK = 0x00
    FAILED = 0x40
    TIME_EXTENSION = 0x80


class CcidError(IntEnum):
    """bError of a failed command (table 6.2-2); a value up to 7F is the offset of the field that is wrong."""

    COMMAND_NOT_SUPPORTED = 0x00
    BAD_LENGTH = 0x01
    BAD_SLOT = 0x05
    BAD_PROTOCOL = 0x07
    CMD_SLOT_BUSY = 0xE0
    PIN_CANCELLED = 0xEF
    PIN_TIMEOUT = 0xF0
    BUSY_WITH_AUTO_SEQUENCE = 0xF2
    HW_ERROR = 0xFB
    XFR_OVERRUN = 0xFC
    XFR_PARITY_ERROR = 0xFD
    ICC_MUTE = 0xFE


_ICC_BITS: Final = 0x03
_COMMAND_BITS: Final = 0xC0


class Message(NamedTuple):
    """A CCID message, either way.

    Attributes:
        kind: bMessageType.
        data: abData.
        slot: bSlot.
        sequence: bSeq.
        parameters: the three bytes between bSeq and abData; of an answer bStatus, bError and one more.
    """

    kind: int
    data: bytes = b""
    slot: int = 0
    sequence: int = 0
    parameters: bytes = b"\x00\x00\x00"

    def __repr__(self) -> str:
        """Without the data, which may hold secrets."""
        return f"Message({self.kind:02X}, {len(self.data)} bytes, seq {self.sequence}, {self.parameters.hex()})"

    def encode(self) -> bytes:
        """The bytes of the message."""
        head = bytes((self.kind,)) + len(self.data).to_bytes(4, "little") + bytes((self.slot, self.sequence))
        return head + self.parameters + self.data

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a whole message."""
        return cls(raw[0], raw[HEADER_LENGTH:], raw[5], raw[6], raw[7:HEADER_LENGTH])

    @property
    def icc(self) -> int:
        """State of the card in an answer, bmICCStatus."""
        return self.parameters[0] & _ICC_BITS

    @property
    def status(self) -> int:
        """How a command went, bmCommandStatus."""
        return self.parameters[0] & _COMMAND_BITS

    @property
    def error(self) -> int:
        """Field bError of a failed answer, or how many times the waiting time a time extension asks for."""
        return self.parameters[1]


def frame(message: bytes) -> bytes:
    """SYNC ‖ ACK ‖ message ‖ LRC."""
    raw = bytes((SYNC, ACK)) + message
    return raw + lrc(raw)


class Event(Enum):
    """What comes over the line besides messages."""

    NAK = "the other side wants the last frame again"
    DAMAGED = "a frame with a wrong check byte"
    REMOVED = "the card was taken out"
    INSERTED = "a card was put in"
    TIME = "the reader needs more time"


class FrameReader(LineBuffer):
    """Cuts what comes over the line into messages and events; noise between them is passed over.

    Args:
        max_data: longest abData; what claims to be longer is noise.
    """

    __slots__ = ("_limit",)

    def __init__(self, max_data: int = MAX_DATA) -> None:
        super().__init__()
        self._limit = max_data

    def next(self) -> Message | Event | None:
        """The next message or event; None = more bytes are needed."""
        buffer = self._buffer
        while buffer:
            first = buffer[0]
            if first == SYNC:
                before = len(buffer)
                found = self._frame()
                if found is not None or len(buffer) == before:
                    return found
            elif first == NOTIFY:
                if len(buffer) == 1:
                    return None
                second = buffer[1]
                del buffer[: 2 if second in {CARD_ABSENT, CARD_PRESENT} else 1]
                if second in {CARD_ABSENT, CARD_PRESENT}:
                    return Event.REMOVED if second == CARD_ABSENT else Event.INSERTED
            else:
                del buffer[0]
                if first >= TIME_REQUEST:
                    return Event.TIME
        return None

    def message_waits(self) -> bool:
        """True when a whole message stands behind what was taken last."""
        if not self._buffer:
            return False
        ahead = FrameReader(self._limit)
        ahead.feed(bytes(self._buffer))
        return any(isinstance(found, Message) for found in iter(ahead.next, None))

    def _frame(self) -> Message | Event | None:
        """A frame at the beginning of the buffer; None = more is needed, or its first byte was noise and is gone."""
        buffer = self._buffer
        if len(buffer) < _FRAME_START:
            return None
        if buffer[1] == NAK:
            if len(buffer) < len(NAK_FRAME):
                return None
            whole = bytes(buffer[: len(NAK_FRAME)]) == NAK_FRAME
            del buffer[: len(NAK_FRAME) if whole else 1]
            return Event.NAK if whole else None
        if buffer[1] != ACK:
            del buffer[0]
            return None
        if len(buffer) < _FRAME_START + HEADER_LENGTH:
            return None
        length = int.from_bytes(buffer[_FRAME_START + 1 : _FRAME_START + 5], "little")
        if length > self._limit:
            del buffer[0]
            return None
        end = _FRAME_START + HEADER_LENGTH + length
        if len(buffer) <= end:
            return None
        raw = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        return Message.parse(raw[_FRAME_START:end]) if lrc(raw) == b"\x00" else Event.DAMAGED
