"""The cryptographic primitives of the card, typed and in their fast forms.

Keying a cipher costs ten times more than using it, so whoever uses a key for longer than one command keeps one of the
keyed objects here: `AesCmac` copies a keyed CMAC, `AesCounterCbc` keeps running ciphers. Nothing is cached by this
module itself: a keyed object lives as long as the session or the key slot that owns it, and is rebuilt from the key.

No object here shows a key in its repr.

Source: NIST SP 800-38A (AES-ECB, AES-CBC); SP 800-38B and RFC 4493 (AES-CMAC); SP 800-108r1, clause 4.1 (key
derivation in counter mode); FIPS 186-5 and RFC 6979 (deterministic ECDSA); ISO/IEC 9797-1:2011, clause 6.3.3
(padding method 2).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap as unwrap_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

BLOCK: Final = 16
"""AES block length in bytes."""
CHECK_VALUE_LENGTH: Final = 3
P256_LENGTH: Final = 32
"""Length in bytes of a P-256 private key, of a coordinate, and of r and of s."""

_ZERO_IV: Final = bytes(BLOCK)
_CHECK_VALUE_INPUT: Final = b"\x01" * BLOCK
_PAD_MARK: Final = b"\x80"
_BITS: Final = 8
_MAX_DERIVED: Final = 255 * BLOCK


equal: Final = hmac.compare_digest
"""Compares in a time that does not depend on where the first difference is."""


def sha256(data: bytes) -> bytes:
    """SHA-256 digest, 32 bytes."""
    return hashlib.sha256(data).digest()


def pad(data: bytes, block: int = BLOCK) -> bytes:
    """Append 80 and as many 00 as fill the last block; always appends at least one byte."""
    return data + _PAD_MARK + bytes(-(len(data) + 1) % block)


def unpad(data: bytes) -> bytes:
    """Remove what `pad` appended.

    Raises:
        ValueError: the last byte other than 00 is not 80.
    """
    stripped = data.rstrip(b"\x00")
    if not stripped.endswith(_PAD_MARK):
        raise ValueError("no padding mark")
    return stripped[:-1]


def aes_ecb_encrypt(key: bytes, data: bytes) -> bytes:
    """AES-ECB without padding; ``data`` is a multiple of 16 bytes."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - single blocks, as the standards say
    return encryptor.update(data) + encryptor.finalize()


def aes_ecb_decrypt(key: bytes, data: bytes) -> bytes:
    """The inverse of `aes_ecb_encrypt`."""
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()  # noqa: S305 - single blocks, as the standards say
    return decryptor.update(data) + decryptor.finalize()


def aes_cbc_encrypt(key: bytes, data: bytes, iv: bytes = _ZERO_IV) -> bytes:
    """AES-CBC without padding; ``data`` is a multiple of 16 bytes."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def aes_cbc_decrypt(key: bytes, data: bytes, iv: bytes = _ZERO_IV) -> bytes:
    """The inverse of `aes_cbc_encrypt`."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def aes_key_unwrap(key: bytes, wrapped: bytes) -> bytes:
    """The key inside ``wrapped``, which is 8 bytes longer.

    Raises:
        ValueError: wrapped under another key, changed, or no length of a wrapped key.

    Source: RFC 3394, clause 2.2.2.
    """
    try:
        return unwrap_key(key, wrapped)
    except InvalidUnwrap:
        raise ValueError("the wrapped key is not genuine") from None


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC, 16 bytes, for a key that is used once; keep an `AesCmac` for one that is used again."""
    state = CMAC(algorithms.AES(key))
    state.update(message)
    return state.finalize()


def derive(master: bytes, label: str, context: bytes, length: int) -> bytes:
    """Derive a key with `kdf_counter` over label ‖ 00 ‖ context ‖ length in bits (2 bytes, big-endian).

    Args:
        master: AES key, 16, 24 or 32 bytes.
        label: purpose of the derived key, ASCII.
        context: what the key is bound to, such as the card number.
        length: bytes wanted, 1..4080.

    Raises:
        ValueError: ``length`` out of range, or a label that is not ASCII.
    """
    return kdf_counter(master, label.encode("ascii") + b"\x00" + context + (length * _BITS).to_bytes(2, "big"), length)


def kdf_counter(key: bytes, fixed: bytes, length: int) -> bytes:
    """SP 800-108 in counter mode with AES-CMAC; see `kdf_counter_of`."""
    return kdf_counter_of(AesCmac(key), fixed, length)


def kdf_counter_of(keyed: KeyedCmac, fixed: bytes, length: int) -> bytes:
    """SP 800-108 in counter mode with CMAC: MAC(i ‖ fixed) for i = 1, 2, …, the counter being one byte.

    Args:
        keyed: CMAC of a cipher with blocks of 16 bytes under the key.
        fixed: fixed input data, which names purpose, context and length.
        length: bytes wanted, 1..4080.

    Raises:
        ValueError: ``length`` out of range.
    """
    if not 1 <= length <= _MAX_DERIVED:
        raise ValueError(f"cannot derive {length} bytes")
    blocks = (keyed.compute(bytes((counter,)) + fixed) for counter in range(1, -(-length // BLOCK) + 1))
    return b"".join(blocks)[:length]


def check_value(key: bytes) -> bytes:
    """Check value of an AES key: first 3 bytes of AES-ECB over 16 bytes of 01.

    Source: GlobalPlatform Card Specification 2.3.1, clause B.6.
    """
    return aes_ecb_encrypt(key, _CHECK_VALUE_INPUT)[:CHECK_VALUE_LENGTH]


class KeyedCmac:
    """CMAC under one key, keyed once and copied for each message.

    Args:
        algorithm: a block cipher under its key.
    """

    __slots__ = ("_keyed",)

    def __init__(self, algorithm: BlockCipherAlgorithm) -> None:
        self._keyed = CMAC(algorithm)

    def compute(self, message: bytes) -> bytes:
        """The MAC of ``message``, one block long."""
        state = self._keyed.copy()
        state.update(message)
        return state.finalize()

    def verify(self, message: bytes, mac: bytes, length: int) -> bool:
        """True when ``mac`` is exactly the leftmost ``length`` bytes of the MAC of ``message``; constant time."""
        state = self._keyed.copy()
        state.update(message)
        return hmac.compare_digest(state.finalize()[:length], mac)


class AesCmac(KeyedCmac):
    """AES-CMAC under one key."""

    __slots__ = ()

    def __init__(self, key: bytes) -> None:
        super().__init__(algorithms.AES(key))


class CounterCbc:
    """CBC of many messages under one key of a cipher with blocks of 16 bytes, the IV being a counter, encrypted.

    ISO secure messaging (IV = AES(KS.ENC, SSC)) and SCP03 (ICV = AES(S-ENC, counter)) share this form. One running
    encryptor serves all messages: a block that is fed as ``previous ciphertext xor counter`` comes out as
    AES(counter), which is the IV, and chains into the first block of the message. A running decryptor is given the IV,
    made in the same way, as if it were the ciphertext before the message. A running cipher cannot be copied: it is
    rebuilt from the key.

    Args:
        algorithm: a block cipher under its key.
    """

    __slots__ = ("_decryptor", "_encryptor", "_last")

    def __init__(self, algorithm: BlockCipherAlgorithm) -> None:
        cipher = Cipher(algorithm, modes.CBC(_ZERO_IV))
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()
        self._last = 0

    def encrypt(self, counter: int, data: bytes) -> bytes:
        """Encrypt ``data`` (a multiple of 16 bytes, not empty) under the encrypted ``counter`` (16 bytes big-endian).

        Raises:
            ValueError: ``data`` is empty or no multiple of 16 bytes.
        """
        if not data or len(data) % BLOCK:
            raise ValueError("not whole blocks")
        result = self._encryptor.update((self._last ^ counter).to_bytes(BLOCK, "big") + data)
        self._last = int.from_bytes(result[-BLOCK:], "big")
        return result[BLOCK:]

    def decrypt(self, counter: int, data: bytes) -> bytes:
        """The inverse of `encrypt`.

        Raises:
            ValueError: ``data`` is empty or no multiple of 16 bytes.
        """
        if not data or len(data) % BLOCK:
            raise ValueError("not whole blocks")
        iv = self._encryptor.update((self._last ^ counter).to_bytes(BLOCK, "big"))
        self._last = int.from_bytes(iv, "big")
        return self._decryptor.update(iv + data)[BLOCK:]


class AesCounterCbc(CounterCbc):
    """`CounterCbc` with AES."""

    __slots__ = ()

    def __init__(self, key: bytes) -> None:
        super().__init__(algorithms.AES(key))


class P256PrivateKey:
    """A private key on NIST P-256 that signs deterministically.

    Args:
        scalar: the private key, 32 bytes big-endian, 1 .. n − 1.

    Raises:
        ValueError: the scalar has another length or is out of range.
    """

    __slots__ = ("_key",)

    def __init__(self, scalar: bytes) -> None:
        if len(scalar) != P256_LENGTH:
            raise ValueError(f"a P-256 private key has {P256_LENGTH} bytes")
        self._key = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())

    @property
    def public_point(self) -> bytes:
        """The public key as an uncompressed point: 04 ‖ x (32) ‖ y (32)."""
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(self, message: bytes) -> bytes:
        """ECDSA over SHA-256 of ``message`` with the nonce of RFC 6979: r (32) ‖ s (32), big-endian."""
        return _raw_signature(self._key.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True)))

    def sign_digest(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest that was computed before: r (32) ‖ s (32), big-endian.

        Raises:
            ValueError: the digest is not 32 bytes long.
        """
        return _raw_signature(self._key.sign(digest, ec.ECDSA(Prehashed(SHA256()), deterministic_signing=True)))


def _raw_signature(der: bytes) -> bytes:
    r, s = decode_dss_signature(der)
    return r.to_bytes(P256_LENGTH, "big") + s.to_bytes(P256_LENGTH, "big")
