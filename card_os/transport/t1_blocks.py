"""Blocks of T=1: NAD ‖ PCB ‖ LEN ‖ INF ‖ EDC.

PCB of an I-block is 0 N(S) M 00000, of an R-block 100 N(R) 00 error, of an S-block 11 response type.

Source: ISO/IEC 7816-3:2006, clause 11.3.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Final, NamedTuple

from card_os.transport.checks import crc_t1, lrc
from card_os.transport.parameters import MAX_IFS

PROLOGUE: Final = 3
_S_BLOCK: Final = 0xC0
_R_BLOCK: Final = 0x80
_R_FIXED: Final = 0xEC
"""Bits of an R-block's PCB that have one value: b8 to b6, b4 and b3."""
_SEQUENCE_I: Final = 6
_SEQUENCE_R: Final = 4
_MORE: Final = 0x20
_I_RESERVED: Final = 0x1F
_ERROR: Final = 0x03
_RESPONSE: Final = 0x20
_NAD_RESERVED: Final = 0x88
_MAX_COMMAND: Final = 65_544
MAX_MESSAGE: Final = _MAX_COMMAND
"""Longest command or response APDU that a chain carries."""


class Kind(Enum):
    """The three kinds of blocks."""

    INFORMATION = "I"
    READY = "R"
    SUPERVISORY = "S"


class ErrorIndication(IntEnum):
    """What an R-block says about the block before it (11.3.2.2)."""

    NONE = 0
    CHECK = 1
    """EDC or parity."""
    OTHER = 2


class Supervisory(IntEnum):
    """PCB of S-blocks (11.3.2.2)."""

    RESYNC_REQUEST = 0xC0
    IFS_REQUEST = 0xC1
    ABORT_REQUEST = 0xC2
    WTX_REQUEST = 0xC3
    RESYNC_RESPONSE = 0xE0
    IFS_RESPONSE = 0xE1
    ABORT_RESPONSE = 0xE2
    WTX_RESPONSE = 0xE3


_WITH_VALUE: Final = frozenset(
    {Supervisory.IFS_REQUEST, Supervisory.IFS_RESPONSE, Supervisory.WTX_REQUEST, Supervisory.WTX_RESPONSE}
)
_SUPERVISORY_BYTES: Final = frozenset(Supervisory)


class InvalidBlock(Exception):
    """A block that cannot be taken.

    Args:
        indication: what the R-block that answers it says.
    """

    def __init__(self, indication: ErrorIndication) -> None:
        super().__init__(indication.name)
        self.indication = indication


class Block(NamedTuple):
    """A block without its check code.

    Attributes:
        pcb: protocol control byte.
        information: INF, 0 to 254 bytes.
        nad: node address, SAD in bits 1 to 3 and DAD in bits 5 to 7.
    """

    pcb: int
    information: bytes = b""
    nad: int = 0

    @property
    def kind(self) -> Kind:
        """I, R or S."""
        if self.pcb < _R_BLOCK:
            return Kind.INFORMATION
        return Kind.READY if self.pcb < _S_BLOCK else Kind.SUPERVISORY

    @property
    def sequence(self) -> int:
        """N(S) of an I-block, N(R) of an R-block."""
        return self.pcb >> (_SEQUENCE_I if self.pcb < _R_BLOCK else _SEQUENCE_R) & 1

    @property
    def more(self) -> bool:
        """M: an I-block is followed by another of its chain."""
        return bool(self.pcb & _MORE)

    def __repr__(self) -> str:
        """As the standard's annex writes blocks: I(0,1), R(1,2), S(WTX_REQUEST,3); information is not shown."""
        if self.kind is Kind.INFORMATION:
            return f"I({self.sequence},{int(self.more)})"
        if self.kind is Kind.READY:
            return f"R({self.sequence},{self.pcb & _ERROR})"
        value = f",{self.information[0]}" if self.information else ""
        return f"S({Supervisory(self.pcb).name}{value})"


def information_block(sequence: int, more: bool, information: bytes) -> Block:
    """I(N(S), M)."""
    return Block(sequence << _SEQUENCE_I | (_MORE if more else 0), information)


def ready_block(sequence: int, indication: ErrorIndication) -> Block:
    """R(N(R)) with an error indication."""
    return Block(_R_BLOCK | sequence << _SEQUENCE_R | indication)


def supervisory_response(request: Block) -> Block:
    """The response that a request asks for, with the same information field."""
    return Block(request.pcb | _RESPONSE, request.information)


class Framing:
    """How blocks become bytes: node address and check code of this session.

    Args:
        crc: CRC of two bytes, else LRC of one.
        nad: node address that this side sends; the other side's is it with SAD and DAD exchanged.
    """

    __slots__ = ("_check", "_nad", "_peer", "check_length")

    def __init__(self, *, crc: bool = False, nad: int = 0) -> None:
        if nad & _NAD_RESERVED or (nad and nad >> 4 == nad & 0x07):
            raise ValueError("SAD and DAD are 0 to 7 and differ, unless both are 0")
        self._check: Callable[[bytes], bytes] = crc_t1 if crc else lrc
        self.check_length = 2 if crc else 1
        self._nad = nad
        self._peer = nad >> 4 | (nad & 0x07) << 4

    def encode(self, block: Block) -> bytes:
        """The bytes of a block, EDC included."""
        raw = bytes((self._nad, block.pcb, len(block.information))) + block.information
        return raw + self._check(raw)

    def missing(self, received: bytes) -> int:
        """How many bytes the block that begins with ``received`` lacks; 0 or less = it is whole."""
        if len(received) < PROLOGUE:
            return PROLOGUE - len(received) + self.check_length
        return PROLOGUE + received[PROLOGUE - 1] + self.check_length - len(received)

    def decode(self, raw: bytes) -> Block:
        """Read one block.

        Raises:
            InvalidBlock: cut short, too long, wrong EDC, or a field that has no meaning.
        """
        end = len(raw) - self.check_length
        if self.missing(raw) or self._check(raw[:end]) != raw[end:]:
            raise InvalidBlock(ErrorIndication.CHECK)
        block = Block(raw[1], raw[PROLOGUE:end], raw[0])
        if block.nad != self._peer or len(block.information) > MAX_IFS or not _is_meaningful(block):
            raise InvalidBlock(ErrorIndication.OTHER)
        return block


def _is_meaningful(block: Block) -> bool:
    """PCB, and LEN that fits it (11.3.2)."""
    if block.kind is Kind.INFORMATION:
        return not block.pcb & _I_RESERVED
    if block.kind is Kind.READY:
        return block.pcb & _R_FIXED == _R_BLOCK and block.pcb & _ERROR != _ERROR and not block.information
    if block.pcb not in _SUPERVISORY_BYTES:
        return False
    if block.pcb not in _WITH_VALUE:
        return not block.information
    return (
        len(block.information) == 1
        and block.information[0] >= 1
        and (block.pcb in {Supervisory.WTX_REQUEST, Supervisory.WTX_RESPONSE} or block.information[0] <= MAX_IFS)
    )
