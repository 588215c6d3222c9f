"""MUTUAL AUTHENTICATE from the terminal's side, for a key that the terminal holds itself.

```
command   E_IFD = AES-CBC(K.ENC, IV = 0, RND.IFD (16) ‖ RND.IC (16) ‖ K.IFD (16))   48
          M_IFD = CMAC(K.MAC, 01 ‖ reference ‖ E_IFD)                               16
response  E_IC  = AES-CBC(K.ENC, IV = 0, RND.IC (16) ‖ RND.IFD (16) ‖ K.IC (16))    48
          M_IC  = CMAC(K.MAC, 02 ‖ reference ‖ E_IC)                                16
```

Source: pattern of ICAO Doc 9303-11, 8th edition, clause 4.3, with AES; card specification, "Authentication".
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from card_os.iso7816.apdu import CommandApdu
from personalization.errors import PersonalizationError
from personalization.terminal.channel import CardChannel, transmit
from personalization.terminal.secure_messaging import SessionKeys

RANDOM_LENGTH: Final = 16
"""Bytes of a challenge, of a nonce and of a keying share."""
PAIR_LENGTH: Final = 32
"""Bytes of a role key: K.ENC ‖ K.MAC."""
CRYPTOGRAM_LENGTH: Final = 48
MESSAGE_LENGTH: Final = CRYPTOGRAM_LENGTH + 16
"""Bytes of the data field of command and response."""

_GET_CHALLENGE: Final = 0x84
_MUTUAL_AUTHENTICATE: Final = 0x82
_FROM_TERMINAL: Final = 0x01
_FROM_CARD: Final = 0x02
_ZERO_IV: Final = bytes(16)
_SESSION_KEY_BITS: Final = (128).to_bytes(2, "big")

RandomSource = Callable[[int], bytes]


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC, 16 bytes."""
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def session_keys(share: bytes, other_share: bytes, challenge: bytes, nonce: bytes) -> SessionKeys:
    """KS.ENC and KS.MAC of K.IFD and K.IC, RND.IC and RND.IFD, 16 bytes each.

    Source: NIST SP 800-108r1, clause 4.1, with CMAC.
    """
    seed = bytes(left ^ right for left, right in zip(share, other_share, strict=True))
    context = challenge + nonce + _SESSION_KEY_BITS
    return SessionKeys(*(cmac(seed, b"\x01" + label + b"\x00" + context) for label in (b"KS.ENC", b"KS.MAC")))


class MutualAuthentication:
    """One run: make the command, then check the response.

    Args:
        key: K.ENC ‖ K.MAC, 32 bytes.
        reference: key reference, 1 byte.
        challenge: RND.IC, 16 bytes.
        randomness: source of RND.IFD and K.IFD.

    Raises:
        ValueError: key or challenge have another length.
    """

    __slots__ = ("_challenge", "_encryption", "_mac", "_nonce", "_reference", "_share")

    def __init__(self, key: bytes, reference: int, challenge: bytes, randomness: RandomSource) -> None:
        if len(key) != PAIR_LENGTH or len(challenge) != RANDOM_LENGTH:
            raise ValueError("key or challenge have the wrong length")
        self._encryption, self._mac = key[:16], key[16:]
        self._reference = reference
        self._challenge = challenge
        self._nonce = randomness(RANDOM_LENGTH)
        self._share = randomness(RANDOM_LENGTH)

    def command(self) -> bytes:
        """The command data field, 64 bytes."""
        encryptor = Cipher(algorithms.AES(self._encryption), modes.CBC(_ZERO_IV)).encryptor()
        cryptogram = encryptor.update(self._nonce + self._challenge + self._share)
        return cryptogram + cmac(self._mac, bytes((_FROM_TERMINAL, self._reference)) + cryptogram)

    def complete(self, response: bytes) -> SessionKeys:
        """Check the response data field (64 bytes) and derive the session keys.

        Raises:
            PersonalizationError: "card-not-genuine": the card does not hold the key.
        """
        cryptogram, mac = response[:CRYPTOGRAM_LENGTH], response[CRYPTOGRAM_LENGTH:]
        expected = cmac(self._mac, bytes((_FROM_CARD, self._reference)) + cryptogram)
        if len(response) != MESSAGE_LENGTH or not hmac.compare_digest(mac, expected):
            raise PersonalizationError("card-not-genuine")
        decryptor = Cipher(algorithms.AES(self._encryption), modes.CBC(_ZERO_IV)).decryptor()
        plain = decryptor.update(cryptogram)
        if not hmac.compare_digest(plain[:32], self._challenge + self._nonce):
            raise PersonalizationError("card-not-genuine")
        return session_keys(self._share, plain[32:], self._challenge, self._nonce)

    def __repr__(self) -> str:
        return f"MutualAuthentication({self._reference:02X})"


def get_challenge(channel: CardChannel) -> bytes:
    """GET CHALLENGE; returns RND.IC, 16 bytes.

    Raises:
        CardRefused: the card answers none.
        PersonalizationError: "card-not-genuine": it answers another length.
    """
    challenge = transmit(channel, CommandApdu(0x00, _GET_CHALLENGE, 0, 0, b"", RANDOM_LENGTH), "GET CHALLENGE")
    return _of_length(challenge, RANDOM_LENGTH)


def mutual_authenticate(channel: CardChannel, reference: int, data: bytes) -> bytes:
    """MUTUAL AUTHENTICATE; returns the response data, 64 bytes, of which nothing but the length is checked.

    Raises:
        CardRefused: such as 63Cx, 6983.
        PersonalizationError: "card-not-genuine": it answers another length.
    """
    command = CommandApdu(0x00, _MUTUAL_AUTHENTICATE, 0, reference, data, MESSAGE_LENGTH)
    return _of_length(transmit(channel, command, "MUTUAL AUTHENTICATE"), MESSAGE_LENGTH)


def _of_length(answer: bytes, length: int) -> bytes:
    """An answer that has the length it must have: a SAM would take another one for the terminal's mistake."""
    if len(answer) != length:
        raise PersonalizationError("card-not-genuine")
    return answer
