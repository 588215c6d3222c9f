"""Types of keys and of their components, curves by reference, and check values.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.1.8 (table 11-16), 11.1.9, 11.1.10, 11.8.2.3 (tables 11-72
to 11-77), B.4.1 (curves, table B-2) and B.6 (check values); Amendment D v1.1.1, clause 7.2.2.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from card_os.security.block_ciphers import BlockCipher, ecb_encrypt
from card_os.security.cryptography import CHECK_VALUE_LENGTH, check_value

if TYPE_CHECKING:
    from collections.abc import Mapping

_BITS: Final = 8


class KeyType(IntEnum):
    """Types of key components (table 11-16)."""

    DES = 0x80
    AES = 0x88
    RSA_EXPONENT = 0xA0
    RSA_MODULUS = 0xA1
    EC_PUBLIC = 0xB0
    EC_PRIVATE = 0xB1
    EC_PRIME = 0xB2
    EC_A = 0xB3
    EC_B = 0xB4
    EC_GENERATOR = 0xB5
    EC_ORDER = 0xB6
    EC_COFACTOR = 0xB7
    EC_PARAMETERS = 0xF0


SECRET_TYPES: Final = frozenset({KeyType.DES, KeyType.AES, KeyType.EC_PRIVATE})
"""Components that come encrypted (11.8.2.3.2)."""
CHECKED_TYPES: Final = frozenset({KeyType.DES, KeyType.AES})
"""Components that have a check value (B.6); for the others its length is 00."""
COMPONENT_SETS: Final = frozenset(
    {
        (KeyType.DES,),
        (KeyType.AES,),
        (KeyType.RSA_MODULUS, KeyType.RSA_EXPONENT),
        (KeyType.EC_PUBLIC, KeyType.EC_PARAMETERS),
        (KeyType.EC_PRIVATE, KeyType.EC_PARAMETERS),
    }
)
"""What a key consists of, in this order (tables 11-73 and 11-75)."""

_KEY_LENGTHS: Final[Mapping[KeyType, tuple[int, ...]]] = MappingProxyType(
    {KeyType.DES: (16, 24), KeyType.AES: (16, 24, 32)}
)
_MIN_RSA: Final = 128
_MAX_RSA: Final = 512
_DES_CHECK_INPUT: Final = bytes(8)


class Curve(NamedTuple):
    """A curve that keys refer to.

    Attributes:
        curve: the curve itself.
        length: bytes of a private key and of a coordinate.
        digest: hash of its strength, for ECDSA (B.4.3).
    """

    curve: ec.EllipticCurve
    length: int
    digest: HashAlgorithm


CURVES: Final[Mapping[int, Curve]] = MappingProxyType(
    {
        0x00: Curve(ec.SECP256R1(), 32, SHA256()),
        0x01: Curve(ec.SECP384R1(), 48, SHA384()),
        0x02: Curve(ec.SECP521R1(), 66, SHA512()),
        0x03: Curve(ec.BrainpoolP256R1(), 32, SHA256()),
        0x05: Curve(ec.BrainpoolP384R1(), 48, SHA384()),
        0x07: Curve(ec.BrainpoolP512R1(), 64, SHA512()),
    }
)
"""Curves by key parameter reference (table B-2); the twisted ones (04, 06, 08) are not there."""


class KeyComponent(NamedTuple):
    """One component of a key."""

    key_type: KeyType
    value: bytes

    def __repr__(self) -> str:
        """Type and length only."""
        return f"KeyComponent({self.key_type.name}, {len(self.value)} bytes)"


class DomainKey(NamedTuple):
    """A key of a security domain.

    Attributes:
        version: key version number.
        identifier: key identifier.
        components: first the key itself; behind it the RSA exponent or the reference of the curve.
        usage: key usage qualifier, two bytes (tables 11-17 and 11-18); 0 when it was not told.
        access: key access (table 11-19), None when it was not told.
    """

    version: int
    identifier: int
    components: tuple[KeyComponent, ...]
    usage: int = 0
    access: int | None = None

    @property
    def key_type(self) -> KeyType:
        """Type of the first component."""
        return self.components[0].key_type

    @property
    def value(self) -> bytes:
        """The first component."""
        return self.components[0].value

    @property
    def curve(self) -> Curve:
        """The curve of an EC key.

        Raises:
            ValueError: it is no EC key, or refers to a curve that is not there.
        """
        reference = self.components[-1]
        if reference.key_type is not KeyType.EC_PARAMETERS:
            raise ValueError("no key on a curve")
        return find_curve(reference.value)

    def check_value(self) -> bytes:
        """The check value, 3 bytes; empty for types that have none."""
        match self.key_type:
            case KeyType.AES:
                return check_value(self.value)
            case KeyType.DES:
                return ecb_encrypt(BlockCipher.TRIPLE_DES, self.value, _DES_CHECK_INPUT)[:CHECK_VALUE_LENGTH]
            case _:
                return b""

    def same_kind(self, other: DomainKey) -> bool:
        """True when one may take the place of the other: types, lengths and curve are equal (11.8.2.3.3)."""
        return [_kind(item) for item in self.components] == [_kind(item) for item in other.components]

    def __repr__(self) -> str:
        """Names and types only."""
        kinds = " ‖ ".join(item.key_type.name for item in self.components)
        return f"DomainKey({self.version:02X}/{self.identifier:02X}, {kinds})"


def _kind(component: KeyComponent) -> tuple[KeyType, bytes | int]:
    if component.key_type is KeyType.EC_PARAMETERS:
        return component.key_type, component.value
    return component.key_type, len(component.value)


def find_curve(reference: bytes) -> Curve:
    """A curve by its key parameter reference.

    Raises:
        ValueError: there is none.
    """
    found = CURVES.get(reference[0]) if len(reference) == 1 else None
    if found is None:
        raise ValueError("no such curve")
    return found


def check_components(components: tuple[KeyComponent, ...]) -> None:
    """See that components make up one sound key.

    Raises:
        ValueError: they do not.
    """
    if tuple(item.key_type for item in components) not in COMPONENT_SETS:
        raise ValueError("these components make up no key")
    first, last = components[0], components[-1]
    match first.key_type:
        case KeyType.DES | KeyType.AES:
            if len(first.value) not in _KEY_LENGTHS[first.key_type]:
                raise ValueError("no length of such a key")
        case KeyType.RSA_MODULUS:
            if not _MIN_RSA <= len(first.value) <= _MAX_RSA or not first.value[-1] & 1 or not any(last.value):
                raise ValueError("no RSA key")
        case KeyType.EC_PUBLIC:
            public_key(find_curve(last.value), first.value)
        case KeyType.EC_PRIVATE:
            private_key(find_curve(last.value), first.value)
        case _:
            raise ValueError("a key does not begin with this component")


def public_key(curve: Curve, point: bytes) -> ec.EllipticCurvePublicKey:
    """The key of an uncompressed point.

    Raises:
        ValueError: it is not on the curve, or in another form.
    """
    if len(point) != 1 + 2 * curve.length:
        raise ValueError("no uncompressed point of this curve")
    return ec.EllipticCurvePublicKey.from_encoded_point(curve.curve, point)


def private_key(curve: Curve, scalar: bytes) -> ec.EllipticCurvePrivateKey:
    """The key of a scalar, most significant byte first.

    Raises:
        ValueError: another length, or out of range.
    """
    if len(scalar) != curve.length:
        raise ValueError("no private key of this curve")
    return ec.derive_private_key(int.from_bytes(scalar, "big"), curve.curve)


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """The uncompressed point of a key: 04 ‖ x ‖ y."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def verify_ecdsa(curve: Curve, point: bytes, signature: bytes, message: bytes) -> bool:
    """ECDSA with the digest of the curve's strength; the signature is r ‖ s, or DER as some tools write it."""
    if len(signature) == 2 * curve.length:
        r, s = (int.from_bytes(part, "big") for part in (signature[: curve.length], signature[curve.length :]))
        signature = encode_dss_signature(r, s)
    try:
        public_key(curve, point).verify(signature, message, ec.ECDSA(curve.digest))
    except (InvalidSignature, ValueError):
        return False
    return True
