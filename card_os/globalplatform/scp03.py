"""The card side of Secure Channel Protocol '03': derivation, cryptograms and the secure messaging layer of a session.

S8 mode, `i` = 70: pseudo-random card challenge, response MAC and response encryption. A layer has two stages: from
INITIALIZE UPDATE on it lets only EXTERNAL AUTHENTICATE through, and after that one it protects by its security level.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '03', Amendment D v1.1.1, clauses 4 to 7.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

from card_os.iso7816.apdu import MAX_SHORT_NC, CommandApdu, SecureMessagingIndication
from card_os.iso7816.errors import AuthenticationFailed, SecurityStatusNotSatisfied
from card_os.iso7816.status import SW, StatusWord
from card_os.security.access import Proof
from card_os.security.cryptography import BLOCK, AesCmac, AesCounterCbc, equal, pad, unpad

if TYPE_CHECKING:
    from card_os.globalplatform.keys import KeySet

PROTOCOL: Final = 0x03
IMPLEMENTATION: Final = 0x70
"""The `i` parameter: pseudo-random challenge 10, R-MAC 20, R-ENC 40 (table 5-1)."""
CHALLENGE_LENGTH: Final = 8
CRYPTOGRAM_LENGTH: Final = 8
MAC_LENGTH: Final = 8
MAX_PROTECTED_RESPONSE: Final = 239
"""The most plain response bytes that fit 256 with padding, encryption and R-MAC."""

_INS_EXTERNAL_AUTHENTICATE: Final = 0x82
_FIRST_CHAIN: Final = bytes(BLOCK)
_MAC_CLASS_MASK: Final = 0xFC
_PLAIN_CLASS_MASK: Final = 0xF3
_RESPONSE_COUNTER_FLAG: Final = 0x80 << 120
_WARNING_SW1: Final = (0x62, 0x63)


class SecurityLevel(IntFlag):
    """Bits of the security level, P1 of EXTERNAL AUTHENTICATE (table 7-1)."""

    C_MAC = 0x01
    C_ENC = 0x02
    R_MAC = 0x10
    R_ENC = 0x20


SECURITY_LEVELS: Final = frozenset({0x00, 0x01, 0x03, 0x11, 0x13, 0x33})
"""The combinations that are defined; a stronger one always holds the weaker."""


class DerivationConstant(IntEnum):
    """What a derived value is for (table 4-1)."""

    CARD_CRYPTOGRAM = 0x00
    HOST_CRYPTOGRAM = 0x01
    CARD_CHALLENGE = 0x02
    S_ENC = 0x04
    S_MAC = 0x06
    S_RMAC = 0x07


def derive(key: AesCmac, constant: DerivationConstant, context: bytes, length: int) -> bytes:
    """The data derivation scheme of clause 4.1.5: SP 800-108 in counter mode.

    Each block is the CMAC of label (11 × 00 ‖ constant) ‖ 00 ‖ length in bits (2) ‖ counter (1) ‖ context.

    Args:
        key: base key.
        constant: last byte of the label.
        context: both challenges, or sequence counter and AID.
        length: bytes wanted, 8 to 32.
    """
    head = constant.to_bytes(12, "big") + b"\x00" + (length * 8).to_bytes(2, "big")
    blocks = (key.compute(head + bytes((counter,)) + context) for counter in range(1, -(-length // BLOCK) + 1))
    return b"".join(blocks)[:length]


def card_challenge(key_enc: bytes, sequence: bytes, aid: bytes) -> bytes:
    """The pseudo-random card challenge: derived from Key-ENC, the sequence counter (3) and the domain's AID."""
    return derive(AesCmac(key_enc), DerivationConstant.CARD_CHALLENGE, sequence + aid, CHALLENGE_LENGTH)


class Scp03Channel:
    """The secure messaging layer of one session; see `SecureChannel`.

    Args:
        keys: the static key set.
        host_challenge: 8 bytes.
        challenge: card challenge, 8 bytes.

    Attributes:
        indication: class-byte indication of the session; none in a session without secure messaging (level 00).
        proofs: SECURE_CHANNEL once each command carries a MAC.
        key_version: version of the key set.
        dek: Key-DEK of the set, for key data inside the session.
        cryptogram: card cryptogram, for the answer to INITIALIZE UPDATE.
        authenticated: True after EXTERNAL AUTHENTICATE.
    """

    __slots__ = (
        "_cbc",
        "_chain",
        "_cmac",
        "_counter",
        "_decrypts",
        "_encrypts",
        "_host_cryptogram",
        "_maced",
        "_opening",
        "_rmac",
        "_seals",
        "authenticated",
        "cryptogram",
        "dek",
        "indication",
        "key_version",
        "proofs",
    )

    def __init__(self, keys: KeySet, host_challenge: bytes, challenge: bytes) -> None:
        context = host_challenge + challenge
        length = len(keys.enc)
        static_mac = AesCmac(keys.mac)
        self._cmac = AesCmac(derive(static_mac, DerivationConstant.S_MAC, context, length))
        self._rmac = AesCmac(derive(static_mac, DerivationConstant.S_RMAC, context, length))
        self._cbc = AesCounterCbc(derive(AesCmac(keys.enc), DerivationConstant.S_ENC, context, length))
        self.cryptogram = derive(self._cmac, DerivationConstant.CARD_CRYPTOGRAM, context, CRYPTOGRAM_LENGTH)
        self._host_cryptogram = derive(self._cmac, DerivationConstant.HOST_CRYPTOGRAM, context, CRYPTOGRAM_LENGTH)
        self.indication = SecureMessagingIndication.PROPRIETARY
        self.proofs = 0
        self.key_version = keys.version
        self.dek = keys.dek
        self.authenticated = False
        self._chain = _FIRST_CHAIN
        self._counter = 0
        self._opening = True
        self._maced = self._decrypts = self._seals = self._encrypts = False

    def __repr__(self) -> str:
        """The key version only."""
        return f"Scp03Channel({self.key_version:02X})"

    def authenticate(self, command: CommandApdu) -> None:
        """EXTERNAL AUTHENTICATE: verify host cryptogram and MAC, and take the security level of P1 from now on.

        Args:
            command: as it came; data is host cryptogram (8) ‖ C-MAC (8), P1 one of `SECURITY_LEVELS`.

        Raises:
            AuthenticationFailed: 6300, cryptogram or MAC is wrong; which of them is not told.
        """
        cryptogram, mac = command.data[:CRYPTOGRAM_LENGTH], command.data[CRYPTOGRAM_LENGTH:]
        chain = self._cmac.compute(_FIRST_CHAIN + _mac_header(command) + cryptogram)
        proved = equal(cryptogram, self._host_cryptogram)
        if not equal(mac, chain[:MAC_LENGTH]) or not proved:
            raise AuthenticationFailed("host cryptogram or MAC is wrong")
        level = command.p1
        self._chain = chain
        self._maced = bool(level & SecurityLevel.C_MAC)
        self._decrypts = bool(level & SecurityLevel.C_ENC)
        self._seals = bool(level & SecurityLevel.R_MAC)
        self._encrypts = bool(level & SecurityLevel.R_ENC)
        if self._maced:
            self.proofs = int(Proof.SECURE_CHANNEL)
        else:
            self.indication = SecureMessagingIndication.NONE
        self.authenticated = True

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Verify the C-MAC and decrypt (clauses 6.2.4 and 6.2.6).

        Before the session is open, EXTERNAL AUTHENTICATE passes as it came.

        Raises:
            SecurityStatusNotSatisfied: 6982, the MAC is missing or wrong, the cryptogram is malformed, or the session
                is not open.
        """
        if not self.authenticated:
            if command.ins == _INS_EXTERNAL_AUTHENTICATE:
                return command
            raise SecurityStatusNotSatisfied("the session is not open")
        self._opening = False
        if not self._maced:
            return command
        cla, ins, p1, p2, data, ne, extended = command
        if len(data) < MAC_LENGTH:
            raise SecurityStatusNotSatisfied("the command has no C-MAC")
        body = data[:-MAC_LENGTH]
        chain = self._cmac.compute(self._chain + _mac_header(command) + body)
        if not equal(chain[:MAC_LENGTH], data[-MAC_LENGTH:]):
            raise SecurityStatusNotSatisfied("the C-MAC is wrong")
        self._chain = chain
        self._counter += 1
        if body and self._decrypts:
            try:
                body = unpad(self._cbc.decrypt(self._counter, body))
            except ValueError as error:
                raise SecurityStatusNotSatisfied("the command cryptogram is malformed") from error
        return CommandApdu(cla & _PLAIN_CLASS_MASK, ins, p1, p2, body, ne, extended)

    def wrap(self, data: bytes, sw: StatusWord) -> tuple[bytes, StatusWord]:
        """Encrypt and MAC a response (clauses 6.2.5 and 6.2.7).

        Only 9000, 62xx and 63xx get a MAC; an error status goes alone. EXTERNAL AUTHENTICATE is answered in plain.
        """
        if not self._seals or self._opening:
            return data, sw
        if sw != SW.OK and sw >> 8 not in _WARNING_SW1:
            return b"", sw
        if data and self._encrypts:
            data = self._cbc.encrypt(_RESPONSE_COUNTER_FLAG | self._counter, pad(data))
        mac = self._rmac.compute(self._chain + data + sw.to_bytes(2, "big"))
        return data + mac[:MAC_LENGTH], sw


def _mac_header(command: CommandApdu) -> bytes:
    """CLA with its logical channel as zero ‖ INS ‖ P1 ‖ P2 ‖ Lc, as the C-MAC covers them."""
    length = len(command.data)
    head = (command.cla & _MAC_CLASS_MASK, command.ins, command.p1, command.p2)
    if command.extended or length > MAX_SHORT_NC:
        return bytes((*head, 0, length >> 8, length & 0xFF))
    return bytes((*head, length))
