"""Proof that a SAM holds the keys that it should: a card that is not there authenticates to it.

The key store derives what such a card would hold; the SAM has to open its concealed number, to authenticate for each
role, and to find the same session keys. It costs one authentication a role, and nothing of what may be wrong.

This is the card's side of the exchange, from the text; the card's own code is another reading of it.

Source: pattern of ICAO Doc 9303-11, 8th edition, clause 4.3, with AES; card specification, "Identity before
authentication" and "Authentication".
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName
from personalization.profile import CardProfile
from personalization.profile_rows import KeyRow, KeyUsage
from personalization.sams.masters import Diversifier
from personalization.terminal.authentication import RANDOM_LENGTH, RandomSource, cmac, session_keys
from personalization.terminal.channel import CardRefused
from personalization.terminal.sam import CARD_NUMBER_LENGTH, CardAuthenticator
from personalization.terminal.secure_messaging import pad

_HALF: Final = 16
_CRYPTOGRAM: Final = 3 * RANDOM_LENGTH
_CONCEALED_MAC: Final = 8
_ZERO_IV: Final = bytes(16)
_FROM_TERMINAL: Final = b"\x01"
_FROM_CARD: Final = b"\x02"
_MISMATCHES: Final = frozenset({SW.AUTHENTICATION_FAILED, SW.REFERENCE_DATA_NOT_FOUND})
"""Not of its generation or not its key; not a role of its own."""


class PhantomCard:
    """A card of a number that nobody has, as far as a terminal meets it before and at MUTUAL AUTHENTICATE.

    Args:
        keys: the masters that it was made with.
        permit: profile of the cards that the SAM is for.
        randomness: source of its number and nonces.
    """

    __slots__ = ("_concealment", "_keys", "_permit", "_randomness", "number")

    def __init__(self, keys: Diversifier, permit: CardProfile, randomness: RandomSource = secrets.token_bytes) -> None:
        self._keys = keys
        self._permit = permit
        self._randomness = randomness
        self.number = randomness(CARD_NUMBER_LENGTH)
        row = next(row for row in permit.keys if row.usage is KeyUsage.CONCEALMENT)
        self._concealment = self._derived(row)

    def _derived(self, row: KeyRow) -> bytes:
        master, label = KeyName(row.master or ""), row.label or ""
        return self._keys.derive(master, label, row.derivation_context(self.number), row.length)

    def concealed(self) -> bytes:
        """The concealed card number: R (16) ‖ cryptogram (16) ‖ MAC (8)."""
        key, random = self._concealment, self._randomness(RANDOM_LENGTH)
        body = random + Cipher(algorithms.AES(key[:_HALF]), modes.CBC(random)).encryptor().update(pad(self.number))
        return body + cmac(key[_HALF:], body)[:_CONCEALED_MAC]

    def meet(self, sam: CardAuthenticator, role: str) -> None:
        """Authenticate to the SAM in a role.

        Raises:
            CardRefused: it does not know a card of this generation.
            ValueError: what it says is not made with these masters.
        """
        row = self._permit.key(role)
        key, challenge = self._derived(row), self._randomness(RANDOM_LENGTH)
        prepared = sam.prepare(self.concealed(), row.reference, challenge)
        cryptogram, mac = prepared.data[:_CRYPTOGRAM], prepared.data[_CRYPTOGRAM:]
        reference = bytes((row.reference,))
        genuine = hmac.compare_digest(mac, cmac(key[_HALF:], _FROM_TERMINAL + reference + cryptogram))
        if prepared.card_number != self.number or not genuine:
            raise ValueError("another number, or a message of other keys")
        cipher = Cipher(algorithms.AES(key[:_HALF]), modes.CBC(_ZERO_IV))
        plain = cipher.decryptor().update(cryptogram)
        nonce, share = plain[:RANDOM_LENGTH], plain[2 * RANDOM_LENGTH :]
        own = self._randomness(RANDOM_LENGTH)
        answer = cipher.encryptor().update(challenge + nonce + own)
        found = sam.complete(answer + cmac(key[_HALF:], _FROM_CARD + reference + answer))
        if found != session_keys(share, own, challenge, nonce):
            raise ValueError("other session keys")


def prove_sam(
    sam: CardAuthenticator,
    keys: Diversifier,
    permit: CardProfile,
    roles: Sequence[str],
    randomness: RandomSource = secrets.token_bytes,
) -> None:
    """Make sure that a SAM opens cards of a generation and authenticates in roles.

    Args:
        sam: an open session.
        keys: the masters of that generation.
        permit: profile of the cards that it is for.
        roles: names of role keys in that profile.
        randomness: source of the phantom's number and nonces.

    Raises:
        PersonalizationError: "sam-other-keys", exit 3.
        CardRefused: 6985, it is used up.
    """
    phantom = PhantomCard(keys, permit, randomness)
    for role in roles:
        try:
            phantom.meet(sam, role)
        except CardRefused as refusal:
            if refusal.status not in _MISMATCHES:
                raise
            raise PersonalizationError("sam-other-keys", exit_code=3, key=role) from refusal
        except ValueError:
            raise PersonalizationError("sam-other-keys", exit_code=3, key=role) from None
