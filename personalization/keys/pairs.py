"""Key pairs on P-256 in memory: how a file store writes them down, and what they sign."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

_BYTES: Final = 32
_DIGEST: Final = 32
_ECDSA: Final = ec.ECDSA(Prehashed(SHA256()))


def signature(key: ec.EllipticCurvePrivateKey, digest: bytes) -> bytes:
    """ECDSA over a SHA-256 digest (32 bytes): r ‖ s, 64 bytes."""
    if len(digest) != _DIGEST:
        raise ValueError(f"a SHA-256 digest has {_DIGEST} bytes, not {len(digest)}")
    r, s = decode_dss_signature(key.sign(digest, _ECDSA))
    return r.to_bytes(_BYTES, "big") + s.to_bytes(_BYTES, "big")


def private_key(value: str) -> ec.EllipticCurvePrivateKey:
    """The private key of a hexadecimal scalar.

    Raises:
        ValueError: it is none.
    """
    return ec.derive_private_key(int.from_bytes(bytes.fromhex(value), "big"), ec.SECP256R1())


def private_hex(key: ec.EllipticCurvePrivateKey) -> str:
    """The scalar of a private key in hexadecimal, 64 digits."""
    return key.private_numbers().private_value.to_bytes(_BYTES, "big").hex()
