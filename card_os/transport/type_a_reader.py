"""Activation of a type A card: from REQA to the block protocol, the reader's side.

Source: ISO/IEC 14443-3:2018, clause 6.5.3; ISO/IEC 14443-4:2018, clauses 5.1 to 5.6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import reduce
from operator import xor
from typing import Final, NamedTuple

from card_os.iso7816.atr import AnswerError, Ats
from card_os.transport.events import Broken, Failure, LocalProtocolError
from card_os.transport.tcl_blocks import Block, BlockCodec, ContactlessType, Kind
from card_os.transport.tcl_reader import TclReader
from card_os.transport.timing import ContactlessTiming
from card_os.transport.type_a_frames import (
    CASCADE_TAG,
    LEVEL_BITS,
    LEVEL_LENGTH,
    NVB_SELECT,
    RATS,
    REQA,
    SAK_BLOCK_PROTOCOL,
    SAK_CASCADE,
    SELECT_CODES,
    WUPA,
    Frame,
    anticollision_frame,
)

MAX_ATTEMPTS: Final = 3
_MAX_FSDI: Final = 8
_ATQA_LENGTH: Final = 2


class Send(NamedTuple):
    """A frame for the reader to send; the answer comes at once or not at all."""

    frame: Frame


class Selected(NamedTuple):
    """The card is selected and has answered RATS.

    Attributes:
        uid: 4, 7 or 10 bytes.
        ats: its answer.
        cid: the identifier it got.
    """

    uid: bytes
    ats: Ats
    cid: int

    def protocol(self) -> TclReader:
        """The block protocol with this card; the CID travels when the card supports it."""
        timing = ContactlessTiming(self.ats.fwi, self.ats.sfgi)
        return TclReader(timing, self.ats.frame_size, cid=self.cid if self.ats.cid and self.cid else None)


class NotSupported(NamedTuple):
    """A card is selected that does not speak ISO/IEC 14443-4.

    Attributes:
        uid: 4, 7 or 10 bytes.
        sak: what it said.
    """

    uid: bytes
    sak: int


ActivationEvent = Send | Selected | NotSupported | Broken


class State(Enum):
    """What the reader waits for."""

    IDLE = "nothing"
    REQUESTING = "ATQA"
    COLLIDING = "the rest of a cascade level"
    SELECTING = "SAK"
    ACTIVATING = "ATS"
    RECOVERING = "the answer to S(DESELECT), or nothing"


class TypeAReader:
    """The reader's side of activation; several cards may answer, one is selected.

    An error begins the activation again with WUPA, up to `MAX_ATTEMPTS` times in all.

    Args:
        fsdi: frame size the reader takes, index 0..8.
        cid: identifier to give to the card, 0..14.

    Attributes:
        state: what the reader waits for.
    """

    def __init__(self, *, fsdi: int = _MAX_FSDI, cid: int = 0) -> None:
        self._rats = bytes((RATS, fsdi << 4 | cid))
        self._cid = cid
        self._attempts = 0
        self._level = 0
        self._known = 0
        self._count = 0
        self._uid = b""
        self.state = State.IDLE

    def start(self, *, wake_up: bool = False) -> Send:
        """Begin: REQA, or WUPA for cards that are halted too."""
        self._attempts = 0
        return self._request(WUPA if wake_up else REQA)

    def _request(self, command: int) -> Send:
        self._level, self._uid = 0, b""
        self.state = State.REQUESTING
        return Send(Frame.short(command))

    def receive(self, frame: Frame, collision: int | None = None) -> ActivationEvent:
        """Take a frame.

        Args:
            frame: what came, up to the collision.
            collision: place of the first bit that was both 0 and 1; None = no collision.
        """
        react = self._reactions().get(self.state)
        if react is None:
            raise LocalProtocolError("no frame is expected")
        event = react(frame, collision)
        return self._recover() if event is None else event

    def time_out(self) -> ActivationEvent:
        """No card answered."""
        return self._recover()

    def _reactions(self) -> Mapping[State, Callable[[Frame, int | None], ActivationEvent | None]]:
        return {
            State.REQUESTING: self._requested,
            State.COLLIDING: self._collided,
            State.SELECTING: self._selected,
            State.ACTIVATING: self._activated,
            State.RECOVERING: lambda _frame, _collision: self._request(WUPA),
        }

    def _recover(self) -> ActivationEvent:
        """Again from the start; a card that has perhaps heard RATS is deselected first."""
        if self.state is State.RECOVERING:
            return self._request(WUPA)
        self._attempts += 1
        if self._attempts >= MAX_ATTEMPTS:
            self.state = State.IDLE
            return Broken(Failure.MUTE)
        if self.state is not State.ACTIVATING:
            return self._request(WUPA)
        self.state = State.RECOVERING
        cid = self._cid or None
        return Send(Frame.standard(BlockCodec(ContactlessType.A).encode(Block(Kind.DESELECT, cid=cid))))

    def _requested(self, frame: Frame, collision: int | None) -> ActivationEvent | None:
        """ATQA; a collision in it only says that there are several cards."""
        if collision is None and len(frame.data) != _ATQA_LENGTH:
            return None
        return self._collide(0, 0)

    def _collide(self, known: int, count: int) -> Send:
        self.state, self._known, self._count = State.COLLIDING, known, count
        return Send(anticollision_frame(SELECT_CODES[self._level], known, count))

    def _collided(self, frame: Frame, collision: int | None) -> ActivationEvent | None:
        """More bits of the level; at a collision the cards with a 1 go on (6.5.3.2)."""
        known = self._known | int.from_bytes(frame.data, "little") << self._count
        if collision is not None:
            count = self._count + collision
            known = known & (1 << count) - 1 | 1 << count
            if count + 1 < LEVEL_BITS:
                return self._collide(known, count + 1)
            return None
        if self._count + frame.bits != LEVEL_BITS:
            return None
        level = known.to_bytes(LEVEL_LENGTH, "little")
        if reduce(xor, level):
            return None
        self._known, self.state = known, State.SELECTING
        return Send(Frame.checked(bytes((SELECT_CODES[self._level], NVB_SELECT)) + level))

    def _selected(self, frame: Frame, collision: int | None) -> ActivationEvent | None:
        payload = frame.payload
        if collision is not None or payload is None or len(payload) != 1:
            return None
        level, sak = self._known.to_bytes(LEVEL_LENGTH, "little")[:-1], payload[0]
        if sak & SAK_CASCADE:
            if level[0] != CASCADE_TAG or self._level + 1 >= len(SELECT_CODES):
                return None
            self._uid += level[1:]
            self._level += 1
            return self._collide(0, 0)
        self._uid += level
        if not sak & SAK_BLOCK_PROTOCOL:
            self.state = State.IDLE
            return NotSupported(self._uid, sak)
        self.state = State.ACTIVATING
        return Send(Frame.checked(self._rats))

    def _activated(self, frame: Frame, collision: int | None) -> ActivationEvent | None:
        payload = frame.payload
        if collision is not None or payload is None:
            return None
        try:
            ats = Ats.parse(payload)
        except AnswerError:
            return None
        self.state = State.IDLE
        return Selected(self._uid, ats, self._cid)
