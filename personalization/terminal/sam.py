"""The terminal's secure access module (SAM): it opens concealed card numbers and authenticates for the terminal.

The terminal proves itself to its SAM with a key of its own and talks to it under secure messaging. Masters never leave
the SAM; what comes out are the session keys of one card.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

from card_os.iso7816.apdu import CommandApdu
from personalization.errors import PersonalizationError
from personalization.terminal.authentication import (
    MESSAGE_LENGTH,
    MutualAuthentication,
    RandomSource,
    get_challenge,
    mutual_authenticate,
)
from personalization.terminal.channel import PlainChannel, ProtectedChannel, transmit
from personalization.terminal.secure_messaging import SessionKeys
from reader_bridge.connection import CardConnection

CARD_NUMBER_LENGTH: Final = 10
CONCEALED_LENGTH: Final = 40
TERMINAL_REFERENCE: Final = 0x85
SAM_AID: Final = bytes.fromhex("F05A4A4A5A0201")

_SELECT: Final = 0xA4
_BY_NAME: Final = 0x04
_GET_DATA: Final = 0xCA
_TAG_CARD_NUMBER: Final = 0xDF23
_TAG_USES_LEFT: Final = 0xDF24
_PREPARE: Final = 0x50
_COMPLETE: Final = 0x52
_PREPARE_EXTERNAL: Final = 0x54
_PROPRIETARY: Final = 0x80
_KEYS_LENGTH: Final = 32
_CRYPTOGRAM_LENGTH: Final = 16
_COUNTER_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class PreparedAuthentication:
    """What the SAM made for one card.

    Attributes:
        card_number: the opened card number, 10 bytes.
        data: data field for the card: MUTUAL AUTHENTICATE (64 bytes) or EXTERNAL AUTHENTICATE (16).
    """

    card_number: bytes = field(repr=False)
    data: bytes = field(repr=False)


class CardAuthenticator(Protocol):
    """Who holds the role keys for a terminal; a SAM, or a key store in a laboratory."""

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        """Open a concealed card number (40 bytes) and make MUTUAL AUTHENTICATE for a challenge (16 bytes)."""
        ...

    def complete(self, response: bytes) -> SessionKeys:
        """Check the card's response (64 bytes); returns the session keys."""
        ...


class SamSession:
    """An authenticated session with a SAM; one authentication of a card at a time."""

    __slots__ = ("_channel",)

    def __init__(self, channel: ProtectedChannel) -> None:
        self._channel = channel

    @classmethod
    def open(
        cls,
        connection: CardConnection,
        terminal_key: bytes | Callable[[bytes], bytes],
        *,
        aid: bytes = SAM_AID,
        randomness: RandomSource = secrets.token_bytes,
    ) -> Self:
        """Select the SAM and authenticate the terminal to it.

        Args:
            connection: the SAM, powered.
            terminal_key: the terminal's key pair (32 bytes), or a function that derives it from the SAM's card number.
            aid: name of the SAM application.
            randomness: source of nonces.

        Raises:
            CardRefused: no SAM, a wrong key (63Cx), or a blocked one (6983).
            PersonalizationError: "card-not-genuine": this SAM does not hold the terminal's key.
        """
        plain = PlainChannel(connection)
        transmit(plain, CommandApdu(0x00, _SELECT, _BY_NAME, 0x00, aid, 256), "SELECT")
        if not isinstance(terminal_key, bytes):
            number = CommandApdu(0x00, _GET_DATA, *divmod(_TAG_CARD_NUMBER, 256), b"", CARD_NUMBER_LENGTH)
            terminal_key = terminal_key(transmit(plain, number, "GET DATA"))
        challenge = get_challenge(plain)
        run = MutualAuthentication(terminal_key, TERMINAL_REFERENCE, challenge, randomness)
        keys = run.complete(mutual_authenticate(plain, TERMINAL_REFERENCE, run.command()))
        return cls(ProtectedChannel(connection, keys))

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        """Open a concealed card number and make the card's MUTUAL AUTHENTICATE; spends one use of the SAM.

        Args:
            concealed: GET DATA DF20 of the card, 40 bytes.
            reference: role key, 81 to 84.
            challenge: RND.IC of the card, 16 bytes.

        Raises:
            CardRefused: 6300 the number is not of this generation, 6985 no uses are left, 6A88 no such role.
        """
        return self._prepare(_PREPARE, concealed, reference, challenge, MESSAGE_LENGTH)

    def prepare_external(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        """As `prepare`, for EXTERNAL AUTHENTICATE: a cryptogram of 16 bytes and nothing to complete."""
        return self._prepare(_PREPARE_EXTERNAL, concealed, reference, challenge, _CRYPTOGRAM_LENGTH)

    def _prepare(
        self, ins: int, concealed: bytes, reference: int, challenge: bytes, length: int
    ) -> PreparedAuthentication:
        data = concealed + bytes((reference,)) + challenge
        command = CommandApdu(_PROPRIETARY, ins, 0, 0, data, CARD_NUMBER_LENGTH + length)
        answer = transmit(self._channel, command, "PREPARE AUTHENTICATION")
        if len(answer) != CARD_NUMBER_LENGTH + length:
            raise PersonalizationError("sam-answer-malformed", length=len(answer))
        return PreparedAuthentication(answer[:CARD_NUMBER_LENGTH], answer[CARD_NUMBER_LENGTH:])

    def complete(self, response: bytes) -> SessionKeys:
        """Have the card's response checked; returns the session keys.

        Raises:
            CardRefused: 6300: the card does not hold the key.
        """
        command = CommandApdu(_PROPRIETARY, _COMPLETE, 0, 0, response, _KEYS_LENGTH)
        answer = transmit(self._channel, command, "COMPLETE AUTHENTICATION")
        if len(answer) != _KEYS_LENGTH:
            raise PersonalizationError("sam-answer-malformed", length=len(answer))
        return SessionKeys(answer[:16], answer[16:])

    def uses_left(self) -> tuple[int, int]:
        """How many authentications, and how many wrong cards, the SAM will still see."""
        command = CommandApdu(0x00, _GET_DATA, *divmod(_TAG_USES_LEFT, 256), b"", 2 * _COUNTER_LENGTH)
        answer = transmit(self._channel, command, "GET DATA")
        if len(answer) != 2 * _COUNTER_LENGTH:
            raise PersonalizationError("sam-answer-malformed", length=len(answer))
        return int.from_bytes(answer[:_COUNTER_LENGTH], "big"), int.from_bytes(answer[_COUNTER_LENGTH:], "big")

    def __repr__(self) -> str:
        return "SamSession()"
