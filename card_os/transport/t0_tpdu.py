"""T=0 as a reader of TPDU level does it: one command TPDU to the card, its data and status back.

Such a reader follows the procedure bytes and leaves 61xx, 6Cxx and the mapping of APDUs to its host.

Source: ISO/IEC 7816-3:2006, clause 10.3.3 (procedure bytes); USB CCID 1.1, clause 6.1.4 (XfrBlock at TPDU level).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.transport.events import Broken, Completed, Failure, ReaderEvent, Transmit
from card_os.transport.t0_tables import HEADER_LENGTH, MAX_TRANSFER, NULL, complement, is_status

if TYPE_CHECKING:
    from card_os.transport.timing import ContactTiming

_CASE_1: Final = HEADER_LENGTH - 1


class TpduError(ValueError):
    """The bytes are no command TPDU of T=0."""


class T0Tpdu:
    """One exchange after another at TPDU level.

    Args:
        timing: times at the negotiated rates.

    Attributes:
        extensions: NULL bytes that the card sent since `exchange`; each begins the waiting time anew.
    """

    __slots__ = ("_expected", "_ins", "_outgoing", "_response", "_sw1", "_wanted", "_wwt_ns", "extensions")

    def __init__(self, timing: ContactTiming) -> None:
        self._wwt_ns = timing.wwt_ns
        self._ins = 0
        self._outgoing = b""
        self._expected = 0
        self._wanted = 0
        self._sw1: int | None = None
        self._response = bytearray()
        self.extensions = 0

    def exchange(self, tpdu: bytes) -> Transmit:
        """Begin with CLA INS P1 P2 P3 and, when they go to the card, P3 bytes of data; four bytes stand for P3 = 00.

        Raises:
            TpduError: too short, or the data is not P3 bytes.
        """
        header, self._outgoing = tpdu[:HEADER_LENGTH], tpdu[HEADER_LENGTH:]
        if len(header) == _CASE_1:
            header += b"\x00"
            self._expected = 0
        else:
            if len(header) != HEADER_LENGTH or (self._outgoing and len(self._outgoing) != header[-1]):
                raise TpduError("the length does not fit P3")
            self._expected = 0 if self._outgoing else header[-1] or MAX_TRANSFER
        self._ins = header[1]
        self._wanted, self._sw1, self.extensions = 0, None, 0
        self._response.clear()
        return Transmit(header, self._wwt_ns)

    def receive(self, data: bytes) -> ReaderEvent | None:
        """Take characters from the card; None = it goes on, and the waiting time begins anew."""
        for at, byte in enumerate(data):
            if self._wanted:
                # All that is there of a long answer at once.
                part = data[at : at + self._wanted]
                self._response += part
                self._wanted -= len(part)
                self._expected -= len(part)
                return self.receive(data[at + len(part) :])
            event = self._take(byte)
            if event is not None:
                return event if at + 1 == len(data) else Broken(Failure.PROTOCOL)
        return None

    def _take(self, byte: int) -> ReaderEvent | None:
        if self._sw1 is not None:
            return Completed(bytes(self._response) + bytes((self._sw1, byte)))
        if byte == NULL:
            self.extensions += 1
        elif is_status(byte):
            self._sw1 = byte
        elif byte in {self._ins, complement(self._ins)}:
            return self._transfer(single=byte != self._ins)
        else:
            return Broken(Failure.PROTOCOL)
        return None

    def _transfer(self, *, single: bool) -> ReaderEvent | None:
        """ACK: all that is left, or one byte of it."""
        if self._outgoing:
            count = 1 if single else len(self._outgoing)
            part, self._outgoing = self._outgoing[:count], self._outgoing[count:]
            return Transmit(part, self._wwt_ns)
        if not self._expected:
            return Broken(Failure.PROTOCOL)
        self._wanted = 1 if single else self._expected
        return None

    def time_out(self) -> Broken:
        """No character came within the waiting time."""
        return Broken(Failure.MUTE)
