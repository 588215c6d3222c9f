"""Secure messaging with AES session keys, as Secure Channel Protocols '03' and '11' share it: the off-card side.

One state machine over bytes; nothing here speaks to a card.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '03', Amendment D v1.1.1, clauses 6.2.4 to 6.2.7, and
v1.2 for S16 mode (MACs of 16 bytes); Amendment F takes it over for Secure Channel Protocol '11'.
"""

from __future__ import annotations

from enum import IntFlag
from hmac import compare_digest
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from card_os.iso7816.apdu import MAX_EXTENDED_NE, MAX_SHORT_NC, MAX_SHORT_NE, CommandApdu, ResponseApdu
from card_os.iso7816.status import SW, StatusWord
from personalization.errors import PersonalizationError
from personalization.globalplatform.class_byte import mac_class, protected_class

BLOCK: Final = 16
MAC_LENGTH: Final = 8
"""Bytes of a MAC in S8 mode."""

_ZERO_BLOCK: Final = bytes(BLOCK)
_SECURE_MESSAGING_CLASS_BIT: Final = 0x04
_CHANNEL_BITS: Final = 0x43
_RESPONSE_COUNTER_FLAG: Final = 0x80 << 120
_STATUS_LENGTH: Final = 2
_OK: Final = SW.OK
_OK_TRAILER: Final = SW.OK.encode()
_EXTERNAL_AUTHENTICATE: Final = (0x84, 0x82)
_SHORT_LE: Final = (b"", *(bytes((ne & 0xFF,)) for ne in range(1, MAX_SHORT_NE + 1)))
_PADDING: Final = tuple(b"\x80" + bytes(BLOCK - 1 - remainder) for remainder in range(BLOCK))

_number: Final = int.from_bytes
_response: Final = tuple.__new__
"""Makes a `ResponseApdu` in half the time of calling it."""


class SecurityLevel(IntFlag):
    """P1 of EXTERNAL AUTHENTICATE: what protects the commands and responses that follow (table 7-1)."""

    NONE = 0x00
    C_MAC = 0x01
    C_ENC = 0x02
    R_MAC = 0x10
    R_ENC = 0x20


FULL_PROTECTION: Final = SecurityLevel.C_MAC | SecurityLevel.C_ENC | SecurityLevel.R_MAC | SecurityLevel.R_ENC
SECURITY_LEVELS: Final = frozenset({0x00, 0x01, 0x03, 0x11, 0x13, 0x33})
"""The levels that Amendment D defines; every other value is invalid."""

_C_MAC: Final = int(SecurityLevel.C_MAC)
_C_ENC: Final = int(SecurityLevel.C_ENC)
_R_MAC: Final = int(SecurityLevel.R_MAC)
_R_ENC: Final = int(SecurityLevel.R_ENC)
_R_BOTH: Final = _R_MAC | _R_ENC


class SessionKeys(NamedTuple):
    """The derived keys of one session."""

    enc: bytes
    mac: bytes
    rmac: bytes

    def __repr__(self) -> str:
        """Nothing: the fields are keys."""
        return "SessionKeys(…)"


def max_command_data(level: int, limit: int = MAX_SHORT_NC, mac_length: int = MAC_LENGTH) -> int:
    """The most plain data bytes that one command holds under ``level``; of a short one 255, 247 or 239.

    Args:
        level: security level.
        limit: the most protected data bytes of one command.
        mac_length: 8, or 16 in S16 mode.
    """
    if not level & _C_MAC:
        return limit
    room = limit - mac_length
    return room if not level & _C_ENC else room // BLOCK * BLOCK - 1


class SecureMessaging:
    """Wraps commands and unwraps responses of one session; commands and responses alternate.

    The keyed CMAC objects are copied, not keyed again, and one CBC encryptor runs through the whole session: fed with
    (its last ciphertext block xor the counter block) it gives the initial vector of a command, then takes the data.
    The decryptor is fed the vector as a ciphertext block, whose own plaintext is thrown away.

    Args:
        keys: session keys.
        level: one of `SECURITY_LEVELS`; holds from the first command after EXTERNAL AUTHENTICATE.
        mac_length: bytes of a MAC that are sent: 8, or 16 in S16 mode.
        chain: first chaining value of the MACs; zeroes, but for protocols that begin with a receipt.
        keyed: a CMAC under the MAC key, where there is one already.

    Raises:
        ValueError: ``level`` is none of Amendment D.
    """

    __slots__ = (
        "_chain",
        "_cmac",
        "_counter",
        "_decryptor",
        "_encryptor",
        "_encrypts_commands",
        "_encrypts_responses",
        "_in_r_mac_session",
        "_last_block",
        "_mac_length",
        "_max_data",
        "_rmac",
        "_verifies_responses",
        "level",
    )

    def __init__(
        self,
        keys: SessionKeys,
        level: int,
        *,
        mac_length: int = MAC_LENGTH,
        chain: bytes = _ZERO_BLOCK,
        keyed: CMAC | None = None,
    ) -> None:
        if level not in SECURITY_LEVELS:
            raise ValueError(f"security level {level:02X} is not one of Amendment D")
        self.level = level = int(level)
        self._mac_length = mac_length
        self._max_data = max_command_data(level, mac_length=mac_length)
        self._encrypts_commands = bool(level & _C_ENC)
        self._encrypts_responses = bool(level & _R_ENC)
        self._verifies_responses = bool(level & _R_MAC)
        self._cmac = keyed or CMAC(algorithms.AES(keys.mac))
        self._rmac = CMAC(algorithms.AES(keys.rmac))
        cipher = Cipher(algorithms.AES(keys.enc), modes.CBC(_ZERO_BLOCK))
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()
        self._last_block = 0
        self._chain = chain
        self._counter = 0
        self._in_r_mac_session = False

    def max_data(self, limit: int = MAX_SHORT_NC) -> int:
        """The most plain data bytes of a command whose protected data field has at most ``limit`` bytes."""
        return max_command_data(self.level, limit, self._mac_length)

    def external_authenticate(self, cryptogram: bytes) -> bytes:
        """The EXTERNAL AUTHENTICATE command with its C-MAC, which starts the MAC chain (clause 7.1.2)."""
        length = len(cryptogram) + self._mac_length
        return self._seal(bytes((*_EXTERNAL_AUTHENTICATE, self.level, 0, length)) + cryptogram)

    def begin_r_mac(self, protection: int) -> None:
        """Before BEGIN R-MAC SESSION: refuse what the card would refuse (clause 7.1.3.7).

        Args:
            protection: 10 for R-MAC, 30 for R-MAC and R-ENCRYPTION.

        Raises:
            ValueError: the session has that protection, or its commands are protected less.
        """
        allowed = {
            _R_MAC: self.level & _C_MAC and not self._verifies_responses,
            _R_BOTH: self.level & _C_ENC and not self._encrypts_responses,
        }
        if self._in_r_mac_session or not allowed.get(int(protection)):
            raise ValueError(
                f"response protection {protection:02X} cannot begin in a session of level {self.level:02X}"
            )

    def r_mac_begun(self, protection: int, *, accepted: bool) -> None:
        """After the answer to BEGIN R-MAC SESSION: responses from the next one on are protected by it."""
        if accepted:
            self._in_r_mac_session = self._verifies_responses = True
            self._encrypts_responses |= bool(protection & _R_ENC)

    def end_r_mac(self) -> bytes | None:
        """Before END R-MAC SESSION; None: its answer proves itself by its own R-MAC, and has no other data.

        Raises:
            ValueError: no such session is open.
        """
        if not self._in_r_mac_session:
            raise ValueError("no R-MAC session is open")
        return None

    def r_mac_ended(self) -> None:
        """After the answer to END R-MAC SESSION: back to the level of EXTERNAL AUTHENTICATE (clause 7.1.4.1)."""
        self._in_r_mac_session = False
        self._verifies_responses = bool(self.level & _R_MAC)
        self._encrypts_responses = bool(self.level & _R_ENC)

    def wrap(self, command: CommandApdu) -> bytes:
        """Protect one command and encode it; its class byte is given in plain.

        Under R-MAC a command without Le gets one, for its response has data. One that expects more than 256 bytes goes
        in extended length.

        Raises:
            ValueError: the data field does not fit (see `max_command_data`).
        """
        if not self.level:
            return command.encode()
        cla, ins, p1, p2, data, ne, extended = command
        if len(data) > self._max_data and not extended:
            raise ValueError(f"{len(data)} data bytes do not fit one short command under level {self.level:02X}")
        self._counter = counter = self._counter + 1
        if data and self._encrypts_commands:
            first = (self._last_block ^ counter).to_bytes(BLOCK, "big")
            data = self._encryptor.update(first + data + _PADDING[len(data) % BLOCK])[BLOCK:]
            self._last_block = _number(data[-BLOCK:], "big")
        length = len(data) + self._mac_length
        if extended or ne > MAX_SHORT_NE:
            ne = ne or (MAX_EXTENDED_NE if self._verifies_responses else 0)
            header = bytes((protected_class(cla), ins, p1, p2, 0, length >> 8, length & 0xFF))
            return self._seal(header + data) + ((ne & 0xFFFF).to_bytes(2, "big") if ne else b"")
        if not ne and self._verifies_responses:
            ne = MAX_SHORT_NE
        if cla & _CHANNEL_BITS:
            return self._seal(bytes((protected_class(cla), ins, p1, p2, length)) + data) + _SHORT_LE[ne]
        # What `_seal` does, without the call: nearly every command comes this way.
        sent = bytes((cla | _SECURE_MESSAGING_CLASS_BIT, ins, p1, p2, length)) + data
        mac = self._cmac.copy()
        mac.update(self._chain + sent)
        self._chain = chain = mac.finalize()
        return sent + chain[: self._mac_length] + _SHORT_LE[ne]

    def _seal(self, command: bytes) -> bytes:
        """Move the MAC chain over header, Lc′ and data and append the bytes of it that are sent (clause 6.2.4).

        The class byte enters the MAC with its logical channel as zero.
        """
        mac = self._cmac.copy()
        if command[0] & _CHANNEL_BITS:
            mac.update(self._chain + bytes((mac_class(command[0]),)) + command[1:])
        else:
            mac.update(self._chain + command)
        self._chain = chain = mac.finalize()
        return command + chain[: self._mac_length]

    def unwrap(self, response: bytes) -> ResponseApdu:
        """Verify and decrypt one response.

        Args:
            response: data field ‖ SW1 ‖ SW2 as the card sent it.

        Returns:
            Plain data and status word. An error status (neither 9000 nor 62xx nor 63xx) has no MAC by clause 6.2.5; it
            comes back as it is, without data, and can only mean that the command failed.

        Raises:
            PersonalizationError: "response-not-authentic": the R-MAC is missing or wrong, data came with an error
                status, or the padding is wrong.
        """
        trailer = response[-_STATUS_LENGTH:]
        sw = _OK if trailer == _OK_TRAILER else StatusWord.parse(trailer)
        if not self._verifies_responses:
            return ResponseApdu(response[:-_STATUS_LENGTH], sw)
        if sw is not _OK and not sw.warning:
            if len(response) > _STATUS_LENGTH:
                raise PersonalizationError("response-not-authentic", reason="data with an error status")
            return ResponseApdu(b"", sw)
        data_length = len(response) - _STATUS_LENGTH - self._mac_length
        if data_length < 0:
            raise PersonalizationError("response-not-authentic", reason="the response MAC is missing")
        data = response[:data_length]
        mac = self._rmac.copy()
        mac.update(self._chain + data + trailer)
        if not compare_digest(mac.finalize()[: self._mac_length], response[data_length:-_STATUS_LENGTH]):
            raise PersonalizationError("response-not-authentic", reason="the response MAC is wrong")
        if data and self._encrypts_responses:
            data = self._decrypt(data)
        return _response(ResponseApdu, (data, sw))

    def _decrypt(self, data: bytes) -> bytes:
        """Decrypt response data under the counter of its command with the response flag (clause 6.2.7)."""
        if len(data) % BLOCK:
            raise PersonalizationError("response-not-authentic", reason="the cryptogram is no whole number of blocks")
        counter = _RESPONSE_COUNTER_FLAG | self._counter
        vector = self._encryptor.update((self._last_block ^ counter).to_bytes(BLOCK, "big"))
        self._last_block = _number(vector, "big")
        plain = self._decryptor.update(vector + data)[BLOCK:]
        end = plain.rfind(b"\x80")
        if end < len(plain) - BLOCK or plain[end + 1 :].strip(b"\x00"):
            raise PersonalizationError("response-not-authentic", reason="the padding is wrong")
        return plain[:end]
