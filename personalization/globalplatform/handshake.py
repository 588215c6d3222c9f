"""INITIALIZE UPDATE and what its answer proves, in either protocol; nothing here speaks to a card.

A key set is tried against the card's own cryptogram, so that finding the right one costs the card nothing.

Source: GlobalPlatform Card Specification 2.3.1, appendix E.4.2 (SCP02); Amendment D v1.1.1, clause 6.2.2 (SCP03).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform import scp02, scp03
from personalization.globalplatform.data_key import DES_KEY_LENGTH, DataKey
from personalization.globalplatform.scp03 import (
    DIVERSIFICATION_LENGTH,
    InitializeUpdateResponse,
    StaticKeys,
    challenge_length,
)

_PROTOCOL_AT: Final = DIVERSIFICATION_LENGTH + 1
_STRENGTH: Final = (0x33, 0x13, 0x11, 0x03, 0x01)


class SecureChannelOption(NamedTuple):
    """A secure channel protocol and its `i`."""

    protocol: int
    implementation: int

    def __str__(self) -> str:
        return f"SCP{self.protocol:02X} i={self.implementation:02X}"

    @property
    def challenge_length(self) -> int:
        """Bytes of the host challenge that INITIALIZE UPDATE has to bring."""
        return challenge_length(self.implementation) if self.protocol == scp03.PROTOCOL else scp02.CHALLENGE_LENGTH


class SecureMessaging(Protocol):
    """The secure channel of one session, in either protocol."""

    level: int

    def max_data(self, limit: int = ..., /) -> int:
        """The most plain data bytes of a command whose protected data field has at most ``limit`` bytes."""
        ...

    def external_authenticate(self, cryptogram: bytes, /) -> bytes:
        """The command that opens the session."""
        ...

    def wrap(self, command: CommandApdu, /) -> bytes:
        """Protect one command and encode it."""
        ...

    def unwrap(self, response: bytes, /) -> ResponseApdu:
        """Verify and decrypt its response."""
        ...

    def begin_r_mac(self, protection: int, /) -> None:
        """Get ready for BEGIN R-MAC SESSION."""
        ...

    def r_mac_begun(self, protection: int, /, *, accepted: bool) -> None:
        """BEGIN R-MAC SESSION was answered."""
        ...

    def end_r_mac(self) -> bytes | None:
        """Get ready for END R-MAC SESSION; returns the MAC that its answer has to hold, if it holds one as data."""
        ...

    def r_mac_ended(self) -> None:
        """END R-MAC SESSION was answered."""
        ...


class KeyedSession(Protocol):
    """What one key set makes of a handshake."""

    @property
    def genuine(self) -> bool:
        """True when the card proved these keys."""
        ...

    @property
    def host_cryptogram(self) -> bytes:
        """By which the host proves them."""
        ...

    @property
    def data_key(self) -> DataKey:
        """For key values and secret groupings inside the session."""
        ...

    def secure_messaging(self, level: int) -> SecureMessaging:
        """The secure channel; EXTERNAL AUTHENTICATE comes first."""
        ...


@dataclass(frozen=True, slots=True)
class Handshake:
    """A host challenge and what the card answered.

    Attributes:
        host_challenge: what INITIALIZE UPDATE brought, 8 or 16 bytes.
        card: the answer.
        aid: the security domain, None when it is not known.
    """

    host_challenge: bytes
    card: InitializeUpdateResponse
    aid: bytes | None = None

    @classmethod
    def of(cls, host_challenge: bytes, answer: bytes, aid: bytes | None, scp02_options: int | None = None) -> Handshake:
        """Read an answer.

        Args:
            host_challenge: what the command brought.
            answer: its response data.
            aid: the security domain.
            scp02_options: `i` as the recognition data of an SCP02 card tells it, for its answer does not; 15 when
                absent.

        Raises:
            PersonalizationError: "initialize-update-malformed", "secure-channel-unsupported".
        """
        if len(answer) > _PROTOCOL_AT and answer[_PROTOCOL_AT] == scp02.PROTOCOL:
            options = scp02.DEFAULT_OPTIONS if scp02_options is None else scp02_options
            card = scp02.parse_initialize_update(answer, options)
        else:
            card = scp03.parse_initialize_update(answer)
        expected = challenge_length(card.implementation) if card.protocol == scp03.PROTOCOL else scp02.CHALLENGE_LENGTH
        if len(host_challenge) != expected:
            raise PersonalizationError("initialize-update-malformed", length=len(answer))
        return cls(host_challenge, card, aid)

    def fits(self, keys: StaticKeys) -> bool:
        """True when ``keys`` can be keys of the card's protocol at all: SCP02 has double-length DES keys."""
        return self.card.protocol != scp02.PROTOCOL or len(keys.enc) == DES_KEY_LENGTH

    def under(self, keys: StaticKeys) -> KeyedSession:
        """What ``keys`` make of it.

        Raises:
            ValueError: keys of a length that the protocol does not have.
        """
        kind = scp02.Scp02Session if self.card.protocol == scp02.PROTOCOL else scp03.Scp03Session
        return kind(keys, self.host_challenge, self.card, self.aid)

    def proved(self, sets: Iterable[StaticKeys]) -> tuple[int, KeyedSession] | None:
        """The first of ``sets`` that the card proved: its place and what it makes of this; None when it proved none.

        However many they are, the card sees nothing of it. A set is asked for only when those before it did not fit.
        """
        for place, keys in enumerate(sets):
            if self.fits(keys):
                session = self.under(keys)
                if session.genuine:
                    return place, session
        return None

    def strongest_level(self) -> int:
        """The strongest security level that the card's protocol and `i` have."""
        return next(level for level in _STRENGTH if self.card.supports(level))
