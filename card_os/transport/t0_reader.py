"""T=0, the reader's side, with the mapping of command APDUs to TPDUs.

T=0 has no retransmission above the character: whatever goes wrong ends the exchange, and the card has to be reset.

Source: ISO/IEC 7816-3:2006, clauses 10.3 (command processing) and 12.2 (APDUs by T=0).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from card_os.iso7816.apdu import CLASS_BYTES, CommandApdu
from card_os.transport.events import Broken, Completed, Failure, LocalProtocolError, ReaderEvent, Transmit
from card_os.transport.t0_tables import (
    EXACT_LENGTH,
    INS_ENVELOPE,
    INS_GET_RESPONSE,
    MAX_TRANSFER,
    MORE_AVAILABLE,
    NULL,
    complement,
    is_status,
    is_valid_instruction,
)

if TYPE_CHECKING:
    from card_os.transport.timing import ContactTiming

_MAX_SEGMENT: Final = 255
_FIRST_CHANNELS: Final = 4
_FURTHER: Final = 0x40
_OK: Final = b"\x90\x00"
_HEADER: Final = 4


class State(Enum):
    """Where the reader is."""

    IDLE = "no command is open"
    PROCEDURE = "a procedure byte is expected"
    DATA = "data bytes are expected"
    STATUS = "SW2 is expected"
    DEAD = "the card has to be reset"


class T0Reader:
    """The reader's side of T=0 with one card, from its reset on.

    Args:
        timing: times at the negotiated rates.

    Attributes:
        state: where the reader is.
    """

    def __init__(self, timing: ContactTiming) -> None:
        self._wwt_ns = timing.wwt_ns
        self.state = State.IDLE
        self._command = CommandApdu(0, 0, 0, 0)
        self._header = b""
        self._outgoing = b""
        self._expected = 0
        self._wanted = 0
        self._response = bytearray()
        self._sw1 = 0
        self._segments: list[bytes] = []
        self._corrected = False
        self._before = 0

    def exchange(self, command: bytes) -> Transmit:
        """Begin with a command APDU.

        Raises:
            LocalProtocolError: a command is open, or the card has to be reset.
            ValueError: INS 6x or 9x, which T=0 does not have (10.3.2).
            WrongLength: the bytes are no command APDU.
        """
        if self.state is not State.IDLE:
            raise LocalProtocolError(f"no command can be sent: {self.state.value}")
        apdu = CommandApdu.parse(command)
        if not is_valid_instruction(apdu.ins):
            raise ValueError("T=0 has no instructions 6x and 9x")
        self._command = apdu
        self._response.clear()
        self._segments = []
        self._corrected = False
        self._before = -1
        if len(apdu.data) > _MAX_SEGMENT:  # cases 3E and 4E, 12.2.6 and 12.2.7
            self._segments = [command[at : at + _MAX_SEGMENT] for at in range(0, len(command), _MAX_SEGMENT)]
            return self._envelope()
        header = command[:_HEADER]
        if apdu.data:
            return self._send(header, len(apdu.data), apdu.data, 0)
        return self._send(header, apdu.ne & 0xFF if apdu.ne <= MAX_TRANSFER else 0, b"", min(apdu.ne, MAX_TRANSFER))

    @property
    def outgoing(self) -> bytes:
        """Data of the command that the card has not asked for yet."""
        return self._outgoing

    @property
    def expected(self) -> int:
        """Bytes that the current header lets the card send; 0 = none."""
        return self._expected

    def _send(self, header: bytes, p3: int, outgoing: bytes, expected: int) -> Transmit:
        self._header, self._outgoing, self._expected = header, outgoing, expected
        self.state = State.PROCEDURE
        return Transmit(header + bytes((p3,)), self._wwt_ns)

    @property
    def _class(self) -> int:
        """The class of the same channel, without chaining and secure messaging."""
        decoded = CLASS_BYTES[self._command.cla]
        channel = 0 if decoded is None else decoded.channel
        return channel if channel < _FIRST_CHANNELS else _FURTHER | channel - _FIRST_CHANNELS

    def _envelope(self) -> Transmit:
        """The next piece of a long command; an empty one ends it."""
        segment = self._segments.pop(0)
        return self._send(bytes((self._class, INS_ENVELOPE, 0, 0)), len(segment), segment, 0)

    def _get_response(self, available: int) -> Transmit:
        length = min(available, self._command.ne - len(self._response), MAX_TRANSFER)
        return self._send(bytes((self._class, INS_GET_RESPONSE, 0, 0)), length & 0xFF, b"", length)

    def receive(self, data: bytes) -> ReaderEvent | None:
        """Take characters from the card; None = the card goes on, and the waiting time begins anew."""
        if self.state in {State.IDLE, State.DEAD}:
            raise LocalProtocolError(f"nothing is expected: {self.state.value}")
        for at, byte in enumerate(data):
            event = self._take(byte)
            if event is not None:
                if at + 1 < len(data) and not isinstance(event, Broken):
                    return self._fail(Failure.PROTOCOL)
                return event
        return None

    def time_out(self) -> Broken:
        """No character came within the waiting time."""
        return self._fail(Failure.MUTE)

    def _fail(self, failure: Failure) -> Broken:
        self.state = State.DEAD
        return Broken(failure)

    def _take(self, byte: int) -> ReaderEvent | None:
        if self.state is State.DATA:
            self._response.append(byte)
            self._expected -= 1
            self._wanted -= 1
            if not self._wanted:
                self.state = State.PROCEDURE
            return None
        if self.state is State.STATUS:
            return self._end(self._sw1, byte)
        if byte == NULL:
            return None
        if is_status(byte):
            self._sw1, self.state = byte, State.STATUS
            return None
        ins = self._header[1]
        if byte in {ins, complement(ins)}:
            return self._transfer(single=byte != ins)
        return self._fail(Failure.PROTOCOL)

    def _transfer(self, *, single: bool) -> ReaderEvent | None:
        """ACK: all data that is left, or one byte of it."""
        if self._outgoing:
            count = 1 if single else len(self._outgoing)
            part, self._outgoing = self._outgoing[:count], self._outgoing[count:]
            return Transmit(part, self._wwt_ns)
        if not self._expected:
            return self._fail(Failure.PROTOCOL)
        self._wanted = 1 if single else self._expected
        self.state = State.DATA
        return None

    def _end(self, sw1: int, sw2: int) -> ReaderEvent:
        """What a status word means for the command APDU (12.2.2 to 12.2.7)."""
        status = bytes((sw1, sw2))
        ins = self._header[1]
        if self._segments and ins == INS_ENVELOPE and status == _OK:
            return self._envelope()
        if ins == INS_ENVELOPE and ins != self._command.ins and self._command.data and status == _OK:
            self._command = self._command._replace(data=b"")
            return self._send(self._header, 0, b"", 0)
        left = self._command.ne - len(self._response)
        if sw1 == EXACT_LENGTH and self._expected and left > 0 and not self._corrected:
            self._corrected = True
            return self._send(self._header, sw2, b"", sw2 or MAX_TRANSFER)
        if sw1 == MORE_AVAILABLE and left > 0 and len(self._response) > self._before:
            self._before, self._corrected = len(self._response), False
            return self._get_response(sw2 or MAX_TRANSFER)
        self.state = State.IDLE
        response = bytes(self._response[: self._command.ne])
        self._response.clear()
        return Completed(response + status)
