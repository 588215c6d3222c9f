"""Real and virtual readers through PC/SC; the only module that imports pyscard.

Source: PC/SC Workgroup, Interoperability Specification parts 3 (ATR of contactless cards), 5 (functions) and
10 (feature requests).
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Final, Self

from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.t0_host import T0Host

if TYPE_CHECKING:
    from collections.abc import Generator

VIRTUAL_READER_NAME: Final = "Virtual PCD"
_SHORT_COMMAND: Final = 255
_SHORT_RESPONSE: Final = 256
_EXTENDED_COMMAND: Final = 65_535
_EXTENDED_RESPONSE: Final = 65_536
_MIN_RESPONSE: Final = 2
_CONTACTLESS_ATR: Final = b"\x80\x01"
_FEATURE_REQUEST: Final = 3400
_WINDOWS_FEATURE_REQUEST: Final = 0x31_0000 | _FEATURE_REQUEST << 2
_PCSCLITE_FEATURE_REQUEST: Final = 0x4200_0000 + _FEATURE_REQUEST
_FEATURE_TLV_PROPERTIES: Final = 0x12
_FEATURE_ENTRY: Final = 6
_PROPERTY_MAX_APDU: Final = 0x0A

_CODES: Final = {
    "SCARD_E_NO_SERVICE": "no-service",
    "SCARD_E_SERVICE_STOPPED": "no-service",
    "SCARD_E_NO_READERS_AVAILABLE": "no-reader",
    "SCARD_E_UNKNOWN_READER": "no-reader",
    "SCARD_E_READER_UNAVAILABLE": "reader-removed",
    "SCARD_E_INVALID_HANDLE": "reader-removed",
    "SCARD_E_NO_SMARTCARD": "no-card",
    "SCARD_W_REMOVED_CARD": "card-removed",
    "SCARD_W_RESET_CARD": "card-reset",
    "SCARD_W_UNPOWERED_CARD": "mute",
    "SCARD_W_UNRESPONSIVE_CARD": "mute",
    "SCARD_W_UNSUPPORTED_CARD": "mute",
    "SCARD_E_SHARING_VIOLATION": "reader-in-use",
    "SCARD_E_PROTO_MISMATCH": "protocol-mismatch",
    "SCARD_E_TIMEOUT": "time-out",
    "SCARD_E_NOT_TRANSACTED": "transmission-failed",
    "SCARD_F_COMM_ERROR": "transmission-failed",
    "SCARD_E_INSUFFICIENT_BUFFER": "response-too-long",
    "SCARD_W_SECURITY_VIOLATION": "not-allowed",
    "SCARD_E_NO_ACCESS": "not-allowed",
}


@dataclass(frozen=True, slots=True)
class PcscReader:
    """A reader as PC/SC lists it.

    Attributes:
        name: its full name.
        answer: ATR of the card in it; None without a card.
        interface: guessed from the ATR; None without a card.
    """

    name: str
    answer: bytes | None
    interface: Interface | None


def interface_of(atr: bytes) -> Interface:
    """Guess the interface from an ATR: 3B 8n 80 01 is what readers make for ISO 14443 cards.

    Source: PC/SC part 3, clause 3.1.3.2.3.
    """
    contactless = len(atr) > len(_CONTACTLESS_ATR) + 1 and atr[0] == 0x3B and atr[1] >> 4 == 8  # noqa: PLR2004 - TS, Y1
    return Interface.CONTACTLESS if contactless and atr[2:4] == _CONTACTLESS_ATR else Interface.CONTACT


def list_pcsc_readers() -> list[PcscReader]:
    """The readers that the PC/SC service knows, with their cards.

    Raises:
        ReaderError: "no-service", no PC/SC service is running; "no-pcsc", no library for it.
    """
    scard = _scard()
    with _context(scard) as context:
        code, names = scard.SCardListReaders(context, [])
        if _code(scard, code) == "no-reader":
            return []
        _check(scard, code)
        found: list[PcscReader] = []
        for name in names:
            code, states = scard.SCardGetStatusChange(context, 0, [(name, scard.SCARD_STATE_UNAWARE)])
            present = code == scard.SCARD_S_SUCCESS and states[0][1] & scard.SCARD_STATE_PRESENT
            answer = bytes(states[0][2]) if present and states[0][2] else None
            found.append(PcscReader(name, answer, interface_of(answer) if answer else None))
        return found


class PcscConnection:
    """A `CardConnection` to the card in a PC/SC reader.

    Args:
        reader: full name of the reader, or a part that only one reader has.
        exclusive: nobody else may speak to the card meanwhile.
        protocol: T=0 or T=1; None takes what the card and the service agree on.
    """

    def __init__(self, reader: str, *, exclusive: bool = False, protocol: Protocol7816 | None = None) -> None:
        self._scard = _scard()
        self._protocols = _protocol_mask(self._scard, protocol)
        self._mapping: T0Host | None = None
        self._wanted = reader
        self._exclusive = exclusive
        self._context: int | None = None
        self._handle: int | None = None
        self._send_header: object = None
        self._description = ConnectionDescription(
            reader, Interface.CONTACT, Protocol7816.T1, b"", _SHORT_COMMAND, _SHORT_RESPONSE
        )

    @property
    def description(self) -> ConnectionDescription:
        """What this connection is; complete after `power_on`."""
        return self._description

    def power_on(self) -> bytes:
        """Connect to the card; returns the ATR.

        Raises:
            ReaderError: no service, no such reader, reader in use, no card, mute card.
        """
        if self._handle is not None:
            return self._description.answer
        scard = self._scard
        if self._context is None:
            code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
            _check(scard, code)
            self._context = context
        name = self._find_reader()
        share = scard.SCARD_SHARE_EXCLUSIVE if self._exclusive else scard.SCARD_SHARE_SHARED
        code, handle, protocol = scard.SCardConnect(self._context, name, share, self._protocols)
        _check(scard, code, name)
        self._handle = handle
        return self._connected(name, protocol)

    def _find_reader(self) -> str:
        code, names = self._scard.SCardListReaders(self._context, [])
        if _code(self._scard, code) == "no-reader":
            names = []
        else:
            _check(self._scard, code, self._wanted)
        if self._wanted in names:
            return self._wanted
        matching = [name for name in names if self._wanted and self._wanted in name]
        if len(matching) != 1:
            problem = "reader-ambiguous" if matching else "no-reader"
            raise ReaderError(problem, reader=self._wanted, known="; ".join(names))
        return str(matching[0])

    def _connected(self, name: str, protocol: int) -> bytes:
        scard = self._scard
        code, _, _, _, raw = scard.SCardStatus(self._handle)
        _check(scard, code, name)
        atr = bytes(raw)
        interface = interface_of(atr)
        byte_oriented = protocol == scard.SCARD_PROTOCOL_T0
        self._send_header = scard.SCARD_PCI_T0 if byte_oriented else scard.SCARD_PCI_T1
        if interface is Interface.CONTACTLESS:
            kind = Protocol7816.TCL
        else:
            kind = Protocol7816.T0 if byte_oriented else Protocol7816.T1
        self._mapping = T0Host(self._send, name) if byte_oriented else None
        # By T=0 a long command can go in ENVELOPE commands, but more cards take a chain of short ones.
        extended = not byte_oriented and self._carries_extended(name)
        self._description = ConnectionDescription(
            name,
            interface,
            kind,
            atr,
            _EXTENDED_COMMAND if extended else _SHORT_COMMAND,
            _EXTENDED_RESPONSE if extended else _SHORT_RESPONSE,
            simulated=name.startswith(VIRTUAL_READER_NAME),
        )
        return atr

    def _carries_extended(self, name: str) -> bool:
        """What the reader says of its longest APDU; readers that say nothing get short ones.

        Source: PC/SC part 10, clauses 2.2 and 2.6.14 (dwMaxAPDUDataSize).
        """
        if name.startswith(VIRTUAL_READER_NAME):
            return True
        request = _WINDOWS_FEATURE_REQUEST if sys.platform == "win32" else _PCSCLITE_FEATURE_REQUEST
        for tag, control in _features(self._control(request)):
            if tag == _FEATURE_TLV_PROPERTIES:
                limit = _property(self._control(control), _PROPERTY_MAX_APDU)
                return limit is not None and limit >= _EXTENDED_COMMAND + 1
        return False

    def _control(self, code: int) -> bytes:
        status, answer = self._scard.SCardControl(self._handle, code, [])
        return bytes(answer) if status == self._scard.SCARD_S_SUCCESS else b""

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word.

        Raises:
            ReaderError: not powered, card or reader gone, or no whole answer.
        """
        if self._handle is None:
            raise ReaderError("mute", reader=self._wanted, reason="not powered")
        return self._send(command) if self._mapping is None else self._mapping.transmit(command)

    def _send(self, command: bytes) -> bytes:
        """What goes through the service: an APDU, or a TPDU of T=0."""
        scard = self._scard
        code, response = scard.SCardTransmit(self._handle, self._send_header, list(command))
        if code != scard.SCARD_S_SUCCESS:
            _check(scard, code, self._description.name)
        if len(response) < _MIN_RESPONSE:  # what pcscd gives when a virtual card goes away in the middle
            raise ReaderError("card-removed", reader=self._description.name)
        return bytes(response)

    def reset(self) -> bytes:
        """Reset the card (warm), or power it when it is off; returns the ATR."""
        if self._handle is None:
            return self.power_on()
        scard = self._scard
        share = scard.SCARD_SHARE_EXCLUSIVE if self._exclusive else scard.SCARD_SHARE_SHARED
        code, protocol = scard.SCardReconnect(self._handle, share, self._protocols, scard.SCARD_RESET_CARD)
        if code != scard.SCARD_S_SUCCESS:
            name = self._description.name
            self._disconnect()
            _check(scard, code, name)
        return self._connected(self._description.name, protocol)

    def _disconnect(self) -> None:
        if self._handle is not None:
            self._scard.SCardDisconnect(self._handle, self._scard.SCARD_UNPOWER_CARD)
            self._handle = None

    def power_off(self) -> None:
        """Take power away; safe to call twice."""
        self._disconnect()

    def close(self) -> None:
        """Power off and release the service; safe to call twice."""
        self._disconnect()
        if self._context is not None:
            self._scard.SCardReleaseContext(self._context)
            self._context = None

    def __enter__(self) -> Self:
        try:
            self.power_on()
        except ReaderError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _scard() -> ModuleType:
    """The binding; a machine without it can still use simulated cards."""
    try:
        from smartcard import scard
    except ImportError as error:
        raise ReaderError("no-pcsc", reason=str(error)) from error
    binding: ModuleType = scard
    return binding


def _protocol_mask(scard: ModuleType, protocol: Protocol7816 | None) -> int:
    t0, t1 = int(scard.SCARD_PROTOCOL_T0), int(scard.SCARD_PROTOCOL_T1)
    return {Protocol7816.T0: t0, Protocol7816.T1: t1}.get(protocol, t0 | t1) if protocol else t0 | t1


@contextmanager
def _context(scard: ModuleType) -> Generator[int]:
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    _check(scard, code)
    try:
        yield context
    finally:
        scard.SCardReleaseContext(context)


def _code(scard: ModuleType, number: int) -> str | None:
    """Our code for a PC/SC result, None for success."""
    if number == scard.SCARD_S_SUCCESS:
        return None
    for name, code in _CODES.items():
        if vars(scard).get(name) == number:
            return code
    return "pcsc-failed"


def _check(scard: ModuleType, number: int, reader: str = "") -> None:
    code = _code(scard, number)
    if code is None:
        return
    raise ReaderError(code, reader=reader, reason=str(scard.SCardGetErrorMessage(number)).strip(" ."), known="-")


def _features(answer: bytes) -> list[tuple[int, int]]:
    """Tag 1 ‖ length 1 (04) ‖ control code 4, repeated."""
    rows = range(0, len(answer) - _FEATURE_ENTRY + 1, _FEATURE_ENTRY)
    return [(answer[at], int.from_bytes(answer[at + 2 : at + _FEATURE_ENTRY], "big")) for at in rows]


def _property(answer: bytes, wanted: int) -> int | None:
    """Value of a property: tag 1 ‖ length 1 ‖ value, little-endian, repeated."""
    at = 0
    while at + 2 <= len(answer):
        tag, length = answer[at], answer[at + 1]
        if tag == wanted:
            return int.from_bytes(answer[at + 2 : at + 2 + length], "little")
        at += 2 + length
    return None
