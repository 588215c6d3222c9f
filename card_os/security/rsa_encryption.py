"""Enciphering with an RSA public key, the random bytes of the padding from the injected source.

The library draws them itself, so that the padding is made here; it is public arithmetic on a message that the caller
knows, and deciphering stays with the library.

Source: RFC 8017, clauses 5.1.1 (RSAEP), 7.1.1 (OAEP with SHA-256, empty label), 7.2.1 (PKCS#1 v1.5) and B.2.1 (MGF1).
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from card_os.hardware.randomness import Randomness

_HASH_BYTES: Final = 32
_PKCS1_OVERHEAD: Final = 11
_FIRST: Final = b"\x00"


class RsaPadding(IntEnum):
    """How a message is padded; the numbers are those of object 80 in MANAGE SECURITY ENVIRONMENT."""

    OAEP = 1
    PKCS1 = 2


def rsa_encipher(modulus: bytes, exponent: int, message: bytes, scheme: RsaPadding, randomness: Randomness) -> bytes:
    """Pad and encipher.

    Args:
        modulus: big-endian, as many bytes as the cryptogram will have.
        exponent: public exponent.
        message: at most 66 (OAEP) or 11 (PKCS#1 v1.5) bytes shorter than the modulus.
        scheme: the padding.
        randomness: where the random bytes of the padding come from.

    Raises:
        ValueError: the message is too long for the key.
    """
    pad = _oaep if scheme is RsaPadding.OAEP else _pkcs1
    padded = pad(message, len(modulus), randomness)
    number = pow(int.from_bytes(padded, "big"), exponent, int.from_bytes(modulus, "big"))
    return number.to_bytes(len(modulus), "big")


def _oaep(message: bytes, length: int, randomness: Randomness) -> bytes:
    """00 ‖ seed under a mask ‖ (hash of the empty label ‖ 00 … 01 ‖ message) under a mask."""
    filling = length - len(message) - 2 * _HASH_BYTES - 2
    if filling < 0:
        raise ValueError("the message is too long for the key")
    block = hashlib.sha256(b"").digest() + bytes(filling) + b"\x01" + message
    seed = randomness.bytes(_HASH_BYTES)
    block = _masked(block, seed)
    return _FIRST + _masked(seed, block) + block


def _masked(data: bytes, seed: bytes) -> bytes:
    """``data`` xor the mask that MGF1 makes of ``seed``."""
    count = -(-len(data) // _HASH_BYTES)
    mask = b"".join(hashlib.sha256(seed + number.to_bytes(4, "big")).digest() for number in range(count))
    return bytes(left ^ right for left, right in zip(data, mask, strict=False))


def _pkcs1(message: bytes, length: int, randomness: Randomness) -> bytes:
    """00 ‖ 02 ‖ 8 or more random bytes other than 00 ‖ 00 ‖ message."""
    wanted = length - len(message) - 3
    if wanted < _PKCS1_OVERHEAD - 3:
        raise ValueError("the message is too long for the key")
    filling = b""
    while len(filling) < wanted:
        filling += randomness.bytes(wanted - len(filling)).replace(b"\x00", b"")
    return _FIRST + b"\x02" + filling + b"\x00" + message
