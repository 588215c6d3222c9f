"""The card side of Secure Channel Protocol '02', for programs in the field: explicit initiation with three DES keys.

`i` = 15 and 55, with response MACs 35 and 75: MACs over the modified command, initial chaining vector zero, encrypted
chaining vectors. Session keys come from the sequence counter, so they are the same until the first C-MAC of a session
was right.

Deviates: the keys of an R-MAC session are those of its secure channel session, as programs in the field compute them;
E.4.1 speaks of the counter at the time of BEGIN R-MAC SESSION, which has moved by then. An answer with an error status
carries no R-MAC, for such an answer has no data field (ISO/IEC 7816-3, 12.1.1); the R-MAC after it covers it.

Source: GlobalPlatform Card Specification 2.3.1, appendix E, clauses B.1 (DES) and B.1.3 (padding).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, ClassVar, Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from card_os.globalplatform.secure_channel import (
    INS_EXTERNAL_AUTHENTICATE,
    DomainChannel,
    Protocol,
    SecurityLevel,
    is_secured,
    mac_header,
    needs_no_protection,
    plain_class,
)
from card_os.iso7816.apdu import MAX_SHORT_NC, CommandApdu
from card_os.iso7816.errors import (
    AuthenticationFailed,
    ConditionsNotSatisfied,
    IncorrectP1P2,
    SecurityStatusNotSatisfied,
)
from card_os.iso7816.status import SW, StatusWord
from card_os.security.block_ciphers import BlockCipher, cbc_decrypt, cbc_encrypt, ecb_decrypt, pad
from card_os.security.cryptography import equal, unpad

if TYPE_CHECKING:
    from collections.abc import Callable

    from card_os.globalplatform.keys import KeySet

BLOCK: Final = 8
SEQUENCE_LENGTH: Final = 2
CHALLENGE_LENGTH: Final = 6
HOST_CHALLENGE_LENGTH: Final = 8
CRYPTOGRAM_LENGTH: Final = 8
MAC_LENGTH: Final = 8

_ZERO: Final = bytes(BLOCK)
_WARNING_SW1: Final = (0x62, 0x63)
_CHANNEL_BITS: Final = 0x90


class Scp02Implementation(IntFlag):
    """Bits of the parameter `i` (table E-1); 15 is what every implementation here has."""

    EXPLICIT_THREE_KEYS = 0x15
    R_MAC = 0x20
    PSEUDO_RANDOM = 0x40


IMPLEMENTATIONS: Final = frozenset({0x15, 0x35, 0x55, 0x75})
"""The values of `i` that the card can offer."""
_COMMAND_LEVELS: Final = frozenset({0x00, 0x01, 0x03})
_ALL_LEVELS: Final = _COMMAND_LEVELS | {0x10, 0x11, 0x13}


class SessionKeyConstant(IntEnum):
    """What a session key is for, first two bytes of its derivation data (E.4.1)."""

    C_MAC = 0x0101
    R_MAC = 0x0102
    DEK = 0x0181
    ENC = 0x0182


def security_levels(implementation: int) -> frozenset[int]:
    """The security levels that an implementation offers (table E-11)."""
    return _ALL_LEVELS if implementation & Scp02Implementation.R_MAC else _COMMAND_LEVELS


def session_key(key: bytes, constant: SessionKeyConstant, sequence: bytes) -> bytes:
    """Triple DES in CBC over constant (2) ‖ sequence counter (2) ‖ 12 × 00 (E.4.1)."""
    return cbc_encrypt(BlockCipher.TRIPLE_DES, key, constant.to_bytes(2, "big") + sequence + bytes(12))


def card_challenge(key_mac: bytes, sequence: bytes, aid: bytes) -> bytes:
    """The pseudo-random card challenge: the first 6 bytes of the MAC over the AID under the C-MAC key (E.4.2.3)."""
    mac = RetailMac(session_key(key_mac, SessionKeyConstant.C_MAC, sequence))
    return mac.compute(_ZERO, aid)[:CHALLENGE_LENGTH]


class RetailMac:
    """Single DES with a final triple DES under one key, chained from an initial vector (B.1.2.2).

    Keyed once: running CBC ciphers are given each message behind what they produced last, so that the wanted vector
    comes out of the exclusive or.
    """

    __slots__ = ("_last", "_single", "_triple")

    def __init__(self, key: bytes) -> None:
        self._single = Cipher(TripleDES(key[:BLOCK] * 3), modes.CBC(_ZERO)).encryptor()
        self._triple = Cipher(TripleDES(key + key[:BLOCK]), modes.ECB()).encryptor()  # noqa: S305 - one block, as B.1.2.2 says
        self._last = 0

    def compute(self, vector: bytes, message: bytes) -> bytes:
        """The MAC of ``message``, 8 bytes; it is padded here."""
        padded = pad(message, BLOCK)
        chained = int.from_bytes(vector, "big")
        if len(padded) > BLOCK:
            first = int.from_bytes(padded[:BLOCK], "big") ^ chained ^ self._last
            out = self._single.update(first.to_bytes(BLOCK, "big") + padded[BLOCK:-BLOCK])
            self._last = chained = int.from_bytes(out[-BLOCK:], "big")
        last = int.from_bytes(padded[-BLOCK:], "big") ^ chained
        return self._triple.update(last.to_bytes(BLOCK, "big"))

    def encrypt_vector(self, vector: bytes) -> bytes:
        """Single DES of a chaining vector under the first half of the key (E.3.4)."""
        out = self._single.update((int.from_bytes(vector, "big") ^ self._last).to_bytes(BLOCK, "big"))
        self._last = int.from_bytes(out, "big")
        return out


def _full_mac(key: bytes, message: bytes) -> bytes:
    """Triple DES in CBC, the last block (B.1.2.1)."""
    return cbc_encrypt(BlockCipher.TRIPLE_DES, key, pad(message, BLOCK))[-BLOCK:]


class Scp02Channel(DomainChannel):
    """One session; see `DomainChannel`.

    Args:
        keys: the static key set, three keys of 16 bytes.
        host_challenge: 8 bytes.
        sequence: sequence counter, 2 bytes.
        challenge: card challenge, 6 bytes.
        implementation: the parameter `i`.
        first_mac: called once the first C-MAC is right, before anything else: moves the sequence counter.

    Attributes:
        cryptogram: card cryptogram, for the answer to INITIALIZE UPDATE.
        levels: security levels that EXTERNAL AUTHENTICATE may choose.
    """

    __slots__ = (
        "_answers",
        "_bare",
        "_command",
        "_dek",
        "_enc",
        "_first_mac",
        "_host_cryptogram",
        "_mac",
        "_next_answers",
        "_r_session",
        "_r_vector",
        "_ready",
        "_rmac",
        "_seals",
        "_vector",
        "cryptogram",
        "levels",
    )

    protocol: ClassVar[Protocol] = Protocol.SCP02
    sensitive_block: ClassVar[int] = BLOCK
    proof_length: ClassVar[int] = CRYPTOGRAM_LENGTH + MAC_LENGTH

    def __init__(
        self,
        keys: KeySet,
        host_challenge: bytes,
        sequence: bytes,
        challenge: bytes,
        implementation: int,
        first_mac: Callable[[], None],
    ) -> None:
        super().__init__(keys.version)
        self._enc = session_key(keys.enc, SessionKeyConstant.ENC, sequence)
        self._mac = RetailMac(session_key(keys.mac, SessionKeyConstant.C_MAC, sequence))
        self._dek = session_key(keys.dek, SessionKeyConstant.DEK, sequence)
        can_seal = implementation & Scp02Implementation.R_MAC
        self._rmac = RetailMac(session_key(keys.mac, SessionKeyConstant.R_MAC, sequence)) if can_seal else None
        self.cryptogram = _full_mac(self._enc, host_challenge + sequence + challenge)
        self._host_cryptogram = _full_mac(self._enc, sequence + challenge + host_challenge)
        self.levels = security_levels(implementation)
        self._first_mac = first_mac
        self._vector = self._r_vector = _ZERO
        self._command: CommandApdu | None = None
        self._ready = self._bare = False
        self._seals = self._answers = self._next_answers = self._r_session = False

    def authenticate(self, command: CommandApdu) -> None:
        """EXTERNAL AUTHENTICATE: verify the C-MAC, count the session, verify the host cryptogram, take the level of P1.

        Args:
            command: as it came; data is host cryptogram (8) ‖ C-MAC (8), P1 one of `security_levels`.

        Raises:
            AuthenticationFailed: 6300, cryptogram or MAC is wrong; which of them is not told.
        """
        cryptogram, mac = command.data[:CRYPTOGRAM_LENGTH], command.data[CRYPTOGRAM_LENGTH:]
        expected = self._mac.compute(_ZERO, mac_header(command, len(command.data)) + cryptogram)
        proved = equal(cryptogram, self._host_cryptogram)
        if not equal(mac, expected):
            raise AuthenticationFailed("host cryptogram or MAC is wrong")
        self._first_mac()
        if not proved:
            raise AuthenticationFailed("host cryptogram or MAC is wrong")
        self._vector = self._r_vector = expected
        self._open(command.p1, authenticated=True)
        self._ready = True
        self._seals = self._answers = self._next_answers = bool(command.p1 & SecurityLevel.R_MAC)

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Decrypt, and verify the C-MAC over the plain command (E.4.4 and E.4.6).

        Raises:
            SecurityStatusNotSatisfied: 6982, the MAC is missing or wrong, the cryptogram is malformed, or the session
                is not open.
        """
        self._command = None
        if not self._ready:
            if command.ins == INS_EXTERNAL_AUTHENTICATE and is_secured(command.cla):
                return command
            raise SecurityStatusNotSatisfied("the session is not open")
        self._answers, self._bare = self._next_answers, False
        if needs_no_protection(command):
            return command
        if self.level & SecurityLevel.C_MAC:
            command = self._verify(command)
        self._command = command
        return command

    def is_whole(self, command: CommandApdu) -> bool:
        """See `DomainChannel.is_whole`."""
        vector = self._vector
        try:
            self._verify(command)
        except SecurityStatusNotSatisfied:
            return False
        finally:
            self._vector = vector
        return True

    def _verify(self, command: CommandApdu) -> CommandApdu:
        if not is_secured(command.cla):
            raise SecurityStatusNotSatisfied("the session demands protected commands")
        body, mac = command.data[:-MAC_LENGTH], command.data[-MAC_LENGTH:]
        if len(mac) != MAC_LENGTH:
            raise SecurityStatusNotSatisfied("the command has no C-MAC")
        if body and self.level & SecurityLevel.C_ENC:
            try:
                body = unpad(cbc_decrypt(BlockCipher.TRIPLE_DES, self._enc, body))
            except ValueError as error:
                raise SecurityStatusNotSatisfied("the command cryptogram is malformed") from error
        vector = self._mac.encrypt_vector(self._vector)
        expected = self._mac.compute(vector, mac_header(command, len(body) + MAC_LENGTH) + body)
        if not equal(mac, expected):
            raise SecurityStatusNotSatisfied("the C-MAC is wrong")
        self._vector = expected
        return command._replace(cla=plain_class(command.cla), data=body)

    def wrap(self, data: bytes, sw: StatusWord) -> tuple[bytes, StatusWord]:
        """Chain the R-MAC over command and response; it stands behind the response when the session says so (E.4.5)."""
        command = self._command
        if not self._seals or self._bare or command is None or self._rmac is None:
            return data, sw
        error = sw != SW.OK and sw >> 8 not in _WARNING_SW1
        if error:
            data = b""
        length = len(command.data)
        lc = bytes((length,)) if length <= MAX_SHORT_NC else bytes((0, length >> 8, length & 0xFF))
        head = bytes((command.cla & _CHANNEL_BITS, command.ins, command.p1, command.p2)) + lc + command.data
        block = head + bytes((len(data) & 0xFF,)) + data + sw.to_bytes(2, "big")
        self._r_vector = self._rmac.compute(self._r_vector, block)
        return (data + self._r_vector, sw) if self._answers and not error else (data, sw)

    def decrypt_sensitive(self, data: bytes) -> bytes:
        """Triple DES in ECB under the session's DEK (E.4.7)."""
        return ecb_decrypt(BlockCipher.TRIPLE_DES, self._dek, data)

    def begin_r_mac(self, level: int) -> None:
        """See `DomainChannel.begin_r_mac`; the R-MAC covers this command and its answer already (E.4.5).

        With level 00 only END R-MAC SESSION tells the R-MAC.
        """
        if level not in (0, SecurityLevel.R_MAC) or self._rmac is None:
            raise IncorrectP1P2("no such level of response security")
        if self._seals:
            raise ConditionsNotSatisfied("an R-MAC session is going on")
        self._seals = self._r_session = True
        self._next_answers = bool(level)

    def end_r_mac(self, *, ends: bool) -> bytes:
        """See `DomainChannel.end_r_mac`; the command itself is not covered (E.4.5)."""
        if not self._r_session:
            raise ConditionsNotSatisfied("no R-MAC session was begun")
        self._bare = True
        if ends:
            self._seals = self._r_session = self._next_answers = False
        return self._r_vector
