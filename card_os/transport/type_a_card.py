"""Activation of a type A card: from REQA to the block protocol, the card's side.

Source: ISO/IEC 14443-3:2018, clause 6.4 (states) and 6.5; ISO/IEC 14443-4:2018, clause 5 (RATS, PPS).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from card_os.iso7816.atr import FRAME_SIZES, Ats
from card_os.transport.tcl_blocks import MAX_CID
from card_os.transport.tcl_card import State as ProtocolState
from card_os.transport.tcl_card import TclCard
from card_os.transport.type_a_frames import (
    HLTA,
    LEVEL_LENGTH,
    NVB_SELECT,
    PPS_START,
    RATS,
    REQA,
    SAK_BLOCK_PROTOCOL,
    SAK_CASCADE,
    SELECT_CODES,
    SHORT_FRAME_BITS,
    WUPA,
    Frame,
    cascade_levels,
    level_bits,
    parse_anticollision,
    rest_frame,
)

_ATQA_UID_SIZE: Final = 6
_ATQA_BIT_FRAME: Final = 0x04
_RATS_LENGTH: Final = 2
_LOW: Final = 0x0F
_PPS1: Final = 0x11
_PPS_LENGTH: Final = 3
_SAME_RATES: Final = 0x80
_DIVISOR: Final = 3
_PPS0: Final = 0x01
_RATE_MASK: Final = 0x0F


class State(Enum):
    """States of a type A card (figure 7); a starred state goes back to HALT, the other to IDLE."""

    IDLE = "IDLE"
    READY = "READY"
    ACTIVE = "ACTIVE"
    HALT = "HALT"
    READY_STAR = "READY*"
    ACTIVE_STAR = "ACTIVE*"
    PROTOCOL = "PROTOCOL"


_SELECTABLE: Final = {State.READY: State.ACTIVE, State.READY_STAR: State.ACTIVE_STAR}
_RETREAT: Final = {
    State.READY: State.IDLE,
    State.ACTIVE: State.IDLE,
    State.READY_STAR: State.HALT,
    State.ACTIVE_STAR: State.HALT,
}
_AWAKE: Final[Mapping[tuple[State, int], State]] = {
    (State.IDLE, REQA): State.READY,
    (State.IDLE, WUPA): State.READY,
    (State.HALT, WUPA): State.READY_STAR,
}


class TypeACard:
    """The card's side of activation.

    Args:
        uid: 4, 7 or 10 bytes.
        ats: what RATS is answered with.

    Attributes:
        state: where the card is.
        protocol: the block protocol, from RATS on until the card is deselected; None before.
    """

    def __init__(self, uid: bytes, ats: Ats) -> None:
        self._levels = cascade_levels(uid)
        self._ats = ats
        self._level = 0
        self._cid = 0
        self._rates_open = False
        self.state = State.IDLE
        self.protocol: TclCard | None = None

    @property
    def atqa(self) -> bytes:
        """ATQA: bit frame anticollision, and how long the UID is (6.5.2)."""
        return bytes((len(self._levels) - 1 << _ATQA_UID_SIZE | _ATQA_BIT_FRAME, 0))

    def receive(self, frame: Frame) -> Frame | None:
        """Take a frame of the activation; None = no answer.

        Blocks of the protocol go to `protocol`; a frame that comes here in state PROTOCOL can only be PPS.
        """
        if self.protocol is not None and self.protocol.state is ProtocolState.HALTED:
            self.state, self.protocol = State.HALT, None
        if frame.bits == SHORT_FRAME_BITS:
            return self._wake(frame.data[0])
        react: Callable[[Frame], Frame | None] | None = self._reactions().get(self.state)
        if react is None:
            return None
        answer = react(frame)
        if answer is None and self.state in _RETREAT:
            self.state = State.HALT if frame.payload == HLTA and self._active else _RETREAT[self.state]
        return answer

    @property
    def _active(self) -> bool:
        return self.state in {State.ACTIVE, State.ACTIVE_STAR}

    def _reactions(self) -> Mapping[State, Callable[[Frame], Frame | None]]:
        return {
            State.READY: self._select,
            State.READY_STAR: self._select,
            State.ACTIVE: self._activate,
            State.ACTIVE_STAR: self._activate,
            State.PROTOCOL: self._change_rates,
        }

    def _wake(self, command: int) -> Frame | None:
        following = _AWAKE.get((self.state, command))
        if following is None:
            self.state = _RETREAT.get(self.state, self.state)
            return None
        self.state, self._level = following, 0
        return Frame.standard(self.atqa)

    def _select(self, frame: Frame) -> Frame | None:
        """Anticollision or SELECT of the current cascade level."""
        level = self._levels[self._level]
        payload = frame.payload
        if payload is not None and len(payload) == 2 + LEVEL_LENGTH:
            if payload != bytes((SELECT_CODES[self._level], NVB_SELECT)) + level:
                return None
            if self._level + 1 < len(self._levels):
                self._level += 1
                return Frame.checked(bytes((SAK_CASCADE,)))
            self.state = _SELECTABLE[self.state]
            return Frame.checked(bytes((SAK_BLOCK_PROTOCOL,)))
        asked = parse_anticollision(frame)
        if asked is None:
            return None
        select, known, count = asked
        if select != SELECT_CODES[self._level] or level_bits(level) & (1 << count) - 1 != known:
            return None
        return rest_frame(level, count)

    def _activate(self, frame: Frame) -> Frame | None:
        """RATS: E0 ‖ FSDI, CID (14443-4, 5.1)."""
        payload = frame.payload
        if payload is None or len(payload) != _RATS_LENGTH or payload[0] != RATS or payload[1] & _LOW > MAX_CID:
            return None
        self._cid = payload[1] & _LOW
        frame_size = FRAME_SIZES[min(payload[1] >> 4, len(FRAME_SIZES) - 1)]
        self.state, self._rates_open = State.PROTOCOL, True
        self.protocol = TclCard(frame_size, cid=self._cid, cid_supported=self._ats.cid, nad_supported=self._ats.nad)
        return Frame.checked(self._ats.encode())

    def _change_rates(self, frame: Frame) -> Frame | None:
        """PPS: PPSS ‖ PPS0 ‖ PPS1, before the first block; answered with PPSS when the rates are announced.

        Source: ISO/IEC 14443-4:2018, clauses 5.3 and 5.6.2.2.
        """
        payload = frame.payload
        start = PPS_START | self._cid
        if not self._rates_open or payload is None or (self.protocol is not None and self.protocol.begun):
            return None
        self._rates_open = False
        if payload == bytes((start, _PPS0)):
            return Frame.checked(payload[:1])
        if len(payload) != _PPS_LENGTH or payload[:2] != bytes((start, _PPS1)) or not self._has_rates(payload[2]):
            return None
        return Frame.checked(payload[:1])

    def _has_rates(self, pps1: int) -> bool:
        """DSI in bits 4 and 3, DRI in bits 2 and 1; TA1 announces DS in bits 7 to 5, DR in bits 3 to 1."""
        announced = self._ats.rates or 0
        send, receive = pps1 >> 2 & _DIVISOR, pps1 & _DIVISOR
        if pps1 & ~_RATE_MASK or (announced & _SAME_RATES and send != receive):
            return False
        return (not send or bool(announced >> 3 + send & 1)) and (not receive or bool(announced >> receive - 1 & 1))
