"""The host's end of a PN532 on a serial port: a `CardConnection` to the contactless card in its field.

Source: NXP UM0701-02, PN532 User Manual, clauses 6.2.1 (frames), 7.2.11 (waking up on HSU), 7.3 (commands).
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import Final

from card_os.transport.tcl_blocks import ContactlessType
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.pn532_frames import (
    ACK,
    HOST_TO_MODULE,
    MAX_DATA,
    MODULE_TO_HOST,
    MORE,
    NACK,
    STATUS_CODE,
    WAKE_UP,
    Baud,
    Command,
    Event,
    FrameReader,
    RfItem,
    Status,
    frame,
)
from reader_bridge.serial_ports.connection import SerialConnection
from reader_bridge.serial_ports.port import SerialPort

_RATE: Final = 115_200
_NORMAL_MODE: Final = bytes((0x01, 0x14, 0x00))
"""SAMConfiguration: no SAM at the module, its time-out, no interrupt line."""
_ACK_SECONDS: Final = 2.0
_SETTLE_SECONDS: Final = 0.01
_COMMAND_SECONDS: Final = 30.0
_MAX_ATTEMPTS: Final = 3
_MAX_RETRIES: Final = bytes((0xFF, 0x01, 0x02))
"""ATR_REQ, PSL_REQ, and three looks for a card; the default looks until there is one."""
_ONE: Final = 1
_ALL_FAMILIES: Final = b"\x00"
_TYPE_A_FIXED: Final = 5
_ATQB_LENGTH: Final = 12
_MAX_RESPONSE: Final = 65_538
_MUTE: Final = frozenset({Status.TIME_OUT, Status.CARD_DISAPPEARED, Status.RELEASED, Status.WRONG_CONTEXT})


class Pn532Connection(SerialConnection):
    """A `CardConnection` to the card in the field of a PN532; the answer of a type B card is its ATQB.

    Args:
        place: the serial port.
        kinds: types that are looked for, in their order.
        command_seconds: how long a command may take. The module has no word for "wait".

    Attributes:
        uid: UID of a type A card, PUPI of a type B card; empty before `power_on`.
        firmware: IC, version, revision and support, 4 bytes.
    """

    def __init__(
        self,
        place: str,
        *,
        kinds: tuple[ContactlessType, ...] = (ContactlessType.A, ContactlessType.B),
        command_seconds: float = _COMMAND_SECONDS,
    ) -> None:
        super().__init__(
            place, ConnectionDescription(f"serial,pn532:{place}", Interface.CONTACTLESS, Protocol7816.TCL, b"")
        )
        self._kinds = kinds
        self._seconds = command_seconds
        self._frames = FrameReader(MODULE_TO_HOST)
        self._target = 0
        self.uid = b""
        self.firmware = b""

    def _forget(self) -> None:
        self._target = 0

    def power_on(self) -> bytes:
        """Wake the module, switch the field on, activate a card; returns ATS or ATQB.

        Raises:
            ReaderError: no port, no module behind it, or no card that speaks ISO/IEC 14443-4.
        """
        return self._description.answer if self._target else self._activate()

    def reset(self) -> bytes:
        """Take the field away and activate again; returns ATS or ATQB."""
        if self._port is not None:
            self._leave()
        return self._activate()

    def _activate(self) -> bytes:
        if self._port is None:
            self._open()
        for kind in self._kinds:
            answer = self._look_for(kind)
            if answer:
                self._description = replace(self._description, answer=answer)
                return answer
        raise ReaderError("no-card", reader=self._place)

    def _open(self) -> None:
        self._port = SerialPort(self._place, _RATE)
        with self._identifying():
            self._port.write(WAKE_UP)
            time.sleep(_SETTLE_SECONDS)
            self._command(Command.SAM_CONFIGURATION, _NORMAL_MODE, _ACK_SECONDS)
            self.firmware = self._command(Command.GET_FIRMWARE_VERSION, b"", _ACK_SECONDS)
            self._command(Command.RF_CONFIGURATION, bytes((RfItem.MAX_RETRIES,)) + _MAX_RETRIES)

    def _look_for(self, kind: ContactlessType) -> bytes:
        """Activate a card of one type; its answer, or nothing."""
        if kind is ContactlessType.A:
            found = self._command(Command.IN_LIST_PASSIVE_TARGET, bytes((_ONE, Baud.TYPE_A)))
        else:
            found = self._command(Command.IN_LIST_PASSIVE_TARGET, bytes((_ONE, Baud.TYPE_B)) + _ALL_FAMILIES)
        if len(found) < 2 or not found[0]:  # noqa: PLR2004 - number of targets, and the first target's
            return b""
        target, data = found[1], found[2:]
        if kind is ContactlessType.B:
            answer, uid = data[:_ATQB_LENGTH], data[1:_TYPE_A_FIXED]
        else:
            uid_end = _TYPE_A_FIXED - 1 + (data[3] if len(data) > 3 else 0)  # noqa: PLR2004 - behind ATQA and SAK
            answer, uid = data[uid_end:], data[_TYPE_A_FIXED - 1 : uid_end]
        if not answer:  # a card without the block protocol has no ATS
            return b""
        self._target, self.uid = target, uid
        return answer

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word.

        Raises:
            ReaderError: not powered, card or module gone, or no whole answer within the time.
        """
        if not self._target:
            raise self._mute("not powered")
        if not command:  # without data the module asks the card to go on with a response
            raise ReaderError("transmission-failed", reader=self._place, reason="an empty command is not carried")
        parts = [command[at : at + MAX_DATA] for at in range(0, len(command), MAX_DATA)]
        for part in parts[:-1]:
            self._exchange(self._target | MORE, part)
        status, data = self._exchange(self._target, parts[-1])
        response = bytearray(data)
        while status & MORE:
            status, data = self._exchange(self._target, b"")
            response += data
            if not data or len(response) > _MAX_RESPONSE:
                raise ReaderError("response-too-long", reader=self._place)
        return self._whole(bytes(response))

    def communicate_through(self, data: bytes) -> bytes:
        """Send a frame to the card past the module's block protocol; returns the card's frame, both without CRC.

        Raises:
            ReaderError: the card does not answer.
        """
        answer = self._command(Command.IN_COMMUNICATE_THRU, data)
        self._judge(answer[0] if answer else Status.DATA_FORMAT)
        return answer[1:]

    def _exchange(self, target: int, data: bytes) -> tuple[int, bytes]:
        answer = self._command(Command.IN_DATA_EXCHANGE, bytes((target,)) + data)
        if not answer:
            raise ReaderError("transmission-failed", reader=self._place, reason="an answer without status")
        self._judge(answer[0])
        return answer[0], answer[1:]

    def _judge(self, status: int) -> None:
        code = status & STATUS_CODE
        if code == Status.OK:
            return
        if code in _MUTE:
            self._target = 0
            raise ReaderError("card-removed", reader=self._place)
        raise ReaderError("transmission-failed", reader=self._place, reason=f"PN532 error {code:02X}")

    def _command(self, command: Command, parameters: bytes = b"", seconds: float | None = None) -> bytes:
        """Send a command and wait for its answer; a port that fails is closed, and opened by the next `power_on`.

        Raises:
            ReaderError: "time-out", "reader-removed", or "transmission-failed".
        """
        try:
            return self._converse(command, parameters, self._seconds if seconds is None else seconds)
        except ReaderError as error:
            if error.code in {"time-out", "reader-removed"}:
                self.close()
            raise

    def _converse(self, command: Command, parameters: bytes, seconds: float) -> bytes:
        """Send a command, see it acknowledged, and wait."""
        port = self._port
        if port is None:
            raise self._mute("not powered")
        self._frames.clear()
        port.discard_input()
        raw = frame(bytes((command,)) + parameters, HOST_TO_MODULE)
        port.write(raw)
        acknowledged, attempts = False, 1
        deadline = time.monotonic() + _ACK_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            found = self._frames.next()
            if found is None:
                self._frames.feed(port.read(left))
            elif found is Event.ACK:
                acknowledged = True
                deadline = time.monotonic() + seconds
            elif isinstance(found, bytes):
                if acknowledged and found[:1] == bytes((command + 1,)):
                    return found[1:]
            elif found is Event.ERROR:
                raise ReaderError("transmission-failed", reader=self._place, reason="PN532 syntax error")
            elif attempts < _MAX_ATTEMPTS:
                attempts += 1
                port.write(raw if found is Event.NACK else NACK)
        port.write(ACK)  # the module gives up what it does
        raise ReaderError("time-out", reader=self._place)

    def _leave(self) -> None:
        """Deselect the card and take the field away."""
        target, self._target = self._target, 0
        self.uid = b""
        with contextlib.suppress(ReaderError):
            if target:
                self._command(Command.IN_RELEASE, bytes((target,)))
            self._command(Command.RF_CONFIGURATION, bytes((RfItem.FIELD, 0)))

    def power_off(self) -> None:
        """Take the field away; safe to call twice."""
        if self._port is not None:
            self._leave()
