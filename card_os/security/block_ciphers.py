"""Block ciphers side by side: AES, two- and three-key triple DES, SM4; CMAC and the retail MAC.

For keys that are used once in a command; what is used for a whole session keeps a keyed object of its own.

Source: NIST SP 800-38A and 800-38B; ISO/IEC 18033-3:2010, clause 4.2 (triple DES); GB/T 32907-2016 (SM4); ISO/IEC
9797-1:2011, clause 7.4 (MAC algorithm 3, the retail MAC).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

_DES_KEY: Final = 8
_TWO_KEYS: Final = 2 * _DES_KEY
_PAD_MARK: Final = b"\x80"


class BlockCipher(Enum):
    """A block cipher: name, block length in bytes, and key lengths in bytes."""

    AES = ("AES", 16, (16, 24, 32))
    TRIPLE_DES = ("triple DES", 8, (16, 24))
    SM4 = ("SM4", 16, (16,))

    def __init__(self, title: str, block: int, key_lengths: tuple[int, ...]) -> None:
        self.title = title
        self.block = block
        self.key_lengths = key_lengths

    def algorithm(self, key: bytes) -> BlockCipherAlgorithm:
        """The cipher under a key.

        Raises:
            ValueError: a key of another length.
        """
        if len(key) not in self.key_lengths:
            raise ValueError(f"no length of a key for {self.title}")
        match self:
            case BlockCipher.AES:
                return algorithms.AES(key)
            case BlockCipher.SM4:
                return algorithms.SM4(key)
            case BlockCipher.TRIPLE_DES:
                return TripleDES(key + key[:_DES_KEY] if len(key) == _TWO_KEYS else key)


def pad(data: bytes, block: int) -> bytes:
    """Padding method 2 of ISO/IEC 9797-1: 80, then 00 up to a whole block."""
    return data + _PAD_MARK + bytes(-(len(data) + 1) % block)


def ecb_encrypt(cipher: BlockCipher, key: bytes, data: bytes) -> bytes:
    """Single blocks one by one; ``data`` is whole blocks.

    Raises:
        ValueError: a key of another length, or no whole blocks.
    """
    encryptor = Cipher(cipher.algorithm(key), modes.ECB()).encryptor()  # noqa: S305 - single blocks, as the standards say
    return encryptor.update(data) + encryptor.finalize()


def ecb_decrypt(cipher: BlockCipher, key: bytes, data: bytes) -> bytes:
    """The inverse of `ecb_encrypt`.

    Raises:
        ValueError: a key of another length, or no whole blocks.
    """
    decryptor = Cipher(cipher.algorithm(key), modes.ECB()).decryptor()  # noqa: S305 - single blocks, as the standards say
    return decryptor.update(data) + decryptor.finalize()


def cbc_encrypt(cipher: BlockCipher, key: bytes, data: bytes, iv: bytes | None = None) -> bytes:
    """CBC without padding; ``data`` is whole blocks, ``iv`` one block, None for zeros.

    Raises:
        ValueError: a key or an IV of another length, or no whole blocks.
    """
    mode = modes.CBC(bytes(cipher.block) if iv is None else iv)
    encryptor = Cipher(cipher.algorithm(key), mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def cbc_decrypt(cipher: BlockCipher, key: bytes, data: bytes, iv: bytes | None = None) -> bytes:
    """The inverse of `cbc_encrypt`.

    Raises:
        ValueError: a key or an IV of another length, or no whole blocks.
    """
    mode = modes.CBC(bytes(cipher.block) if iv is None else iv)
    decryptor = Cipher(cipher.algorithm(key), mode).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def block_cmac(cipher: BlockCipher, key: bytes, message: bytes) -> bytes:
    """CMAC, one block long.

    Raises:
        ValueError: a key of another length.
    """
    state = CMAC(cipher.algorithm(key))
    state.update(message)
    return state.finalize()


def retail_mac(key: bytes, message: bytes) -> bytes:
    """MAC algorithm 3 with DES, 8 bytes: single DES in CBC, the last block with triple DES.

    Args:
        key: K1 ‖ K2, 16 bytes.
        message: whole blocks of 8 bytes, padded by the caller; one block at least.

    Raises:
        ValueError: a key of another length, or no whole blocks.
    """
    if len(key) != _TWO_KEYS or not message or len(message) % _DES_KEY:
        raise ValueError("a retail MAC has a key of 16 bytes and whole blocks")
    first, last = message[:-_DES_KEY], message[-_DES_KEY:]
    chained = bytes(_DES_KEY)
    if first:
        single = Cipher(TripleDES(key[:_DES_KEY] * 3), modes.CBC(chained)).encryptor()
        chained = single.update(first)[-_DES_KEY:]
    return cbc_encrypt(BlockCipher.TRIPLE_DES, key, last, chained)
