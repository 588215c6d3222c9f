"""A terminal's key holder for laboratories: a key store in place of a SAM."""

from __future__ import annotations

import hmac
import secrets
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName, KeyStore
from personalization.terminal.authentication import MutualAuthentication, RandomSource, cmac
from personalization.terminal.sam import CARD_NUMBER_LENGTH, PreparedAuthentication
from personalization.terminal.secure_messaging import SessionKeys

ROLE_KEYS: Final = {
    0x81: KeyName.INSPECTION,
    0x82: KeyName.SERVICE_DESK,
    0x83: KeyName.BANK_BRANCH,
    0x84: KeyName.ISSUER,
}
"""Key reference on the permit → master."""

GENERATION: Final = b"\x01"
_PAIR: Final = 32
_VECTOR: Final = 16
_CONCEALED_TEXT: Final = 32
_MAC: Final = 8


class LaboratorySam:
    """Does what a SAM does with keys from a `KeyStore`; for tests and for looking at one's own cards.

    Args:
        keys: store with the role and concealment masters.
        randomness: source of nonces.
    """

    def __init__(self, keys: KeyStore, randomness: RandomSource = secrets.token_bytes) -> None:
        self._keys = keys
        self._randomness = randomness
        self._run: MutualAuthentication | None = None

    def role_key(self, reference: int, card_number: bytes) -> bytes:
        """K.ENC ‖ K.MAC of a role on one card, 32 bytes."""
        return self._keys.derive(ROLE_KEYS[reference], "ROLE", card_number, _PAIR)

    def reveal(self, concealed: bytes) -> bytes:
        """Open a concealed card number.

        Args:
            concealed: R 16 ‖ cryptogram 16 ‖ MAC 8, the answer to GET DATA DF20.

        Raises:
            PersonalizationError: "card-of-another-generation": the MAC is wrong.
        """
        key = self._keys.derive(KeyName.CONCEALMENT, "CONCEAL", GENERATION, _PAIR)
        body, mac = concealed[:_CONCEALED_TEXT], concealed[_CONCEALED_TEXT:]
        if not hmac.compare_digest(cmac(key[16:], body)[:_MAC], mac):
            raise PersonalizationError("card-of-another-generation")
        decryptor = Cipher(algorithms.AES(key[:16]), modes.CBC(body[:_VECTOR])).decryptor()
        return decryptor.update(body[_VECTOR:])[:CARD_NUMBER_LENGTH]

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        """Open the number and make the command data of MUTUAL AUTHENTICATE."""
        number = self.reveal(concealed)
        self._run = MutualAuthentication(self.role_key(reference, number), reference, challenge, self._randomness)
        return PreparedAuthentication(number, self._run.command())

    def complete(self, response: bytes) -> SessionKeys:
        """Check the card's answer; returns the session keys.

        Raises:
            PersonalizationError: "card-not-genuine".
        """
        run, self._run = self._run, None
        if run is None:
            raise PersonalizationError("card-not-genuine")
        return run.complete(response)
