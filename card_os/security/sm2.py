"""SM2: signature and public key encryption, with nonces from the injected source.

The scalars are plain numbers here, the points come from libcrypto. The same source of randomness gives the same
signature and the same cryptogram, so that a card stays deterministic.

Source: GB/T 32918.2-2016, clauses 6 and 7 (signature); GB/T 32918.4-2016, clauses 6 and 7 (encryption); GB/T
32918.5-2017 (curve); GB/T 32905-2016 (SM3); GM/T 0009-2012, clause 10 (identity).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from card_os.security.cryptography import equal
from card_os.security.libcrypto import Curve, CurveName, curve

if TYPE_CHECKING:
    from card_os.hardware.randomness import Randomness

LENGTH: Final = 32
"""Bytes of a private key, of a coordinate, and of r and of s."""
DEFAULT_IDENTITY: Final = b"1234567812345678"
"""Identity of a signer that has no other one (GM/T 0009, clause 10)."""
POINT_LENGTH: Final = 1 + 2 * LENGTH
SIGNATURE_LENGTH: Final = 2 * LENGTH
OVERHEAD: Final = POINT_LENGTH + LENGTH
"""Bytes that a cryptogram has more than its plaintext: C1 (65) and C3 (32)."""

_MAX_IDENTITY: Final = 0x1FFF
_BITS: Final = 8
_COEFFICIENT_B: Final = bytes.fromhex("28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93")


def sm3(data: bytes) -> bytes:
    """SM3 digest, 32 bytes."""
    return hashlib.new("sm3", data).digest()


class Sm2PublicKey:
    """A public key.

    Args:
        point: 04 ‖ x (32) ‖ y (32), big-endian.

    Raises:
        ValueError: not an uncompressed point of the curve.
    """

    __slots__ = ("point",)

    def __init__(self, point: bytes) -> None:
        curve(CurveName.SM2).check(point)
        self.point = point

    def digest(self, message: bytes, identity: bytes = DEFAULT_IDENTITY) -> bytes:
        """What is signed: SM3(Z ‖ message), Z binding the signer's identity and key.

        Args:
            message: any length.
            identity: 0 to 8,191 bytes.

        Raises:
            ValueError: the identity is too long.
        """
        if len(identity) > _MAX_IDENTITY:
            raise ValueError("an identity has up to 8,191 bytes")
        group = curve(CurveName.SM2)
        bits = (len(identity) * _BITS).to_bytes(2, "big")
        coefficient_a = (group.field - 3).to_bytes(LENGTH, "big")  # the curve has a = p - 3
        return sm3(
            sm3(bits + identity + coefficient_a + _COEFFICIENT_B + group.generator[1:] + self.point[1:]) + message
        )

    def verify(self, message: bytes, signature: bytes, identity: bytes = DEFAULT_IDENTITY) -> bool:
        """True when ``signature`` (r ‖ s, 32 bytes each) is this key's for the message and the identity."""
        return self.verify_digest(self.digest(message, identity), signature)

    def verify_digest(self, digest: bytes, signature: bytes) -> bool:
        """`verify` for what `digest` gave, 32 bytes."""
        group = curve(CurveName.SM2)
        if len(signature) != SIGNATURE_LENGTH or len(digest) != LENGTH:
            return False
        r, s = int.from_bytes(signature[:LENGTH], "big"), int.from_bytes(signature[LENGTH:], "big")
        t = (r + s) % group.order
        if not (0 < r < group.order and 0 < s < group.order and t):
            return False
        try:
            x = _x(group.combine(s, t, self.point))
        except ValueError:  # the sum is at infinity
            return False
        return (int.from_bytes(digest, "big") + x) % group.order == r

    def encrypt(self, plaintext: bytes, randomness: Randomness) -> bytes:
        """Encrypt: C1 (65) ‖ C3 (32) ‖ C2 (as long as the plaintext).

        Args:
            plaintext: one byte or more.
            randomness: 32 bytes are taken from it, again in the rare case that they do not fit.

        Raises:
            ValueError: nothing to encrypt.
        """
        if not plaintext:
            raise ValueError("nothing to encrypt")
        group = curve(CurveName.SM2)
        nonces = _nonces(group, randomness)
        nonce, shared, mask = 0, b"", b""
        while not any(mask):
            nonce = next(nonces)
            shared = group.multiply(nonce, self.point)[1:]
            mask = _derive(shared, len(plaintext))
        check = sm3(shared[:LENGTH] + plaintext + shared[LENGTH:])
        return group.public_point(nonce) + check + _exclusive_or(plaintext, mask)

    def __repr__(self) -> str:
        return f"Sm2PublicKey({self.point.hex()})"


class Sm2PrivateKey:
    """A private key; its repr does not show it.

    Args:
        scalar: 32 bytes big-endian, 1 .. n − 2.

    Raises:
        ValueError: the scalar has another length or is out of range.
    """

    __slots__ = ("_scalar", "public")

    def __init__(self, scalar: bytes) -> None:
        group = curve(CurveName.SM2)
        value = int.from_bytes(scalar, "big")
        if len(scalar) != LENGTH or not 0 < value < group.order - 1:
            raise ValueError("no private key of SM2")
        self._scalar = value
        self.public = Sm2PublicKey(group.public_point(value))

    @classmethod
    def generate(cls, randomness: Randomness) -> Sm2PrivateKey:
        """Make a key from the injected source."""
        group = curve(CurveName.SM2)
        scalar = next(value for value in _nonces(group, randomness) if value < group.order - 1)
        return cls(scalar.to_bytes(LENGTH, "big"))

    @property
    def scalar(self) -> bytes:
        """The private key, 32 bytes big-endian, for its place in the store and nothing else."""
        return self._scalar.to_bytes(LENGTH, "big")

    def sign(self, message: bytes, randomness: Randomness, identity: bytes = DEFAULT_IDENTITY) -> bytes:
        """Sign a message: r (32) ‖ s (32), big-endian.

        Raises:
            ValueError: the identity is too long.
        """
        return self.sign_digest(self.public.digest(message, identity), randomness)

    def sign_digest(self, digest: bytes, randomness: Randomness) -> bytes:
        """`sign` for what `Sm2PublicKey.digest` gave.

        Raises:
            ValueError: the digest is not 32 bytes long.
        """
        if len(digest) != LENGTH:
            raise ValueError("an SM3 digest has 32 bytes")
        group = curve(CurveName.SM2)
        order, value = group.order, int.from_bytes(digest, "big")
        inverse = pow(1 + self._scalar, -1, order)
        nonces = _nonces(group, randomness)
        nonce = r = s = 0
        while not (r and s and r + nonce != order):
            nonce = next(nonces)
            r = (value + _x(group.public_point(nonce))) % order
            s = inverse * (nonce - r * self._scalar) % order
        return r.to_bytes(LENGTH, "big") + s.to_bytes(LENGTH, "big")

    def decrypt(self, cryptogram: bytes) -> bytes:
        """Decrypt C1 ‖ C3 ‖ C2.

        Raises:
            ValueError: too short, C1 is no point, or C3 does not match; which of them is not said.
        """
        group = curve(CurveName.SM2)
        point, check, masked = cryptogram[:POINT_LENGTH], cryptogram[POINT_LENGTH:OVERHEAD], cryptogram[OVERHEAD:]
        if not masked:
            raise ValueError(_NOT_AUTHENTIC)
        try:
            shared = group.multiply(self._scalar, point)[1:]
        except ValueError:
            raise ValueError(_NOT_AUTHENTIC) from None
        mask = _derive(shared, len(masked))
        plaintext = _exclusive_or(masked, mask)
        if not any(mask) or not equal(sm3(shared[:LENGTH] + plaintext + shared[LENGTH:]), check):
            raise ValueError(_NOT_AUTHENTIC)
        return plaintext

    def __repr__(self) -> str:
        return "Sm2PrivateKey()"


_NOT_AUTHENTIC: Final = "no authentic SM2 cryptogram"


def _nonces(group: Curve, randomness: Randomness) -> Iterator[int]:
    """Numbers in 1 .. n − 1, each from 32 bytes of the source; what does not fit is passed over."""
    while True:
        value = int.from_bytes(randomness.bytes(LENGTH), "big")
        if 0 < value < group.order:
            yield value


def _derive(shared: bytes, length: int) -> bytes:
    """Key derivation of GB/T 32918.4, clause 5.4.3: SM3(shared ‖ counter of 4 bytes from 1)."""
    blocks = (sm3(shared + counter.to_bytes(4, "big")) for counter in range(1, -(-length // LENGTH) + 1))
    return b"".join(blocks)[:length]


def _x(point: bytes) -> int:
    return int.from_bytes(point[1 : 1 + LENGTH], "big")


def _exclusive_or(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
