"""A simulated card in the field of a contactless module: type A or B activation, then the block protocol.

Source: ISO/IEC 14443-3:2018 and 14443-4:2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.hardware.clock import VirtualClock
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.atr import FRAME_SIZES, AnswerError, Ats
from card_os.port import PortMute
from card_os.transport.checks import CRC_LENGTH, crc_a, crc_b
from card_os.transport.events import CardEvent, Completed, Reply
from card_os.transport.events import Command as CardCommand
from card_os.transport.tcl_blocks import ContactlessType
from card_os.transport.type_a_card import TypeACard
from card_os.transport.type_a_frames import SAK_BLOCK_PROTOCOL, superpose
from card_os.transport.type_a_reader import ActivationEvent, Selected, TypeAReader
from card_os.transport.type_a_reader import Send as SendBits
from card_os.transport.type_b import Atqb, Attributed, TypeBCard, TypeBReader
from card_os.transport.type_b import Send as SendFrame
from card_os.transport.wire import Wire
from reader_bridge.connection import CardConnection, ReaderError
from reader_bridge.identity import uid_of

if TYPE_CHECKING:
    from card_os.transport.tcl_card import TclCard
    from card_os.transport.tcl_reader import TclReader
    from card_os.transport.type_b import ActivationEvent as TypeBEvent

_FIXED_UID: Final = bytes.fromhex("08000000")
_FSDI: Final = len(FRAME_SIZES) - 1


class RadioError(Exception):
    """The card in the field does not answer."""


class TypeA(NamedTuple):
    """What a reader learns of a type A card.

    Attributes:
        atqa: two bytes as sent.
        sak: SAK.
        uid: UID.
        ats: answer to select.
    """

    atqa: bytes
    sak: int
    uid: bytes
    ats: bytes


class TypeB(NamedTuple):
    """What a reader learns of a type B card.

    Attributes:
        atqb: 12 bytes.
        attrib: the answer to ATTRIB.
    """

    atqb: bytes
    attrib: bytes


class RadioCard:
    """A card in the field.

    Args:
        connection: the card over its contactless interface.
        kind: how it appears.
    """

    def __init__(self, connection: CardConnection, kind: ContactlessType = ContactlessType.A) -> None:
        self._connection = connection
        self._kind = kind
        self._reader: TclReader | None = None
        self._card: TclCard | None = None
        self._wire: Wire | None = None

    def remove(self) -> None:
        """The field is gone, or the card left it: it loses its power."""
        self._reader = self._card = self._wire = None
        self._connection.power_off()

    def activate(self, kind: ContactlessType) -> TypeA | TypeB | None:
        """Power the card and activate it; None when there is no card of this type."""
        self._wire = None
        if kind is not self._kind:
            return None
        try:
            answer = self._connection.reset()
            found = self._type_a(answer) if kind is ContactlessType.A else self._type_b(answer)
        except (ReaderError, AnswerError):
            return None
        if self._reader is not None and self._card is not None:
            self._wire = Wire(self._reader, self._card, self._connection.transmit, VirtualClock())
        return found

    def _type_a(self, ats: bytes) -> TypeA | None:
        uid = uid_of(self._connection) or _FIXED_UID
        card, reader = TypeACard(uid, Ats.parse(ats)), TypeAReader(fsdi=_FSDI)
        event: ActivationEvent = reader.start()
        while isinstance(event, SendBits):
            frame = card.receive(event.frame)
            event = reader.time_out() if frame is None else reader.receive(*superpose((frame,)))
        if not isinstance(event, Selected) or card.protocol is None:
            return None
        self._reader, self._card = event.protocol(), card.protocol
        return TypeA(card.atqa, SAK_BLOCK_PROTOCOL, uid, ats)

    def _type_b(self, ats: bytes) -> TypeB | None:
        """The same card as type B: PUPI for UID, and what its ATS announces."""
        parsed = Ats.parse(ats)
        pupi = (uid_of(self._connection) or _FIXED_UID)[:4]
        atqb = Atqb(pupi, rates=parsed.rates or 0, fsci=parsed.fsci, fwi=parsed.fwi, cid=parsed.cid, nad=parsed.nad)
        card, reader = TypeBCard(atqb, SeededRandomness(0)), TypeBReader(fsdi=_FSDI)
        event: TypeBEvent = reader.start()
        while isinstance(event, SendFrame):
            frame = card.receive(event.frame)
            event = reader.time_out() if frame is None else reader.receive(frame)
        if not isinstance(event, Attributed) or card.protocol is None:
            return None
        self._reader, self._card = event.protocol(), card.protocol
        return TypeB(atqb.encode(), bytes((event.cid,)))

    def exchange(self, command: bytes) -> bytes:
        """One APDU through the block protocol.

        Raises:
            RadioError: the card does not answer, or is not activated.
        """
        if self._wire is None:
            raise RadioError
        try:
            result = self._wire.transmit(command)
        except (ReaderError, PortMute) as error:
            self._wire = None
            raise RadioError from error
        if not isinstance(result, Completed):
            self._wire = None
            raise RadioError
        return result.response

    def frame(self, data: bytes) -> bytes:
        """One frame past the module's own protocol, CRC added and taken away here.

        Raises:
            RadioError: the card does not answer.
        """
        card = self._card
        if card is None:
            raise RadioError
        check = crc_a if self._kind is ContactlessType.A else crc_b
        event: CardEvent | None = card.receive(data + check(data))
        if isinstance(event, CardCommand):
            try:
                event = card.answer(self._connection.transmit(event.apdu))
            except (ReaderError, PortMute) as error:
                raise RadioError from error
        if not isinstance(event, Reply):
            raise RadioError
        return event.data[:-CRC_LENGTH]
