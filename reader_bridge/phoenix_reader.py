"""The host's end of a plain asynchronous reader ("Phoenix"): a `CardConnection` over a serial port.

The reader is no more than a level shifter: a modem line is the card's reset, and one wire carries both directions, so
that the host reads back what it sends. T=0 and T=1 are done here, byte by byte. A card that signals a parity error
spoils the stop bit of what is read back; the character is sent again. The host cannot signal one itself, for the wire's
driver is in the reader: what arrives damaged is recovered by the check code of T=1, and ends an exchange of T=0.

Source: ISO/IEC 7816-3:2006, clauses 6.2 (activation and reset), 7 (characters), 9 (PPS), 10 (T=0), 11 (T=1).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

from card_os.iso7816.atr import MAX_ATR_LENGTH, Convention, missing_bytes
from card_os.iso7816.errors import WrongLength
from card_os.transport.characters import MAX_REPETITIONS, encode_character
from card_os.transport.events import Broken, ReaderEvent, Transmit
from card_os.transport.pps import pps_length
from card_os.transport.t0_reader import T0Reader
from card_os.transport.t1_reader import T1Reader
from card_os.transport.timing import FREQUENCY_HZ, ContactTiming
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.contact_session import PROTOCOLS, Negotiation
from reader_bridge.serial_ports.connection import SerialConnection
from reader_bridge.serial_ports.port import Parity, SerialPort, SignalLine

_RESET_SECONDS: Final = 0.01
"""400 clock cycles are 0.1 ms; readers of this kind are slower."""
_INITIAL_ETU: Final = 9600
"""Longest time between two characters of the ATR and of a PPS response."""
_SLACK_SECONDS: Final = 0.5
"""What a host adds to each waiting time: its own turns, and the network's."""
_INVERSE_TS: Final = 0x03
"""TS of the inverse convention as a UART of the direct one reads it."""
COMMAND_SECONDS: Final = 120.0
_PARITIES: Final = {Convention.DIRECT: Parity.EVEN, Convention.INVERSE: Parity.ODD}


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a reader is wired.

    Attributes:
        line: the modem line that is the card's reset.
        active_resets: the card is in reset while the line is set ("Phoenix"); else while it is not ("Smartmouse").
        frequency_hz: clock that the reader gives to the card.
    """

    line: SignalLine = SignalLine.RTS
    active_resets: bool = True
    frequency_hz: int = FREQUENCY_HZ

    def rate(self, timing: ContactTiming) -> int:
        """Bits per second at these F and D."""
        return round(self.frequency_hz * timing.d / timing.f)


class PhoenixConnection(SerialConnection):
    """A `CardConnection` to the card in a plain asynchronous reader.

    Args:
        place: the serial port.
        protocol: T=0 or T=1; None takes T=1 when the card has it.
        fast: ask for the rates of TA1; the port has to have them.
        wiring: how the reader is wired.
        command_seconds: how long a command may take, whatever the card asks for.
    """

    def __init__(
        self,
        place: str,
        *,
        protocol: Protocol7816 | None = None,
        fast: bool = False,
        wiring: Wiring | None = None,
        command_seconds: float = COMMAND_SECONDS,
    ) -> None:
        super().__init__(
            place, ConnectionDescription(f"serial,phoenix:{place}", Interface.CONTACT, Protocol7816.T1, b"")
        )
        self._wanted = protocol
        self._fast = fast
        self._wiring = wiring or Wiring()
        self._command_seconds = command_seconds
        self._machine: T0Reader | T1Reader | None = None
        self._timing = ContactTiming(frequency_hz=self._wiring.frequency_hz)
        self._convention = Convention.DIRECT
        self._outward = self._inward = bytes(range(256))

    def _forget(self) -> None:
        self._machine = None

    def power_on(self) -> bytes:
        """Open the port, release the card's reset, choose the protocol; returns the ATR.

        Raises:
            ReaderError: no port, mute card, or a card without the protocol.
        """
        return self._description.answer if self._machine is not None else self._activate()

    def reset(self) -> bytes:
        """Reset the card; returns the ATR."""
        return self._activate()

    def _activate(self) -> bytes:
        try:
            return self._start_card(self._opened())
        except ReaderError as error:
            self._give_up(error)
            raise

    def _give_up(self, error: ReaderError) -> None:
        """A port that failed, or is none for a reader, is given back; the next `power_on` opens it again."""
        if error.code in {"reader-removed", "time-out", "no-echo", "no-serial-port"}:
            self.close()

    def _start_card(self, port: SerialPort) -> bytes:
        self._machine = None
        self._timing = ContactTiming(frequency_hz=self._wiring.frequency_hz)
        self._choose(Convention.DIRECT)
        self._hold_reset(port, on=True)
        time.sleep(_RESET_SECONDS)
        port.change(self._wiring.rate(self._timing), Parity.EVEN)
        port.discard_input()
        self._hold_reset(port, on=False)
        answer = self._read_atr(port)
        plan = Negotiation.plan(answer, self._wanted, fast=self._fast, reader=self._place)
        response = b"" if plan.request is None else self._negotiate(port, plan.request.encode())
        selection = plan.conclude(response, self._place)
        self._timing = plan.parameters.timing(selection.f, selection.d, self._wiring.frequency_hz)
        port.change(self._wiring.rate(self._timing), _PARITIES[self._convention])
        protocol = PROTOCOLS[selection.protocol]
        if protocol is Protocol7816.T0:
            self._machine = T0Reader(self._timing)
        else:
            self._machine = T1Reader(plan.parameters, self._timing)
        self._description = replace(self._description, protocol=protocol, answer=answer)
        return answer

    def _opened(self) -> SerialPort:
        if self._port is None:
            held = self._wiring.active_resets
            lines = {self._wiring.line.value: held}
            other = {line.value: True for line in SignalLine if line is not self._wiring.line}
            rate = self._wiring.rate(self._timing)
            # Two stop bits: the guard time, in which a card signals a parity error.
            self._port = SerialPort(self._place, rate, Parity.EVEN, 2, **lines, **other)
        return self._port

    def _hold_reset(self, port: SerialPort, *, on: bool) -> None:
        port.set_line(self._wiring.line, on=on == self._wiring.active_resets)

    def _choose(self, convention: Convention) -> None:
        """How bytes look to a UART of the direct convention."""
        self._convention = convention
        coded = [encode_character(byte, convention) & 0xFF for byte in range(256)]
        self._outward = bytes(coded)
        self._inward = bytes(coded.index(byte) for byte in range(256))

    def _read_atr(self, port: SerialPort) -> bytes:
        seconds = self._timing.etu_ns(_INITIAL_ETU) / 1e9 + _SLACK_SECONDS
        first = port.read_exactly(1, seconds)
        if not first:
            raise self._mute("no answer to reset")
        if first[0] == _INVERSE_TS:
            self._choose(Convention.INVERSE)
            port.change(self._wiring.rate(self._timing), Parity.ODD)
        raw = first.translate(self._inward)
        while (missing := missing_bytes(raw)) > 0:
            part = port.read_exactly(missing, seconds * missing)
            if not part or len(raw) >= MAX_ATR_LENGTH:
                raise self._mute("the answer to reset is cut short")
            raw += part.translate(self._inward)
        return raw

    def _negotiate(self, port: SerialPort, request: bytes) -> bytes:
        self._send(port, request, repeat=True)
        seconds = self._timing.etu_ns(_INITIAL_ETU) / 1e9 + _SLACK_SECONDS
        raw = port.read_exactly(2, seconds * 2).translate(self._inward)
        length = pps_length(raw)
        rest = 0 if length is None else length - len(raw)
        return raw + port.read_exactly(rest, seconds * rest).translate(self._inward)

    def _send(self, port: SerialPort, data: bytes, *, repeat: bool) -> None:
        """Send, and read back what the wire carried.

        Args:
            port: the port.
            data: the bytes.
            repeat: one character after the other, again when the card refuses it (7.3); else the whole block.

        Raises:
            ReaderError: "no-echo", nothing is read back: there is no such reader; "transmission-failed", the card
                refuses a character.
        """
        coded = data.translate(self._outward)
        seconds = self._timing.etu_ns(_INITIAL_ETU) / 1e9 + _SLACK_SECONDS
        if not repeat:
            port.write(coded)
            if len(port.read_exactly(len(coded), seconds + _SLACK_SECONDS * len(coded) / 64)) != len(coded):
                raise ReaderError("no-echo", reader=self._place)
            return
        for at in range(len(coded)):
            character = coded[at : at + 1]
            for _ in range(1 + MAX_REPETITIONS):
                port.write(character)
                echo = port.read_exactly(1, seconds)
                if not echo:
                    raise ReaderError("no-echo", reader=self._place)
                if echo == character:
                    break
            else:
                raise ReaderError("transmission-failed", reader=self._place, reason="the card refuses a character")

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word.

        Raises:
            ReaderError: not powered, mute card, reader gone, or no whole answer.
        """
        port, machine = self._port, self._machine
        if machine is None or port is None:
            raise self._mute("not powered")
        port.discard_input()
        try:
            event: ReaderEvent = machine.exchange(command)
        except (ValueError, WrongLength) as error:  # T=0 carries commands, not any bytes
            raise ReaderError("transmission-failed", reader=self._place, reason=str(error)) from error
        deadline = time.monotonic() + self._command_seconds
        try:
            while isinstance(event, Transmit):
                event = self._carry(port, machine, event, deadline)
        except ReaderError as error:
            self._machine = None  # in the middle of an exchange: only a reset goes on
            self._give_up(error)
            raise
        if isinstance(event, Broken):
            if event.needs_reset:
                self._machine = None
                raise self._mute(event.failure.value)
            raise ReaderError("transmission-failed", reader=self._place, reason=event.failure.value)
        return self._whole(event.response)

    def _carry(self, port: SerialPort, machine: T0Reader | T1Reader, sent: Transmit, deadline: float) -> ReaderEvent:
        """Send, and give the machine what comes until it knows how to go on.

        Raises:
            ReaderError: "time-out", the card asks for time and more time.
        """
        characters = isinstance(machine, T0Reader)
        self._send(port, sent.data, repeat=characters)
        seconds = sent.wait_ns / 1e9 + _SLACK_SECONDS
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ReaderError("time-out", reader=self._place)
            data = port.read(min(seconds, left))
            if not data:
                break
            event = machine.receive(data.translate(self._inward))
            if event is not None:
                return event
            if not characters:
                seconds = self._timing.cwt_ns / 1e9 + _SLACK_SECONDS
        return machine.time_out()

    def power_off(self) -> None:
        """Hold the card in reset; safe to call twice."""
        self._forget()
        if self._port is not None:
            try:
                self._hold_reset(self._port, on=True)
            except ReaderError:
                self.close()
