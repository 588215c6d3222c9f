"""Check values: three bytes by which people and programs tell one key from another, and which say nothing of it.

| key | leftmost 3 bytes of |
|---|---|
| AES | AES-CMAC(key, 16 × 00) |
| recognition key | HMAC-SHA-256(key, 16 × 01) |
| key pair | SHA-256(SubjectPublicKeyInfo) |

A CMAC instead of one enciphered block: a master in an HSM may then be forbidden everything but MACs, and its check
value can still be computed inside.

Source: ANSI X9.24-1-2017, Annex A (AES check values by CMAC); NIST SP 800-38B.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CHECK_VALUE_LENGTH: Final = 3
"""Bytes of a check value."""

AES_CHECK_INPUT: Final = bytes(16)
"""What the CMAC of an AES key is taken over."""

HMAC_CHECK_INPUT: Final = b"\x01" * 16
"""What the HMAC of a recognition key is taken over."""


def aes_check_value(key: bytes) -> bytes:
    """Check value of an AES key of 16, 24 or 32 bytes."""
    mac = CMAC(AES(key))
    mac.update(AES_CHECK_INPUT)
    return mac.finalize()[:CHECK_VALUE_LENGTH]


def hmac_check_value(key: bytes) -> bytes:
    """Check value of an HMAC key."""
    return hmac.digest(key, HMAC_CHECK_INPUT, "sha256")[:CHECK_VALUE_LENGTH]


def pair_check_value(public: CertificatePublicKeyTypes) -> bytes:
    """Check value of a key pair."""
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).digest()[:CHECK_VALUE_LENGTH]
