"""What the kinds of keys can do: sign, verify, encipher, decipher.

```
algorithm           value                          sign / verify              encipher / decipher
AES 16, 24, 32      the key                        CMAC, 16 bytes             CBC, IV 0, padding method 2
triple DES 16       K1 ‖ K2                        retail MAC, 8 bytes        the same
triple DES 24       K1 ‖ K2 ‖ K3                   CMAC, 8 bytes              the same
SM4 16              the key                        CMAC, 16 bytes             the same
P-256, P-384        private scalar or point        ECDSA r ‖ s over a digest  -
SM2                 private scalar or point        SM2 r ‖ s over a digest    SM2, C1 ‖ C3 ‖ C2
RSA 2048, 3072      p ‖ q, or the modulus          PKCS#1 v1.5                OAEP (SHA-256); v1.5 enciphers only
password 6 to 16    ASCII digits                   -                          -
```

The public exponent of RSA is 65537. A digest is told by its length: 32 bytes are SHA-256, for SM2 the digest that
begins with its Z value; 48 are SHA-384. Whatever is random comes from the injected source; ECDSA takes the nonce of
RFC 6979.

Deviates: nothing is deciphered with PKCS#1 v1.5: a card that tells right padding from wrong gives the text away.

Source: NIST SP 800-38A and 800-38B; ISO/IEC 9797-1:2011; FIPS 186-5; RFC 8017; GB/T 32918.2 and 32918.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from card_os.hardware.work import Work
from card_os.security.block_ciphers import BlockCipher, block_cmac, cbc_decrypt, cbc_encrypt, pad, retail_mac
from card_os.security.cryptography import equal, unpad
from card_os.security.rsa_encryption import RsaPadding, rsa_encipher
from card_os.security.sm2 import Sm2PrivateKey, Sm2PublicKey

if TYPE_CHECKING:
    from card_os.hardware.clock import VirtualClock
    from card_os.hardware.randomness import Randomness


class KeyAlgorithm(IntEnum):
    """What a key is for arithmetic: GlobalPlatform key types (table 11-16), and numbers of our own from C0."""

    TRIPLE_DES = 0x80
    AES = 0x88
    SM4 = 0x89
    EC_P256_PRIVATE = 0xB1
    EC_P384_PRIVATE = 0xC1
    SM2_PRIVATE = 0xC2
    RSA_PRIVATE = 0xC3
    EC_P256_PUBLIC = 0xD0
    EC_P384_PUBLIC = 0xD1
    SM2_PUBLIC = 0xD2
    RSA_PUBLIC = 0xD3
    PASSWORD = 0xE0


RSA_EXPONENT: Final = 65537
_RSA_BYTES: Final = (256, 384)
_RSA_BITS: Final = (2048, 3072)
_TWO_KEY_DES: Final = 16
_MIN_PASSWORD: Final = 6
_MAX_PASSWORD: Final = 16
_DIGESTS: Final[Mapping[int, HashAlgorithm]] = MappingProxyType({32: SHA256(), 48: SHA384()})
_CIPHERS: Final = MappingProxyType(
    {
        KeyAlgorithm.TRIPLE_DES: BlockCipher.TRIPLE_DES,
        KeyAlgorithm.AES: BlockCipher.AES,
        KeyAlgorithm.SM4: BlockCipher.SM4,
    }
)
_CURVES: Final = MappingProxyType(
    {
        KeyAlgorithm.EC_P256_PRIVATE: ec.SECP256R1(),
        KeyAlgorithm.EC_P256_PUBLIC: ec.SECP256R1(),
        KeyAlgorithm.EC_P384_PRIVATE: ec.SECP384R1(),
        KeyAlgorithm.EC_P384_PUBLIC: ec.SECP384R1(),
    }
)
SYMMETRIC: Final = frozenset(_CIPHERS)
"""Algorithms whose signature is a MAC over the message and not over a digest of it."""
PUBLIC: Final = frozenset(
    {KeyAlgorithm.EC_P256_PUBLIC, KeyAlgorithm.EC_P384_PUBLIC, KeyAlgorithm.SM2_PUBLIC, KeyAlgorithm.RSA_PUBLIC}
)


def check_key_value(algorithm: KeyAlgorithm, value: bytes) -> None:
    """See that ``value`` is a key of the algorithm; RSA primes are tested.

    Raises:
        ValueError: it is not.
    """
    match algorithm:
        case KeyAlgorithm.TRIPLE_DES | KeyAlgorithm.AES | KeyAlgorithm.SM4:
            _CIPHERS[algorithm].algorithm(value)
        case KeyAlgorithm.EC_P256_PRIVATE | KeyAlgorithm.EC_P384_PRIVATE:
            _ec_private(algorithm, value)
        case KeyAlgorithm.EC_P256_PUBLIC | KeyAlgorithm.EC_P384_PUBLIC:
            _ec_public(algorithm, value)
        case KeyAlgorithm.SM2_PRIVATE:
            Sm2PrivateKey(value)
        case KeyAlgorithm.SM2_PUBLIC:
            Sm2PublicKey(value)
        case KeyAlgorithm.RSA_PRIVATE:
            _rsa_private(value, trusted=False)
        case KeyAlgorithm.RSA_PUBLIC:
            _rsa_public(value)
        case KeyAlgorithm.PASSWORD:
            if not (_MIN_PASSWORD <= len(value) <= _MAX_PASSWORD and value.isdigit()):
                raise ValueError("a password has 6 to 16 digits")


_SIGN_WORK: Final = MappingProxyType(
    {
        KeyAlgorithm.EC_P256_PRIVATE: Work.P256_SIGN,
        KeyAlgorithm.EC_P384_PRIVATE: Work.P384_SIGN,
        KeyAlgorithm.SM2_PRIVATE: Work.SM2_SIGN,
        KeyAlgorithm.EC_P256_PUBLIC: Work.P256_VERIFY,
        KeyAlgorithm.EC_P384_PUBLIC: Work.P384_VERIFY,
        KeyAlgorithm.SM2_PUBLIC: Work.SM2_VERIFY,
    }
)
_CIPHER_WORK: Final = MappingProxyType(
    {
        KeyAlgorithm.TRIPLE_DES: Work.TRIPLE_DES_BLOCK,
        KeyAlgorithm.AES: Work.AES_BLOCK,
        KeyAlgorithm.SM4: Work.SM4_BLOCK,
        KeyAlgorithm.SM2_PUBLIC: Work.SM2_ENCRYPT,
        KeyAlgorithm.SM2_PRIVATE: Work.SM2_DECRYPT,
    }
)
_RSA_WORK: Final = MappingProxyType(
    {
        (KeyAlgorithm.RSA_PRIVATE, _RSA_BYTES[0]): Work.RSA2048_PRIVATE,
        (KeyAlgorithm.RSA_PRIVATE, _RSA_BYTES[1]): Work.RSA3072_PRIVATE,
        (KeyAlgorithm.RSA_PUBLIC, _RSA_BYTES[0]): Work.RSA2048_PUBLIC,
        (KeyAlgorithm.RSA_PUBLIC, _RSA_BYTES[1]): Work.RSA3072_PUBLIC,
    }
)


def spend_on_signature(clock: VirtualClock, algorithm: KeyAlgorithm, value: bytes, length: int) -> None:
    """Spend the virtual time of signing, verifying or computing a MAC over ``length`` bytes with a key."""
    if algorithm in SYMMETRIC:
        clock.work(_CIPHER_WORK[algorithm], length // _CIPHERS[algorithm].block + 1)
    elif algorithm in _SIGN_WORK:
        clock.work(_SIGN_WORK[algorithm])
    elif (algorithm, len(value)) in _RSA_WORK:
        clock.work(_RSA_WORK[algorithm, len(value)])


def spend_on_cryptogram(clock: VirtualClock, algorithm: KeyAlgorithm, value: bytes, length: int) -> None:
    """Spend the virtual time of enciphering or deciphering ``length`` bytes with a key."""
    if algorithm in SYMMETRIC:
        clock.work(_CIPHER_WORK[algorithm], length // _CIPHERS[algorithm].block + 1)
    elif algorithm in _CIPHER_WORK:
        clock.work(_CIPHER_WORK[algorithm])
    elif (algorithm, len(value)) in _RSA_WORK:
        clock.work(_RSA_WORK[algorithm, len(value)])


def sign(algorithm: KeyAlgorithm, value: bytes, data: bytes, randomness: Randomness) -> bytes:
    """Sign a digest, or compute the MAC of a message.

    Args:
        algorithm: what the key is.
        value: the key.
        data: symmetric: the message; else a digest of 32 or 48 bytes.
        randomness: where SM2 takes its nonce.

    Raises:
        ValueError: no digest of a length that the key signs, or a key that does not sign.
    """
    match algorithm:
        case KeyAlgorithm.TRIPLE_DES | KeyAlgorithm.AES | KeyAlgorithm.SM4:
            if algorithm is KeyAlgorithm.TRIPLE_DES and len(value) == _TWO_KEY_DES:
                return retail_mac(value, pad(data, BlockCipher.TRIPLE_DES.block))
            return block_cmac(_CIPHERS[algorithm], value, data)
        case KeyAlgorithm.EC_P256_PRIVATE | KeyAlgorithm.EC_P384_PRIVATE:
            scheme = ec.ECDSA(Prehashed(_digest(data)), deterministic_signing=True)
            r, s = decode_dss_signature(_ec_private(algorithm, value).sign(data, scheme))
            return r.to_bytes(len(value), "big") + s.to_bytes(len(value), "big")
        case KeyAlgorithm.SM2_PRIVATE:
            return Sm2PrivateKey(value).sign_digest(data, randomness)
        case KeyAlgorithm.RSA_PRIVATE:
            return _rsa_private(value, trusted=True).sign(data, padding.PKCS1v15(), Prehashed(_digest(data)))
        case _:
            raise ValueError(f"a key of kind {algorithm.name} does not sign")


def verify(algorithm: KeyAlgorithm, value: bytes, data: bytes, signature: bytes) -> bool:
    """True when ``signature`` is right for the digest, or the MAC for the message; a MAC is never shortened.

    Raises:
        ValueError: no digest of a length that the key signs, or a key that does not verify.
    """
    match algorithm:
        case KeyAlgorithm.TRIPLE_DES | KeyAlgorithm.AES | KeyAlgorithm.SM4:
            if algorithm is KeyAlgorithm.TRIPLE_DES and len(value) == _TWO_KEY_DES:
                return equal(retail_mac(value, pad(data, BlockCipher.TRIPLE_DES.block)), signature)
            return equal(block_cmac(_CIPHERS[algorithm], value, data), signature)
        case KeyAlgorithm.SM2_PUBLIC:
            return Sm2PublicKey(value).verify_digest(data, signature)
        case KeyAlgorithm.EC_P256_PUBLIC | KeyAlgorithm.EC_P384_PUBLIC:
            return _verify_ecdsa(_ec_public(algorithm, value), data, signature)
        case KeyAlgorithm.RSA_PUBLIC:
            try:
                _rsa_public(value).verify(signature, data, padding.PKCS1v15(), Prehashed(_digest(data)))
            except InvalidSignature:
                return False
            return True
        case _:
            raise ValueError(f"a key of kind {algorithm.name} does not verify")


def verify_message(algorithm: KeyAlgorithm, value: bytes, message: bytes, signature: bytes) -> bool:
    """True when ``signature`` is right for a message, digested as the key's kind has it.

    SHA-256; for P-384 SHA-384; for SM2 SM3 with the default identity.

    Raises:
        ValueError: the key is not public.
    """
    if algorithm is KeyAlgorithm.SM2_PUBLIC:
        return Sm2PublicKey(value).verify(message, signature)
    if algorithm not in PUBLIC:
        raise ValueError(f"a key of kind {algorithm.name} verifies no message")
    digest = hashlib.sha384 if algorithm is KeyAlgorithm.EC_P384_PUBLIC else hashlib.sha256
    return verify(algorithm, value, digest(message).digest(), signature)


def encipher(
    algorithm: KeyAlgorithm,
    value: bytes,
    plaintext: bytes,
    randomness: Randomness,
    scheme: RsaPadding = RsaPadding.OAEP,
) -> bytes:
    """Encipher; the card pads.

    Args:
        algorithm: kind of the key.
        value: the key.
        plaintext: one byte or more; for RSA as much as the padding leaves room for.
        randomness: where random bytes come from.
        scheme: padding of RSA.

    Raises:
        ValueError: nothing to encipher, or a key that does not encipher.
    """
    if not plaintext:
        raise ValueError("nothing to encipher")
    if algorithm is KeyAlgorithm.SM2_PUBLIC:
        return Sm2PublicKey(value).encrypt(plaintext, randomness)
    if algorithm is KeyAlgorithm.RSA_PUBLIC:
        return rsa_encipher(value, RSA_EXPONENT, plaintext, scheme, randomness)
    if algorithm not in _CIPHERS:
        raise ValueError(f"a key of kind {algorithm.name} does not encipher")
    cipher = _CIPHERS[algorithm]
    return cbc_encrypt(cipher, value, pad(plaintext, cipher.block))


def decipher(algorithm: KeyAlgorithm, value: bytes, cryptogram: bytes) -> bytes:
    """Decipher and take the padding away.

    Raises:
        ValueError: the cryptogram is not one of this key, or the key does not decipher; the reason is not told apart.
    """
    match algorithm:
        case KeyAlgorithm.TRIPLE_DES | KeyAlgorithm.AES | KeyAlgorithm.SM4:
            if not cryptogram:
                raise ValueError(_NO_CRYPTOGRAM)
            padded = cbc_decrypt(_CIPHERS[algorithm], value, cryptogram)
            plaintext = unpad(padded)
            if len(padded) - len(plaintext) > _CIPHERS[algorithm].block:
                raise ValueError(_NO_CRYPTOGRAM)
            return plaintext
        case KeyAlgorithm.SM2_PRIVATE:
            return Sm2PrivateKey(value).decrypt(cryptogram)
        case KeyAlgorithm.RSA_PRIVATE:
            return _rsa_private(value, trusted=True).decrypt(
                cryptogram, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None)
            )
        case _:
            raise ValueError(f"a key of kind {algorithm.name} does not decipher")


def public_key(algorithm: KeyAlgorithm, value: bytes) -> tuple[bytes, ...]:
    """The public part of a private key: the uncompressed point, or modulus and exponent of RSA, big-endian.

    Raises:
        ValueError: the key is not private.
    """
    match algorithm:
        case KeyAlgorithm.EC_P256_PRIVATE | KeyAlgorithm.EC_P384_PRIVATE:
            public = _ec_private(algorithm, value).public_key()
            return (public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),)
        case KeyAlgorithm.SM2_PRIVATE:
            return (Sm2PrivateKey(value).public.point,)
        case KeyAlgorithm.RSA_PRIVATE:
            half = len(value) // 2
            modulus = int.from_bytes(value[:half], "big") * int.from_bytes(value[half:], "big")
            return modulus.to_bytes(len(value), "big"), RSA_EXPONENT.to_bytes(3, "big")
        case _:
            raise ValueError(f"a key of kind {algorithm.name} has no public part")


_NO_CRYPTOGRAM: Final = "no cryptogram of this key"


def _digest(data: bytes) -> HashAlgorithm:
    if len(data) not in _DIGESTS:
        raise ValueError("a digest has 32 or 48 bytes")
    return _DIGESTS[len(data)]


def _ec_private(algorithm: KeyAlgorithm, value: bytes) -> ec.EllipticCurvePrivateKey:
    curve = _CURVES[algorithm]
    if len(value) * 8 != curve.key_size:
        raise ValueError("a private key is as long as its curve")
    return ec.derive_private_key(int.from_bytes(value, "big"), curve)


def _ec_public(algorithm: KeyAlgorithm, value: bytes) -> ec.EllipticCurvePublicKey:
    curve = _CURVES[algorithm]
    if len(value) != 1 + curve.key_size // 4:
        raise ValueError("a public key is an uncompressed point")
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, value)


def _verify_ecdsa(key: ec.EllipticCurvePublicKey, digest: bytes, signature: bytes) -> bool:
    length = key.curve.key_size // 8
    scheme = ec.ECDSA(Prehashed(_digest(digest)))
    if len(signature) != 2 * length:
        return False
    r, s = int.from_bytes(signature[:length], "big"), int.from_bytes(signature[length:], "big")
    try:
        key.verify(encode_dss_signature(r, s), digest, scheme)
    except InvalidSignature:
        return False
    return True


def _rsa_private(value: bytes, *, trusted: bool) -> rsa.RSAPrivateKey:
    """The key of p ‖ q; one that was checked when it was created is not checked again."""
    half = len(value) // 2
    p, q = int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big")
    modulus = p * q
    if len(value) not in _RSA_BYTES or modulus.bit_length() not in _RSA_BITS:
        raise ValueError("RSA keys have 2048 or 3072 bits")
    d = pow(RSA_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p,
        q,
        d,
        rsa.rsa_crt_dmp1(d, p),
        rsa.rsa_crt_dmq1(d, q),
        rsa.rsa_crt_iqmp(p, q),
        rsa.RSAPublicNumbers(RSA_EXPONENT, modulus),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=trusted)


def _rsa_public(value: bytes) -> rsa.RSAPublicKey:
    modulus = int.from_bytes(value, "big")
    if len(value) not in _RSA_BYTES or modulus.bit_length() not in _RSA_BITS or not modulus & 1:
        raise ValueError("RSA keys have 2048 or 3072 bits")
    return rsa.RSAPublicNumbers(RSA_EXPONENT, modulus).public_key()
