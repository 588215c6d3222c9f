"""The host's end of a serial CCID reader of the GemPC Twin kind: a `CardConnection` over a serial port.

The reader carries TPDUs; PPS, the blocks of T=1 and the mapping of APDUs by T=0 are done here.

Source: USB Device Class: Smart Card CCID, revision 1.1, clause 6; see `reader_bridge.ccid_messages` for the frames.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Final

from card_os.transport.events import Broken, ReaderEvent, Transmit
from card_os.transport.parameters import LineParameters
from card_os.transport.pps import Selection
from card_os.transport.t1_reader import T1Reader
from reader_bridge.ccid_messages import (
    MAX_DATA,
    NAK_FRAME,
    CcidError,
    CommandStatus,
    Event,
    FrameReader,
    IccStatus,
    Message,
    MessageType,
    frame,
)
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.contact_session import PROTOCOLS, Negotiation, rate_byte
from reader_bridge.contactless_atr import interface_of
from reader_bridge.serial_ports.connection import SerialConnection
from reader_bridge.serial_ports.port import SerialPort
from reader_bridge.t0_host import T0Host

_RATE: Final = 115_200
_STOP_BITS: Final = 2
_GET_FIRMWARE: Final = b"\x02"
_NOTIFY_AFTER_COMMAND: Final = b"\x01\x01\x01"
_AUTOMATIC_VOLTAGE: Final = b"\x00\x00\x00"
_NO_PARAMETERS: Final = b"\x00\x00\x00"
_IDENTIFY_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 3.0
_COMMAND_SECONDS: Final = 120.0
_MAX_ATTEMPTS: Final = 3
_MAX_BWI: Final = 0xFF
_DATA_BLOCK_ERRORS: Final = {
    CcidError.ICC_MUTE: "mute",
    CcidError.XFR_PARITY_ERROR: "transmission-failed",
    CcidError.XFR_OVERRUN: "response-too-long",
}


class CcidSerialConnection(SerialConnection):
    """A `CardConnection` to the card in a serial CCID reader.

    Args:
        place: the serial port.
        protocol: T=0 or T=1; None takes T=1 when the card has it.
        fast: ask for the rates of TA1.
        answer_seconds: how long the reader may be silent; what a card needs more is told in time extensions.
        command_seconds: how long a command may take, whatever the reader asks for.
    """

    def __init__(
        self,
        place: str,
        *,
        protocol: Protocol7816 | None = None,
        fast: bool = True,
        answer_seconds: float = _ANSWER_SECONDS,
        command_seconds: float = _COMMAND_SECONDS,
    ) -> None:
        super().__init__(place, ConnectionDescription(f"serial,ccid:{place}", Interface.CONTACT, Protocol7816.T1, b""))
        self._wanted = protocol
        self._fast = fast
        self._seconds = answer_seconds
        self._command_seconds = command_seconds
        self._frames = FrameReader()
        self._sequence = 0
        self._machine: T1Reader | None = None
        self._mapping: T0Host | None = None
        self._waiting_ns = 1
        self.firmware = ""

    def _forget(self) -> None:
        self._machine = self._mapping = None

    @property
    def _powered(self) -> bool:
        return self._machine is not None or self._mapping is not None

    def power_on(self) -> bytes:
        """Open the port, power the card, choose the protocol; returns the ATR.

        Raises:
            ReaderError: no port, no reader behind it, no card, mute card, or a card without the protocol.
        """
        return self._description.answer if self._powered else self._activate()

    def reset(self) -> bytes:
        """Reset the card, or power it when it is off; returns the ATR."""
        return self._activate()

    def _activate(self) -> bytes:
        if self._port is None:
            self._open()
        self._forget()
        answer = self._command(MessageType.ICC_POWER_ON, b"", _AUTOMATIC_VOLTAGE).data
        plan = Negotiation.plan(answer, self._wanted, fast=self._fast, reader=self._place)
        response = b""
        if plan.request is not None:
            response = self._transfer(plan.request.encode())
        selection = plan.conclude(response, self._place)
        self._set_parameters(plan.parameters, selection, plan.convention)
        protocol = PROTOCOLS[selection.protocol]
        if protocol is Protocol7816.T1:
            timing = plan.timing(selection)
            self._machine, self._waiting_ns = T1Reader(plan.parameters, timing), timing.bwt_ns
        else:
            self._mapping = T0Host(self._transfer, self._place)
        interface = interface_of(answer)  # a contactless card shows the ATR that its reader made for it
        shown = Protocol7816.TCL if interface is Interface.CONTACTLESS else protocol
        self._description = replace(self._description, interface=interface, protocol=shown, answer=answer)
        return answer

    def _open(self) -> None:
        """Open the port and ask who is there."""
        self._port = SerialPort(self._place, _RATE, stop_bits=_STOP_BITS, rts=False)
        with self._identifying():
            self._resynchronize()
            answer = self._exchange(Message(MessageType.ESCAPE, _GET_FIRMWARE), _IDENTIFY_SECONDS)
            self.firmware = answer.data.decode("ascii", "replace")
            self._exchange(Message(MessageType.ESCAPE, _NOTIFY_AFTER_COMMAND), _IDENTIFY_SECONDS)

    def _resynchronize(self) -> None:
        """Forget what came of an exchange that was given up."""
        self._frames.clear()
        if self._port is not None:
            self._port.discard_input()

    def _set_parameters(self, parameters: LineParameters, selection: Selection, convention: int) -> None:
        """Tell the reader protocol and times (6.1.7)."""
        inverse = 0x02 if convention != 0x3B else 0x00  # noqa: PLR2004 - TS of the direct convention
        rates, guard = rate_byte(selection), parameters.extra_guard
        if PROTOCOLS[selection.protocol] is Protocol7816.T0:
            data = bytes((rates, inverse, guard, parameters.wi, 0))
        else:
            waiting = parameters.bwi << 4 | parameters.cwi
            data = bytes((rates, 0x10 | inverse | parameters.crc, guard, waiting, 0, parameters.ifsc, 0))
        self._command(MessageType.SET_PARAMETERS, data, bytes((selection.protocol, 0, 0)))

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word.

        Raises:
            ReaderError: not powered, card or reader gone, or no whole answer within the time.
        """
        if self._mapping is not None:
            return self._mapping.transmit(command)
        machine = self._machine
        if machine is None:
            raise self._mute("not powered")
        event: ReaderEvent = machine.exchange(command)
        try:
            while isinstance(event, Transmit):
                event = self._carry(machine, event)
        except ReaderError:
            self._machine = None  # the machine waits for a block that does not come: only a reset goes on
            raise
        if isinstance(event, Broken):
            if event.needs_reset:
                self._machine = None
            code = "mute" if event.needs_reset else "transmission-failed"
            raise ReaderError(code, reader=self._place, reason=event.failure.value)
        return self._whole(event.response)

    def _carry(self, machine: T1Reader, sent: Transmit) -> ReaderEvent:
        multiplier = min(max(sent.wait_ns // self._waiting_ns, 1), _MAX_BWI)
        try:
            block = self._transfer(sent.data, multiplier if multiplier > 1 else 0)
        except ReaderError as error:
            if error.code == "mute":  # the reader has waited for the block
                return machine.time_out()
            if error.parameters.get("error") == int(CcidError.XFR_PARITY_ERROR):
                return machine.receive(b"", parity_error=True) or machine.time_out()
            raise
        return machine.receive(block) or machine.time_out()

    def _transfer(self, data: bytes, waiting: int = 0) -> bytes:
        if len(data) > MAX_DATA:
            raise ReaderError("transmission-failed", reader=self._place, reason="longer than the reader takes")
        return self._command(MessageType.XFR_BLOCK, data, bytes((waiting, 0, 0))).data

    def escape(self, data: bytes) -> bytes:
        """Send a command of this reader's own (6.1.8); returns its answer.

        Raises:
            ReaderError: "transmission-failed", the reader does not know it.
        """
        if self._port is None:
            self._open()
        return self._command(MessageType.ESCAPE, data).data

    def _command(self, kind: MessageType, data: bytes = b"", own: bytes = _NO_PARAMETERS) -> Message:
        answer = self._exchange(Message(kind, data, 0, 0, own), self._seconds)
        if answer.status != CommandStatus.FAILED:
            return answer
        if answer.icc == IccStatus.ABSENT:
            code = "no-card" if kind is MessageType.ICC_POWER_ON else "card-removed"
            self._forget()
            raise ReaderError(code, reader=self._place)
        code = "transmission-failed"
        for error, known in _DATA_BLOCK_ERRORS.items():
            if answer.error == error:
                code = known
        if kind is MessageType.ICC_POWER_ON:
            code = "mute"
        raise ReaderError(code, reader=self._place, reason=f"CCID error {answer.error:02X}", error=answer.error)

    def _exchange(self, message: Message, seconds: float) -> Message:
        """Send a command and wait for its answer; a port that fails is closed, and opened by the next `power_on`.

        Raises:
            ReaderError: "time-out", "reader-removed".
        """
        try:
            return self._converse(message, seconds)
        except ReaderError:
            self.close()
            raise

    def _converse(self, message: Message, seconds: float) -> Message:
        """Send a command and wait, as long as the reader asks for time."""
        port = self._port
        if port is None:
            raise self._mute("not powered")
        self._resynchronize()
        self._sequence = (self._sequence + 1) % 0x100
        sent = message._replace(sequence=self._sequence)
        raw = frame(sent.encode())
        port.write(raw)
        attempts = 1
        begin = time.monotonic()
        deadline, last = begin + seconds, begin + max(seconds, self._command_seconds)
        while (left := min(deadline, last) - time.monotonic()) > 0:
            found = self._frames.next()
            if found is None:
                self._frames.feed(port.read(left))
            elif isinstance(found, Message):
                if found == sent or found.sequence != self._sequence or found.kind < MessageType.DATA_BLOCK:
                    continue  # our own, sent back, or an answer to what was given up
                if found.status == CommandStatus.TIME_EXTENSION:
                    deadline = time.monotonic() + seconds * max(found.error, 1)
                    continue
                return found
            elif found is Event.TIME:
                deadline = time.monotonic() + seconds
            elif found in {Event.NAK, Event.DAMAGED} and attempts < _MAX_ATTEMPTS:
                attempts += 1
                port.write(raw if found is Event.NAK else NAK_FRAME)
        raise ReaderError("time-out", reader=self._place)

    def power_off(self) -> None:
        """Take power away; safe to call twice."""
        self._forget()
        if self._port is not None:
            with contextlib.suppress(ReaderError):
                self._command(MessageType.ICC_POWER_OFF)
