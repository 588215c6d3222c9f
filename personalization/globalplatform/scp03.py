"""The off-card side of Secure Channel Protocol '03': derivation, cryptograms, wrapping and unwrapping.

Pure functions and one state machine over bytes; nothing here speaks to a card.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '03', Amendment D v1.1.1, clauses 4 to 7, and v1.2 for
S16 mode (challenges, cryptograms and MACs of 16 bytes); pseudo-random challenges and the derivation function are NIST
SP 800-108 in counter mode with CMAC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from hmac import compare_digest
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from card_os.iso7816.apdu import MAX_EXTENDED_NE, MAX_SHORT_NC, MAX_SHORT_NE, CommandApdu, ResponseApdu
from card_os.iso7816.status import SW, StatusWord
from personalization.errors import PersonalizationError
from personalization.globalplatform.class_byte import mac_class, protected_class
from personalization.globalplatform.data_key import AesDataKey

BLOCK: Final = 16
MAC_LENGTH: Final = 8
"""Bytes of a MAC, a challenge and a cryptogram in S8 mode."""
CHALLENGE_LENGTH: Final = 8
CRYPTOGRAM_LENGTH: Final = 8
S16_LENGTH: Final = 16
"""The same in S16 mode."""
DIVERSIFICATION_LENGTH: Final = 10
PROTOCOL: Final = 0x03

_ZERO_BLOCK: Final = bytes(BLOCK)
_KEY_LENGTHS: Final = (16, 24, 32)
_SECURE_MESSAGING_CLASS_BIT: Final = 0x04
_CHANNEL_BITS: Final = 0x43
_RESPONSE_COUNTER_FLAG: Final = 0x80 << 120
_FIXED_FIELDS: Final = DIVERSIFICATION_LENGTH + 3
_SEQUENCE_LENGTH: Final = 3
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

_SCP02_LEVELS: Final = frozenset({0x00, 0x01, 0x03, 0x10, 0x11, 0x13})
_SCP02_PSEUDO_RANDOM: Final = 0x40


class ImplementationBit(IntFlag):
    """Bits of the `i` parameter in the key information (table 5-1)."""

    S16 = 0x01
    PSEUDO_RANDOM_CHALLENGE = 0x10
    R_MAC = 0x20
    R_ENC = 0x40


_RESPONSE_BITS: Final = ImplementationBit.R_MAC | ImplementationBit.R_ENC
_KNOWN_BITS: Final = int(ImplementationBit.S16 | ImplementationBit.PSEUDO_RANDOM_CHALLENGE | _RESPONSE_BITS)


class _Derivation(IntEnum):
    """Data derivation constants (table 4-1)."""

    CARD_CRYPTOGRAM = 0x00
    HOST_CRYPTOGRAM = 0x01
    CARD_CHALLENGE = 0x02
    S_ENC = 0x04
    S_MAC = 0x06
    S_RMAC = 0x07


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """A set of three static AES keys of one length; the values never show in a repr.

    Attributes:
        version: key version number, 01..7F or FF for the factory set; 00 asks the card for its default set.
        enc: Key-ENC, 16, 24 or 32 bytes.
        mac: Key-MAC, as long.
        dek: Key-DEK, as long.
    """

    version: int
    enc: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    dek: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse lengths that are none of AES, or that differ."""
        if len(self.enc) not in _KEY_LENGTHS or not len(self.enc) == len(self.mac) == len(self.dek):
            raise ValueError("the three keys of a set have one length of 16, 24 or 32 bytes")


class SessionKeys(NamedTuple):
    """The derived keys of one session."""

    enc: bytes
    mac: bytes
    rmac: bytes

    def __repr__(self) -> str:
        """Nothing: the fields are keys."""
        return "SessionKeys(…)"


class InitializeUpdateResponse(NamedTuple):
    """What a card answers to INITIALIZE UPDATE (clause 7.1.1.6).

    Attributes:
        diversification: 10 bytes of key diversification data; for our cards the card number.
        key_version: version of the key set that the card uses.
        implementation: the `i` parameter.
        challenge: card challenge, 8 bytes; 16 in S16 mode, 6 in SCP02.
        cryptogram: card cryptogram, 8 bytes, 16 in S16 mode.
        sequence: 3-byte sequence counter, empty when the challenge is truly random; 2 bytes in SCP02.
        protocol: 3, or 2 for SCP02.
    """

    diversification: bytes
    key_version: int
    implementation: int
    challenge: bytes
    cryptogram: bytes
    sequence: bytes
    protocol: int = PROTOCOL

    @property
    def pseudo_random(self) -> bool:
        """True when the card challenge is derived from a key, a counter and the AID."""
        return bool(
            self.implementation
            & (ImplementationBit.PSEUDO_RANDOM_CHALLENGE if self.protocol == PROTOCOL else _SCP02_PSEUDO_RANDOM)
        )

    def supports(self, level: int) -> bool:
        """True when the card's protocol has ``level``, and its `i` the response protection of it."""
        if level not in (SECURITY_LEVELS if self.protocol == PROTOCOL else _SCP02_LEVELS):
            return False
        needs_mac = bool(level & SecurityLevel.R_MAC)
        needs_encryption = bool(level & SecurityLevel.R_ENC)
        return not (
            (needs_mac and not self.implementation & ImplementationBit.R_MAC)
            or (needs_encryption and not self.implementation & ImplementationBit.R_ENC)
        )


def parse_initialize_update(data: bytes) -> InitializeUpdateResponse:
    """Split the response data of INITIALIZE UPDATE.

    Args:
        data: in S8 mode 29 bytes, or 32 with the sequence counter; in S16 mode 45 or 48.

    Raises:
        PersonalizationError: "initialize-update-malformed" or "secure-channel-unsupported".
    """
    if len(data) < _FIXED_FIELDS:
        raise PersonalizationError("initialize-update-malformed", length=len(data))
    key_version, protocol, implementation = data[DIVERSIFICATION_LENGTH:_FIXED_FIELDS]
    if (
        protocol != PROTOCOL
        or implementation & ~_KNOWN_BITS
        or implementation & _RESPONSE_BITS == ImplementationBit.R_ENC
    ):
        raise PersonalizationError(
            "secure-channel-unsupported", protocol=f"{protocol:02X}", implementation=f"{implementation:02X}"
        )
    length = challenge_length(implementation)
    counted = bool(implementation & ImplementationBit.PSEUDO_RANDOM_CHALLENGE)
    challenge_end = _FIXED_FIELDS + length
    end = challenge_end + length
    if len(data) != end + (_SEQUENCE_LENGTH if counted else 0):
        raise PersonalizationError("initialize-update-malformed", length=len(data))
    return InitializeUpdateResponse(
        data[:DIVERSIFICATION_LENGTH],
        key_version,
        implementation,
        data[_FIXED_FIELDS:challenge_end],
        data[challenge_end:end],
        data[end:],
    )


def challenge_length(implementation: int) -> int:
    """Bytes of a challenge, a cryptogram and a MAC under that `i`: 8, or 16 in S16 mode."""
    return S16_LENGTH if implementation & ImplementationBit.S16 else CHALLENGE_LENGTH


def _derive(key: CMAC, constant: _Derivation, context: bytes, length: int) -> bytes:
    """Data derivation of clause 4.1.5: ``length`` bytes from a keyed CMAC, which is copied."""
    head = bytes(11) + bytes((constant, 0)) + (8 * length).to_bytes(2, "big")
    output = b""
    for counter in range(1, -(-length // BLOCK) + 1):
        mac = key.copy()
        mac.update(head + bytes((counter,)) + context)
        output += mac.finalize()
    return output[:length]


def _keyed(key: bytes) -> CMAC:
    return CMAC(algorithms.AES(key))


def derive_session_keys(keys: StaticKeys, host_challenge: bytes, card_challenge: bytes) -> SessionKeys:
    """S-ENC, S-MAC and S-RMAC of a session (clause 6.2.1)."""
    context = host_challenge + card_challenge
    length = len(keys.enc)
    mac = _keyed(keys.mac)
    return SessionKeys(
        _derive(_keyed(keys.enc), _Derivation.S_ENC, context, length),
        _derive(mac, _Derivation.S_MAC, context, length),
        _derive(mac, _Derivation.S_RMAC, context, length),
    )


def card_cryptogram(session: SessionKeys, host_challenge: bytes, card_challenge: bytes) -> bytes:
    """By which the card proves its keys (clause 6.2.2.2); as long as a challenge."""
    context = host_challenge + card_challenge
    return _derive(_keyed(session.mac), _Derivation.CARD_CRYPTOGRAM, context, len(card_challenge))


def host_cryptogram(session: SessionKeys, host_challenge: bytes, card_challenge: bytes) -> bytes:
    """By which the host proves its keys (clause 6.2.2.3); as long as a challenge."""
    context = host_challenge + card_challenge
    return _derive(_keyed(session.mac), _Derivation.HOST_CRYPTOGRAM, context, len(card_challenge))


def pseudo_random_challenge(keys: StaticKeys, sequence: bytes, aid: bytes, length: int = CHALLENGE_LENGTH) -> bytes:
    """The card challenge that Key-ENC, the sequence counter and the domain's AID give (clause 6.2.2.1)."""
    return _derive(_keyed(keys.enc), _Derivation.CARD_CHALLENGE, sequence + aid, length)


class Scp03Session:
    """What a key set makes of an INITIALIZE UPDATE: cryptograms, and the secure channel after them.

    Args:
        keys: the static set.
        host_challenge: 8 or 16 bytes, as long as the card's.
        card: the card's answer.
        aid: the security domain, for cards whose challenge is derived from it; None when it is not known.

    Attributes:
        genuine: the card proved these keys.
        host_cryptogram: by which the host proves them.
        data_key: for key values and secret groupings.
    """

    __slots__ = ("_keys", "_mac_length", "data_key", "genuine", "host_cryptogram")

    def __init__(
        self, keys: StaticKeys, host_challenge: bytes, card: InitializeUpdateResponse, aid: bytes | None
    ) -> None:
        length = len(card.challenge)
        context = host_challenge + card.challenge
        self._mac_length = length
        self._keys = session = derive_session_keys(keys, host_challenge, card.challenge)
        mac = _keyed(session.mac)
        self.genuine = compare_digest(_derive(mac, _Derivation.CARD_CRYPTOGRAM, context, length), card.cryptogram)
        if card.pseudo_random and aid is not None:
            expected = pseudo_random_challenge(keys, card.sequence, aid, length)
            self.genuine &= compare_digest(expected, card.challenge)
        self.host_cryptogram = _derive(mac, _Derivation.HOST_CRYPTOGRAM, context, length)
        self.data_key = AesDataKey(keys.dek)

    def secure_messaging(self, level: int) -> SecureMessaging:
        """The secure channel; EXTERNAL AUTHENTICATE comes first."""
        return SecureMessaging(self._keys, level, mac_length=self._mac_length)

    def __repr__(self) -> str:
        return "Scp03Session(…)"


def max_command_data(level: int, limit: int = MAX_SHORT_NC, mac_length: int = MAC_LENGTH) -> int:
    """The most plain data bytes that one command holds under ``level``; of a short one 255, 247 or 239.

    Args:
        level: security level.
        limit: the most protected data bytes of one command.
        mac_length: 8, or 16 in S16 mode.
    """
    if not level & SecurityLevel.C_MAC:
        return limit
    room = limit - mac_length
    return room if not level & SecurityLevel.C_ENC else room // BLOCK * BLOCK - 1


class SecureMessaging:
    """Wraps commands and unwraps responses of one session; commands and responses alternate.

    The keyed CMAC objects are copied, not keyed again, and one CBC encryptor runs through the whole session: fed with
    (its last ciphertext block xor the counter block) it gives the initial vector of a command, then takes the data.
    The decryptor is fed the vector as a ciphertext block, whose own plaintext is thrown away.

    Args:
        keys: session keys.
        level: one of `SECURITY_LEVELS`; holds from the first command after EXTERNAL AUTHENTICATE.
        mac_length: bytes of a MAC that are sent: 8, or 16 in S16 mode.

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

    def __init__(self, keys: SessionKeys, level: int, *, mac_length: int = MAC_LENGTH) -> None:
        if level not in SECURITY_LEVELS:
            raise ValueError(f"security level {level:02X} is not one of Amendment D")
        self.level = int(level)
        self._mac_length = mac_length
        self._max_data = max_command_data(level, mac_length=mac_length)
        self._encrypts_commands = bool(level & SecurityLevel.C_ENC)
        self._encrypts_responses = bool(level & SecurityLevel.R_ENC)
        self._verifies_responses = bool(level & SecurityLevel.R_MAC)
        self._cmac = CMAC(algorithms.AES(keys.mac))
        self._rmac = CMAC(algorithms.AES(keys.rmac))
        cipher = Cipher(algorithms.AES(keys.enc), modes.CBC(_ZERO_BLOCK))
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()
        self._last_block = 0
        self._chain = _ZERO_BLOCK
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
        wanted = int(protection)
        allowed = {SecurityLevel.R_MAC: self.level & SecurityLevel.C_MAC and not self._verifies_responses}
        both = SecurityLevel.R_MAC | SecurityLevel.R_ENC
        allowed[both] = self.level & SecurityLevel.C_ENC and not self._encrypts_responses
        if self._in_r_mac_session or not allowed.get(SecurityLevel(wanted)):
            raise ValueError(f"response protection {wanted:02X} cannot begin in a session of level {self.level:02X}")

    def r_mac_begun(self, protection: int, *, accepted: bool) -> None:
        """After the answer to BEGIN R-MAC SESSION: responses from the next one on are protected by it."""
        if accepted:
            self._in_r_mac_session = self._verifies_responses = True
            self._encrypts_responses |= bool(protection & SecurityLevel.R_ENC)

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
        self._verifies_responses = bool(self.level & SecurityLevel.R_MAC)
        self._encrypts_responses = bool(self.level & SecurityLevel.R_ENC)

    def wrap(self, command: CommandApdu) -> bytes:
        """Protect one command and encode it; its class byte is given in plain.

        Under R-MAC a command without Le gets one, for its response has data.

        Raises:
            ValueError: the data field does not fit (see `max_command_data`).
        """
        if not self.level:
            return command.encode()
        cla, ins, p1, p2, data, ne, extended = command
        if len(data) > self._max_data and not extended:
            raise ValueError(f"{len(data)} data bytes do not fit one short command under level {self.level:02X}")
        self._counter += 1
        if data and self._encrypts_commands:
            first = (self._last_block ^ self._counter).to_bytes(BLOCK, "big")
            data = self._encryptor.update(first + data + _PADDING[len(data) % BLOCK])[BLOCK:]
            self._last_block = _number(data[-BLOCK:], "big")
        if not ne and self._verifies_responses:
            ne = MAX_EXTENDED_NE if extended else MAX_SHORT_NE
        length = len(data) + self._mac_length
        if extended:
            header = bytes((protected_class(cla), ins, p1, p2, 0, length >> 8, length & 0xFF))
            return self._seal(header + data) + ((ne & 0xFFFF).to_bytes(2, "big") if ne else b"")
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
