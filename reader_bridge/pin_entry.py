"""PIN entry at a reader: a PIN typed on its keypad goes into a command, past the host.

The host sends where and how the PIN goes into the command; the reader puts the digits in and sends it.

Source: USB Device Class: Smart Card CCID, revision 1.1, clauses 6.1.11.7 (verification) and 6.1.11.8 (modification);
PC/SC part 10, clauses 2.5.2 and 2.5.3 (the structures that programs send).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final, Protocol, Self

from card_os.transport.checks import lrc

PIN_CANCELLED: Final = 0xEF
PIN_TIMEOUT: Final = 0xF0
_BAD_LENGTH: Final = 0x01
_APDU_HEADER: Final = 4
_DATA_AT: Final = 5
_BITS: Final = 8
_NIBBLE: Final = 0x0F
_BYTES_UNIT: Final = 0x80
_LENGTH_BYTES_UNIT: Final = 0x10
_RIGHT: Final = 0x04
_CONFIRM: Final = 0x01
_CURRENT: Final = 0x02
_THREE_MESSAGES: Final = 3
_PROLOGUE: Final = 3
_VERIFY_FIXED: Final = 11
_MODIFY_FIXED: Final = 14
_FEATURE_LENGTH: Final = 4
_OK_KEY: Final = 0x02
_LANGUAGE: Final = b"\x09\x04"
"""English (United States), which every reader has."""


class PinFormat(IntEnum):
    """How digits become bytes, the two low bits of bmFormatString."""

    BINARY = 0
    BCD = 1
    ASCII = 2


class Prompt(Enum):
    """What the reader asks for."""

    PIN = "PIN"
    CURRENT = "current PIN"
    NEW = "new PIN"
    CONFIRMATION = "new PIN again"


class Keypad(Protocol):
    """Where somebody types."""

    def digits(self, prompt: Prompt, minimum: int, maximum: int, seconds: int) -> str | None:
        """Digits, at least ``minimum`` and at most ``maximum`` of them; None = cancelled.

        Raises:
            TimeoutError: nobody typed for so many seconds.
        """
        ...


class PinEntryError(Exception):
    """There is no PIN for the command.

    Args:
        ccid_error: bError as a CCID reader gives it: EF cancelled, F0 time-out, else the field that is wrong.
    """

    def __init__(self, ccid_error: int) -> None:
        super().__init__(f"PIN entry ended with {ccid_error:02X}")
        self.ccid_error = ccid_error


@dataclass(frozen=True, slots=True)
class PinOperation:
    """A verification or modification as the host describes it.

    Attributes:
        seconds: how long the reader waits for a key.
        format_string: bmFormatString: unit and place of the PIN, justification, format.
        block_string: bmPINBlockString: bits of the length field, bytes of the PIN block.
        length_format: bmPINLengthFormat: unit and place of the length field.
        minimum: least number of digits.
        maximum: greatest number of digits.
        prologue: NAD, PCB and LEN of the T=1 block that carries the command.
        command: the command APDU with room for the PIN.
        modify: a PIN is changed.
        old_at: place of the current PIN, in bytes.
        new_at: place of the new PIN, in bytes.
        confirm: bConfirmPIN: the new PIN is typed twice, the current one is typed.
    """

    seconds: int
    format_string: int
    block_string: int
    length_format: int
    minimum: int
    maximum: int
    prologue: bytes
    command: bytes = field(repr=False)
    modify: bool = False
    old_at: int = 0
    new_at: int = 0
    confirm: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read abPINDataStructure of PC_to_RDR_Secure: bPINOperation (00 or 01) and what follows.

        Raises:
            PinEntryError: cut short, or another operation.
        """
        if len(raw) < 1 or raw[0] > 1:
            raise PinEntryError(_BAD_LENGTH)
        return cls._modification(raw[1:]) if raw[0] else cls._verification(raw[1:])

    @classmethod
    def from_feature(cls, raw: bytes, *, modify: bool) -> Self:
        """Read PIN_VERIFY_STRUCTURE or PIN_MODIFY_STRUCTURE: with a second time-out, and a length before the command.

        Raises:
            PinEntryError: cut short.
        """
        fixed = (_MODIFY_FIXED + 2 if modify else _VERIFY_FIXED) + 1 + _PROLOGUE
        if len(raw) < fixed + _FEATURE_LENGTH + _APDU_HEADER:
            raise PinEntryError(_BAD_LENGTH)
        length = int.from_bytes(raw[fixed : fixed + _FEATURE_LENGTH], "little")
        command = raw[fixed + _FEATURE_LENGTH :]
        if length != len(command):
            raise PinEntryError(_BAD_LENGTH)
        head = raw[:1] + raw[2:fixed]
        if not modify:
            return cls._verification(head + command)
        return cls._modification(head + command, messages=_THREE_MESSAGES)

    @classmethod
    def _verification(cls, raw: bytes) -> Self:
        if len(raw) < _VERIFY_FIXED + _PROLOGUE + _APDU_HEADER:
            raise PinEntryError(_BAD_LENGTH)
        seconds, form, block, length, maximum, minimum = raw[:6]
        end = _VERIFY_FIXED + _PROLOGUE
        return cls(seconds, form, block, length, minimum, maximum, raw[_VERIFY_FIXED:end], raw[end:])

    @classmethod
    def _modification(cls, raw: bytes, messages: int | None = None) -> Self:
        if len(raw) < _MODIFY_FIXED + _PROLOGUE + _APDU_HEADER:
            raise PinEntryError(_BAD_LENGTH)
        seconds, form, block, length, old_at, new_at, maximum, minimum, confirm, _, count = raw[:11]
        shown = count if messages is None else messages
        # The second and third message index are there only when there are so many messages (6.1.11.8).
        start = _MODIFY_FIXED + (shown > 0) + (shown == _THREE_MESSAGES)
        end = start + _PROLOGUE
        if len(raw) < end + _APDU_HEADER:
            raise PinEntryError(_BAD_LENGTH)
        return cls(
            seconds,
            form,
            block,
            length,
            minimum,
            maximum,
            raw[start:end],
            raw[end:],
            modify=True,
            old_at=old_at,
            new_at=new_at,
            confirm=confirm,
        )

    def fill(self, keypad: Keypad) -> bytes:
        """The command with what was typed.

        Raises:
            PinEntryError: cancelled, timed out, or the PIN does not fit.
        """
        if not self.modify:
            return self._insert(self.command, self._ask(keypad, Prompt.PIN), 0)
        command = self.command
        if self.confirm & _CURRENT:
            command = self._insert(command, self._ask(keypad, Prompt.CURRENT), self.old_at)
        new = self._ask(keypad, Prompt.NEW)
        if self.confirm & _CONFIRM and self._ask(keypad, Prompt.CONFIRMATION) != new:
            raise PinEntryError(PIN_CANCELLED)
        return self._insert(command, new, self.new_at)

    def block(self, keypad: Keypad, *, block_protocol: bool) -> bytes:
        """What goes to the card at TPDU level: the command, in a block of T=1 when that is the protocol."""
        command = self.fill(keypad)
        if not block_protocol:
            return command
        raw = self.prologue[:-1] + bytes((len(command),)) + command
        return raw + lrc(raw)

    def _ask(self, keypad: Keypad, prompt: Prompt) -> str:
        try:
            digits = keypad.digits(prompt, self.minimum, self.maximum, self.seconds)
        except TimeoutError as error:
            raise PinEntryError(PIN_TIMEOUT) from error
        if digits is None or not digits.isascii() or not digits.isdigit():
            raise PinEntryError(PIN_CANCELLED)
        if not self.minimum <= len(digits) <= self.maximum:
            raise PinEntryError(PIN_CANCELLED)
        return digits

    def _insert(self, command: bytes, digits: str, offset: int) -> bytes:
        """Put a PIN into the data field; a command without data gets the PIN as its data."""
        form, size = self.format_string & 0x03, self.block_string & _NIBBLE
        coded = _code(digits, form)
        if not size:
            data = command[_DATA_AT:] + coded
            return command[:_APDU_HEADER] + bytes((len(data),)) + data
        field_bits = bytearray(command[_DATA_AT:])
        if len(coded) > size:
            raise PinEntryError(PIN_CANCELLED)
        place = (self.format_string >> 3 & _NIBBLE) * (_BITS if self.format_string & _BYTES_UNIT else 1)
        digit_bits = len(digits) * 4 if form == PinFormat.BCD else len(coded) * _BITS
        at = offset * _BITS + place
        if self.format_string & _RIGHT:
            at += size * _BITS - digit_bits
        value = int.from_bytes(coded, "big") >> len(coded) * _BITS - digit_bits
        _set_bits(field_bits, at, digit_bits, value)
        length_bits = self.block_string >> 4
        if length_bits:
            unit = _BITS if self.length_format & _LENGTH_BYTES_UNIT else 1
            _set_bits(field_bits, offset * _BITS + (self.length_format & _NIBBLE) * unit, length_bits, len(digits))
        return command[:_DATA_AT] + bytes(field_bits)


def verification(command: bytes, seconds: int) -> bytes:
    """PIN_VERIFY_STRUCTURE for a VERIFY with a PIN block of format 2, 4 to 12 digits.

    Layout: both time-outs (1, 1) ‖ bmFormatString (bytes, place 1, left, BCD) ‖ bmPINBlockString (4 bits of length, 7
    bytes) ‖ bmPINLengthFormat (bits, place 4) ‖ most and least digits ‖ bEntryValidationCondition (the OK key) ‖ one
    message ‖ wLangId (2) ‖ bMsgIndex ‖ bTeoPrologue (3) ‖ ulDataLength (4, little-endian) ‖ the command.

    Args:
        command: the command with a block of 8 bytes, as it is without digits: 20 FF … FF.
        seconds: how long the reader waits for a key, 1 to 255.

    Source: PC/SC part 10, clause 2.5.2; ISO 9564-1:2017, clause 9.3.3.
    """
    form = bytes((seconds, seconds, 0x89, 0x47, 0x04, 12, 4, _OK_KEY, 1)) + _LANGUAGE + bytes(1 + _PROLOGUE)
    return form + len(command).to_bytes(_FEATURE_LENGTH, "little") + command


def _code(digits: str, form: int) -> bytes:
    match form:
        case PinFormat.BCD:
            return bytes.fromhex(digits + ("F" if len(digits) % 2 else ""))
        case PinFormat.ASCII:
            return digits.encode("ascii")
        case PinFormat.BINARY:
            return bytes(int(digit) for digit in digits)
        case _:
            raise PinEntryError(_BAD_LENGTH)


def _set_bits(data: bytearray, at: int, count: int, value: int) -> None:
    """Write ``count`` bits at bit ``at``, most significant bit first.

    Raises:
        PinEntryError: they do not fit into the data field or their width.
    """
    total = len(data) * _BITS
    shift = total - at - count
    if shift < 0 or value >> count:
        raise PinEntryError(PIN_CANCELLED)
    whole = int.from_bytes(data, "big")
    mask = (1 << count) - 1 << shift
    data[:] = (whole & ~mask | value << shift).to_bytes(len(data), "big")
