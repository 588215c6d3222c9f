"""Blocks of the half-duplex protocol over the field: PCB ‖ CID ‖ NAD ‖ INF ‖ CRC.

PCB of an I-block is 000 chaining CID NAD 1 number, of an R-block 101 NAK CID 0 1 number, of an S-block 11 type CID 010.

Source: ISO/IEC 14443-4:2018, clause 7.1.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final, NamedTuple

from card_os.transport.checks import CRC_LENGTH, crc_a, crc_b

_I_BLOCK: Final = 0x02
_R_BLOCK: Final = 0xA2
_NUMBER: Final = 0x01
_NAD: Final = 0x04
_CID: Final = 0x08
_MORE: Final = 0x10
_NAK: Final = 0x10
_I_MASK: Final = 0xE2
_R_MASK: Final = 0xE6
_S_MASK: Final = 0xF7
_CID_MASK: Final = 0x0F
_CID_RESERVED: Final = 0x30
_WTXM_MASK: Final = 0x3F
MAX_CID: Final = 14


class Kind(Enum):
    """The kinds of blocks, R-blocks told apart."""

    INFORMATION = "I"
    ACK = "R(ACK)"
    NAK = "R(NAK)"
    DESELECT = "S(DESELECT)"
    WTX = "S(WTX)"


class Supervisory(IntEnum):
    """PCB of S-blocks without CID."""

    DESELECT = 0xC2
    WTX = 0xF2


class ContactlessType(Enum):
    """Types A and B; they have different check codes and activations."""

    A = "A"
    B = "B"


class InvalidBlock(Exception):
    """A transmission error or a block without meaning."""


class Block(NamedTuple):
    """A block without its check code.

    Attributes:
        kind: what it is.
        number: block number of I- and R-blocks, 0 or 1.
        information: INF; WTXM of S(WTX), one byte.
        more: chaining bit of an I-block.
        cid: card identifier, 0..14; None = no CID byte.
        nad: node address; None = no NAD byte.
    """

    kind: Kind
    number: int = 0
    information: bytes = b""
    more: bool = False
    cid: int | None = None
    nad: int | None = None

    def __repr__(self) -> str:
        """As annex B of the standard writes blocks; information is not shown."""
        if self.kind is Kind.INFORMATION:
            return f"I({int(self.more)}){self.number}"
        if self.kind in {Kind.ACK, Kind.NAK}:
            return f"{self.kind.value}{self.number}"
        return f"{self.kind.value}"


_SUPERVISORY: Final = {Supervisory.DESELECT: Kind.DESELECT, Supervisory.WTX: Kind.WTX}
_PCB: Final = {
    Kind.INFORMATION: _I_BLOCK,
    Kind.ACK: _R_BLOCK,
    Kind.NAK: _R_BLOCK | _NAK,
    Kind.DESELECT: int(Supervisory.DESELECT),
    Kind.WTX: int(Supervisory.WTX),
}


class BlockCodec:
    """Blocks as frames of one type.

    Args:
        kind: type A or B.
    """

    __slots__ = ("_check",)

    def __init__(self, kind: ContactlessType) -> None:
        self._check = crc_a if kind is ContactlessType.A else crc_b

    def encode(self, block: Block) -> bytes:
        """The bytes of a block, CRC included."""
        pcb = _PCB[block.kind] | block.number | (_MORE if block.more else 0)
        field = b""
        if block.cid is not None:
            pcb |= _CID
            field = bytes((block.cid,))
        if block.nad is not None:
            pcb |= _NAD
            field += bytes((block.nad,))
        raw = bytes((pcb,)) + field + block.information
        return raw + self._check(raw)

    def decode(self, frame: bytes) -> Block:
        """Read one frame.

        Raises:
            InvalidBlock: wrong CRC, cut short, or a PCB that has no meaning.
        """
        raw = frame[:-CRC_LENGTH]
        if not raw or self._check(raw) != frame[-CRC_LENGTH:]:
            raise InvalidBlock("transmission error")
        pcb, at = raw[0], 1
        cid: int | None = None
        nad: int | None = None
        if pcb & _CID:
            cid, at = raw[at] & _CID_MASK if len(raw) > at else None, at + 1
            if cid is None or cid > MAX_CID or raw[1] & _CID_RESERVED:
                raise InvalidBlock("CID")
        if pcb & _I_MASK == _I_BLOCK:
            if pcb & _NAD:
                nad, at = raw[at] if len(raw) > at else None, at + 1
                if nad is None:
                    raise InvalidBlock("NAD is missing")
            return Block(Kind.INFORMATION, pcb & _NUMBER, raw[at:], bool(pcb & _MORE), cid, nad)
        if pcb & _R_MASK == _R_BLOCK:
            kind, number = Kind.NAK if pcb & _NAK else Kind.ACK, pcb & _NUMBER
        elif pcb & _S_MASK in _SUPERVISORY:
            kind, number = _SUPERVISORY[Supervisory(pcb & _S_MASK)], 0
        else:
            raise InvalidBlock("PCB")
        if len(raw) - at != (kind is Kind.WTX):
            raise InvalidBlock("length")
        return Block(kind, number, raw[at:], cid=cid)

    @staticmethod
    def overhead(cid: int | None, nad: int | None) -> int:
        """Bytes of a frame that are not information."""
        return 1 + (cid is not None) + (nad is not None) + CRC_LENGTH


def wtxm(block: Block) -> int:
    """The multiplier of S(WTX), without the power level of bits 8 and 7."""
    return block.information[0] & _WTXM_MASK
