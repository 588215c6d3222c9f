"""PUT KEY for every key type, as pure functions from keys to commands.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.1.8 (key types), 11.8 (PUT KEY), 11.2.2.3.2 (DELETE [key])
and B.6 (check values); Amendment D v1.1.1, clause 7.2 (under an AES Key-DEK).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple, Self

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_SHORT_NE, CommandApdu
from personalization.globalplatform.data_key import AES_BLOCK, DES_BLOCK, DataKey, as_data_key, triple_des
from personalization.globalplatform.scp03 import StaticKeys

FACTORY_KEY_VERSION: Final = 0xFF
"""Version of the set that a chip is delivered with; PUT KEY has no coding for it."""

_CLA: Final = 0x80
_INS_PUT_KEY: Final = 0xD8
_INS_DELETE: Final = 0xE4
_SEVERAL_KEYS: Final = 0x80
_FIRST_KEY_IDENTIFIER: Final = 1
_CHECK_VALUE_LENGTH: Final = 3
_AES_CHECK_INPUT: Final = b"\x01" * AES_BLOCK
_DES_CHECK_INPUT: Final = bytes(DES_BLOCK)
_EXTENDED_FORMAT: Final = b"\xff"
_KEY_IDENTIFIER_TAG: Final = 0xD0
_KEY_VERSION_TAG: Final = 0xD2
_SINGLE_BYTE_REFERENCE: Final = 0x7F


class KeyType(IntEnum):
    """Types of keys and key components (table 11-16)."""

    DES = 0x80
    TLS_PSK = 0x85
    AES = 0x88
    HMAC_SHA1 = 0x90
    HMAC_SHA1_160 = 0x91
    RSA_PUBLIC_EXPONENT = 0xA0
    RSA_MODULUS = 0xA1
    RSA_PRIVATE_MODULUS = 0xA2
    RSA_PRIVATE_EXPONENT = 0xA3
    RSA_P = 0xA4
    RSA_Q = 0xA5
    RSA_PQ = 0xA6
    RSA_DP1 = 0xA7
    RSA_DQ1 = 0xA8
    ECC_PUBLIC = 0xB0
    ECC_PRIVATE = 0xB1
    ECC_FIELD = 0xB2
    ECC_A = 0xB3
    ECC_B = 0xB4
    ECC_GENERATOR = 0xB5
    ECC_ORDER = 0xB6
    ECC_COFACTOR = 0xB7
    ECC_PARAMETER_REFERENCE = 0xF0

    @property
    def secret(self) -> bool:
        """True when the component travels encrypted (tables 11-72 to 11-77)."""
        return self not in _PUBLIC


_PUBLIC: Final = frozenset(
    {
        KeyType.RSA_PUBLIC_EXPONENT,
        KeyType.RSA_MODULUS,
        KeyType.ECC_PUBLIC,
        KeyType.ECC_FIELD,
        KeyType.ECC_A,
        KeyType.ECC_B,
        KeyType.ECC_GENERATOR,
        KeyType.ECC_ORDER,
        KeyType.ECC_COFACTOR,
        KeyType.ECC_PARAMETER_REFERENCE,
    }
)


class KeyComponent(NamedTuple):
    """One component of a key: its type and its clear value."""

    key_type: KeyType
    value: bytes

    def __repr__(self) -> str:
        """Type and length only: the value may be secret."""
        return f"KeyComponent({self.key_type.name}, {len(self.value)} bytes)"


class CurveParameters(NamedTuple):
    """An elliptic curve over a prime field, for cards that do not have it (table 11-72).

    Attributes:
        field: P. a: first coefficient. b: second coefficient. generator: G, uncompressed point. order: N.
        cofactor: shortest coding, empty to leave it out.
    """

    field: bytes
    a: bytes
    b: bytes
    generator: bytes
    order: bytes
    cofactor: bytes = b""

    def components(self) -> tuple[KeyComponent, ...]:
        """Components B2 to B7."""
        types = (
            KeyType.ECC_FIELD,
            KeyType.ECC_A,
            KeyType.ECC_B,
            KeyType.ECC_GENERATOR,
            KeyType.ECC_ORDER,
            KeyType.ECC_COFACTOR,
        )
        return tuple(KeyComponent(kind, value) for kind, value in zip(types, self, strict=True) if value)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to load.

    Attributes:
        components: in the order of its table.
        check_value: three bytes for DES and AES, empty for the others.
        usage: key usage qualifier, 1 or 2 bytes; with it or ``access`` the key goes in the extended format.
        access: key access, one byte.
    """

    components: tuple[KeyComponent, ...]
    check_value: bytes = field(default=b"", repr=False)
    usage: bytes = b""
    access: bytes = b""

    @classmethod
    def symmetric(cls, kind: KeyType, value: bytes, *, usage: bytes = b"", access: bytes = b"") -> Self:
        """A DES, AES, HMAC or TLS pre-shared key."""
        return cls((KeyComponent(kind, value),), check_value(kind, value), usage, access)

    @classmethod
    def rsa_public(cls, modulus: bytes, exponent: bytes) -> Self:
        """An RSA public key (table 11-75)."""
        return cls((KeyComponent(KeyType.RSA_MODULUS, modulus), KeyComponent(KeyType.RSA_PUBLIC_EXPONENT, exponent)))

    @classmethod
    def rsa_private(cls, modulus: bytes, exponent: bytes) -> Self:
        """An RSA private key by its exponent (table 11-76), the modulus in clear."""
        return cls((KeyComponent(KeyType.RSA_MODULUS, modulus), KeyComponent(KeyType.RSA_PRIVATE_EXPONENT, exponent)))

    @classmethod
    def rsa_private_crt(cls, p: bytes, q: bytes, pq: bytes, dp1: bytes, dq1: bytes) -> Self:
        """An RSA private key in Chinese remainder form (table 11-77)."""
        types = (KeyType.RSA_P, KeyType.RSA_Q, KeyType.RSA_PQ, KeyType.RSA_DP1, KeyType.RSA_DQ1)
        values = (p, q, pq, dp1, dq1)
        return cls(tuple(KeyComponent(kind, value) for kind, value in zip(types, values, strict=True)))

    @classmethod
    def ecc(cls, kind: KeyType, value: bytes, curve: int | CurveParameters) -> Self:
        """An elliptic curve key (tables 11-73 and 11-74).

        Args:
            kind: ECC_PUBLIC with an uncompressed point, or ECC_PRIVATE with a scalar of the length of the field.
            value: the key.
            curve: a key parameter reference, or the parameters themselves.
        """
        if isinstance(curve, CurveParameters):
            return cls((KeyComponent(kind, value), *curve.components()))
        return cls((KeyComponent(kind, value), KeyComponent(KeyType.ECC_PARAMETER_REFERENCE, reference(curve))))

    @classmethod
    def curve(cls, curve_reference: int, parameters: CurveParameters) -> Self:
        """Curve parameters under a reference (table 11-72)."""
        named = KeyComponent(KeyType.ECC_PARAMETER_REFERENCE, reference(curve_reference))
        return cls((named, *parameters.components()))

    def data_field(self, data_key: DataKey) -> bytes:
        """Its key data field, basic or extended format (tables 11-68, 11-69)."""
        extended = bool(self.usage or self.access)
        parts: list[bytes] = []
        for kind, value in self.components:
            block = _component_block(value, data_key) if kind.secret else value
            parts += (_EXTENDED_FORMAT if extended else b"", bytes((kind,)), tlv.encode_length(len(block)), block)
        parts.append(_lv(self.check_value))
        if extended:
            parts += (_lv(self.usage), _lv(self.access))
        return b"".join(parts)


def reference(value: int) -> bytes:
    """A key parameter reference: one byte up to 7F, two with bit 8 of the first set above (B.4.2)."""
    return bytes((value,)) if value <= _SINGLE_BYTE_REFERENCE else (0x8000 | value).to_bytes(2, "big")


def check_value(kind: KeyType, value: bytes) -> bytes:
    """Three bytes for a DES or AES key, nothing for others (B.6)."""
    if kind is KeyType.AES:
        encryptor = Cipher(AES(value), ECB()).encryptor()  # noqa: S305 - one block, as B.6 wants
        return encryptor.update(_AES_CHECK_INPUT)[:_CHECK_VALUE_LENGTH]
    if kind is KeyType.DES:
        encryptor = Cipher(triple_des(value), ECB()).encryptor()  # noqa: S305 - one block, as B.6 wants
        return encryptor.update(_DES_CHECK_INPUT)[:_CHECK_VALUE_LENGTH]
    return b""


def put_key_fields(version: int, keys: Sequence[NewKey], data_key: DataKey) -> bytes:
    """The data field of PUT KEY: new key version number ‖ key data fields."""
    return bytes((version,)) + b"".join(key.data_field(data_key) for key in keys)


def put_new_keys(
    version: int, keys: Sequence[NewKey], data_key: DataKey, *, first_identifier: int = 1, replace: int = 0
) -> CommandApdu:
    """PUT KEY of one key or of several with following identifiers, as one command that may have to be chained.

    Args:
        version: new key version number, 01..7F.
        keys: in the order of their identifiers.
        data_key: of the session, for secret components.
        first_identifier: key identifier of the first, 00..7F.
        replace: version of what they replace, 0 to add.
    """
    p2 = first_identifier | (_SEVERAL_KEYS if len(keys) > 1 else 0)
    return CommandApdu(_CLA, _INS_PUT_KEY, replace, p2, put_key_fields(version, keys, data_key), MAX_SHORT_NE)


def put_keys_answer(version: int, keys: Sequence[NewKey]) -> bytes:
    """What the card answers when it stored the keys that were meant: version ‖ check values (11.8.3.1)."""
    return bytes((version,)) + b"".join(key.check_value for key in keys)


def secure_channel_set(new: StaticKeys, kind: KeyType) -> tuple[NewKey, NewKey, NewKey]:
    """The keys 1 to 3 of a secure channel key set: ENC, MAC, DEK."""
    return (
        NewKey.symmetric(kind, new.enc),
        NewKey.symmetric(kind, new.mac),
        NewKey.symmetric(kind, new.dek),
    )


def put_key(new: StaticKeys, dek: DataKey | bytes, *, replace: int, kind: KeyType = KeyType.AES) -> CommandApdu:
    """PUT KEY of a set of three keys in one command.

    Args:
        new: the set to put; its version is the new key version number.
        dek: what encrypts keys in the session; bytes are the static Key-DEK of SCP03.
        replace: version of the set that it replaces, 0 to add one. The factory set FF has no coding in P1: the first
            set that is added takes its place (P1 = 00).
        kind: AES, or DES for a set of SCP02.
    """
    old = 0 if replace == FACTORY_KEY_VERSION else replace
    keys = secure_channel_set(new, kind)
    return put_new_keys(new.version, keys, as_data_key(dek), first_identifier=_FIRST_KEY_IDENTIFIER, replace=old)


def put_key_answer(new: StaticKeys, kind: KeyType = KeyType.AES) -> bytes:
    """What the card answers to `put_key` when it stored the keys that were meant."""
    return put_keys_answer(new.version, secure_channel_set(new, kind))


def delete_key(*, version: int | None = None, identifier: int | None = None) -> CommandApdu:
    """DELETE [key]: one key, or all of a version or of an identifier (table 11-24).

    Raises:
        ValueError: neither is given.
    """
    if version is None and identifier is None:
        raise ValueError("a key version, a key identifier or both")
    data = b"" if identifier is None else tlv.encode(_KEY_IDENTIFIER_TAG, bytes((identifier,)))
    data += b"" if version is None else tlv.encode(_KEY_VERSION_TAG, bytes((version,)))
    return CommandApdu(_CLA, _INS_DELETE, 0x00, 0x00, data, MAX_SHORT_NE)


def _component_block(value: bytes, data_key: DataKey) -> bytes:
    """A secret component: its clear length where it has to be told ‖ the padded value, encrypted (11.8.2.3.2)."""
    padding = -len(value) % data_key.block
    encrypted = data_key.encrypt(value + bytes(padding))
    if padding or data_key.tells_clear_length:
        return tlv.encode_length(len(value)) + encrypted
    return encrypted


def _lv(value: bytes) -> bytes:
    return bytes((len(value),)) + value
