"""The off-card side of Secure Channel Protocol '11': key agreement on elliptic curves, with certificates.

| variant | key of the card | host | agreed secrets | command |
|---|---|---|---|---|
| SCP11a | identifier 11 | proves its certified key | eSK.OCE × ePK.SD ‖ SK.OCE × PK.SD | MUTUAL AUTHENTICATE |
| SCP11b | identifier 13 | stays unknown | eSK.OCE × ePK.SD ‖ eSK.OCE × PK.SD | INTERNAL AUTHENTICATE |
| SCP11c | identifier 15 | proves its certified key | eSK.OCE × PK.SD ‖ SK.OCE × PK.SD | MUTUAL AUTHENTICATE |

Nothing here speaks to a card. Messaging is that of SCP03, chained from the receipt.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '11', Amendment F v1.4, clauses 3.1.2 (key derivation),
7.5 (PERFORM SECURITY OPERATION) and 7.6 (MUTUAL AUTHENTICATE), as two implementations of others have it; SEC 1 v2.0,
clause 3.6.1 (X9.63 key derivation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from hmac import compare_digest
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_SHORT_NC, MAX_SHORT_NE, CommandApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform.aes_messaging import MAC_LENGTH, SecureMessaging, SessionKeys

PROTOCOL: Final = 0x11
S16_BIT: Final = 0x40
"""Bit of `i` that says that MACs have 16 bytes."""

_CLA: Final = 0x80
_INS_PERFORM_SECURITY_OPERATION: Final = 0x2A
_INS_MUTUAL_AUTHENTICATE: Final = 0x82
_INS_INTERNAL_AUTHENTICATE: Final = 0x88
_MORE: Final = 0x80
_TAG_TEMPLATE: Final = 0xA6
_TAG_PROTOCOL: Final = 0x90
_TAG_USAGE: Final = 0x95
_TAG_KEY_TYPE: Final = 0x80
_TAG_KEY_LENGTH: Final = 0x81
_TAG_POINT: Final = 0x5F49
_TAG_RECEIPT: Final = 0x86
_AES: Final = 0x88
_USAGES: Final = {0x11: 0x34, 0x33: 0x3C}
_KEYS: Final = 5


class Variant(Enum):
    """A variant: identifier of the card's key, second byte of the object 90, the host proves its key, bit of `i`."""

    SCP11A = (0x11, 0x01, True, 0x01)
    SCP11B = (0x13, 0x00, False, 0x02)
    SCP11C = (0x15, 0x03, True, 0x10)

    def __init__(self, key_identifier: int, parameter: int, host_is_proved: bool, bit: int) -> None:
        self.key_identifier = key_identifier
        self.parameter = parameter
        self.host_is_proved = host_is_proved
        self._bit = bit

    def offered_by(self, implementation: int) -> bool:
        """True when the card's `i` has this variant."""
        return bool(implementation & self._bit)


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """By what a host is known.

    Attributes:
        key: its private key.
        certificates: certificates in either form, each signed by the key of the one before, its own last.
        authority: version and identifier of the card's key that verifies the first one; 0 and 0 let the card find it.
    """

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    authority: tuple[int, int] = (0, 0)


class AgreedKeys(NamedTuple):
    """What both sides derive: the keys of receipt, session and sensitive data."""

    receipt: bytes
    session: SessionKeys
    dek: bytes

    def __repr__(self) -> str:
        """Nothing: the fields are keys."""
        return "AgreedKeys(…)"


def certificate_commands(host: HostIdentity, limit: int = MAX_SHORT_NC) -> Iterator[CommandApdu]:
    """PERFORM SECURITY OPERATION for each certificate, in pieces of at most ``limit`` bytes (clause 7.5).

    P1 is the version of the authority's key, +80 when more of this certificate follows; P2 its identifier, +80 when
    another certificate follows.
    """
    version, identifier = host.authority
    for number, certificate in enumerate(host.certificates, start=1):
        p2 = identifier | (_MORE if number < len(host.certificates) else 0)
        starts = range(0, len(certificate), limit)
        for start in starts:
            p1 = version | (_MORE if start != starts[-1] else 0)
            piece = certificate[start : start + limit]
            yield CommandApdu(_CLA, _INS_PERFORM_SECURITY_OPERATION, p1, p2, piece)


class KeyAgreement:
    """One key agreement, from the request to the session; used once.

    Args:
        variant: the variant.
        card_key: the card's static public key, which the caller trusts.
        key_version: its version.
        host: by what the host is known; None in SCP11b.
        level: 33 or 11.
        key_length: bytes of the AES session keys: 16, 24 or 32.
        implementation: the card's `i`.
        fresh_key: makes the host's key of this session.

    Raises:
        ValueError: a level, key length or host that the variant does not have, or keys on two curves.
    """

    __slots__ = (
        "_card_key",
        "_fresh",
        "_host",
        "_key_length",
        "_level",
        "_mac_length",
        "_request",
        "_variant",
        "command",
    )

    def __init__(
        self,
        variant: Variant,
        card_key: ec.EllipticCurvePublicKey,
        key_version: int,
        host: HostIdentity | None,
        *,
        level: int = 0x33,
        key_length: int = 16,
        implementation: int = 0,
        fresh_key: Callable[[ec.EllipticCurve], ec.EllipticCurvePrivateKey] = ec.generate_private_key,
    ) -> None:
        if level not in _USAGES or key_length not in (16, 24, 32) or (host is not None) is not variant.host_is_proved:
            raise ValueError("a level, a key length or a host that this variant does not have")
        if host is not None and host.key.curve.name != card_key.curve.name:
            raise ValueError("the keys of host and card are on two curves")
        self._variant = variant
        self._card_key = card_key
        self._host = host
        self._level = level
        self._key_length = key_length
        self._mac_length = 16 if implementation & S16_BIT else MAC_LENGTH
        self._fresh = fresh_key(card_key.curve)
        objects = (
            (_TAG_PROTOCOL, bytes((PROTOCOL, variant.parameter))),
            (_TAG_USAGE, bytes((_USAGES[level],))),
            (_TAG_KEY_TYPE, bytes((_AES,))),
            (_TAG_KEY_LENGTH, bytes((key_length,))),
        )
        template = tlv.encode(_TAG_TEMPLATE, *(tlv.encode(tag, value) for tag, value in objects))
        self._request = template + tlv.encode(_TAG_POINT, _point(self._fresh.public_key()))
        ins = _INS_MUTUAL_AUTHENTICATE if variant.host_is_proved else _INS_INTERNAL_AUTHENTICATE
        self.command = CommandApdu(_CLA, ins, key_version, variant.key_identifier, self._request, MAX_SHORT_NE)
        """MUTUAL or INTERNAL AUTHENTICATE."""

    def __repr__(self) -> str:
        """The variant only."""
        return f"KeyAgreement({self._variant.name})"

    def finish(self, answer: bytes) -> tuple[SecureMessaging, bytes]:
        """The session, and its key for sensitive data.

        Args:
            answer: 5F49 { point of the card } ‖ 86 { receipt }.

        Raises:
            PersonalizationError: "scp11-answer-malformed"; "scp11-receipt-wrong": whoever answered does not hold the
                card's key.
        """
        try:
            point, receipt = tlv.parse_all(answer)
            card_point = ec.EllipticCurvePublicKey.from_encoded_point(self._card_key.curve, point.value)
        except (tlv.TlvError, ValueError) as error:
            raise PersonalizationError("scp11-answer-malformed") from error
        if (point.tag, receipt.tag) != (_TAG_POINT, _TAG_RECEIPT):
            raise PersonalizationError("scp11-answer-malformed")
        static = self._host.key if self._host is not None else self._fresh
        secret = self._fresh.exchange(ec.ECDH(), card_point) + static.exchange(ec.ECDH(), self._card_key)
        keys = derive_keys(secret, _USAGES[self._level], self._key_length)
        mac = CMAC(AES(keys.receipt))
        mac.update(self._request + tlv.encode(_TAG_POINT, point.value))
        expected = mac.finalize()
        fixed = self._variant is not Variant.SCP11C or point.value == _point(self._card_key)
        if not compare_digest(expected, receipt.value) or not fixed:
            raise PersonalizationError("scp11-receipt-wrong")
        return SecureMessaging(keys.session, self._level, mac_length=self._mac_length, chain=expected), keys.dek


def derive_keys(secret: bytes, usage: int, key_length: int) -> AgreedKeys:
    """X9.63 with SHA-256 over both secrets, bound to usage, key type and key length (clause 3.1.2)."""
    raw = X963KDF(SHA256(), _KEYS * key_length, bytes((usage, _AES, key_length))).derive(secret)
    receipt, enc, mac, rmac, dek = (raw[at : at + key_length] for at in range(0, len(raw), key_length))
    return AgreedKeys(receipt, SessionKeys(enc, mac, rmac), dek)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
