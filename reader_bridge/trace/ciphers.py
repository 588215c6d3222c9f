"""The ciphers that somebody needs who reads along with keys: AES and triple DES, CBC and MACs.

Source: NIST SP 800-38A and 800-38B; ISO/IEC 9797-1:2011, MAC algorithm 3 with padding method 2.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

AES_BLOCK: Final = 16
DES_BLOCK: Final = 8
_MARK: Final = b"\x80"


def pad(data: bytes, block: int) -> bytes:
    """Append 80 and as many 00 as fill the last block."""
    return data + _MARK + bytes(-(len(data) + 1) % block)


def unpad(data: bytes) -> bytes:
    """Remove what `pad` appended.

    Raises:
        ValueError: there is no padding.
    """
    stripped = data.rstrip(b"\x00")
    if not stripped.endswith(_MARK):
        raise ValueError("no padding")
    return stripped[:-1]


def aes_cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC, 16 bytes."""
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def aes_block(key: bytes, block: bytes) -> bytes:
    """One block of AES in ECB mode."""
    return _cbc(algorithms.AES(key), bytes(AES_BLOCK), block, encrypt=True)


def aes_cbc_decrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """AES in CBC mode.

    Raises:
        ValueError: no whole blocks.
    """
    return _cbc(algorithms.AES(key), vector, data, encrypt=False)


def _tdes(key: bytes) -> TripleDES:
    return TripleDES(key[:DES_BLOCK] * 3 if len(key) == DES_BLOCK else key + key[:DES_BLOCK] if len(key) == 16 else key)  # noqa: PLR2004 - two keys of eight bytes


def tdes_cbc_decrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """Triple DES in CBC mode; a key of 8 bytes is single DES.

    Raises:
        ValueError: no whole blocks.
    """
    return _cbc(_tdes(key), vector, data, encrypt=False)


def tdes_cbc_encrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    """Triple DES in CBC mode; a key of 8 bytes is single DES.

    Raises:
        ValueError: no whole blocks.
    """
    return _cbc(_tdes(key), vector, data, encrypt=True)


def retail_mac(key: bytes, message: bytes, vector: bytes = bytes(DES_BLOCK)) -> bytes:
    """MAC algorithm 3: single DES in CBC mode, the last block triple; the message is padded already.

    Raises:
        ValueError: no whole blocks.
    """
    if len(message) > DES_BLOCK:
        vector = tdes_cbc_encrypt(key[:DES_BLOCK], vector, message[:-DES_BLOCK])[-DES_BLOCK:]
    return tdes_cbc_encrypt(key, vector, message[-DES_BLOCK:])


def _cbc(algorithm: BlockCipherAlgorithm, vector: bytes, data: bytes, *, encrypt: bool) -> bytes:
    if len(data) % (algorithm.block_size // 8):
        raise ValueError("not whole blocks")
    cipher = Cipher(algorithm, modes.CBC(vector))
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    return context.update(data) + context.finalize()
