"""What the module does for its terminal: open a concealed number, authenticate to that card, give the session keys.

| command | data |
|---|---|
| PREPARE AUTHENTICATION 80 50 | concealed number (40) ‖ reference (1) ‖ RND.IC (16) |
| → | card number (10) ‖ E_IFD (48) ‖ M_IFD (16) |
| COMPLETE AUTHENTICATION 80 52 | E_IC (48) ‖ M_IC (16) |
| → | KS.ENC (16) ‖ KS.MAC (16) |
| PREPARE EXTERNAL AUTHENTICATION 80 54 | as 80 50 |
| → | card number (10) ‖ CMAC(K.MAC, 03 ‖ reference ‖ RND.IC) (16) |

The card's key pair is derived from the role's master inside and forgotten when the run ends or the module is left. An
authentication is spent before anything is looked at; an answer that turns out wrong is counted besides. A number of
another generation is not: a terminal with SAMs of several generations asks one after the other.

Source: pattern of ICAO Doc 9303-11, 8th edition, clause 4.3, with AES; NIST SP 800-108r1, clause 4.1; card
specification, "Authentication" and "Secure access module".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from applet.sam.concealment import CONCEALED_LENGTH, reveal
from applet.sam.usage import count_wrong_card, spend_authentication
from card_os.applet_api import KeyUsage, aes_cbc_decrypt, aes_cbc_encrypt, cmac, derive, equal, find_key
from card_os.iso7816.errors import (
    AuthenticationFailed,
    ConditionsNotSatisfied,
    IncorrectP1P2,
    ReferenceDataNotFound,
    WrongLength,
)

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

CONCEALMENT_KEY: Final = 0x90
ROLE_MASTERS: Final = range(0x81, 0x85)

_BLOCK: Final = 16
_PAIR_LENGTH: Final = 2 * _BLOCK
_CRYPTOGRAM_LENGTH: Final = 3 * _BLOCK
_RESPONSE_LENGTH: Final = _CRYPTOGRAM_LENGTH + _BLOCK
_INPUT_LENGTH: Final = CONCEALED_LENGTH + 1 + _BLOCK
_LABEL: Final = "ROLE"
_FROM_TERMINAL: Final = b"\x01"
_FROM_CARD: Final = b"\x02"
_EXTERNAL: Final = b"\x03"
_PENDING: Final = "authentication"


class _Pending(NamedTuple):
    """An authentication between its two commands; volatile."""

    key: bytes
    reference: bytes
    challenge: bytes
    nonce: bytes
    share: bytes

    def __repr__(self) -> str:
        return f"_Pending({self.reference.hex()})"


class _Card(NamedTuple):
    """The card that the terminal asks about."""

    number: bytes
    key: bytes
    reference: bytes
    challenge: bytes

    def __repr__(self) -> str:
        return f"_Card({self.reference.hex()})"


def prepare_authentication(context: Context, command: CommandApdu) -> bytes:
    """PREPARE AUTHENTICATION; see the module.

    Raises:
        WrongLength: 6700, not 57 bytes.
        ConditionsNotSatisfied: 6985, a limit is used up.
        ReferenceDataNotFound: 6A88, the module has no such role.
        AuthenticationFailed: 6300, the number is not of this generation.
    """
    card = _open(context, command)
    nonce, share = context.randomness.bytes(_BLOCK), context.randomness.bytes(_BLOCK)
    cryptogram = aes_cbc_encrypt(card.key[:_BLOCK], nonce + card.challenge + share)
    mac = cmac(card.key[_BLOCK:], _FROM_TERMINAL + card.reference + cryptogram)
    context.session.scratch[_PENDING] = _Pending(card.key, card.reference, card.challenge, nonce, share)
    return card.number + cryptogram + mac


def prepare_external(context: Context, command: CommandApdu) -> bytes:
    """PREPARE EXTERNAL AUTHENTICATION; see the module.

    Raises:
        CardError: as `prepare_authentication`.
    """
    card = _open(context, command)
    return card.number + cmac(card.key[_BLOCK:], _EXTERNAL + card.reference + card.challenge)


def complete_authentication(context: Context, command: CommandApdu) -> bytes:
    """COMPLETE AUTHENTICATION; see the module. The pending authentication is used up, whatever the outcome.

    Raises:
        ConditionsNotSatisfied: 6985, nothing is pending.
        WrongLength: 6700, not 64 bytes.
        AuthenticationFailed: 6300, the card does not hold the key.
    """
    pending = context.session.scratch.pop(_PENDING, None)
    _require_no_parameters(command)
    if not isinstance(pending, _Pending):
        raise ConditionsNotSatisfied("no authentication is pending")
    if len(command.data) != _RESPONSE_LENGTH:
        raise WrongLength("the card's answer has 64 bytes")
    cryptogram, mac = command.data[:_CRYPTOGRAM_LENGTH], command.data[_CRYPTOGRAM_LENGTH:]
    plain = aes_cbc_decrypt(pending.key[:_BLOCK], cryptogram)
    genuine = equal(cmac(pending.key[_BLOCK:], _FROM_CARD + pending.reference + cryptogram), mac)
    if not genuine or not equal(plain[:_PAIR_LENGTH], pending.challenge + pending.nonce):
        count_wrong_card(context)
        raise AuthenticationFailed("the card does not hold the key")
    share = int.from_bytes(plain[_PAIR_LENGTH:], "big") ^ int.from_bytes(pending.share, "big")
    seed, nonces = share.to_bytes(_BLOCK, "big"), pending.challenge + pending.nonce
    return derive(seed, "KS.ENC", nonces, _BLOCK) + derive(seed, "KS.MAC", nonces, _BLOCK)


def _open(context: Context, command: CommandApdu) -> _Card:
    """Spend an authentication, open the concealed number, derive the card's key."""
    context.session.scratch.pop(_PENDING, None)
    _require_no_parameters(command)
    data = command.data
    if len(data) != _INPUT_LENGTH:
        raise WrongLength("concealed number, reference and challenge are 57 bytes")
    reference = data[CONCEALED_LENGTH]
    if reference not in ROLE_MASTERS:
        raise ReferenceDataNotFound("no role of a terminal")
    master = find_key(context, reference, KeyUsage.APPLICATION).value
    concealment = find_key(context, CONCEALMENT_KEY, KeyUsage.APPLICATION).value
    spend_authentication(context)
    number = reveal(concealment, data[:CONCEALED_LENGTH])
    key = derive(master, _LABEL, number, _PAIR_LENGTH)
    return _Card(number, key, bytes((reference,)), data[CONCEALED_LENGTH + 1 :])


def _require_no_parameters(command: CommandApdu) -> None:
    if command.p1 or command.p2:
        raise IncorrectP1P2("the command has P1-P2 0000")
