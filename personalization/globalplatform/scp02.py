"""The off-card side of Secure Channel Protocol '02' with explicit initiation, for cards that are still in the field.

Implementation options 15 and 55 (three keys, C-MAC on the modified APDU, zero ICV, ICV encryption; 55 with the
pseudo-random card challenge), and 35 and 75, the same with response MAC.

Source: GlobalPlatform Card Specification 2.3.1, appendices B.1.2, E.3, E.4 and E.5.
"""

from __future__ import annotations

from enum import IntFlag
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from card_os.iso7816.apdu import MAX_SHORT_NC, MAX_SHORT_NE, CommandApdu, ResponseApdu
from card_os.iso7816.status import SW, StatusWord
from personalization.errors import PersonalizationError
from personalization.globalplatform.class_byte import mac_class, plain_class, protected_class
from personalization.globalplatform.data_key import DES_BLOCK, DES_KEY_LENGTH, DesDataKey, triple_des
from personalization.globalplatform.scp03 import DIVERSIFICATION_LENGTH, InitializeUpdateResponse, StaticKeys

PROTOCOL: Final = 0x02
MAC_LENGTH: Final = 8
CHALLENGE_LENGTH: Final = 8
SECURITY_LEVELS: Final = frozenset({0x00, 0x01, 0x03, 0x10, 0x11, 0x13})
"""The levels of table E-11; every other value is reserved."""

_ANSWER_LENGTH: Final = 28
_SEQUENCE: Final = slice(12, 14)
_CHALLENGE: Final = slice(14, 20)
_CRYPTOGRAM: Final = slice(20, 28)
_C_MAC_KEY: Final = 0x0101
_R_MAC_KEY: Final = 0x0102
_DATA_KEY: Final = 0x0181
_ENC_KEY: Final = 0x0182
_EXTERNAL_AUTHENTICATE: Final = (0x84, 0x82)
_ZERO_ICV: Final = bytes(DES_BLOCK)
_STATUS_LENGTH: Final = 2
_C_MAC, _C_ENC, _R_MAC = 0x01, 0x02, 0x10


class Option(IntFlag):
    """Bits of the implementation options `i` (table E-1)."""

    THREE_KEYS = 0x01
    C_MAC_ON_UNMODIFIED_APDU = 0x02
    EXPLICIT_INITIATION = 0x04
    ICV_IS_MAC_OVER_AID = 0x08
    ICV_ENCRYPTION = 0x10
    R_MAC = 0x20
    PSEUDO_RANDOM_CHALLENGE = 0x40


DEFAULT_OPTIONS: Final = Option.THREE_KEYS | Option.EXPLICIT_INITIATION | Option.ICV_ENCRYPTION
"""`i` = 15, what a card is taken for that does not tell."""

_NEEDED: Final = DEFAULT_OPTIONS
_FREE: Final = int(Option.R_MAC | Option.PSEUDO_RANDOM_CHALLENGE)


def parse_initialize_update(data: bytes, options: int) -> InitializeUpdateResponse:
    """Split the response data of INITIALIZE UPDATE (table E-8).

    Args:
        data: diversification data (10) ‖ key version (1) ‖ 02 ‖ sequence counter (2) ‖ challenge (6) ‖ cryptogram (8).
        options: `i`, which this answer does not tell.

    Raises:
        PersonalizationError: "initialize-update-malformed", "secure-channel-unsupported".
    """
    if len(data) != _ANSWER_LENGTH:
        raise PersonalizationError("initialize-update-malformed", length=len(data))
    if options & ~_FREE != _NEEDED:
        raise PersonalizationError(
            "secure-channel-unsupported", protocol=f"{PROTOCOL:02X}", implementation=f"{options:02X}"
        )
    return InitializeUpdateResponse(
        data[:DIVERSIFICATION_LENGTH],
        data[DIVERSIFICATION_LENGTH],
        options,
        data[_CHALLENGE],
        data[_CRYPTOGRAM],
        data[_SEQUENCE],
        PROTOCOL,
    )


def max_command_data(level: int) -> int:
    """The most plain data bytes of one command under ``level``: 255, 247 or 239."""
    if not level & _C_MAC:
        return MAX_SHORT_NC
    room = MAX_SHORT_NC - MAC_LENGTH
    return room if not level & _C_ENC else room // DES_BLOCK * DES_BLOCK - 1


def pad(data: bytes) -> bytes:
    """80 and zeroes up to a whole number of blocks, at least one byte (B.1.3)."""
    return data + b"\x80" + bytes(-(len(data) + 1) % DES_BLOCK)


def session_key(base: bytes, constant: int, sequence: bytes) -> bytes:
    """A session key: constant (2) ‖ sequence counter (2) ‖ 12 × 00 under the base key, triple DES CBC (E.4.1)."""
    data = constant.to_bytes(2, "big") + sequence + bytes(12)
    return Cipher(triple_des(base), CBC(_ZERO_ICV)).encryptor().update(data)


def full_mac(key: bytes, data: bytes) -> bytes:
    """Full triple DES MAC over padded data (B.1.2.1)."""
    return Cipher(triple_des(key), CBC(_ZERO_ICV)).encryptor().update(pad(data))[-DES_BLOCK:]


class RetailMac:
    """Single DES plus final triple DES MAC (B.1.2.2), and the encryption of its chaining value (E.3.4)."""

    __slots__ = ("_double", "_last", "_single")

    def __init__(self, key: bytes) -> None:
        first = triple_des(key[:DES_BLOCK])
        self._single = Cipher(first, ECB()).encryptor()  # noqa: S305 - one block
        self._double = first
        self._last = Cipher(triple_des(key), ECB()).encryptor()  # noqa: S305 - one block

    def compute(self, data: bytes, icv: bytes) -> bytes:
        """The MAC over ``data``, which is padded here."""
        padded = pad(data)
        body, last = padded[:-DES_BLOCK], padded[-DES_BLOCK:]
        chain = Cipher(self._double, CBC(icv)).encryptor().update(body)[-DES_BLOCK:] if body else icv
        return self._last.update(bytes(one ^ other for one, other in zip(chain, last, strict=True)))

    def encrypt_icv(self, icv: bytes) -> bytes:
        """Single DES under the first half of the key."""
        return self._single.update(icv)


class Scp02Session:
    """What a key set makes of an INITIALIZE UPDATE: cryptograms, and the secure channel after them.

    Args:
        keys: the static set; double-length DES keys.
        host_challenge: 8 bytes.
        card: the card's answer.
        aid: the security domain, for cards whose challenge is derived from it; None when it is not known.

    Attributes:
        genuine: the card proved these keys.
        host_cryptogram: by which the host proves them.
        data_key: for key values and secret groupings.

    Raises:
        ValueError: the keys are no double-length DES keys.
    """

    __slots__ = ("_card", "_enc", "_keys", "_mac", "data_key", "genuine", "host_cryptogram")

    def __init__(
        self, keys: StaticKeys, host_challenge: bytes, card: InitializeUpdateResponse, aid: bytes | None
    ) -> None:
        if len(keys.enc) != DES_KEY_LENGTH:
            raise ValueError("Secure Channel Protocol '02' has double-length DES keys of 16 bytes")
        self._keys = keys
        self._card = card
        sequence = card.sequence
        self._enc = session_key(keys.enc, _ENC_KEY, sequence)
        self._mac = RetailMac(session_key(keys.mac, _C_MAC_KEY, sequence))
        self.data_key = DesDataKey(session_key(keys.dek, _DATA_KEY, sequence))
        proof = full_mac(self._enc, host_challenge + sequence + card.challenge)
        self.genuine = compare_digest(proof, card.cryptogram)
        if card.pseudo_random and aid is not None:
            expected = self._mac.compute(aid, _ZERO_ICV)[: len(card.challenge)]
            self.genuine &= compare_digest(expected, card.challenge)
        self.host_cryptogram = full_mac(self._enc, sequence + card.challenge + host_challenge)

    def secure_messaging(self, level: int) -> SecureMessaging:
        """The secure channel; EXTERNAL AUTHENTICATE comes first."""
        rmac = RetailMac(session_key(self._keys.mac, _R_MAC_KEY, self._card.sequence))
        return SecureMessaging(self._enc, self._mac, rmac, level)

    def __repr__(self) -> str:
        return "Scp02Session(…)"


class SecureMessaging:
    """Wraps commands and unwraps responses of one session; commands and responses alternate.

    Args:
        enc: S-ENC, 16 bytes.
        mac: keyed with S-MAC.
        rmac: keyed with S-RMAC.
        level: one of `SECURITY_LEVELS`.

    Raises:
        ValueError: ``level`` is reserved.
    """

    __slots__ = (
        "_chain",
        "_chained",
        "_collects",
        "_enc",
        "_mac",
        "_pending",
        "_response_chain",
        "_rmac",
        "_start",
        "_verifies",
        "level",
    )

    def __init__(self, enc: bytes, mac: RetailMac, rmac: RetailMac, level: int) -> None:
        if level not in SECURITY_LEVELS:
            raise ValueError(f"security level {level:02X} is not one of Secure Channel Protocol '02'")
        self.level = int(level)
        self._enc = triple_des(enc)
        self._mac = mac
        self._rmac = rmac
        self._chain = self._response_chain = self._start = _ZERO_ICV
        self._chained = False
        self._verifies = bool(level & _R_MAC)
        self._collects = self._verifies
        self._pending = b""

    def max_data(self, limit: int = MAX_SHORT_NC) -> int:
        """The most plain data bytes of one command; this protocol has short length only."""
        return min(max_command_data(self.level), limit)

    def external_authenticate(self, cryptogram: bytes) -> bytes:
        """EXTERNAL AUTHENTICATE with its C-MAC, which becomes the ICV of both MAC chains (E.3.2)."""
        length = len(cryptogram) + MAC_LENGTH
        sealed = self._seal(bytes((*_EXTERNAL_AUTHENTICATE, self.level, 0, length)) + cryptogram)
        self._response_chain = self._start = self._chain
        return sealed

    def begin_r_mac(self, protection: int) -> None:
        """Before BEGIN R-MAC SESSION, which is the first command in the chain of response MACs (E.4.5).

        Args:
            protection: 10, a MAC in every response; 00, only END R-MAC SESSION gives one.

        Raises:
            ValueError: responses have MACs already, or another protection is asked for.
        """
        if self._collects or protection not in (0x00, _R_MAC):
            raise ValueError(
                f"response protection {protection:02X} cannot begin in a session of level {self.level:02X}"
            )
        self._response_chain = self._start
        self._collects = True

    def r_mac_begun(self, protection: int, *, accepted: bool) -> None:
        """After the answer to BEGIN R-MAC SESSION: the next response is the first with a MAC."""
        self._collects = accepted
        self._verifies = accepted and bool(protection & _R_MAC)

    def end_r_mac(self) -> bytes | None:
        """Before END R-MAC SESSION, which is not in the chain; returns the MAC that its answer has to hold.

        Raises:
            ValueError: no such session is open.
        """
        if not self._collects or self.level & _R_MAC:
            raise ValueError("no R-MAC session is open")
        self._collects = self._verifies = False
        return self._response_chain

    def r_mac_ended(self) -> None:
        """After the answer to END R-MAC SESSION."""
        self._start = self._response_chain

    def wrap(self, command: CommandApdu) -> bytes:
        """Protect one command and encode it; its class byte is given in plain.

        A command whose data need extended length is one that is cut into pieces afterwards (11.1.5.1); any other goes
        in short length, and what is more than 256 bytes of its response is fetched.

        Raises:
            ValueError: the data field does not fit one short command.
        """
        cla, ins, p1, p2, data, ne, extended = command
        if len(data) <= max_command_data(self.level):
            ne, extended = min(ne, MAX_SHORT_NE), False
        elif not extended:
            raise ValueError(f"{len(data)} data bytes do not fit one command under level {self.level:02X}")
        if self._collects:
            self._pending = bytes((plain_class(cla), ins, p1, p2)) + _lc(len(data)) + data
        if not ne and self._verifies:
            ne = MAX_SHORT_NE
        if not self.level & _C_MAC:
            return CommandApdu(cla, ins, p1, p2, data, ne, extended).encode()
        mac = self._mac_of(bytes((mac_class(cla), ins, p1, p2)) + _lc(len(data) + MAC_LENGTH) + data)
        if data and self.level & _C_ENC:
            data = Cipher(self._enc, CBC(_ZERO_ICV)).encryptor().update(pad(data))
        return CommandApdu(protected_class(cla), ins, p1, p2, data + mac, ne, extended).encode()

    def unwrap(self, response: bytes) -> ResponseApdu:
        """Verify one response.

        An error status comes with or without its R-MAC; either way it can only mean that the command failed, and the
        chain goes on over it (E.4.5).

        Raises:
            PersonalizationError: "response-not-authentic": the R-MAC is missing or wrong.
        """
        body, trailer = response[:-_STATUS_LENGTH], response[-_STATUS_LENGTH:]
        sw = StatusWord.parse(trailer)
        if not self._collects:
            return ResponseApdu(body, sw)
        if not self._verifies:
            self._advance(body, trailer)
            return ResponseApdu(body, sw)
        failed = sw != SW.OK and not sw.warning
        if failed and not body:
            self._advance(b"", trailer)
            return ResponseApdu(b"", sw)
        if len(body) < MAC_LENGTH:
            raise PersonalizationError("response-not-authentic", reason="the response MAC is missing")
        data, mac = body[:-MAC_LENGTH], body[-MAC_LENGTH:]
        if failed and data:
            raise PersonalizationError("response-not-authentic", reason="data with an error status")
        self._advance(data, trailer)
        if not compare_digest(self._response_chain, mac):
            raise PersonalizationError("response-not-authentic", reason="the response MAC is wrong")
        return ResponseApdu(data, sw)

    def _advance(self, data: bytes, trailer: bytes) -> None:
        """Command ‖ Li ‖ response data ‖ status word enter the chain of response MACs."""
        block = self._pending + bytes((len(data) & 0xFF,)) + data + trailer
        self._response_chain = self._rmac.compute(block, self._response_chain)

    def _mac_of(self, command: bytes) -> bytes:
        icv = self._mac.encrypt_icv(self._chain) if self._chained else self._chain
        self._chain = self._mac.compute(command, icv)
        self._chained = True
        return self._chain

    def _seal(self, command: bytes) -> bytes:
        return command + self._mac_of(command)


def _lc(length: int) -> bytes:
    """Lc as the MACs cover it: one byte, or three for a chain of commands."""
    return bytes((length,)) if length <= MAX_SHORT_NC else b"\x00" + length.to_bytes(2, "big")
