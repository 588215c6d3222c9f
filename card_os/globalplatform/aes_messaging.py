"""Secure messaging with AES session keys, as Secure Channel Protocols '03' and '11' share it.

S8 mode sends the first 8 bytes of each MAC, S16 mode all 16; the whole MAC of a command is the chaining value of the
next one. The encryption counter moves with every command, also one without data.

Source: GlobalPlatform Amendment D v1.1.1, clauses 6.2.4 to 6.2.8, and v1.2 (S16 mode); Amendment F.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple

from card_os.globalplatform.secure_channel import (
    MAC_CLASS,
    MAC_CLASS_MASK,
    PLAIN_CLASS,
    SECURED_CLASS,
    DomainChannel,
    SecurityLevel,
    mac_header,
    needs_no_protection,
)
from card_os.iso7816.apdu import MAX_SHORT_NC, CommandApdu
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, SecurityStatusNotSatisfied
from card_os.iso7816.status import SW, StatusWord
from card_os.security.cryptography import BLOCK, AesCmac, AesCounterCbc, aes_cbc_decrypt, equal, pad, unpad

S8_MAC: Final = 8
"""Bytes of a MAC, a challenge and a cryptogram in S8 mode."""
S16_MAC: Final = 16
"""The same in S16 mode."""
MAX_PROTECTED_RESPONSE: Final = 239
"""The most plain response bytes that fit 256 with padding, encryption and R-MAC, in both modes."""

_RESPONSE_COUNTER_FLAG: Final = 0x80 << 120
_WARNING_SW1: Final = (0x62, 0x63)
_OK: Final = SW.OK
_OK_BYTES: Final = SW.OK.encode()
_command: Final = tuple.__new__
"""Makes a `CommandApdu` in half the time of calling it."""
_RESPONSE_LEVELS: Final = (SecurityLevel.R_MAC, SecurityLevel.R_MAC | SecurityLevel.R_ENC)


class SessionKeys(NamedTuple):
    """The AES keys of one session, and the key for sensitive data."""

    enc: bytes
    mac: bytes
    rmac: bytes
    dek: bytes

    def __repr__(self) -> str:
        """Nothing: the fields are keys."""
        return "SessionKeys()"


class AesMessaging(DomainChannel):
    """A session of SCP03 or SCP11.

    Args:
        key_version: version of the key set or key that opens it.
        keys: its keys.
        chain: first MAC chaining value, 16 bytes.
        mac_length: 8 in S8 mode, 16 in S16 mode.
        r_enc: the implementation can encrypt responses; of use for BEGIN R-MAC SESSION only.
        r_mac: the implementation can put MACs on responses, likewise.
    """

    __slots__ = (
        "_bare",
        "_cbc",
        "_chain",
        "_cmac",
        "_counter",
        "_decrypts",
        "_dek",
        "_encrypts",
        "_mac_length",
        "_maced",
        "_next",
        "_r_level",
        "_r_levels",
        "_ready",
        "_rmac",
        "_seals",
    )

    sensitive_block: ClassVar[int] = BLOCK

    def __init__(
        self, key_version: int, keys: SessionKeys, chain: bytes, *, mac_length: int, r_mac: bool, r_enc: bool
    ) -> None:
        super().__init__(key_version)
        self._cmac = AesCmac(keys.mac)
        self._rmac = AesCmac(keys.rmac)
        self._cbc = AesCounterCbc(keys.enc)
        self._dek = keys.dek
        self._chain = chain
        self._counter = 0
        self._mac_length = mac_length
        self._r_levels = _RESPONSE_LEVELS[: r_mac + (r_mac and r_enc)]
        self._r_level: int | None = None
        self._next: int | None = None
        self._ready = False
        self._bare = True
        self._maced = self._decrypts = self._seals = self._encrypts = False

    def _start(self, level: int, *, authenticated: bool) -> None:
        """The session is open, at a security level; the answer to the command that opened it is in plain."""
        self._open(level, authenticated=authenticated)
        self._ready = True
        self._maced = bool(level & SecurityLevel.C_MAC)
        self._decrypts = bool(level & SecurityLevel.C_ENC)
        self._set_response_level(level)

    def _set_response_level(self, level: int) -> None:
        self._seals = bool(level & SecurityLevel.R_MAC)
        self._encrypts = bool(level & SecurityLevel.R_ENC)

    def _before(self, command: CommandApdu) -> CommandApdu:
        """A command that comes before the session is open.

        Raises:
            SecurityStatusNotSatisfied: 6982, none may.
        """
        del command
        raise SecurityStatusNotSatisfied("the session is not open")

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Verify the C-MAC and decrypt (Amendment D, 6.2.4 and 6.2.6).

        Raises:
            SecurityStatusNotSatisfied: 6982, the MAC is missing or wrong, the cryptogram is malformed, or the session
                is not open.
        """
        if not self._ready:
            return self._before(command)
        if self._next is not None:
            self._set_response_level(self._next)
            self._next = None
        self._bare = False
        if not self._maced:
            return command
        cla, ins, p1, p2, data, ne, extended = command
        if not SECURED_CLASS[cla]:
            return self._plain(command)
        size, length = self._mac_length, len(data)
        if length < size:
            raise SecurityStatusNotSatisfied("the command has no C-MAC")
        body = data[:-size]
        if extended or length > MAX_SHORT_NC:
            header = mac_header(command, length)
        else:
            header = bytes((cla & MAC_CLASS_MASK | MAC_CLASS, ins, p1, p2, length))
        chain = self._cmac.compute(self._chain + header + body)
        if not equal(chain[:size], data[-size:]):
            raise SecurityStatusNotSatisfied("the C-MAC is wrong")
        self._chain = chain
        self._counter += 1
        if body and self._decrypts:
            try:
                body = unpad(self._cbc.decrypt(self._counter, body))
            except ValueError as error:
                raise SecurityStatusNotSatisfied("the command cryptogram is malformed") from error
        return _command(CommandApdu, (PLAIN_CLASS[cla], ins, p1, p2, body, ne, extended))

    def is_whole(self, command: CommandApdu) -> bool:
        """See `DomainChannel.is_whole`."""
        if not self._maced:
            return True
        body, mac = command.data[: -self._mac_length], command.data[-self._mac_length :]
        expected = self._cmac.compute(self._chain + mac_header(command, len(command.data)) + body)
        return equal(expected[: self._mac_length], mac)

    def _plain(self, command: CommandApdu) -> CommandApdu:
        """A command that is not protected, which few may be; so is its answer."""
        if not needs_no_protection(command):
            raise SecurityStatusNotSatisfied("the session demands protected commands")
        self._bare = True
        return command

    def wrap(self, data: bytes, sw: StatusWord) -> tuple[bytes, StatusWord]:
        """Encrypt and MAC a response (Amendment D, 6.2.5 and 6.2.7).

        Only 9000, 62xx and 63xx get a MAC; an error status goes alone. What opens a session is answered in plain.
        """
        if not self._seals or self._bare:
            return data, sw
        if sw is _OK or sw == _OK:
            trailer = _OK_BYTES
        elif sw >> 8 in _WARNING_SW1:
            trailer = sw.to_bytes(2, "big")
        else:
            return b"", sw
        if data and self._encrypts:
            data = self._cbc.encrypt(_RESPONSE_COUNTER_FLAG | self._counter, pad(data))
        mac = self._rmac.compute(self._chain + data + trailer)
        return data + mac[: self._mac_length], sw

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """AES-CBC with a zero IV, under the static Key-DEK in SCP03 and S-DEK in SCP11 (Amendment D, 6.2.8)."""
        return aes_cbc_decrypt(self._dek, data)

    def begin_r_mac(self, level: int) -> None:
        """See `DomainChannel.begin_r_mac`; no more than the commands have (Amendment D, 7.1.3.7)."""
        if level not in self._r_levels:
            raise IncorrectP1P2("no such level of response security")
        enough = SecurityLevel.C_MAC | (SecurityLevel.C_ENC if level & SecurityLevel.R_ENC else 0)
        if self._r_level is not None or level & ~self.level == 0 or self.level & SecurityLevel.R_ENC:
            raise ConditionsNotSatisfied("the responses of this session have that protection")
        if self.level & enough != enough:
            raise ConditionsNotSatisfied("the commands of this session have less protection")
        self._r_level = self._next = level

    def end_r_mac(self, *, ends: bool) -> bytes:
        """See `DomainChannel.end_r_mac`; the R-MAC of the answer itself is the one that is asked for."""
        if not ends:
            raise IncorrectP1P2("SCP03 ends the R-MAC session when it returns the R-MAC")
        if self._r_level is None:
            raise ConditionsNotSatisfied("no R-MAC session was begun")
        self._r_level = None
        self._next = self.level
        return b""
