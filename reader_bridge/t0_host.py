"""Whole APDUs through a reader that carries TPDUs of T=0: what its host has to do.

Source: ISO/IEC 7816-3:2006, clause 12.2 (APDUs by T=0); PC/SC part 3, clause 4.2 (the same for hosts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from card_os.iso7816.errors import WrongLength
from card_os.transport.events import Completed, ReaderEvent, Transmit
from card_os.transport.t0_reader import T0Reader
from card_os.transport.t0_tables import EXACT_LENGTH
from card_os.transport.timing import ContactTiming
from reader_bridge.connection import ReaderError

_STATUS: Final = 2
_CASE_1: Final = 4


class T0Host:
    """Maps APDUs to TPDUs: GET RESPONSE after 61xx, the command again after 6Cxx, ENVELOPE for long ones.

    Args:
        exchange: sends one command TPDU and returns data and status.
        name: of the reader, for messages.
    """

    __slots__ = ("_exchange", "_machine", "_name")

    def __init__(self, exchange: Callable[[bytes], bytes], name: str) -> None:
        self._exchange = exchange
        self._name = name
        self._machine = T0Reader(ContactTiming())

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word.

        Raises:
            ReaderError: what the reader raises; "transmission-failed", T=0 does not have such a command, or the answer
                has another length than was asked for.
        """
        machine = self._machine
        try:
            event: ReaderEvent = machine.exchange(command)
        except (ValueError, WrongLength) as error:
            raise ReaderError("transmission-failed", reader=self._name, reason=str(error)) from error
        try:
            while isinstance(event, Transmit):
                event = self._carry(machine, event.data)
        except ReaderError:
            self._machine = T0Reader(ContactTiming())
            raise
        if isinstance(event, Completed):
            return event.response
        self._machine = T0Reader(ContactTiming())
        raise ReaderError("transmission-failed", reader=self._name, reason=event.failure.value)

    def _carry(self, machine: T0Reader, header: bytes) -> ReaderEvent:
        """One TPDU; the reader has followed the procedure bytes, so that the machine gets the only one it needs."""
        procedure = header[1:2]
        if machine.outgoing:
            tpdu = header + machine.outgoing
            machine.receive(procedure)
        else:
            tpdu = header if machine.expected else header[:_CASE_1]
        answer = self._exchange(tpdu)
        data, status = answer[:-_STATUS], answer[-_STATUS:]
        if data and len(data) < machine.expected:
            # A reader of APDU level did what 6Cxx asks for, and tells the outcome (USB CCID 1.1, 6.1.4).
            corrected = machine.receive(bytes((EXACT_LENGTH, len(data))))
            if not isinstance(corrected, Transmit):
                return machine.time_out()
        event = machine.receive(procedure + data + status if data else status)
        return machine.time_out() if event is None else event
