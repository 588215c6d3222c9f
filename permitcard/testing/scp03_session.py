"""SCP03 as a test drives it: step by step, so that each step can be spoilt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from permitcard.testing.card_under_test import CardUnderTest
from personalization.globalplatform.aes_messaging import SecureMessaging, SessionKeys
from personalization.globalplatform.scp03 import (
    InitializeUpdateResponse,
    StaticKeys,
    derive_session_keys,
    host_cryptogram,
    parse_initialize_update,
)
from personalization.keys.keystore import KeyName

HOST_CHALLENGE: Final = bytes.fromhex("0102030405060708")
KEY_VERSION: Final = 0x01
FULL_LEVEL: Final = 0x33


@dataclass(frozen=True, slots=True)
class Handshake:
    """An SCP03 session between INITIALIZE UPDATE and EXTERNAL AUTHENTICATE.

    Attributes:
        card: the card.
        answer: what INITIALIZE UPDATE said.
        keys: session keys.
    """

    card: CardUnderTest
    answer: InitializeUpdateResponse
    keys: SessionKeys

    @property
    def cryptogram(self) -> bytes:
        """The right host cryptogram."""
        return host_cryptogram(self.keys, HOST_CHALLENGE, self.answer.challenge)

    def authenticate(self, level: int = FULL_LEVEL) -> Channel:
        """Finish the handshake as it should be."""
        messaging = SecureMessaging(self.keys, level)
        response = ResponseApdu.parse(self.card.raw(messaging.external_authenticate(self.cryptogram)))
        if response.sw != 0x9000:  # noqa: PLR2004 - done
            raise AssertionError(f"EXTERNAL AUTHENTICATE ended with {response.sw}")
        return Channel(self.card, messaging)


@dataclass(frozen=True, slots=True)
class Channel:
    """An open SCP03 session.

    Attributes:
        card: the card.
        messaging: the host's side.
    """

    card: CardUnderTest
    messaging: SecureMessaging

    def send(self, cla: int, ins: int, p1: int, p2: int, data: bytes = b"", *, ne: int = 0) -> ResponseApdu:
        """Exchange one protected command."""
        return self.messaging.unwrap(self.card.raw(self.messaging.wrap(CommandApdu(cla, ins, p1, p2, data, ne))))


def static_keys(card: CardUnderTest) -> StaticKeys:
    """The card's own key set, derived from the target's masters."""
    number, store = card.target.card_number, card.target.keys
    enc, mac, dek = (store.derive(KeyName.CARD, f"SCP03 {name}", number, 16) for name in ("ENC", "MAC", "DEK"))
    return StaticKeys(KEY_VERSION, enc=enc, mac=mac, dek=dek)


def initialize(card: CardUnderTest, version: int = 0) -> Handshake:
    """Select the issuer domain and send INITIALIZE UPDATE."""
    card.select(card.target.issuer_domain_aid)
    answer = parse_initialize_update(card.ok(0x80, 0x50, version, 0x00, HOST_CHALLENGE, ne=256))
    return Handshake(card, answer, derive_session_keys(static_keys(card), HOST_CHALLENGE, answer.challenge))
