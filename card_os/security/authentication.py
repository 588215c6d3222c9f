"""GET CHALLENGE, EXTERNAL and MUTUAL AUTHENTICATE, INTERNAL AUTHENTICATE.

Terminals authenticate with a pair K.ENC ‖ K.MAC (AES-128), the card proves itself with a P-256 key. A challenge is used
up by the authentication that follows it, whatever the outcome.

MUTUAL AUTHENTICATE, an exchange after the pattern of basic access control with AES:

```
command   E.IFD = AES-CBC(K.ENC, IV 0, RND.IFD 16 ‖ RND.IC 16 ‖ K.IFD 16) ‖ M.IFD = CMAC(K.MAC, 01 ‖ reference ‖ E.IFD)
response  E.IC  = AES-CBC(K.ENC, IV 0, RND.IC 16 ‖ RND.IFD 16 ‖ K.IC 16)  ‖ M.IC  = CMAC(K.MAC, 02 ‖ reference ‖ E.IC)
```

The session keys are derived from K.IFD xor K.IC and both challenges.

EXTERNAL AUTHENTICATE is the same instruction with CMAC(K.MAC, 03 ‖ reference ‖ RND.IC) alone. The form is told by the
length of the data and not by Le, which T=0 does not carry. Its role is for plain commands: it binds no session keys, so
that whoever relays it to a card must not find the role in a session that another key opened.

Source: ISO/IEC 7816-4:2020, clauses 11.6.2 to 11.6.5; ICAO Doc 9303-11 (8th edition), clause 4.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncorrectP1P2,
    ReferenceDataNotUsable,
    VerificationFailed,
    WrongLength,
)
from card_os.security.access import ALL_KEY_ROLES, ALWAYS, NEVER, AccessRule, Proof
from card_os.security.cryptography import BLOCK, P256PrivateKey, aes_cbc_decrypt, aes_cbc_encrypt, cmac, equal
from card_os.security.keys import Key, KeyUsage, find_key
from card_os.security.proofs import give_proof, take_proof
from card_os.security.secure_messaging import session
from card_os.security.tries import restore_tries, spend_try

if TYPE_CHECKING:
    from card_os.applet_api import Context, Instruction
    from card_os.iso7816.apdu import CommandApdu

CHALLENGE_LENGTH: Final = 16
CHIP_SIGNATURE_PREFIX: Final = b"permitcard chip"
"""Stands before the terminal's challenge in what the chip key signs, so that it signs nothing of another meaning."""
MIN_TERMINAL_CHALLENGE: Final = 8
MAX_TERMINAL_CHALLENGE: Final = 32

_CRYPTOGRAM_LENGTH: Final = 3 * BLOCK
_MUTUAL_LENGTH: Final = _CRYPTOGRAM_LENGTH + BLOCK
_FROM_TERMINAL: Final = b"\x01"
_FROM_CARD: Final = b"\x02"
_EXTERNAL: Final = b"\x03"


def get_challenge(context: Context, command: CommandApdu) -> bytes:
    """GET CHALLENGE (INS 84): P1-P2 0000, Le 10 or more; answers 16 random bytes, RND.IC."""
    if command.p1 or command.p2:
        raise IncorrectP1P2("GET CHALLENGE has P1-P2 0000")
    if command.data or command.ne < CHALLENGE_LENGTH:
        raise WrongLength("GET CHALLENGE has no data and answers 16 bytes")
    challenge = context.randomness.bytes(CHALLENGE_LENGTH)
    context.session.challenge = challenge
    return challenge


def authenticate(context: Context, command: CommandApdu) -> bytes:
    """EXTERNAL or MUTUAL AUTHENTICATE (INS 82): P1 00, P2 reference, 16 or 64 bytes of data.

    EXTERNAL gives the key's role until deselection or the next MUTUAL, and is refused under secure messaging. MUTUAL
    opens secure messaging, gives the role to the commands under it only, and ends roles that were given in plain.
    """
    challenge, context.session.challenge = context.session.challenge, None
    if command.p1:
        raise IncorrectP1P2("the algorithm is that of the key: P1 00")
    length = len(command.data)
    if length not in {BLOCK, _MUTUAL_LENGTH}:
        raise WrongLength("neither an external nor a mutual authentication")
    if length == BLOCK and context.session.secure_channel is not None:
        raise ConditionsNotSatisfied("an external authentication belongs to plain commands")
    key = find_key(context, command.p2, KeyUsage.TERMINAL)
    if challenge is None:
        raise ReferenceDataNotUsable("no challenge")
    reference = bytes((command.p2,))
    role = int(Proof.key(key.role))
    take_proof(context.session, role)
    left = spend_try(context.store, key.item, key.tries_left)
    if length == BLOCK:
        if not equal(cmac(key.mac, _EXTERNAL + reference + challenge), command.data):
            raise VerificationFailed(left)
        restore_tries(context.store, key.item, key.try_limit)
        give_proof(context.session, role)
        return b""
    terminal_challenge, terminal_seed = _open_mutual(key, reference, challenge, command.data, left)
    restore_tries(context.store, key.item, key.try_limit)
    seed = context.randomness.bytes(BLOCK)
    cryptogram = aes_cbc_encrypt(key.encryption, challenge + terminal_challenge + seed)
    take_proof(context.session, ALL_KEY_ROLES)
    context.session.secure_channel = session(
        _exclusive_or(terminal_seed, seed), challenge, terminal_challenge, role=key.role, cla=command.cla
    )
    return cryptogram + cmac(key.mac, _FROM_CARD + reference + cryptogram)


def _open_mutual(key: Key, reference: bytes, challenge: bytes, data: bytes, left: int) -> tuple[bytes, bytes]:
    """RND.IFD and K.IFD out of an authentic command.

    Raises:
        VerificationFailed: 63CX, the MAC or the challenge inside is wrong.
    """
    cryptogram, mac = data[:_CRYPTOGRAM_LENGTH], data[_CRYPTOGRAM_LENGTH:]
    if not equal(cmac(key.mac, _FROM_TERMINAL + reference + cryptogram), mac):
        raise VerificationFailed(left)
    plain = aes_cbc_decrypt(key.encryption, cryptogram)
    if not equal(plain[BLOCK : 2 * BLOCK], challenge):
        raise VerificationFailed(left, "another challenge")
    return plain[:BLOCK], plain[2 * BLOCK :]


def internal_authenticate(context: Context, command: CommandApdu) -> bytes:
    """INTERNAL AUTHENTICATE (INS 88): P1 00, P2 reference, data a challenge of 8 to 32 bytes.

    Returns:
        ECDSA P-256 signature r (32) ‖ s (32) over SHA-256 of ``CHIP_SIGNATURE_PREFIX`` ‖ challenge.
    """
    if command.p1:
        raise IncorrectP1P2("the algorithm is that of the key: P1 00")
    if not MIN_TERMINAL_CHALLENGE <= len(command.data) <= MAX_TERMINAL_CHALLENGE:
        raise WrongLength("a challenge of 8 to 32 bytes")
    key = find_key(context, command.p2, KeyUsage.CHIP)
    return P256PrivateKey(key.value).sign(CHIP_SIGNATURE_PREFIX + command.data)


def authentication_instructions(
    *, internal: AccessRule = NEVER, terminal: AccessRule = ALWAYS, states: frozenset[int] | None = None
) -> tuple[Instruction, Instruction, Instruction]:
    """The rows of the authentication commands for an application's command table.

    Args:
        internal: rule of INTERNAL AUTHENTICATE; its signature tells one card from another, so that it is never free
            unless the application says so.
        terminal: rule of GET CHALLENGE and EXTERNAL or MUTUAL AUTHENTICATE.
        states: application life-cycle states in which they are allowed; None = every selectable state.
    """
    from card_os.applet_api import Instruction

    return (
        Instruction(0x84, "GET CHALLENGE", get_challenge, access=terminal, states=states),
        Instruction(0x82, "EXTERNAL or MUTUAL AUTHENTICATE", authenticate, access=terminal, states=states),
        Instruction(0x88, "INTERNAL AUTHENTICATE", internal_authenticate, access=internal, states=states),
    )


def _exclusive_or(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
