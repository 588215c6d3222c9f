"""Reads along a GlobalPlatform secure channel whose static keys are known: SCP02 and SCP03.

Nothing is sent: session keys follow from INITIALIZE UPDATE and its answer, both of which are in the trace. Each MAC is
checked, and said to be right, wrong, or not to be checked because something before it was hidden.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '03', Amendment D v1.1.1, clauses 4 to 7 (S16 from
v1.2); GlobalPlatform Card Specification 2.3.1, annex E (SCP02, i = 05, 15, 45, 55).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from reader_bridge.trace.ciphers import (
    AES_BLOCK,
    DES_BLOCK,
    aes_block,
    aes_cbc_decrypt,
    aes_cmac,
    pad,
    retail_mac,
    tdes_cbc_decrypt,
    tdes_cbc_encrypt,
    unpad,
)
from reader_bridge.trace.keys import ChannelKeys

DIVERSIFICATION: Final = 10
_INFORMATION: Final = DIVERSIFICATION + 2
_SCP02: Final = 0x02
_SCP03: Final = 0x03
_S16: Final = 0x01
_SECURED: Final = 0x04
_CHANNELS: Final = 0x03
_C_MAC, _C_DECRYPTION, _R_MAC, _R_ENCRYPTION = 0x01, 0x02, 0x10, 0x20
_RESPONSE_FLAG: Final = 0x80 << 120
_WARNINGS: Final = (0x62, 0x63)


class MacCheck(Enum):
    """What is known of a MAC."""

    NONE = "no MAC"
    RIGHT = "MAC right"
    WRONG = "MAC wrong"
    UNKNOWN = "MAC not checked"


@dataclass(frozen=True, slots=True)
class OpenedCommand:
    """A command without its protection."""

    command: CommandApdu
    mac: MacCheck = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedResponse:
    """A response without its protection."""

    response: ResponseApdu
    mac: MacCheck = field(repr=False)


class ChannelReader(Protocol):
    """Reads along one session."""

    @property
    def name(self) -> str:
        """Protocol of the session."""
        ...

    def authenticate(self, command: CommandApdu) -> MacCheck:
        """EXTERNAL AUTHENTICATE: the level, and whether host cryptogram and MAC are right."""
        ...

    def open_command(self, command: CommandApdu, *, hidden: bool) -> OpenedCommand:
        """Take the protection from a command of the session.

        Raises:
            ValueError: the bytes cannot be what the level says.
        """
        ...

    def open_response(self, response: ResponseApdu, *, hidden: bool) -> OpenedResponse:
        """Take the protection from the response.

        Raises:
            ValueError: the bytes cannot be what the level says.
        """
        ...


def begin(keys: ChannelKeys, host_challenge: bytes, answer: bytes) -> ChannelReader | None:
    """The session that an answer to INITIALIZE UPDATE begins; None when these are not the keys.

    Args:
        keys: static keys to try.
        host_challenge: command data of INITIALIZE UPDATE.
        answer: response data.
    """
    if len(answer) <= _INFORMATION:
        return None
    try:
        match answer[DIVERSIFICATION + 1]:
            case 0x02:
                scp02 = Scp02Reader(keys, host_challenge, answer)
                return scp02 if scp02.card_is_genuine else None
            case 0x03:
                scp03 = Scp03Reader(keys, host_challenge, answer)
                return scp03 if scp03.card_is_genuine else None
            case _:
                return None
    except ValueError:  # keys of another cipher
        return None


def key_version(answer: bytes) -> int | None:
    """Key version that the card uses; None when the answer is too short."""
    return answer[DIVERSIFICATION] if len(answer) > _INFORMATION else None


def _header(command: CommandApdu, data_length: int) -> bytes:
    cla = command.cla & ~_CHANNELS if not command.cla & 0x40 else command.cla & 0x80 | _SECURED
    lc = b"\x00" + data_length.to_bytes(2, "big") if command.extended else bytes((data_length,))
    return bytes((cla | _SECURED, command.ins, command.p1, command.p2)) + lc


def _plain(command: CommandApdu, data: bytes) -> CommandApdu:
    return command._replace(cla=command.cla & ~_SECURED, data=data)


class Scp03Reader:
    """SCP03 with AES keys.

    Args:
        keys: static keys.
        host_challenge: 8 or 16 bytes.
        answer: diversification 10 ‖ key information 3 ‖ challenge ‖ cryptogram ‖ [sequence 3].

    Attributes:
        card_is_genuine: the card cryptogram is that of these keys.
    """

    name = "SCP03"

    def __init__(self, keys: ChannelKeys, host_challenge: bytes, answer: bytes) -> None:
        size = 16 if answer[_INFORMATION] & _S16 else 8
        begin_at = _INFORMATION + 1
        challenge, cryptogram = answer[begin_at : begin_at + size], answer[begin_at + size : begin_at + 2 * size]
        self._size = size
        self._context = host_challenge + challenge
        length = len(keys.enc)
        self._enc = _kdf(keys.enc, 0x04, self._context, length)
        self._mac = _kdf(keys.mac, 0x06, self._context, length)
        self._rmac = _kdf(keys.mac, 0x07, self._context, length)
        self.card_is_genuine = cryptogram == _kdf(self._mac, 0x00, self._context, size)
        self._chain: bytes | None = bytes(AES_BLOCK)
        self._counter = 0
        self._level = 0

    def authenticate(self, command: CommandApdu) -> MacCheck:
        """EXTERNAL AUTHENTICATE: host cryptogram and MAC."""
        self._level = command.p1
        genuine = command.data[: self._size] == _kdf(self._mac, 0x01, self._context, self._size)
        check = self._check(command)
        return check if genuine else MacCheck.WRONG

    def _check(self, command: CommandApdu) -> MacCheck:
        """Move the chain over a command and compare its MAC."""
        if self._chain is None:
            return MacCheck.UNKNOWN
        body, mac = command.data[: -self._size], command.data[-self._size :]
        self._chain = aes_cmac(self._mac, self._chain + _header(command, len(command.data)) + body)
        return MacCheck.RIGHT if self._chain[: self._size] == mac else MacCheck.WRONG

    def open_command(self, command: CommandApdu, *, hidden: bool) -> OpenedCommand:
        """MAC off, then decrypt under the counter of this command."""
        self._counter += 1
        if not self._level & _C_MAC:
            return OpenedCommand(_plain(command, command.data), MacCheck.NONE)
        if hidden:
            self._chain = None
            return OpenedCommand(_plain(command, command.data[: -self._size]), MacCheck.UNKNOWN)
        if len(command.data) < self._size:
            raise ValueError("the MAC is missing")
        check = self._check(command)
        data = command.data[: -self._size]
        if data and self._level & _C_DECRYPTION:
            vector = aes_block(self._enc, self._counter.to_bytes(AES_BLOCK, "big"))
            data = unpad(aes_cbc_decrypt(self._enc, vector, data))
        return OpenedCommand(_plain(command, data), check)

    def open_response(self, response: ResponseApdu, *, hidden: bool) -> OpenedResponse:
        """R-MAC off, then decrypt under the counter of the command with its first bit set."""
        protected = response.sw == 0x9000 or response.sw.sw1 in _WARNINGS  # noqa: PLR2004 - 6.2.5
        if not self._level & _R_MAC or not protected:
            return OpenedResponse(response, MacCheck.NONE)
        if len(response.data) < self._size:
            raise ValueError("the response MAC is missing")
        data, mac = response.data[: -self._size], response.data[-self._size :]
        check = MacCheck.UNKNOWN
        if self._chain is not None and not hidden:
            expected = aes_cmac(self._rmac, self._chain + data + response.sw.encode())[: self._size]
            check = MacCheck.RIGHT if expected == mac else MacCheck.WRONG
        if data and self._level & _R_ENCRYPTION and not hidden:
            vector = aes_block(self._enc, (_RESPONSE_FLAG | self._counter).to_bytes(AES_BLOCK, "big"))
            data = unpad(aes_cbc_decrypt(self._enc, vector, data))
        return OpenedResponse(ResponseApdu(data, response.sw), check)

    def __repr__(self) -> str:
        return f"Scp03Reader(level {self._level:02X})"


def _kdf(key: bytes, constant: int, context: bytes, length: int) -> bytes:
    """Data derivation of SCP03, clause 4.1.5."""
    blocks = (
        aes_cmac(key, bytes(11) + bytes((constant, 0)) + (8 * length).to_bytes(2, "big") + bytes((counter,)) + context)
        for counter in range(1, -(-length // AES_BLOCK) + 1)
    )
    return b"".join(blocks)[:length]


class Scp02Reader:
    """SCP02 with triple DES keys; the MAC is over the plain data and comes before encryption.

    Args:
        keys: static keys.
        host_challenge: 8 bytes.
        answer: diversification 10 ‖ key information 2 ‖ sequence 2 ‖ challenge 6 ‖ cryptogram 8.

    Attributes:
        card_is_genuine: the card cryptogram is that of these keys.
    """

    name = "SCP02"

    def __init__(self, keys: ChannelKeys, host_challenge: bytes, answer: bytes) -> None:
        if len(answer) != _INFORMATION + 16 or len(keys.enc) != 16:  # noqa: PLR2004 - E.5.1.6
            raise ValueError("no answer of SCP02, or no triple DES keys")
        self._sequence = answer[_INFORMATION : _INFORMATION + 2]
        challenge = answer[_INFORMATION : _INFORMATION + DES_BLOCK]
        self._enc = self._session(keys.enc, b"\x01\x82")
        self._mac = self._session(keys.mac, b"\x01\x01")
        self._rmac = self._session(keys.mac, b"\x01\x02")
        self._challenges = host_challenge, challenge
        self.card_is_genuine = self._cryptogram(host_challenge + challenge) == answer[-DES_BLOCK:]
        self._vector: bytes | None = bytes(DES_BLOCK)
        self._encrypted_vector = True
        self._response_vector = bytes(DES_BLOCK)
        self._level = 0

    def _session(self, key: bytes, constant: bytes) -> bytes:
        return tdes_cbc_encrypt(key, bytes(DES_BLOCK), constant + self._sequence + bytes(12))

    def _cryptogram(self, challenges: bytes) -> bytes:
        return tdes_cbc_encrypt(self._enc, bytes(DES_BLOCK), pad(challenges, DES_BLOCK))[-DES_BLOCK:]

    def authenticate(self, command: CommandApdu) -> MacCheck:
        """EXTERNAL AUTHENTICATE: host cryptogram and MAC."""
        self._level = command.p1
        host, card = self._challenges
        genuine = command.data[:DES_BLOCK] == self._cryptogram(card + host)
        check = self._check(command, command.data[:-DES_BLOCK], command.data[-DES_BLOCK:])
        return check if genuine else MacCheck.WRONG

    def _check(self, command: CommandApdu, data: bytes, mac: bytes) -> MacCheck:
        """The vector of the first MAC is zero, later the MAC before, which most cards encrypt (i = 15, 55)."""
        if self._vector is None:
            return MacCheck.UNKNOWN
        message = pad(_header(command, len(data) + DES_BLOCK) + data, DES_BLOCK)
        begun = any(self._vector)
        vectors = {True: tdes_cbc_encrypt(self._mac[:DES_BLOCK], bytes(DES_BLOCK), self._vector), False: self._vector}
        ways = (self._encrypted_vector, not self._encrypted_vector) if begun else (False,)
        for way in ways:
            if retail_mac(self._mac, message, vectors[way]) == mac:
                self._encrypted_vector = way if begun else self._encrypted_vector
                self._vector = mac
                return MacCheck.RIGHT
        self._vector = mac
        return MacCheck.WRONG

    def open_command(self, command: CommandApdu, *, hidden: bool) -> OpenedCommand:
        """Decrypt, then check the MAC."""
        if not self._level & _C_MAC:
            return OpenedCommand(_plain(command, command.data), MacCheck.NONE)
        if hidden:
            self._vector = None
            return OpenedCommand(_plain(command, command.data[:-DES_BLOCK]), MacCheck.UNKNOWN)
        if len(command.data) < DES_BLOCK:
            raise ValueError("the MAC is missing")
        data, mac = command.data[:-DES_BLOCK], command.data[-DES_BLOCK:]
        if data and self._level & _C_DECRYPTION:
            data = unpad(tdes_cbc_decrypt(self._enc, bytes(DES_BLOCK), data))
        return OpenedCommand(_plain(command, data), self._check(command, data, mac))

    def open_response(self, response: ResponseApdu, *, hidden: bool) -> OpenedResponse:
        """A response MAC (level 11, 13) is taken off; it is not checked."""
        del hidden
        if not self._level & _R_MAC or len(response.data) < DES_BLOCK:
            return OpenedResponse(response, MacCheck.NONE)
        return OpenedResponse(ResponseApdu(response.data[:-DES_BLOCK], response.sw), MacCheck.UNKNOWN)

    def __repr__(self) -> str:
        return f"Scp02Reader(level {self._level:02X})"
