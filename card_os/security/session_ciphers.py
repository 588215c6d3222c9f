"""The ciphers of a secure messaging session: AES, SM4 and triple DES under its two keys.

```
             blocks  cryptogram                       MAC, 8 bytes                  send sequence counter
AES          16      CBC, IV = AES(KS.ENC, SSC)       CMAC, leftmost bytes          16 bytes from 0
SM4          16      CBC, IV = SM4(KS.ENC, SSC)       CMAC, leftmost bytes          16 bytes from 0
triple DES   8       CBC, IV = 0                      retail MAC                    8 bytes from both challenges
```

Source: ICAO Doc 9303-11 (8th edition), clauses 9.7.1 (keys) and 9.8.6 (ciphers and counters); SM4 in the place of AES
is our own.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers import algorithms

from card_os.security.block_ciphers import BlockCipher, cbc_decrypt, cbc_encrypt, retail_mac
from card_os.security.cryptography import (
    BLOCK,
    AesCmac,
    AesCounterCbc,
    CounterCbc,
    KeyedCmac,
    derive,
    equal,
    kdf_counter_of,
)

DES_BLOCK: Final = 8
_DES_KEY: Final = 16
_BITS: Final = 8


class CryptogramCipher(Protocol):
    """Enciphers data objects; ``counter`` is the send sequence counter of the command or response."""

    def encrypt(self, counter: int, data: bytes) -> bytes:
        """Whole blocks to a cryptogram."""
        ...

    def decrypt(self, counter: int, data: bytes) -> bytes:
        """The inverse; `ValueError` for what is no whole blocks."""
        ...


class ChecksumCipher(Protocol):
    """Computes the MAC of whole blocks."""

    def compute(self, message: bytes) -> bytes:
        """The MAC, 8 bytes or more."""
        ...

    def verify(self, message: bytes, mac: bytes, length: int) -> bool:
        """True when ``mac`` is exactly the leftmost ``length`` bytes of the MAC; constant time."""
        ...


class SessionCiphers:
    """Ciphers of one session, keyed once.

    Attributes:
        block: bytes of a block, which data, headers and objects are padded to; also the length of the counter.
        cryptogram: for data objects.
        checksum: for object 8E.
    """

    __slots__ = ("block", "checksum", "cryptogram")

    def __init__(self, block: int, cryptogram: CryptogramCipher, checksum: ChecksumCipher) -> None:
        self.block = block
        self.cryptogram = cryptogram
        self.checksum = checksum


class TripleDesCbc:
    """CBC with two keys and an IV of zeros."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encrypt(self, counter: int, data: bytes) -> bytes:
        """See `CryptogramCipher`; the counter stands in the MAC only."""
        del counter
        return cbc_encrypt(BlockCipher.TRIPLE_DES, self._key, data)

    def decrypt(self, counter: int, data: bytes) -> bytes:
        """See `CryptogramCipher`."""
        del counter
        if not data:
            raise ValueError("not whole blocks")
        return cbc_decrypt(BlockCipher.TRIPLE_DES, self._key, data)


class RetailMac:
    """MAC algorithm 3 of ISO/IEC 9797-1 with DES."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def compute(self, message: bytes) -> bytes:
        """See `ChecksumCipher`."""
        return retail_mac(self._key, message)

    def verify(self, message: bytes, mac: bytes, length: int) -> bool:
        """See `ChecksumCipher`."""
        return equal(retail_mac(self._key, message)[:length], mac)


def aes_ciphers(encryption_key: bytes, mac_key: bytes) -> SessionCiphers:
    """AES with keys of 16, 24 or 32 bytes."""
    return SessionCiphers(BLOCK, AesCounterCbc(encryption_key), AesCmac(mac_key))


def sm4_ciphers(encryption_key: bytes, mac_key: bytes) -> SessionCiphers:
    """SM4 with keys of 16 bytes."""
    return SessionCiphers(BLOCK, CounterCbc(algorithms.SM4(encryption_key)), KeyedCmac(algorithms.SM4(mac_key)))


def triple_des_ciphers(encryption_key: bytes, mac_key: bytes) -> SessionCiphers:
    """Triple DES with keys of 16 bytes."""
    return SessionCiphers(DES_BLOCK, TripleDesCbc(encryption_key), RetailMac(mac_key))


def derive_block_keys(cipher: BlockCipher, seed: bytes, context: bytes) -> tuple[bytes, bytes]:
    """KS.ENC and KS.MAC of a session with AES or SM4: SP 800-108 with the CMAC of the same cipher.

    Args:
        cipher: AES or SM4.
        seed: K.IFD xor K.IC, 16 bytes.
        context: RND.IC ‖ RND.IFD.
    """
    if cipher is BlockCipher.AES:
        return derive(seed, "KS.ENC", context, BLOCK), derive(seed, "KS.MAC", context, BLOCK)
    keyed = KeyedCmac(algorithms.SM4(seed))
    length = (BLOCK * _BITS).to_bytes(2, "big")
    encryption, mac = (
        kdf_counter_of(keyed, label + b"\x00" + context + length, BLOCK) for label in (b"KS.ENC", b"KS.MAC")
    )
    return encryption, mac


def derive_des_keys(seed: bytes) -> tuple[bytes, bytes]:
    """KS.ENC and KS.MAC of a session with triple DES: SHA-1(seed ‖ 1) and SHA-1(seed ‖ 2), with odd parity (9.7.1)."""
    encryption, mac = (
        _with_parity(hashlib.sha1(seed + counter.to_bytes(4, "big"), usedforsecurity=False).digest()[:_DES_KEY])
        for counter in (1, 2)
    )
    return encryption, mac


def _with_parity(key: bytes) -> bytes:
    """Each byte with an odd number of ones, by its lowest bit."""
    return bytes(byte & 0xFE | (1 ^ (byte >> 1).bit_count() & 1) for byte in key)
