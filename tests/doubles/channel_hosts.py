"""Hosts of SCP02 and SCP03 for every parameter `i`, on bare primitives; the card is tested against them."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

Send = Callable[[bytes], bytes]

AES_KEYS = (bytes(range(0x40, 0x50)), bytes(range(0x50, 0x60)), bytes(range(0x60, 0x70)))
DES_KEYS = (bytes(range(0x10, 0x20)), bytes(range(0x20, 0x30)), bytes(range(0x30, 0x40)))


def cmac(key: bytes, message: bytes) -> bytes:
    state = CMAC(algorithms.AES(key))
    state.update(message)
    return state.finalize()


def padded(data: bytes, block: int) -> bytes:
    return data + b"\x80" + bytes(-(len(data) + 1) % block)


def unpadded(data: bytes) -> bytes:
    mark = data.rstrip(b"\x00")
    assert mark.endswith(b"\x80")
    return mark[:-1]


def kdf(key: bytes, constant: int, context: bytes, length: int) -> bytes:
    head = bytes(11) + bytes((constant, 0)) + (8 * length).to_bytes(2, "big")
    return b"".join(cmac(key, head + bytes((count,)) + context) for count in (1, 2))[:length]


class Scp03Host:
    """A host that takes the protocol's parameters from the card's answer."""

    def __init__(
        self, send: Send, keys: tuple[bytes, bytes, bytes] = AES_KEYS, *, version: int = 0, s16: bool = False
    ) -> None:
        self.send, self.size = send, 16 if s16 else 8
        self.challenge = bytes(range(1, self.size + 1))
        answer = send(bytes((0x80, 0x50, version, 0, self.size)) + self.challenge + b"\x00")
        self.sw = answer[-2:]
        if self.sw != b"\x90\x00":
            return
        self.answer = answer[:-2]
        self.version, self.protocol, self.implementation = self.answer[10:13]
        assert bool(self.implementation & 1) is s16
        context = self.challenge + self.answer[13 : 13 + self.size]
        enc, mac, self.dek = keys
        self.s_enc, self.s_mac, self.s_rmac = (
            kdf(key, constant, context, len(key)) for key, constant in ((enc, 4), (mac, 6), (mac, 7))
        )
        assert self.answer[13 + self.size : 13 + 2 * self.size] == kdf(self.s_mac, 0, context, self.size)
        self.sequence = self.answer[13 + 2 * self.size :]
        assert len(self.sequence) == (3 if self.implementation & 0x10 else 0)
        self.cryptogram = kdf(self.s_mac, 1, context, self.size)
        self.chain, self.count, self.level = bytes(16), 0, 0

    def open(self, level: int) -> bytes:
        """EXTERNAL AUTHENTICATE; the status word."""
        head = bytes((0x84, 0x82, level, 0, 2 * self.size)) + self.cryptogram
        self.chain = cmac(self.s_mac, bytes(16) + head)
        self.level = self.response_level = level
        return self.send(head + self.chain[: self.size])

    def iv(self, *, response: bool) -> bytes:
        block = bytes((0x80 if response else 0,)) + self.count.to_bytes(15, "big")
        return Cipher(algorithms.AES(self.s_enc), modes.ECB()).encryptor().update(block)  # noqa: S305 - the standard's

    def wrap(self, command: str, *, cla: int = 0x84) -> bytes:
        raw = bytes.fromhex(command)
        head, data = raw[:4], raw[5 : 5 + raw[4]] if len(raw) > 5 else b""
        if not self.level & 1:
            return raw
        self.count += 1
        if data and self.level & 2:
            cipher = Cipher(algorithms.AES(self.s_enc), modes.CBC(self.iv(response=False)))
            data = cipher.encryptor().update(padded(data, 16))
        tail = head[1:] + bytes((len(data) + self.size,)) + data
        self.chain = cmac(self.s_mac, self.chain + b"\x84" + tail)
        return bytes((cla,)) + tail + self.chain[: self.size] + b"\x00"

    def unwrap(self, answer: bytes) -> str:
        data, sw = answer[:-2], answer[-2:]
        if not self.response_level & 0x10 or (sw != b"\x90\x00" and sw[0] not in {0x62, 0x63}):
            return answer.hex().upper()
        data, mac = data[: -self.size], data[-self.size :]
        assert mac == cmac(self.s_rmac, self.chain + data + sw)[: self.size]
        if data and self.response_level & 0x20:
            cipher = Cipher(algorithms.AES(self.s_enc), modes.CBC(self.iv(response=True)))
            data = unpadded(cipher.decryptor().update(data))
        return (data + sw).hex().upper()

    def transmit(self, command: str, *, cla: int = 0x84) -> str:
        return self.unwrap(self.send(self.wrap(command, cla=cla)))

    def encrypt(self, data: bytes) -> bytes:
        """Sensitive data under Key-DEK, filled with zeroes."""
        cipher = Cipher(algorithms.AES(self.dek), modes.CBC(bytes(16)))
        return cipher.encryptor().update(data + bytes(-len(data) % 16))


def des3(key: bytes) -> TripleDES:
    return TripleDES(key + key[:8])


def retail_mac(key: bytes, message: bytes, vector: bytes = bytes(8)) -> bytes:
    blocks = padded(message, 8)
    if len(blocks) > 8:
        vector = Cipher(TripleDES(key[:8] * 3), modes.CBC(vector)).encryptor().update(blocks[:-8])[-8:]
    return Cipher(des3(key), modes.CBC(vector)).encryptor().update(blocks[-8:])


class Scp02Host:
    """A host of SCP02 with explicit initiation."""

    def __init__(self, send: Send, keys: tuple[bytes, bytes, bytes] = DES_KEYS, *, version: int = 0) -> None:
        self.send = send
        challenge = bytes(range(1, 9))
        answer = send(bytes((0x80, 0x50, version, 0, 8)) + challenge + b"\x00")
        self.sw = answer[-2:]
        if self.sw != b"\x90\x00":
            return
        self.answer = answer[:-2]
        assert len(self.answer) == 28
        self.sequence, card, cryptogram = self.answer[12:14], self.answer[14:20], self.answer[20:]
        enc, mac, dek = keys
        self.s_enc, self.s_mac, self.s_rmac, self.dek = (
            self._key(key, constant) for key, constant in ((enc, 0x0182), (mac, 0x0101), (mac, 0x0102), (dek, 0x0181))
        )
        assert cryptogram == self._cbc(padded(challenge + self.sequence + card, 8))[-8:]
        self.cryptogram = self._cbc(padded(self.sequence + card + challenge, 8))[-8:]
        self.level, self.vector, self.r_vector, self.seals, self.answers = 0, bytes(8), bytes(8), False, False

    def _key(self, key: bytes, constant: int) -> bytes:
        data = constant.to_bytes(2, "big") + self.sequence + bytes(12)
        return Cipher(des3(key), modes.CBC(bytes(8))).encryptor().update(data)

    def _cbc(self, data: bytes) -> bytes:
        return Cipher(des3(self.s_enc), modes.CBC(bytes(8))).encryptor().update(data)

    def open(self, level: int, *, cryptogram: bytes | None = None) -> bytes:
        head = bytes((0x84, 0x82, level, 0, 16)) + (cryptogram or self.cryptogram)
        self.vector = self.r_vector = retail_mac(self.s_mac, head)
        self.level, self.seals = level, bool(level & 0x10)
        self.answers = self.seals
        return self.send(head + self.vector)

    def wrap(self, command: str) -> bytes:
        raw = bytes.fromhex(command)
        head, data = raw[:4], raw[5 : 5 + raw[4]] if len(raw) > 5 else b""
        self.plain = head + bytes((len(data),)) + data
        if not self.level & 1:
            return self.plain + (b"\x00" if data else b"")
        single = Cipher(TripleDES(self.s_mac[:8] * 3), modes.ECB()).encryptor()  # noqa: S305 - the standard's
        tail = head[1:] + bytes((len(data) + 8,)) + data
        self.vector = retail_mac(self.s_mac, b"\x84" + tail, single.update(self.vector))
        if data and self.level & 2:
            data = self._cbc(padded(data, 8))
        return b"\x84" + head[1:] + bytes((len(data) + 8,)) + data + self.vector + b"\x00"

    def unwrap(self, answer: bytes, *, covered: bool = True) -> str:
        data, sw = answer[:-2], answer[-2:]
        error = sw != b"\x90\x00" and sw[0] not in {0x62, 0x63}
        if not self.seals or not covered:
            return answer.hex().upper()
        mac = None
        if self.answers and not error:
            data, mac = data[:-8], data[-8:]
        self.r_vector = retail_mac(self.s_rmac, self.plain + bytes((len(data),)) + data + sw, self.r_vector)
        assert mac in {None, self.r_vector}
        return (data + sw).hex().upper()

    def transmit(self, command: str, *, covered: bool = True) -> str:
        return self.unwrap(self.send(self.wrap(command)), covered=covered)

    def encrypt(self, data: bytes) -> bytes:
        return Cipher(des3(self.dek), modes.ECB()).encryptor().update(data)  # noqa: S305 - the standard's
