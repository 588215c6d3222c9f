"""Activation of type B: from REQB to the block protocol, both sides.

Source: ISO/IEC 14443-3:2018, clause 7 (REQB, slots, ATQB, ATTRIB, HLTB).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Self

from card_os.hardware.randomness import Randomness
from card_os.iso7816.atr import FRAME_SIZES, AnswerError
from card_os.transport.checks import CRC_LENGTH, crc_b
from card_os.transport.events import Broken, Failure, LocalProtocolError
from card_os.transport.tcl_blocks import MAX_CID, ContactlessType
from card_os.transport.tcl_card import State as ProtocolState
from card_os.transport.tcl_card import TclCard
from card_os.transport.tcl_reader import TclReader
from card_os.transport.timing import ContactlessTiming

REQUEST: Final = 0x05
"""APf; a slot marker has the slot in its high nibble."""
ATQB: Final = 0x50
ATTRIB: Final = 0x1D
HLTB: Final = 0x50
MAX_ATTEMPTS: Final = 3
PUPI_LENGTH: Final = 4
_APPLICATION_LENGTH: Final = 4
_ATQB_LENGTH: Final = 12
_ATTRIB_LENGTH: Final = 9
_REQUEST_LENGTH: Final = 3
_WAKE_UP: Final = 0x08
_SLOTS: Final = 0x07
_MAX_SLOTS_INDEX: Final = 4
_LOW: Final = 0x0F
_BLOCK_PROTOCOL: Final = 0x01
_NAD: Final = 0x02
_CID: Final = 0x01
_MAX_FSDI: Final = 8
_RESERVED_FWI: Final = 15


def checked(data: bytes) -> bytes:
    """A frame: the bytes with CRC_B behind them."""
    return data + crc_b(data)


def payload(frame: bytes) -> bytes | None:
    """The bytes before a right CRC_B, None when there is no such CRC."""
    body = frame[:-CRC_LENGTH]
    return body if body and crc_b(body) == frame[-CRC_LENGTH:] else None


@dataclass(frozen=True, slots=True)
class Atqb:
    """What a type B card says of itself.

    Attributes:
        pupi: pseudo-unique identifier, 4 bytes.
        application: AFI, CRC of the AID and number of applications, 4 bytes.
        rates: bit rates, coded as TA1 of an ATS.
        fsci: frame size the card takes, index 0..8.
        fwi: frame waiting time integer, 0..14.
        cid: CID is supported.
        nad: NAD is supported.
        block_protocol: the card speaks ISO/IEC 14443-4.
    """

    pupi: bytes
    application: bytes = bytes(_APPLICATION_LENGTH)
    rates: int = 0
    fsci: int = 8
    fwi: int = 8
    cid: bool = True
    nad: bool = False
    block_protocol: bool = True

    def encode(self) -> bytes:
        """50 ‖ PUPI ‖ application data ‖ rates ‖ FSCI, protocol ‖ FWI, options; 12 bytes without CRC."""
        protocol = bytes((self.rates, self.fsci << 4 | self.block_protocol, self.fwi << 4 | self.nad << 1 | self.cid))
        return bytes((ATQB,)) + self.pupi + self.application + protocol

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read an ATQB without CRC; an extended one has one byte more, which is ignored.

        Raises:
            AnswerError: no ATQB.
        """
        if len(raw) not in {_ATQB_LENGTH, _ATQB_LENGTH + 1} or raw[0] != ATQB:
            raise AnswerError("an ATQB begins with 50 and has 12 or 13 bytes")
        end = 1 + PUPI_LENGTH
        rates, frame, waiting = raw[end + _APPLICATION_LENGTH : _ATQB_LENGTH]
        return cls(
            pupi=raw[1:end],
            application=raw[end : end + _APPLICATION_LENGTH],
            rates=rates,
            fsci=frame >> 4,
            fwi=4 if waiting >> 4 == _RESERVED_FWI else waiting >> 4,
            cid=bool(waiting & _CID),
            nad=bool(waiting & _NAD),
            block_protocol=bool(frame & _BLOCK_PROTOCOL),
        )


class CardState(Enum):
    """States of a type B card (figure 18)."""

    IDLE = "IDLE"
    REQUESTED = "READY-REQUESTED"
    DECLARED = "READY-DECLARED"
    PROTOCOL = "PROTOCOL"
    HALT = "HALT"


class TypeBCard:
    """The card's side of activation.

    Args:
        atqb: what the card says of itself.
        randomness: chooses the slot.

    Attributes:
        state: where the card is.
        protocol: the block protocol, from ATTRIB on until the card is deselected; None before.
    """

    def __init__(self, atqb: Atqb, randomness: Randomness) -> None:
        self._atqb = atqb
        self._randomness = randomness
        self._slot = 0
        self.state = CardState.IDLE
        self.protocol: TclCard | None = None

    def receive(self, frame: bytes) -> bytes | None:
        """Take a frame of the activation; None = no answer."""
        if self.protocol is not None and self.protocol.state is ProtocolState.HALTED:
            self.state, self.protocol = CardState.HALT, None
        body = payload(frame)
        if body is None or self.state is CardState.PROTOCOL:
            return None
        if body[0] == REQUEST and len(body) == _REQUEST_LENGTH:
            return self._requested(body)
        if body[0] & _LOW == REQUEST and len(body) == 1 and self.state is CardState.REQUESTED:
            return self._declare() if body[0] >> 4 == self._slot else None
        if self.state is not CardState.DECLARED or body[1 : 1 + PUPI_LENGTH] != self._atqb.pupi:
            return None
        if body[0] == ATTRIB and len(body) >= _ATTRIB_LENGTH:
            return self._select(body)
        if body[0] == HLTB and len(body) == 1 + PUPI_LENGTH:
            self.state = CardState.HALT
            return checked(b"\x00")
        return None

    def _requested(self, body: bytes) -> bytes | None:
        """REQB or WUPB: AFI, and one of 2^n slots (7.7)."""
        afi, parameters = body[1], body[2]
        if self.state is CardState.HALT and not parameters & _WAKE_UP:
            return None
        if parameters & _SLOTS > _MAX_SLOTS_INDEX or not self._is_of_family(afi):
            self.state = CardState.HALT if self.state is CardState.HALT else CardState.IDLE
            return None
        self._slot = self._randomness.bytes(1)[0] & (1 << (parameters & _SLOTS)) - 1
        self.state = CardState.REQUESTED
        return None if self._slot else self._declare()

    def _is_of_family(self, afi: int) -> bool:
        """AFI 00 is every card, x0 a family, xy a sub-family (table 12)."""
        own = self._atqb.application[0]
        return not afi or afi == own or (not afi & _LOW and afi >> 4 == own >> 4)

    def _declare(self) -> bytes:
        self.state = CardState.DECLARED
        return checked(self._atqb.encode())

    def _select(self, body: bytes) -> bytes | None:
        """ATTRIB: 1D ‖ PUPI ‖ parameters 1 to 4; answered with MBLI 0 and the CID, 0 where it has none (7.10, 7.11)."""
        frame_index, cid = body[6] & _LOW, body[8] & _LOW
        if cid > MAX_CID:
            return None
        self.state = CardState.PROTOCOL
        self.protocol = TclCard(
            FRAME_SIZES[min(frame_index, len(FRAME_SIZES) - 1)],
            kind=ContactlessType.B,
            cid=cid,
            cid_supported=self._atqb.cid,
            nad_supported=self._atqb.nad,
        )
        return checked(bytes((cid if self._atqb.cid else 0,)))


class Send(NamedTuple):
    """A frame for the reader to send."""

    frame: bytes


class Attributed(NamedTuple):
    """The card has answered ATTRIB.

    Attributes:
        atqb: what it said of itself.
        cid: the identifier it got.
    """

    atqb: Atqb
    cid: int

    def protocol(self) -> TclReader:
        """The block protocol with this card."""
        return TclReader(
            ContactlessTiming(self.atqb.fwi),
            FRAME_SIZES[min(self.atqb.fsci, len(FRAME_SIZES) - 1)],
            kind=ContactlessType.B,
            cid=self.cid if self.atqb.cid and self.cid else None,
        )


class NotSupported(NamedTuple):
    """A card answered that does not speak ISO/IEC 14443-4."""

    atqb: Atqb


ActivationEvent = Send | Attributed | NotSupported | Broken


class ReaderState(Enum):
    """What the reader waits for."""

    IDLE = "nothing"
    REQUESTING = "ATQB in one of the slots"
    ATTRIBUTING = "the answer to ATTRIB"


class TypeBReader:
    """The reader's side of activation; after a damaged ATQB, which may be a collision, it asks again with more slots.

    Args:
        afi: family of applications, 00 = all.
        fsdi: frame size the reader takes, index 0..8.
        cid: identifier to give to the card, 0..14.

    Attributes:
        state: what the reader waits for.
    """

    def __init__(self, *, afi: int = 0, fsdi: int = _MAX_FSDI, cid: int = 0) -> None:
        self._afi = afi
        self._fsdi = fsdi
        self._cid = cid
        self._index = 0
        self._slot = 0
        self._rounds = 0
        self._attempts = 0
        self._collided = False
        self._atqb: Atqb | None = None
        self.state = ReaderState.IDLE

    def start(self) -> Send:
        """Begin with WUPB and one slot."""
        self._index = self._rounds = 0
        return self._request()

    def _request(self) -> Send:
        self.state, self._slot, self._attempts, self._collided = ReaderState.REQUESTING, 0, 0, False
        return Send(checked(bytes((REQUEST, self._afi, _WAKE_UP | self._index))))

    def receive(self, frame: bytes) -> ActivationEvent:
        """Take a frame; one with a wrong CRC may be a collision."""
        react = self._reactions().get(self.state)
        if react is None:
            raise LocalProtocolError("no frame is expected")
        return react(payload(frame))

    def time_out(self) -> ActivationEvent:
        """No card answered."""
        if self.state is ReaderState.REQUESTING:
            return self._next_slot()
        return self._attribute()

    def _reactions(self) -> Mapping[ReaderState, Callable[[bytes | None], ActivationEvent]]:
        return {ReaderState.REQUESTING: self._answered, ReaderState.ATTRIBUTING: self._attributed}

    def _answered(self, body: bytes | None) -> ActivationEvent:
        try:
            atqb = Atqb.parse(body or b"")
        except AnswerError:
            self._collided = True
            return self._next_slot()
        self._atqb = atqb
        if not atqb.block_protocol:
            self.state = ReaderState.IDLE
            return NotSupported(atqb)
        return self._attribute()

    def _next_slot(self) -> ActivationEvent:
        """The next slot, or another round; with more slots when there was a collision."""
        self._slot += 1
        if self._slot < 1 << self._index:
            return Send(checked(bytes((self._slot << 4 | REQUEST,))))
        self._rounds += 1
        if self._collided and self._index < _MAX_SLOTS_INDEX:
            self._index += 1
        elif self._rounds >= MAX_ATTEMPTS:
            self.state = ReaderState.IDLE
            return Broken(Failure.MUTE)
        return self._request()

    def _attribute(self) -> ActivationEvent:
        """ATTRIB, up to `MAX_ATTEMPTS` times."""
        self._attempts += 1
        if self._atqb is None or self._attempts > MAX_ATTEMPTS:
            self.state = ReaderState.IDLE
            return Broken(Failure.MUTE)
        self.state = ReaderState.ATTRIBUTING
        parameters = bytes((0, self._fsdi, _BLOCK_PROTOCOL, self._cid_for(self._atqb)))
        return Send(checked(bytes((ATTRIB,)) + self._atqb.pupi + parameters))

    def _cid_for(self, atqb: Atqb) -> int:
        """A card that does not support CIDs gets 0 (7.10)."""
        return self._cid if atqb.cid else 0

    def _attributed(self, body: bytes | None) -> ActivationEvent:
        if not body or self._atqb is None or body[0] & _LOW != self._cid_for(self._atqb):
            return self._attribute()
        self.state = ReaderState.IDLE
        return Attributed(self._atqb, self._cid_for(self._atqb))
