"""The off-card side of Secure Channel Protocol '03': derivation and cryptograms; see `aes_messaging` for what follows.

Pure functions over bytes; nothing here speaks to a card.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '03', Amendment D v1.1.1, clauses 4 to 7, and v1.2 for
S16 mode (challenges, cryptograms and MACs of 16 bytes); pseudo-random challenges and the derivation function are NIST
SP 800-108 in counter mode with CMAC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from hmac import compare_digest
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from personalization.errors import PersonalizationError
from personalization.globalplatform.aes_messaging import (
    BLOCK,
    SECURITY_LEVELS,
    SecureMessaging,
    SecurityLevel,
    SessionKeys,
)
from personalization.globalplatform.data_key import AesDataKey

CHALLENGE_LENGTH: Final = 8
"""Bytes of a challenge and a cryptogram in S8 mode."""
CRYPTOGRAM_LENGTH: Final = 8
S16_LENGTH: Final = 16
"""The same in S16 mode."""
DIVERSIFICATION_LENGTH: Final = 10
PROTOCOL: Final = 0x03

_KEY_LENGTHS: Final = (16, 24, 32)
_FIXED_FIELDS: Final = DIVERSIFICATION_LENGTH + 3
_SEQUENCE_LENGTH: Final = 3
_SCP02_LEVELS: Final = frozenset({0x00, 0x01, 0x03, 0x10, 0x11, 0x13})
_SCP02_PSEUDO_RANDOM: Final = 0x40


class ImplementationBit(IntFlag):
    """Bits of the `i` parameter in the key information (table 5-1)."""

    S16 = 0x01
    PSEUDO_RANDOM_CHALLENGE = 0x10
    R_MAC = 0x20
    R_ENC = 0x40


_S16: Final = int(ImplementationBit.S16)
_PSEUDO_RANDOM: Final = int(ImplementationBit.PSEUDO_RANDOM_CHALLENGE)
_I_R_MAC: Final = int(ImplementationBit.R_MAC)
_I_R_ENC: Final = int(ImplementationBit.R_ENC)
_KNOWN_BITS: Final = _S16 | _PSEUDO_RANDOM | _I_R_MAC | _I_R_ENC
_R_MAC: Final = int(SecurityLevel.R_MAC)
_R_ENC: Final = int(SecurityLevel.R_ENC)


class _Derivation(IntEnum):
    """Data derivation constants (table 4-1)."""

    CARD_CRYPTOGRAM = 0x00
    HOST_CRYPTOGRAM = 0x01
    CARD_CHALLENGE = 0x02
    S_ENC = 0x04
    S_MAC = 0x06
    S_RMAC = 0x07


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """A set of three static AES keys of one length; the values never show in a repr.

    Attributes:
        version: key version number, 01..7F or FF for the factory set; 00 asks the card for its default set.
        enc: Key-ENC, 16, 24 or 32 bytes.
        mac: Key-MAC, as long.
        dek: Key-DEK, as long.
    """

    version: int
    enc: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    dek: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse lengths that are none of AES, or that differ."""
        if len(self.enc) not in _KEY_LENGTHS or not len(self.enc) == len(self.mac) == len(self.dek):
            raise ValueError("the three keys of a set have one length of 16, 24 or 32 bytes")


class InitializeUpdateResponse(NamedTuple):
    """What a card answers to INITIALIZE UPDATE (clause 7.1.1.6).

    Attributes:
        diversification: 10 bytes of key diversification data; for our cards the card number.
        key_version: version of the key set that the card uses.
        implementation: the `i` parameter.
        challenge: card challenge, 8 bytes; 16 in S16 mode, 6 in SCP02.
        cryptogram: card cryptogram, 8 bytes, 16 in S16 mode.
        sequence: 3-byte sequence counter, empty when the challenge is truly random; 2 bytes in SCP02.
        protocol: 3, or 2 for SCP02.
    """

    diversification: bytes
    key_version: int
    implementation: int
    challenge: bytes
    cryptogram: bytes
    sequence: bytes
    protocol: int = PROTOCOL

    @property
    def pseudo_random(self) -> bool:
        """True when the card challenge is derived from a key, a counter and the AID."""
        return bool(self.implementation & (_PSEUDO_RANDOM if self.protocol == PROTOCOL else _SCP02_PSEUDO_RANDOM))

    def supports(self, level: int) -> bool:
        """True when the card's protocol has ``level``, and its `i` the response protection of it."""
        if level not in (SECURITY_LEVELS if self.protocol == PROTOCOL else _SCP02_LEVELS):
            return False
        return not (
            (level & _R_MAC and not self.implementation & _I_R_MAC)
            or (level & _R_ENC and not self.implementation & _I_R_ENC)
        )


def parse_initialize_update(data: bytes) -> InitializeUpdateResponse:
    """Split the response data of INITIALIZE UPDATE.

    Args:
        data: in S8 mode 29 bytes, or 32 with the sequence counter; in S16 mode 45 or 48.

    Raises:
        PersonalizationError: "initialize-update-malformed" or "secure-channel-unsupported".
    """
    if len(data) < _FIXED_FIELDS:
        raise PersonalizationError("initialize-update-malformed", length=len(data))
    key_version, protocol, implementation = data[DIVERSIFICATION_LENGTH:_FIXED_FIELDS]
    if (
        protocol != PROTOCOL
        or implementation & ~_KNOWN_BITS
        or (implementation & _I_R_ENC and not implementation & _I_R_MAC)
    ):
        raise PersonalizationError(
            "secure-channel-unsupported", protocol=f"{protocol:02X}", implementation=f"{implementation:02X}"
        )
    length = challenge_length(implementation)
    counted = bool(implementation & _PSEUDO_RANDOM)
    challenge_end = _FIXED_FIELDS + length
    end = challenge_end + length
    if len(data) != end + (_SEQUENCE_LENGTH if counted else 0):
        raise PersonalizationError("initialize-update-malformed", length=len(data))
    return InitializeUpdateResponse(
        data[:DIVERSIFICATION_LENGTH],
        key_version,
        implementation,
        data[_FIXED_FIELDS:challenge_end],
        data[challenge_end:end],
        data[end:],
    )


def challenge_length(implementation: int) -> int:
    """Bytes of a challenge, a cryptogram and a MAC under that `i`: 8, or 16 in S16 mode."""
    return S16_LENGTH if implementation & _S16 else CHALLENGE_LENGTH


def _derive(key: CMAC, constant: _Derivation, context: bytes, length: int) -> bytes:
    """Data derivation of clause 4.1.5: ``length`` bytes, 32 at most, from a keyed CMAC, which is copied."""
    head = bytes((0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, constant, 0, length >> 5, length << 3 & 0xFF))
    mac = key.copy()
    mac.update(head + b"\x01" + context)
    if length <= BLOCK:
        return mac.finalize()[:length]
    second = key.copy()
    second.update(head + b"\x02" + context)
    return (mac.finalize() + second.finalize())[:length]


def _keyed(key: bytes) -> CMAC:
    return CMAC(algorithms.AES(key))


def derive_session_keys(keys: StaticKeys, host_challenge: bytes, card_challenge: bytes) -> SessionKeys:
    """S-ENC, S-MAC and S-RMAC of a session (clause 6.2.1)."""
    context = host_challenge + card_challenge
    length = len(keys.enc)
    mac = _keyed(keys.mac)
    return SessionKeys(
        _derive(_keyed(keys.enc), _Derivation.S_ENC, context, length),
        _derive(mac, _Derivation.S_MAC, context, length),
        _derive(mac, _Derivation.S_RMAC, context, length),
    )


def card_cryptogram(session: SessionKeys, host_challenge: bytes, card_challenge: bytes) -> bytes:
    """By which the card proves its keys (clause 6.2.2.2); as long as a challenge."""
    context = host_challenge + card_challenge
    return _derive(_keyed(session.mac), _Derivation.CARD_CRYPTOGRAM, context, len(card_challenge))


def host_cryptogram(session: SessionKeys, host_challenge: bytes, card_challenge: bytes) -> bytes:
    """By which the host proves its keys (clause 6.2.2.3); as long as a challenge."""
    context = host_challenge + card_challenge
    return _derive(_keyed(session.mac), _Derivation.HOST_CRYPTOGRAM, context, len(card_challenge))


def pseudo_random_challenge(keys: StaticKeys, sequence: bytes, aid: bytes, length: int = CHALLENGE_LENGTH) -> bytes:
    """The card challenge that Key-ENC, the sequence counter and the domain's AID give (clause 6.2.2.1)."""
    return _derive(_keyed(keys.enc), _Derivation.CARD_CHALLENGE, sequence + aid, length)


class Scp03Session:
    """What a key set makes of an INITIALIZE UPDATE: cryptograms, and the secure channel after them.

    Args:
        keys: the static set.
        host_challenge: 8 or 16 bytes, as long as the card's.
        card: the card's answer.
        aid: the security domain, for cards whose challenge is derived from it; None when it is not known.

    Attributes:
        genuine: the card proved these keys.
        host_cryptogram: by which the host proves them.
        data_key: for key values and secret groupings.
    """

    __slots__ = ("_keyed", "_keys", "_mac_length", "data_key", "genuine", "host_cryptogram")

    def __init__(
        self, keys: StaticKeys, host_challenge: bytes, card: InitializeUpdateResponse, aid: bytes | None
    ) -> None:
        length = len(card.challenge)
        context = host_challenge + card.challenge
        self._mac_length = length
        self._keys = session = derive_session_keys(keys, host_challenge, card.challenge)
        self._keyed = mac = _keyed(session.mac)
        self.genuine = compare_digest(_derive(mac, _Derivation.CARD_CRYPTOGRAM, context, length), card.cryptogram)
        if card.pseudo_random and aid is not None:
            expected = pseudo_random_challenge(keys, card.sequence, aid, length)
            self.genuine &= compare_digest(expected, card.challenge)
        self.host_cryptogram = _derive(mac, _Derivation.HOST_CRYPTOGRAM, context, length)
        self.data_key = AesDataKey(keys.dek)

    def secure_messaging(self, level: int) -> SecureMessaging:
        """The secure channel; EXTERNAL AUTHENTICATE comes first."""
        return SecureMessaging(self._keys, level, mac_length=self._mac_length, keyed=self._keyed)

    def __repr__(self) -> str:
        return "Scp03Session(…)"
