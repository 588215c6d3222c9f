"""Simulated cards behind a real protocol: every byte goes through the reader's and the card's state machine.

Source: ISO/IEC 7816-3:2006, clauses 9 to 12; ISO/IEC 14443-3:2018 and 14443-4:2018 (type A).
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

from card_os.hardware.clock import VirtualClock
from card_os.iso7816.atr import FRAME_SIZES, Atr, Ats
from card_os.iso7816.errors import WrongLength
from card_os.port import PortMute
from card_os.transport.events import Broken
from card_os.transport.parameters import LineParameters
from card_os.transport.pps import Pps, Selection, answer_request, check_response
from card_os.transport.t0_card import T0Card
from card_os.transport.t0_reader import T0Reader
from card_os.transport.t1_card import T1Card
from card_os.transport.t1_reader import T1Reader
from card_os.transport.timing import CARRIER_HZ, CHARACTER_ETU, MAX_WTXM, ContactlessTiming
from card_os.transport.type_a_card import TypeACard
from card_os.transport.type_a_frames import superpose
from card_os.transport.type_a_reader import ActivationEvent, Selected, Send, TypeAReader
from card_os.transport.wire import Direction, Disturbance, Wire, undisturbed
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.simulated import CardPort, RadioPort, SimulatedCard

_NUMBERS: Final = {Protocol7816.T0: 0, Protocol7816.T1: 1}
_MAX_WTX: Final = 255
_BYTE_CYCLES: Final = 1152
"""Carrier cycles of nine bits at 106 kbit/s."""
_NS: Final = 1_000_000_000
_FIXED_UID: Final = b"\x08\x00\x00\x00"
_FSDI: Final = len(FRAME_SIZES) - 1


@runtime_checkable
class TimedCard(Protocol):
    """A card whose work takes virtual time, which decides when it asks its reader for more of it."""

    @property
    def clock(self) -> VirtualClock:
        """Its virtual time."""
        ...


class WiredConnection:
    """A `CardConnection` to one port of a simulated card, by T=0 or T=1 (contact) or by type A and T=CL.

    Args:
        port: the port.
        interface: which it is.
        name: for the description.
        protocol: T=0 or T=1 on the contact interface.
        clock: virtual time of the wire.
        disturbance: what happens on the way.
        watch: told of what both sides send before the protocol begins: PPS, or the frames of the activation.
    """

    __slots__ = ("_answer", "_clock", "_disturbance", "_interface", "_name", "_port", "_protocol", "_watch", "_wire")

    def __init__(
        self,
        port: CardPort,
        interface: Interface,
        name: str = "wire",
        *,
        protocol: Protocol7816 = Protocol7816.T1,
        clock: VirtualClock | None = None,
        disturbance: Disturbance = undisturbed,
        watch: Callable[[Direction, bytes], None] | None = None,
    ) -> None:
        self._port = port
        self._interface = interface
        self._name = name
        self._protocol = protocol if interface is Interface.CONTACT else Protocol7816.TCL
        self._clock = VirtualClock() if clock is None else clock
        self._disturbance = disturbance
        self._watch = watch or _nobody_watches
        self._answer = b""
        self._wire: Wire | None = None

    @property
    def description(self) -> ConnectionDescription:
        """What this connection is."""
        return ConnectionDescription(self._name, self._interface, self._protocol, self._answer, simulated=True)

    @property
    def uid(self) -> bytes:
        """UID of this activation; empty over contact."""
        return self._port.uid if isinstance(self._port, RadioPort) else b""

    def power_on(self) -> bytes:
        """Power the card and choose the protocol, or activate it; returns ATR or ATS."""
        if self._wire is not None and self._port.powered:
            return self._answer
        return self._activate(self._port.power_on)

    def reset(self) -> bytes:
        """Reset the card, or power it when it is off; returns ATR or ATS."""
        return self._activate(self._port.reset if self._port.powered else self._port.power_on)

    def _activate(self, start: Callable[[], bytes]) -> bytes:
        try:
            self._answer = start()
        except PortMute as error:
            raise self._mute(str(error)) from error
        self._wire = self._contact_wire() if self._interface is Interface.CONTACT else self._radio_wire()
        return self._answer

    def _contact_wire(self) -> Wire:
        """PPS to the protocol at the rates of TA1, then the protocol on both sides."""
        parameters = LineParameters.from_atr(Atr.parse(self._answer))
        request = Pps(_NUMBERS[self._protocol], parameters.rate_byte)
        self._watch(Direction.TO_CARD, request.encode())
        answered = answer_request(parameters, request.encode())
        if answered is None:
            raise self._mute(f"the card does not speak {self._protocol.value}")
        self._watch(Direction.TO_READER, answered[0])
        chosen: Selection = check_response(request, answered[0])
        timing = parameters.timing(chosen.f, chosen.d)
        character = self._protocol is Protocol7816.T0
        waiting_ns = timing.wwt_ns if character else timing.bwt_ns
        return Wire(
            T0Reader(timing) if character else T1Reader(parameters, timing),
            T0Card() if character else T1Card(parameters),
            self._port.process,
            self._clock,
            disturbance=self._disturbance,
            byte_ns=timing.etu_ns(CHARACTER_ETU),
            extension=lambda work_ns: work_ns // waiting_ns,
            most=_MAX_WTX,
        )

    def _radio_wire(self) -> Wire:
        """Anticollision and RATS, then the block protocol on both sides."""
        uid = self._port.uid if isinstance(self._port, RadioPort) else _FIXED_UID
        card, reader = TypeACard(uid, Ats.parse(self._answer)), TypeAReader(fsdi=_FSDI)
        event: ActivationEvent = reader.start()
        while isinstance(event, Send):
            self._watch(Direction.TO_CARD, event.frame.data)
            frame = card.receive(event.frame)
            if frame is not None:
                self._watch(Direction.TO_READER, frame.data)
            event = reader.time_out() if frame is None else reader.receive(*superpose((frame,)))
        if not isinstance(event, Selected) or card.protocol is None:
            raise self._mute("the card cannot be activated")
        timing = ContactlessTiming(event.ats.fwi, event.ats.sfgi)
        self._clock.spend(timing.sfgt_ns)
        return Wire(
            event.protocol(),
            card.protocol,
            self._port.process,
            self._clock,
            disturbance=self._disturbance,
            byte_ns=-(-_BYTE_CYCLES * _NS // CARRIER_HZ),
            extension=lambda work_ns: work_ns // timing.fwt_ns,
            most=MAX_WTXM,
        )

    def _mute(self, reason: str) -> ReaderError:
        self._wire = None
        return ReaderError("mute", reader=self._name, reason=reason)

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word."""
        if self._wire is None:
            raise self._mute("the card has no power")
        try:
            result = self._wire.transmit(command)
        except PortMute as error:
            raise self._mute(str(error)) from error
        except (ValueError, WrongLength) as error:  # T=0 carries commands, not any bytes
            raise ReaderError("transmission-failed", reason=str(error)) from error
        if isinstance(result, Broken):
            if result.needs_reset:
                raise self._mute(result.failure.value)
            raise ReaderError("transmission-failed", reason=result.failure.value)
        return result.response

    def power_off(self) -> None:
        """Take power away; safe to call twice."""
        self._wire = None
        self._port.power_off()

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


def _nobody_watches(_direction: Direction, _data: bytes) -> None:
    """The default."""


def wired_connection(
    card: SimulatedCard, interface: Interface, protocol: Protocol7816 = Protocol7816.T1
) -> WiredConnection:
    """A connection to one interface of a simulated card through its protocol."""
    port = card.card.contact if interface is Interface.CONTACT else card.card.contactless
    clock = card.card.clock if isinstance(card.card, TimedCard) else None
    return WiredConnection(port, interface, f"{card.name} (wire)", protocol=protocol, clock=clock)
