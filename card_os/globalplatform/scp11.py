"""The card side of Secure Channel Protocol '11': key agreement on elliptic curves, and the session that it opens.

| variant | key of the card | host | agreed secrets | command |
|---|---|---|---|---|
| SCP11a | identifier 11 | proves its certified key | eSK.SD × ePK.OCE ‖ SK.SD × PK.OCE | MUTUAL AUTHENTICATE |
| SCP11b | identifier 13 | stays unknown | eSK.SD × ePK.OCE ‖ SK.SD × ePK.OCE | INTERNAL AUTHENTICATE |
| SCP11c | identifier 15 | proves its certified key | SK.SD × ePK.OCE ‖ SK.SD × PK.OCE | MUTUAL AUTHENTICATE |

The host sends its certificates before, with PERFORM SECURITY OPERATION; they serve for one key agreement. Messaging is
that of SCP03, chained from the receipt. A session of SCP11b protects, but manages nothing.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '11', Amendment F v1.4, clauses 3.1.2 (key derivation),
7.1.1 (variants) and 7.6.2 (key agreement); SEC 1 v2.0, clause 3.6.1 (X9.63 key derivation).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from card_os.globalplatform.aes_messaging import S8_MAC, S16_MAC, AesMessaging, SessionKeys
from card_os.globalplatform.key_types import Curve, private_key, public_key
from card_os.globalplatform.scp11_parameters import Scp11Implementation
from card_os.globalplatform.secure_channel import Protocol
from card_os.iso7816 import tlv
from card_os.iso7816.errors import WrongData
from card_os.security.cryptography import cmac

if TYPE_CHECKING:
    from collections.abc import Mapping

    from card_os.hardware.randomness import Randomness

TAG_PUBLIC_KEY: Final = 0x5F49
TAG_RECEIPT: Final = 0x86
_TAG_TEMPLATE: Final = 0xA6
_TAG_PROTOCOL: Final = 0x90
_TAG_USAGE: Final = 0x95
_TAG_KEY_TYPE: Final = 0x80
_TAG_KEY_LENGTH: Final = 0x81
_KEY_TYPE_AES: Final = 0x88
_KEY_LENGTHS: Final = (16, 24, 32)
_LEVELS: Final[Mapping[int, int]] = {0x34: 0x11, 0x3C: 0x33}
"""Key usage qualifier → security level: C-MAC and R-MAC, or both with encryption (clause 7.6.2.3)."""
_SESSION_KEYS: Final = 5
_PROTOCOL_LENGTH: Final = 2


class Variant(NamedTuple):
    """One row of the table above.

    Attributes:
        parameter: second byte of the object 90.
        implementation: bit of `i` that offers it.
        host_is_proved: the host has a certified key.
        card_is_fresh: the card makes a key for the session.
    """

    parameter: int
    implementation: Scp11Implementation
    host_is_proved: bool
    card_is_fresh: bool


class CardKeyIdentifier(IntEnum):
    """Key identifiers of the card's keys."""

    SCP11A = 0x11
    SCP11B = 0x13
    SCP11C = 0x15


VARIANTS: Final[Mapping[int, Variant]] = {
    CardKeyIdentifier.SCP11A: Variant(0x01, Scp11Implementation.SCP11A, host_is_proved=True, card_is_fresh=True),
    CardKeyIdentifier.SCP11B: Variant(0x00, Scp11Implementation.SCP11B, host_is_proved=False, card_is_fresh=True),
    CardKeyIdentifier.SCP11C: Variant(0x03, Scp11Implementation.SCP11C, host_is_proved=True, card_is_fresh=False),
}


class AgreementRequest(NamedTuple):
    """The data field of MUTUAL and INTERNAL AUTHENTICATE.

    Attributes:
        parameter: second byte of the object 90, which names the variant.
        usage: key usage qualifier.
        key_length: bytes of each session key.
        host_point: ePK.OCE.
    """

    parameter: int
    usage: int
    key_length: int
    host_point: bytes

    @classmethod
    def parse(cls, data: bytes) -> AgreementRequest:
        """A6 { 90 11 parameter, 95 usage, 80 88, 81 length } ‖ 5F49 point.

        Raises:
            WrongData: 6A80, another form, or what the card does not offer.
        """
        try:
            template, key = tlv.parse_all(data)
            objects = tlv.parse_all(template.value)
        except (tlv.TlvError, ValueError) as error:
            raise WrongData("no request for a key agreement") from error
        tags = [item.tag for item in objects]
        if (template.tag, key.tag) != (_TAG_TEMPLATE, TAG_PUBLIC_KEY) or tags != [
            _TAG_PROTOCOL,
            _TAG_USAGE,
            _TAG_KEY_TYPE,
            _TAG_KEY_LENGTH,
        ]:
            raise WrongData("no request for a key agreement")
        protocol, usage, key_type, length = (item.value for item in objects)
        if (
            len(protocol) != _PROTOCOL_LENGTH
            or protocol[0] != Protocol.SCP11
            or len(usage) != 1
            or usage[0] not in _LEVELS
        ):
            raise WrongData("a protocol or a security level that is not offered")
        if key_type != bytes((_KEY_TYPE_AES,)) or len(length) != 1 or length[0] not in _KEY_LENGTHS:
            raise WrongData("session keys are AES keys")
        return cls(protocol[1], usage[0], length[0], key.value)


class AgreedKeys(NamedTuple):
    """What both sides derive."""

    receipt: bytes
    session: SessionKeys

    def __repr__(self) -> str:
        """Nothing: the fields are keys."""
        return "AgreedKeys()"


def derive_keys(secret: bytes, usage: int, key_length: int) -> AgreedKeys:
    """X9.63 with SHA-256 over both secrets, bound to usage, key type and key length (clause 3.1.2).

    SHA-256 on every curve, as hosts in the field do.
    """
    info = bytes((usage, _KEY_TYPE_AES, key_length))
    raw = X963KDF(SHA256(), _SESSION_KEYS * key_length, info).derive(secret)
    receipt, enc, mac, rmac, dek = (raw[at : at + key_length] for at in range(0, len(raw), key_length))
    return AgreedKeys(receipt, SessionKeys(enc, mac, rmac, dek))


def agree(curve: Curve, scalar: bytes, point: bytes) -> bytes:
    """The shared secret of a private key and a point: the x coordinate.

    Raises:
        WrongData: 6A80, the point is not on the curve.
    """
    try:
        other = public_key(curve, point)
    except ValueError as error:
        raise WrongData("no point of the card key's curve") from error
    return private_key(curve, scalar).exchange(ec.ECDH(), other)


def fresh_scalar(curve: Curve, randomness: Randomness) -> bytes:
    """A private key for one session, from the injected source."""
    surplus = -curve.curve.key_size % 8
    while True:
        raw = randomness.bytes(curve.length)
        scalar = bytes((raw[0] & 0xFF >> surplus,)) + raw[1:]
        try:
            private_key(curve, scalar)
        except ValueError:
            continue
        return scalar


class Scp11Channel(AesMessaging):
    """One session; see `DomainChannel`.

    Args:
        key_version: version of the card's key.
        keys: what was agreed.
        receipt: MAC over the key agreement, which begins the MAC chain.
        usage: key usage qualifier of the request.
        authenticated: the host has proved its key.
        implementation: the parameter `i`.
    """

    __slots__ = ()

    protocol: ClassVar[Protocol] = Protocol.SCP11

    def __init__(
        self,
        key_version: int,
        keys: SessionKeys,
        receipt: bytes,
        usage: int,
        *,
        authenticated: bool,
        implementation: int,
    ) -> None:
        mac_length = S16_MAC if implementation & Scp11Implementation.S16 else S8_MAC
        super().__init__(key_version, keys, receipt, mac_length=mac_length, r_mac=True, r_enc=True)
        self._start(_LEVELS[usage], authenticated=authenticated)


def open_channel(
    request: AgreementRequest,
    data: bytes,
    *,
    secret: bytes,
    card_point: bytes,
    key_version: int,
    authenticated: bool,
    implementation: int,
) -> tuple[Scp11Channel, bytes]:
    """The session and the answer: 5F49 card's point ‖ 86 receipt (16).

    The receipt is the CMAC over the data field of the command and the card's point (Amendment F).
    """
    keys = derive_keys(secret, request.usage, request.key_length)
    answer = tlv.encode(TAG_PUBLIC_KEY, card_point)
    receipt = cmac(keys.receipt, data + answer)
    channel = Scp11Channel(
        key_version, keys.session, receipt, request.usage, authenticated=authenticated, implementation=implementation
    )
    return channel, answer + tlv.encode(TAG_RECEIPT, receipt)
