"""Keys that encrypt key values and secret data groupings, over and above the secure channel.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.8.2.3.2 (key components) and E.4.7 (SCP02: session key,
ECB); Amendment D v1.1.1, clauses 6.2.8 and 7.2 (SCP03: static Key-DEK, CBC with a zero ICV).
"""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

AES_BLOCK: Final = 16
DES_BLOCK: Final = 8
DES_KEY_LENGTH: Final = 16
"""A double-length DES key."""


def triple_des(key: bytes) -> TripleDES:
    """The cipher of a double-length key; a single-length key (8 bytes) gives plain DES."""
    single = len(key) == DES_BLOCK
    return TripleDES(key * 3 if single else key + key[:DES_BLOCK])


class DataKey(Protocol):
    """Encrypts what only the security domain may read.

    Attributes:
        block: block length of the cipher in bytes, 8 or 16.
        tells_clear_length: an encrypted key component always begins with the length of the clear one.
    """

    block: ClassVar[int]
    tells_clear_length: ClassVar[bool]

    def encrypt(self, blocks: bytes) -> bytes:
        """Encrypt whole blocks."""
        ...


class AesDataKey:
    """The static Key-DEK of SCP03."""

    __slots__ = ("_cipher",)
    block: ClassVar[int] = AES_BLOCK
    tells_clear_length: ClassVar[bool] = True

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(AES(key), CBC(bytes(AES_BLOCK)))

    def encrypt(self, blocks: bytes) -> bytes:
        """AES-CBC with a zero ICV."""
        return self._cipher.encryptor().update(blocks)

    def __repr__(self) -> str:
        return "AesDataKey(…)"


class DesDataKey:
    """The DEK session key of SCP02.

    Args:
        key: double-length DES key, 16 bytes.
    """

    __slots__ = ("_cipher",)
    block: ClassVar[int] = DES_BLOCK
    tells_clear_length: ClassVar[bool] = False

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(triple_des(key), ECB())  # noqa: S305 - E.4.7 wants ECB

    def encrypt(self, blocks: bytes) -> bytes:
        """Triple DES in ECB mode."""
        return self._cipher.encryptor().update(blocks)

    def __repr__(self) -> str:
        return "DesDataKey(…)"


def as_data_key(key: DataKey | bytes) -> DataKey:
    """``key`` itself; bytes are the static Key-DEK of SCP03."""
    return AesDataKey(key) if isinstance(key, bytes) else key
