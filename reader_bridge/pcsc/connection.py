"""A `CardConnection` to the card in a PC/SC reader."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from card_os.iso7816.atr import AnswerError, Atr
from reader_bridge.connection import ConnectionDescription, Interface, PoweredWhileUsed, Protocol7816, ReaderError
from reader_bridge.contactless_atr import interface_of
from reader_bridge.pcsc import binding
from reader_bridge.pcsc.direct import HandleControl
from reader_bridge.pcsc.features import Feature, Property
from reader_bridge.t0_host import T0Host

VIRTUAL_READER_NAME: Final = "Virtual PCD"
_LIST_FEATURES: Final = bytes.fromhex("FFC2010000")
"""Features by pseudo-APDU: PC/SC part 10, clause 2.2.1."""
_VERIFY_AT_READER: Final = bytes.fromhex("FFC20106")
_OK: Final = b"\x90\x00"
_SHORT_COMMAND: Final = 255
_SHORT_RESPONSE: Final = 256
_EXTENDED_COMMAND: Final = 65_535
_EXTENDED_RESPONSE: Final = 65_536
_VIRTUAL_MESSAGE: Final = 65_535
"""Bytes of a whole command or response in vpcd's length field of two bytes."""
_VIRTUAL_COMMAND: Final = _VIRTUAL_MESSAGE - 9
"""Without header, extended Lc and Le."""
_LONGEST: Final = 65_544
"""Bytes of an extended command, whole."""
_MIN_RESPONSE: Final = 2


class PcscConnection(PoweredWhileUsed):
    """A `CardConnection` to the card in a PC/SC reader.

    Args:
        reader: full name of the reader, or a part that only one reader has.
        exclusive: nobody else may speak to the card meanwhile.
        protocol: T=0 or T=1; None takes what the card and the service agree on.
    """

    def __init__(self, reader: str, *, exclusive: bool = False, protocol: Protocol7816 | None = None) -> None:
        self._scard = scard = binding.load()
        self._wanted = reader
        self._share = scard.SCARD_SHARE_EXCLUSIVE if exclusive else scard.SCARD_SHARE_SHARED
        both = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        self._protocols = {
            Protocol7816.T0: scard.SCARD_PROTOCOL_T0,
            Protocol7816.T1: scard.SCARD_PROTOCOL_T1,
        }.get(protocol or Protocol7816.TCL, both)
        self._context: int | None = None
        self._handle: int | None = None
        self._send_header: object = None
        self._mapping: T0Host | None = None
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
        context = self._context if self._context is not None else binding.establish(scard)
        self._context = context
        try:
            name = binding.find_name(binding.reader_names(scard, context, self._wanted), self._wanted)
            code, handle, protocol = scard.SCardConnect(context, name, self._share, self._protocols)
            binding.check(scard, code, name)
        except ReaderError as error:
            self._forget_service(error)
            raise
        self._handle = handle
        return self._connected(name, protocol)

    def _forget_service(self, error: ReaderError) -> None:
        """A service that ended leaves a context that is good for nothing; the next attempt finds the new one."""
        if error.code in {"no-service", "reader-removed", binding.OTHERWISE}:
            self._handle = None
            context, self._context = self._context, None
            if context is not None:
                self._scard.SCardReleaseContext(context)

    def _connected(self, name: str, protocol: int) -> bytes:
        """Take over what the service says of the card; a connection of which it says nothing is given back."""
        scard = self._scard
        byte_oriented = protocol == scard.SCARD_PROTOCOL_T0
        try:
            code, _, _, _, raw = scard.SCardStatus(self._handle)
            binding.check(scard, code, name)
            if byte_oriented:
                self._require_tpdus(name, bytes(raw))
        except ReaderError as error:
            self._disconnect()
            self._forget_service(error)
            raise
        atr = bytes(raw)
        interface = interface_of(atr)
        self._send_header = scard.SCARD_PCI_T0 if byte_oriented else scard.SCARD_PCI_T1
        if interface is Interface.CONTACTLESS:
            kind = Protocol7816.TCL
        else:
            kind = Protocol7816.T0 if byte_oriented else Protocol7816.T1
        self._mapping = T0Host(self._send, name) if byte_oriented else None
        # By T=0 a long command can go in ENVELOPE commands, but more cards take a chain of short ones.
        extended = not byte_oriented and self._carries_extended(name)
        longest = _VIRTUAL_COMMAND if name.startswith(VIRTUAL_READER_NAME) else _EXTENDED_COMMAND
        self._description = ConnectionDescription(
            name,
            interface,
            kind,
            atr,
            longest if extended else _SHORT_COMMAND,
            _EXTENDED_RESPONSE if extended else _SHORT_RESPONSE,
            simulated=name.startswith(VIRTUAL_READER_NAME),
        )
        return atr

    @staticmethod
    def _require_tpdus(name: str, atr: bytes) -> None:
        """A virtual reader is not told which protocol a host has chosen; it passes TPDUs when its ATR has T=0 alone.

        Raises:
            ReaderError: "t0-not-shown".
        """
        if not name.startswith(VIRTUAL_READER_NAME):
            return
        try:
            offered = Atr.parse(atr).protocols
        except AnswerError:
            return
        if offered != (0,):
            raise ReaderError("t0-not-shown", reader=name)

    def _carries_extended(self, name: str) -> bool:
        """What the reader says of its longest APDU; readers that say nothing get short ones.

        Source: PC/SC part 10, clause 2.6.14 (dwMaxAPDUDataSize).
        """
        if name.startswith(VIRTUAL_READER_NAME):
            return True
        limit = self.reader.properties().get(Property.MAX_APDU_DATA_SIZE, b"")
        return int.from_bytes(limit, "little") > _EXTENDED_COMMAND

    @property
    def reader(self) -> HandleControl:
        """The reader itself: control codes, features, commands of its own.

        Raises:
            ReaderError: "mute", not powered.
        """
        if self._handle is None:
            raise self._not_powered()
        return HandleControl(self._scard, self._handle, self._description.name)

    def _not_powered(self) -> ReaderError:
        return ReaderError("mute", reader=self._wanted, reason="not powered")

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word.

        Raises:
            ReaderError: not powered, card or reader gone, or no whole answer.
        """
        if self._handle is None:
            raise self._not_powered()
        # The library takes no empty command; vpcd takes one byte for a request of its own and awaits an answer for
        # ever, and breaks off at what its length field cannot say.
        longest = _VIRTUAL_MESSAGE if self._description.simulated else _LONGEST
        if not (1 if self._description.simulated else 0) < len(command) <= longest:
            reason = f"a command of {len(command)} bytes is not carried"
            raise ReaderError("transmission-failed", reader=self._description.name, reason=reason)
        return self._send(command) if self._mapping is None else self._mapping.transmit(command)

    def _send(self, command: bytes) -> bytes:
        """What goes through the service: an APDU, or a TPDU of T=0."""
        scard = self._scard
        code, response = scard.SCardTransmit(self._handle, self._send_header, list(command))
        if code != scard.SCARD_S_SUCCESS:
            self._check_exchange(code)
        if len(response) < _MIN_RESPONSE:  # what pcscd gives when a virtual card goes away in the middle
            raise ReaderError("card-removed", reader=self._description.name)
        return bytes(response)

    def _check_exchange(self, code: int) -> None:
        try:
            binding.check(self._scard, code, self._description.name)
        except ReaderError as error:
            self._forget_service(error)
            raise

    def verify_pin(self, structure: bytes) -> bytes:
        """Let the holder type the PIN at the reader; returns the card's status word.

        Args:
            structure: PIN_VERIFY_STRUCTURE with the command (PC/SC part 10, 2.5.2).

        Raises:
            ReaderError: "not-supported", the reader has no keypad.
        """
        if self._handle is not None and self._has_pad_by_command():
            return self.transmit(_VERIFY_AT_READER + bytes((len(structure),)) + structure)
        return self.reader.use(Feature.VERIFY_PIN_DIRECT, structure)

    def has_pin_pad(self) -> bool:
        """True when a PIN can be typed at the reader (a feature, or for a virtual reader a command of class FF)."""
        if self._handle is None:
            return False
        return Feature.VERIFY_PIN_DIRECT in self.reader.features() or self._has_pad_by_command()

    def _has_pad_by_command(self) -> bool:
        """A card in a reader that does not know class FF would get the command, so that only our own are asked."""
        if not self._description.simulated:
            return False
        answer = self.transmit(_LIST_FEATURES)
        return answer[-2:] == _OK and Feature.VERIFY_PIN_DIRECT in answer[:-2]

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Keep other programs from the card for as long as the block runs.

        Raises:
            ReaderError: not powered, or the card was reset or taken out.
        """
        if self._handle is None:
            raise self._not_powered()
        scard, handle = self._scard, self._handle
        self._check_exchange(scard.SCardBeginTransaction(handle))
        try:
            yield
        finally:
            scard.SCardEndTransaction(handle, scard.SCARD_LEAVE_CARD)

    def reset(self) -> bytes:
        """Reset the card (warm), or power it when it is off; returns the ATR."""
        return self._reconnect(self._scard.SCARD_RESET_CARD)

    def cold_reset(self) -> bytes:
        """Take power away and give it again; returns the ATR."""
        return self._reconnect(self._scard.SCARD_UNPOWER_CARD)

    def reconnect(self) -> bytes:
        """Go on with the card after another program reset it ("card-reset"); returns the ATR."""
        return self._reconnect(self._scard.SCARD_LEAVE_CARD)

    def _reconnect(self, initialization: int) -> bytes:
        if self._handle is None:
            return self.power_on()
        scard, name = self._scard, self._description.name
        code, protocol = scard.SCardReconnect(self._handle, self._share, self._protocols, initialization)
        try:
            binding.check(scard, code, name)
        except ReaderError as error:
            self._disconnect()
            self._forget_service(error)
            raise
        return self._connected(name, protocol)

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
