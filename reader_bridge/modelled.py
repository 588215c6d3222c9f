"""A card behind a reader model: what the reader cannot carry does not pass, and class FF is the reader's.

Source: ISO/IEC 7816-3:2006, clause 5.4.1 of 7816-4 (CLA FF is invalid, so that readers use it); PC/SC part 3, clause
3.2.2.1 (GET DATA and storage card commands); PC/SC part 10, clause 2.5 and its supplement (PIN entry by pseudo-APDU).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.atr import AnswerError, Ats
from card_os.iso7816.errors import WrongLength
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, ReaderError
from reader_bridge.identity import uid_of
from reader_bridge.pcsc.features import Feature
from reader_bridge.pin_entry import PIN_TIMEOUT, Keypad, PinEntryError, PinOperation
from reader_bridge.reader_models import ReaderModel
from reader_bridge.stack import Wrapper

READER_CLASS: Final = 0xFF
_GET_DATA: Final = 0xCA
_FEATURES: Final = 0xC2
_STORAGE_CARDS: Final = frozenset({0x82, 0x86, 0x88, 0xB0, 0xB1, 0xD6, 0xD7, 0xF0, 0xF3})
"""Load keys, general authenticate, read and update of cards without ISO/IEC 14443-4."""
_UID, _HISTORICAL = 0x00, 0x01
_BY_FEATURE: Final = 0x01
_LIST: Final = 0x00
_OK: Final = b"\x90\x00"
_END_OF_DATA: Final = b"\x62\x82"
_TIMED_OUT: Final = b"\x64\x00"
_CANCELLED: Final = b"\x64\x01"
_WRONG_LENGTH: Final = b"\x67\x00"
_NO_FUNCTION: Final = b"\x6a\x81"
_WRONG_PARAMETERS: Final = b"\x6b\x00"
_NO_INSTRUCTION: Final = b"\x6d\x00"
_EXACT_LENGTH: Final = 0x6C
_STATUS: Final = 2
_WRONG_DATA: Final = b"\x6a\x80"


class ModelledConnection(Wrapper):
    """A connection through a reader model.

    A command that the reader cannot carry, and a response that is longer than it takes, is a `ReaderError`
    ("not-carried"), for the card has not said anything.

    Args:
        inner: the card.
        model: the reader.
        keypad: where a PIN is typed; without one the reader's PIN entry is cancelled.
    """

    __slots__ = ("_commands", "_keypad", "_limits", "_model")

    def __init__(self, inner: CardConnection, model: ReaderModel, keypad: Keypad | None = None) -> None:
        super().__init__(inner)
        self._model = model
        self._keypad = keypad
        self._commands = self._table()
        self._limits = self._find_limits()

    def _find_limits(self) -> tuple[int, int]:
        """Longest command and greatest number of response data bytes in the card's protocol; asked once a reset."""
        protocol = self.inner.description.protocol
        return self._model.max_command(protocol), self._model.max_response_data(protocol)

    @property
    def description(self) -> ConnectionDescription:
        """The connection inside, with the reader's limits."""
        inner, model = self.inner.description, self._model
        return replace(
            inner,
            max_command_data=min(inner.max_command_data, model.max_command_data(inner.protocol)),
            max_response_data=min(inner.max_response_data, model.max_response_data(inner.protocol)),
        )

    def power_on(self) -> bytes:
        """Power the card; returns ATR or ATS.

        Raises:
            ReaderError: "protocol-mismatch", the reader does not have the protocol.
        """
        answer = self.inner.power_on()
        self._check_protocol()
        return answer

    def reset(self) -> bytes:
        """Reset the card; returns ATR or ATS."""
        answer = self.inner.reset()
        self._check_protocol()
        return answer

    def _check_protocol(self) -> None:
        protocol = self.inner.description.protocol
        if not self._model.speaks(protocol):
            self.inner.power_off()
            raise ReaderError(
                "protocol-mismatch", reader=self._model.name, reason=f"the reader does not have {protocol.value}"
            )
        self._limits = self._find_limits()

    def transmit(self, command: bytes) -> bytes:
        """Carry a command, or answer it when it is the reader's."""
        if self._model.delay_ms:
            time.sleep(self._model.delay_ms / 1000)
        if command and command[0] == READER_CLASS:
            return self._answer(command)
        longest, most = self._limits
        if len(command) > longest:
            raise self._not_carried(f"a command of {len(command)} bytes")
        response = self.inner.transmit(command)
        if len(response) - _STATUS > most:
            raise self._not_carried(f"a response of {len(response)} bytes")
        return response

    def _not_carried(self, what: str) -> ReaderError:
        return ReaderError("not-carried", reader=self._model.name, what=what)

    def _table(self) -> Mapping[int, Callable[[CommandApdu], bytes]]:
        return {_GET_DATA: self._get_data, _FEATURES: self._feature}

    def _answer(self, command: bytes) -> bytes:
        try:
            apdu = CommandApdu.parse(command)
        except WrongLength:
            return _WRONG_LENGTH
        act = self._commands.get(apdu.ins)
        if act is not None:
            return act(apdu)
        return _NO_FUNCTION if apdu.ins in _STORAGE_CARDS else _NO_INSTRUCTION

    def _get_data(self, apdu: CommandApdu) -> bytes:
        """UID (P1 00) or historical bytes of the ATS (P1 01) of a contactless card; Le 00 takes all."""
        if self.inner.description.interface is not Interface.CONTACTLESS:
            return _NO_FUNCTION
        if apdu.p1 not in {_UID, _HISTORICAL} or apdu.p2:
            return _WRONG_PARAMETERS
        if apdu.data or not apdu.ne:
            return _WRONG_LENGTH
        data = uid_of(self.inner) if apdu.p1 == _UID else _historical(self.inner.description.answer)
        if not data:
            return _NO_FUNCTION
        if apdu.ne < len(data):
            return bytes((_EXACT_LENGTH, len(data)))
        whole = apdu.ne in {len(data), 256, 65_536}
        return data + (_OK if whole else _END_OF_DATA)

    def _feature(self, apdu: CommandApdu) -> bytes:
        """Features by pseudo-APDU: P1 01, P2 the feature, its structure as data; P2 00 lists them."""
        features = {
            Feature.VERIFY_PIN_DIRECT: self._model.verifies_pins,
            Feature.MODIFY_PIN_DIRECT: self._model.changes_pins,
        }
        if apdu.p1 != _BY_FEATURE:
            return _NO_FUNCTION
        if apdu.p2 == _LIST:
            return bytes(feature for feature, there in features.items() if there) + _OK
        wanted = {int(feature): feature for feature, there in features.items() if there}.get(apdu.p2)
        return (
            _NO_FUNCTION if wanted is None else self._enter_pin(apdu.data, modify=wanted is Feature.MODIFY_PIN_DIRECT)
        )

    def _enter_pin(self, structure: bytes, *, modify: bool) -> bytes:
        """The card's answer to the command with the PIN; nobody but the card sees it."""
        try:
            operation = PinOperation.from_feature(structure, modify=modify)
        except PinEntryError:
            return _WRONG_DATA
        if self._keypad is None:
            return _CANCELLED
        try:
            command = operation.fill(self._keypad)
        except PinEntryError as error:
            return _TIMED_OUT if error.ccid_error == PIN_TIMEOUT else _CANCELLED
        return self.inner.transmit(command)


def _historical(ats: bytes) -> bytes:
    try:
        return Ats.parse(ats).historical
    except AnswerError:
        return b""
