"""The holder with a PIN at a contact reader.

Source: ISO 9564-1:2017, clause 9.3.3 (PIN block format 2); ISO/IEC 7816-4:2020, clauses 11.6.6 to 11.6.9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Self

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.profile import CardProfile
from personalization.terminal.channel import CardChannel, CardRefused, PlainChannel, transmit
from personalization.terminal.files import CardFiles
from personalization.terminal.session import select
from reader_bridge.connection import CardConnection

_VERIFY: Final = 0x20
_CHANGE: Final = 0x24
_RESET_COUNTER: Final = 0x2C
_FORMAT_2: Final = 0x20
_MIN_DIGITS: Final = 4
_MAX_DIGITS: Final = 12
_BLOCK_DIGITS: Final = 14
_EMPTY_BLOCK: Final = bytes((_FORMAT_2,)) + b"\xff" * 7
_AT_READER: Final[Mapping[int, str]] = {0x6400: "pin-not-typed", 0x6401: "pin-entry-cancelled", 0x6403: "pin-format"}
"""What a reader answers instead of the card. Source: PC/SC part 10, clause 2.5.2."""

_TO_BE_CHANGED: Final = "pin-to-change"


class _Secret(NamedTuple):
    """What the holder types, by the codes of what can be the matter with it."""

    wrong: str
    blocked: str


_PIN: Final = _Secret("pin-wrong", "pin-blocked")
_UNBLOCKING_PIN: Final = _Secret("unblocking-pin-wrong", "unblocking-pin-blocked")


def pin_block(digits: str) -> bytes:
    """PIN block of format 2: 2 ‖ number of digits ‖ digits ‖ F …, 8 bytes.

    Raises:
        PersonalizationError: "pin-format": not 4 to 12 decimal digits.
    """
    if not (_MIN_DIGITS <= len(digits) <= _MAX_DIGITS and digits.isascii() and digits.isdigit()):
        raise PersonalizationError("pin-format", exit_code=2)
    return bytes((_FORMAT_2 | len(digits),)) + bytes.fromhex(digits.ljust(_BLOCK_DIGITS, "F"))


class HolderSession:
    """The permit selected in plain; `verify` makes it the holder's.

    Attributes:
        files: the permit's files.
    """

    __slots__ = ("_channel", "_profile", "files")

    def __init__(self, channel: CardChannel, profile: CardProfile) -> None:
        self._channel = channel
        self._profile = profile
        self.files = CardFiles(channel)

    @classmethod
    def open(cls, connection: CardConnection, profile: CardProfile) -> Self:
        """Select the permit.

        Raises:
            CardRefused: it is not on the card.
        """
        channel = PlainChannel(connection)
        select(channel, profile.application.instance)
        return cls(channel, profile)

    def verify(self, digits: str, name: str = "holder") -> None:
        """VERIFY a PIN; a wrong one costs a try.

        Raises:
            PersonalizationError: "pin-wrong" with the tries left, "pin-blocked" when none is left, "pin-format";
                "pin-to-change", it is right and has to be changed first.
            CardRefused: any other status.
        """
        command = CommandApdu(0x00, _VERIFY, 0, self._reference(name), pin_block(digits))
        _judge(self._channel.exchange(command), "VERIFY")

    def verify_typed(self, send: Callable[[bytes], bytes], name: str = "holder") -> None:
        """VERIFY a PIN that the holder types at the reader; this program does not see it.

        Args:
            send: lets the reader fill in the PIN block of a command and send it; returns the status word.
            name: which PIN.

        Raises:
            PersonalizationError: "pin-not-typed", "pin-entry-cancelled", and as `verify`.
            CardRefused: any other status.
        """
        command = CommandApdu(0x00, _VERIFY, 0, self._reference(name), _EMPTY_BLOCK)
        response = ResponseApdu.parse(send(command.encode()))
        if (code := _AT_READER.get(response.sw)) is not None:
            raise PersonalizationError(code)
        _judge(response, "VERIFY")

    def tries_left(self, name: str = "holder") -> int:
        """VERIFY without data: tries left of a PIN, 0 when blocked; the highest number when it is verified.

        Raises:
            PersonalizationError: "pin-to-change", it is that of the letter and has to be changed first.
            CardRefused: any other status.
        """
        response = self._channel.exchange(CommandApdu(0x00, _VERIFY, 0, self._reference(name)))
        if response.sw.ok:
            return next(row.try_limit for row in self._profile.pins if row.name == name)
        if response.sw == SW.METHOD_BLOCKED:
            return 0
        if response.sw.tries_left is None:
            raise _refusal(response, "VERIFY")
        return response.sw.tries_left

    def change(self, old: str, new: str, name: str = "holder") -> None:
        """CHANGE REFERENCE DATA; a wrong old PIN costs a try.

        Raises:
            PersonalizationError: as `verify`.
        """
        command = CommandApdu(0x00, _CHANGE, 0, self._reference(name), pin_block(old) + pin_block(new))
        _judge(self._channel.exchange(command), "CHANGE REFERENCE DATA")

    def unblock(self, unblocking: str, new: str, name: str = "holder") -> None:
        """RESET RETRY COUNTER with the unblocking PIN, which sets a new PIN; a wrong one costs a try of its own.

        Raises:
            PersonalizationError: "unblocking-pin-wrong" with the tries that the unblocking PIN has left,
                "unblocking-pin-blocked" when it has none, "pin-format".
            CardRefused: any other status.
        """
        command = CommandApdu(0x00, _RESET_COUNTER, 0, self._reference(name), pin_block(unblocking) + pin_block(new))
        _judge(self._channel.exchange(command), "RESET RETRY COUNTER", _UNBLOCKING_PIN)

    def read(self, name: str) -> bytes:
        """Content of a transparent file by its name in the profile.

        Raises:
            CardRefused: such as 6982.
        """
        return self.files.read(self._profile.file_named(name))

    def read_records(self, name: str) -> list[bytes]:
        """Records of a record file by its name in the profile."""
        return self.files.read_records(self._profile.file_named(name))

    def transmit(self, command: CommandApdu, name: str) -> bytes:
        """Send a command that has to succeed.

        Raises:
            CardRefused: any status word but 9000.
        """
        return transmit(self._channel, command, name)

    def _reference(self, name: str) -> int:
        return next(row.reference for row in self._profile.pins if row.name == name)

    def __repr__(self) -> str:
        return "HolderSession()"


def _judge(response: ResponseApdu, name: str, secret: _Secret = _PIN) -> None:
    if not response.sw.ok:
        raise _refusal(response, name, secret)


def _refusal(response: ResponseApdu, name: str, secret: _Secret = _PIN) -> Exception:
    tries = response.sw.tries_left
    if tries == 0 or response.sw == SW.METHOD_BLOCKED:
        return PersonalizationError(secret.blocked)
    if tries is not None:
        return PersonalizationError(secret.wrong, tries=tries)
    if response.sw == SW.CONDITIONS_NOT_SATISFIED:
        return PersonalizationError(_TO_BE_CHANGED)
    return CardRefused(name, response.sw)
