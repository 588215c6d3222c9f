"""Keys of a domain that are no keys of a secure channel: for tokens, receipts, DAP and ciphered load files.

Which key it is follows from its key version number, the one that cards in the field use.

Source: GlobalPlatform Card Specification 2.3.1, clauses B.1 to B.4 (algorithms), C.1 (keys) and C.2 (hashes); the
version numbers 70, 71, 73 and 75 are those of the GlobalPlatform UICC Configuration, which the specification leaves
open ("unambiguously identified"); libglobalplatform 8.0 names the same four (GP211_KEY_VERSION_…).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from card_os.globalplatform import keys
from card_os.globalplatform.key_types import KeyType, private_key, verify_ecdsa
from card_os.iso7816.errors import ConditionsNotSatisfied
from card_os.security.block_ciphers import BlockCipher, pad, retail_mac
from card_os.security.cryptography import cmac, equal

if TYPE_CHECKING:
    from card_os.globalplatform.key_types import DomainKey
    from card_os.storage.store import ObjectStore


class KeyPurpose(IntEnum):
    """Key version number of each purpose."""

    TOKEN = 0x70
    RECEIPT = 0x71
    DAP = 0x73
    LOAD_FILE = 0x75


_SHORT_RSA_BYTES: Final = 128
_SHA1_BYTES: Final = 20
_SHA256_BYTES: Final = 32
_AES_DIGESTS: Final = {16: 32, 24: 48, 32: 64}
"""Bytes of an AES key → bytes of the shortest acceptable hash (table C-3)."""
_CIPHERS: Final = {KeyType.AES: BlockCipher.AES, KeyType.DES: BlockCipher.TRIPLE_DES}


def find_management_key(store: ObjectStore, owner: int, purpose: KeyPurpose) -> DomainKey | None:
    """The key of a domain for a purpose, None when it has none."""
    return next((key for key in keys.load_keys(store, owner) if key.version == purpose), None)


def verifies(key: DomainKey, data: bytes, signature: bytes) -> bool:
    """True when ``signature`` over ``data`` was made with this key, or with the private key to it (B.1 to B.4)."""
    match key.key_type:
        case KeyType.AES | KeyType.DES:
            return equal(_checksum(key, data), signature)
        case KeyType.RSA_MODULUS:
            return _verifies_rsa(key, data, signature)
        case KeyType.EC_PUBLIC:
            return verify_ecdsa(key.curve, key.value, signature, data)
        case _:
            return False


def sign(key: DomainKey, data: bytes) -> bytes:
    """Sign a receipt (C.5); ECDSA with the nonce of RFC 6979, in plain format.

    Raises:
        ConditionsNotSatisfied: 6985, no key that signs.
    """
    match key.key_type:
        case KeyType.AES | KeyType.DES:
            return _checksum(key, data)
        case KeyType.EC_PRIVATE:
            curve = key.curve
            algorithm = ec.ECDSA(curve.digest, deterministic_signing=True)
            numbers = decode_dss_signature(private_key(curve, key.value).sign(data, algorithm))
            return b"".join(number.to_bytes(curve.length, "big") for number in numbers)
        case _:
            raise ConditionsNotSatisfied("a receipt key that cannot sign")


def _checksum(key: DomainKey, data: bytes) -> bytes:
    """CMAC with AES (B.2.2), single DES with a final triple DES (B.1.2.2)."""
    if key.key_type is KeyType.AES:
        return cmac(key.value, data)
    return retail_mac(key.value, pad(data, BlockCipher.TRIPLE_DES.block))


def _verifies_rsa(key: DomainKey, data: bytes, signature: bytes) -> bool:
    """RSASSA-PKCS1-v1_5 with SHA-1 for 1024 bits, RSASSA-PSS with SHA-256 for more (B.3)."""
    modulus, exponent = (int.from_bytes(component.value, "big") for component in key.components)
    try:
        public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        if len(key.value) <= _SHORT_RSA_BYTES:
            public.verify(signature, data, padding.PKCS1v15(), SHA1())  # noqa: S303 - what B.3.1.1 prescribes
        else:
            scheme = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=_SHA256_BYTES)
            public.verify(signature, data, scheme, SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def digest_length(key: DomainKey) -> int:
    """Bytes of the shortest hash of a load file that goes with a key (table C-3)."""
    match key.key_type:
        case KeyType.AES:
            return _AES_DIGESTS[len(key.value)]
        case KeyType.EC_PUBLIC:
            return key.curve.digest.digest_size
        case KeyType.RSA_MODULUS if len(key.value) > _SHORT_RSA_BYTES:
            return _SHA256_BYTES
        case _:
            return _SHA1_BYTES


def cipher_of(key: DomainKey) -> BlockCipher:
    """The cipher that a ciphered load file is read with (C.6).

    Raises:
        ConditionsNotSatisfied: 6985, no symmetric key.
    """
    cipher = _CIPHERS.get(key.key_type)
    if cipher is None:
        raise ConditionsNotSatisfied("a load file is deciphered with a symmetric key")
    return cipher
