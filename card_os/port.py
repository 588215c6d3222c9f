"""The two ways into the card: contact and contactless.

A port has power or not, answers bytes with bytes, or is mute. Nothing volatile is shared between the two ports.

Source: ISO/IEC 7816-3:2006, clauses 6 and 8 (activation, answer to reset); ISO/IEC 14443-3:2018, clause 6.5.4 (random
UID) and 14443-4:2018, clause 5 (RATS and ATS).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.arbitration import Event
from card_os.hardware.voltage import NOMINAL_MILLIVOLTS, class_of
from card_os.hardware.work import Work
from card_os.iso7816.errors import CardTorn, MemoryFailure
from card_os.security.access import Proof

if TYPE_CHECKING:
    from card_os.card import Card
    from card_os.dispatch import Dispatcher
    from card_os.iso7816.errors import CardError

UID_LENGTH: Final = 4
_RANDOM_UID: Final = 0x08


class PortMute(Exception):
    """The card does not answer: no power, torn by a power cut, or the other interface has the card."""


class Port:
    """One interface of a card.

    Args:
        card: the card behind it.
        interface: `Proof.CONTACT` or `Proof.CONTACTLESS`.

    Attributes:
        interface: which of the two.
        uid: contactless: the random UID of this activation, 4 bytes beginning with 08; empty without power.
        last_cost_ns: virtual time that the last command took the card: processor, cryptography and memory, without the
            line.
    """

    __slots__ = (
        "_byte_ns",
        "_card",
        "_clock",
        "_command_ns",
        "_dispatcher",
        "_lock",
        "interface",
        "last_cost_ns",
        "uid",
    )

    def __init__(self, card: Card, interface: Proof) -> None:
        self._card = card
        self._lock = card.lock
        self._clock = card.clock
        self._command_ns = card.clock.times.get(Work.COMMAND, 0)
        self._byte_ns = card.clock.times.get(Work.BYTE, 0)
        self.last_cost_ns = 0
        self._dispatcher: Dispatcher | None = None
        self.interface = interface
        self.uid = b""

    @property
    def powered(self) -> bool:
        """True between `power_on` and `power_off` or a cut."""
        return self._dispatcher is not None

    def power_on(self, millivolts: int = NOMINAL_MILLIVOLTS) -> bytes:
        """Give power, or reset when it is on already; returns the ATR (contact) or the ATS (contactless).

        Power after a cut is power restored; a cut that is armed in the power supply may strike while the card boots.

        Args:
            millivolts: supply of the contact interface; the field has none.

        Raises:
            PortMute: the other interface has the card, power was cut during boot, the memory holds no sound store, or
                the chip does not work with this supply.
        """
        if self.interface is Proof.CONTACT and class_of(millivolts) is None:
            self.power_off()
            raise PortMute(f"{millivolts} mV is the supply of no class")
        return self._start(Event.POWER)

    def _start(self, event: Event) -> bytes:
        card = self._card
        with self._lock:
            powered = self.powered
            self.power_off()
            try:
                card.activate(self, event, powered=powered)
                dispatcher = card.new_dispatcher(self.interface)
            except CardTorn as cut:
                card.tear()
                raise PortMute("power was cut while the card started") from cut
            except MemoryFailure as error:
                raise PortMute(f"the card does not start: {error.reason}") from error
            if self.interface is Proof.CONTACTLESS:
                self.uid = bytes((_RANDOM_UID,)) + card.randomness.bytes(UID_LENGTH - 1)
            self._dispatcher = dispatcher
            return card.answer(self.interface, dispatcher.service_data)

    def process(self, command: bytes) -> bytes:
        """Execute one command APDU; returns response data and status word.

        Raises:
            PortMute: the port has no power, or power was cut during this command.
        """
        self._lock.acquire()  # `with` takes twice as long
        try:
            dispatcher = self._dispatcher
            if dispatcher is None:
                raise PortMute("the port has no power")
            clock = self._clock
            started = clock.now_ns
            try:
                answer = dispatcher.process(command if type(command) is bytes else bytes(command))
            except CardTorn as cut:
                self._card.tear()
                raise PortMute("power was cut") from cut
            clock.now_ns = now = clock.now_ns + self._command_ns + self._byte_ns * (len(command) + len(answer))
            self.last_cost_ns = now - started
            return answer
        finally:
            self._lock.release()

    def reset(self) -> bytes:
        """Reset this interface (a warm reset): its channels and sessions are gone; returns ATR or ATS.

        The chip boots again when the other interface has no power; else it goes on for that one.

        Raises:
            PortMute: the port has no power.
        """
        return self._start(Event.RESET)

    def supply(self, millivolts: int) -> None:
        """The contact supply changes while it is on: outside its class the card loses it, as by `power_off`.

        A chip that has the field as well lives on by it; the contact interface is reset when its supply is right again.
        """
        with self._lock:
            if self.interface is Proof.CONTACT and class_of(millivolts) is None:
                self.power_off()

    def power_off(self) -> None:
        """Take power away; does nothing without power."""
        with self._lock:
            if self._dispatcher is not None:
                self._dispatcher.close()
                self._dispatcher = None
            self.uid = b""

    @property
    def last_error(self) -> CardError | None:
        """Why the last command did not end with 9000: the error with its reason, None after success."""
        return None if self._dispatcher is None else self._dispatcher.last_error
