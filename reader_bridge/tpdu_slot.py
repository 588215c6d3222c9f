"""A card that a host reaches by TPDUs of T=0: what a reader of that level makes of a card.

Source: ISO/IEC 7816-3:2006, clause 10.3.3; USB CCID 1.1, clause 6.1.4.
"""

from __future__ import annotations

from collections.abc import Callable

from card_os.transport.events import Completed, ReaderEvent, Transmit
from card_os.transport.t0_tpdu import T0Tpdu
from card_os.transport.timing import ContactTiming
from reader_bridge.contact_card import ContactCard


class TpduSlot:
    """Carries TPDUs to a card and follows its procedure bytes.

    Args:
        card: the card, in protocol T=0.
        time_extension: told each time the card asks for time.
    """

    __slots__ = ("_card", "_extend", "_machine")

    def __init__(self, card: ContactCard, time_extension: Callable[[], None] | None = None) -> None:
        self._card = card
        self._extend = time_extension
        self._machine = T0Tpdu(ContactTiming())

    def exchange(self, tpdu: bytes) -> bytes:
        """Data and status; empty when the card is mute.

        Raises:
            TpduError: the bytes are no command TPDU.
        """
        machine, told = self._machine, 0
        event: ReaderEvent = machine.exchange(tpdu)
        while isinstance(event, Transmit):
            following: ReaderEvent | None = None
            for part in self._card.receive(event.data):
                following = machine.receive(part)
                if machine.extensions > told and self._extend is not None:
                    told = machine.extensions
                    self._extend()
            event = machine.time_out() if following is None else following
        return event.response if isinstance(event, Completed) else b""
