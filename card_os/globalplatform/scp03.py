"""The card side of Secure Channel Protocol '03': derivation, challenges, cryptograms, and the session that they open.

A session has two stages: from INITIALIZE UPDATE on it lets only EXTERNAL AUTHENTICATE through, and after that one it
protects by its security level. What a security domain can do is its parameter `i`, `Scp03Implementation`.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '03', Amendment D v1.1.1, clauses 4 to 7, and v1.2 (S16
mode).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from card_os.globalplatform.aes_messaging import S8_MAC, S16_MAC, AesMessaging, SessionKeys
from card_os.globalplatform.secure_channel import (
    INS_EXTERNAL_AUTHENTICATE,
    Protocol,
    is_secured,
    mac_header,
)
from card_os.iso7816.errors import AuthenticationFailed
from card_os.security.cryptography import BLOCK, AesCmac, equal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from card_os.globalplatform.keys import KeySet
    from card_os.iso7816.apdu import CommandApdu

_FIRST_CHAIN: Final = bytes(BLOCK)


class Scp03Implementation(IntFlag):
    """Bits of the parameter `i` (Amendment D, table 5-1; S16 from v1.2)."""

    S16 = 0x01
    PSEUDO_RANDOM = 0x10
    R_MAC = 0x20
    R_ENC = 0x40


_RESPONSES: Final = Scp03Implementation.R_MAC | Scp03Implementation.R_ENC
_COMMAND_LEVELS: Final = frozenset({0x00, 0x01, 0x03})
_LEVELS: Final[Mapping[int, frozenset[int]]] = MappingProxyType(
    {
        0x00: _COMMAND_LEVELS,
        Scp03Implementation.R_MAC: _COMMAND_LEVELS | {0x11, 0x13},
        _RESPONSES: _COMMAND_LEVELS | {0x11, 0x13, 0x33},
    }
)
"""Security levels by what `i` says of responses (tables 5-1 and 7-3); a stronger one always holds the weaker."""
SECURITY_LEVELS: Final = _LEVELS[_RESPONSES]
"""The combinations that are defined at all."""
DEFAULT_IMPLEMENTATION: Final = 0x70
"""S8 mode, pseudo-random challenge, response MAC and response encryption."""
IMPLEMENTATIONS: Final = frozenset(
    responses | challenge | mode
    for responses in _LEVELS
    for challenge in (0, int(Scp03Implementation.PSEUDO_RANDOM))
    for mode in (0, int(Scp03Implementation.S16))
)
"""Every value of `i` that is defined."""


def security_levels(implementation: int) -> frozenset[int]:
    """The security levels that an implementation offers."""
    return _LEVELS[implementation & _RESPONSES]


def challenge_length(implementation: int) -> int:
    """Bytes of each challenge, cryptogram and MAC: 8 in S8 mode, 16 in S16 mode."""
    return S16_MAC if implementation & Scp03Implementation.S16 else S8_MAC


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


def card_challenge(key_enc: bytes, sequence: bytes, aid: bytes, length: int = S8_MAC) -> bytes:
    """The pseudo-random card challenge: derived from Key-ENC, the sequence counter (3) and the domain's AID."""
    return derive(AesCmac(key_enc), DerivationConstant.CARD_CHALLENGE, sequence + aid, length)


class Scp03Channel(AesMessaging):
    """One session; see `DomainChannel`.

    Args:
        keys: the static key set.
        host_challenge: 8 or 16 bytes, as `challenge_length` says.
        challenge: card challenge, as many.
        implementation: the parameter `i`.

    Attributes:
        cryptogram: card cryptogram, for the answer to INITIALIZE UPDATE.
        levels: security levels that EXTERNAL AUTHENTICATE may choose.
        proof_length: bytes of its data field.
    """

    __slots__ = ("_host_cryptogram", "cryptogram", "levels", "proof_length")

    protocol: ClassVar[Protocol] = Protocol.SCP03

    def __init__(
        self, keys: KeySet, host_challenge: bytes, challenge: bytes, implementation: int = DEFAULT_IMPLEMENTATION
    ) -> None:
        context = host_challenge + challenge
        length = len(keys.enc)
        static_mac = AesCmac(keys.mac)
        session = SessionKeys(
            derive(AesCmac(keys.enc), DerivationConstant.S_ENC, context, length),
            derive(static_mac, DerivationConstant.S_MAC, context, length),
            derive(static_mac, DerivationConstant.S_RMAC, context, length),
            keys.dek,
        )
        mac_length = challenge_length(implementation)
        super().__init__(
            keys.version,
            session,
            _FIRST_CHAIN,
            mac_length=mac_length,
            r_mac=bool(implementation & Scp03Implementation.R_MAC),
            r_enc=bool(implementation & Scp03Implementation.R_ENC),
        )
        self.levels = security_levels(implementation)
        self.proof_length = 2 * mac_length
        self.cryptogram = derive(self._cmac, DerivationConstant.CARD_CRYPTOGRAM, context, mac_length)
        self._host_cryptogram = derive(self._cmac, DerivationConstant.HOST_CRYPTOGRAM, context, mac_length)

    def _before(self, command: CommandApdu) -> CommandApdu:
        """EXTERNAL AUTHENTICATE passes as it came."""
        if command.ins == INS_EXTERNAL_AUTHENTICATE and is_secured(command.cla):
            return command
        return super()._before(command)

    def authenticate(self, command: CommandApdu) -> None:
        """EXTERNAL AUTHENTICATE: verify host cryptogram and MAC, and take the security level of P1 from now on.

        Args:
            command: as it came; data is host cryptogram ‖ C-MAC, P1 one of `security_levels`.

        Raises:
            AuthenticationFailed: 6300, cryptogram or MAC is wrong; which of them is not told.
        """
        cryptogram, mac = command.data[: self._mac_length], command.data[self._mac_length :]
        chain = self._cmac.compute(_FIRST_CHAIN + mac_header(command, len(command.data)) + cryptogram)
        proved = equal(cryptogram, self._host_cryptogram)
        if not equal(mac, chain[: self._mac_length]) or not proved:
            raise AuthenticationFailed("host cryptogram or MAC is wrong")
        self._chain = chain
        self._start(command.p1, authenticated=True)
