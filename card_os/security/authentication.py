"""GET CHALLENGE, EXTERNAL and MUTUAL AUTHENTICATE, INTERNAL AUTHENTICATE.

Terminals authenticate with a pair K.ENC ‖ K.MAC or by a signature, the card proves itself with a P-256 key. A challenge
is used up by the authentication that follows it, whatever the outcome. What is sent is told by the kind of the key:

```
                                            AES, SM4        triple DES
challenges RND.IC, RND.IFD                  16 bytes        8 bytes
MUTUAL     E.IFD ‖ M.IFD → E.IC ‖ M.IC      48 + 16         32 + 8
EXTERNAL   M                                16              8
```

with E.IFD = CBC(K.ENC, IV 0, RND.IFD ‖ RND.IC ‖ K.IFD 16) and E.IC = CBC(K.ENC, IV 0, RND.IC ‖ RND.IFD ‖ K.IC 16). With
AES and SM4 M.IFD = CMAC(K.MAC, 01 ‖ reference ‖ E.IFD), M.IC the same with 02; with triple DES, which is basic access
control, the retail MAC of E.IFD and of E.IC. The session keys are derived from K.IFD xor K.IC and both challenges.

EXTERNAL AUTHENTICATE is the same instruction: M = MAC(K.MAC, 03 ‖ reference ‖ RND.IC), or the signature of a public key
over "permitcard terminal" ‖ RND.IC. The form is told by the length of the data and not by Le, which T=0 does not carry.
Its role is for plain commands: it binds no session keys, so that whoever relays it to a card must not find the role in
a session that another key opened. A public key is an object of the card, or that of a certificate which was verified
and named with MANAGE SECURITY ENVIRONMENT (P2 00 then; see `certificates`).

Source: ISO/IEC 7816-4:2020, clauses 11.6.2 to 11.6.5; ICAO Doc 9303-11 (8th edition), clause 4.3.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.hardware.work import Work
from card_os.iso7816.errors import (
    AuthenticationFailed,
    ConditionsNotSatisfied,
    IncorrectP1P2,
    ReferenceDataNotUsable,
    VerificationFailed,
    WrongLength,
)
from card_os.security.access import ALL_KEY_ROLES, ALWAYS, NEVER, AccessRule, Proof
from card_os.security.block_ciphers import BlockCipher, block_cmac, cbc_decrypt, cbc_encrypt, pad, retail_mac
from card_os.security.certificates import CertifiedKey, chosen_terminal
from card_os.security.cryptography import P256PrivateKey, equal
from card_os.security.key_kinds import KeyAlgorithm, spend_on_cryptogram, spend_on_signature, verify_message
from card_os.security.keys import Key, KeyUsage, find_key, implicit_terminal_key
from card_os.security.proofs import give_proof, take_proof
from card_os.security.secure_messaging import session
from card_os.security.tries import restore_tries, spend_try

if TYPE_CHECKING:
    from card_os.applet_api import Context, Instruction
    from card_os.iso7816.apdu import CommandApdu

CHALLENGE_LENGTH: Final = 16
SHORT_CHALLENGE_LENGTH: Final = 8
CHIP_SIGNATURE_PREFIX: Final = b"permitcard chip"
"""Stands before the terminal's challenge in what the chip key signs, so that it signs nothing of another meaning."""
TERMINAL_SIGNATURE_PREFIX: Final = b"permitcard terminal"
"""Stands before the card's challenge in what a terminal's private key signs."""
MIN_TERMINAL_CHALLENGE: Final = 8
MAX_TERMINAL_CHALLENGE: Final = 32

_SEED: Final = 16
_PASSES_OF_MUTUAL: Final = 4
"""Times that the data goes through the cipher: MAC and cryptogram, received and sent."""
_FROM_TERMINAL: Final = b"\x01"
_FROM_CARD: Final = b"\x02"
_EXTERNAL: Final = b"\x03"


class _Pair(NamedTuple):
    """How a pair of keys of one cipher authenticates.

    Attributes:
        cipher: the cipher of both keys.
        challenge: bytes of a challenge.
        checksum: bytes of a MAC.
    """

    cipher: BlockCipher
    challenge: int
    checksum: int

    @property
    def cryptogram(self) -> int:
        """Bytes of E.IFD and E.IC."""
        return 2 * self.challenge + _SEED

    def mac(self, key: Key, prefix: bytes, data: bytes, *, cryptogram: bool) -> bytes:
        """The MAC over data; basic access control has no prefix in front of a cryptogram."""
        if self.cipher is BlockCipher.TRIPLE_DES:
            return retail_mac(key.mac, pad(data if cryptogram else prefix + data, self.cipher.block))
        return block_cmac(self.cipher, key.mac, prefix + data)


_PAIRS: Final = MappingProxyType(
    {
        KeyAlgorithm.AES: _Pair(BlockCipher.AES, CHALLENGE_LENGTH, 16),
        KeyAlgorithm.SM4: _Pair(BlockCipher.SM4, CHALLENGE_LENGTH, 16),
        KeyAlgorithm.TRIPLE_DES: _Pair(BlockCipher.TRIPLE_DES, SHORT_CHALLENGE_LENGTH, 8),
    }
)
_LENGTHS: Final = frozenset(
    {length for pair in _PAIRS.values() for length in (pair.checksum, pair.cryptogram + pair.checksum)}
    | {64, 96, 256, 384}  # signatures of P-256 and SM2, P-384, RSA-2048 and 3072
)
"""Lengths that the data can have with some key."""


def get_challenge(context: Context, command: CommandApdu) -> bytes:
    """GET CHALLENGE (INS 84): P1-P2 0000, Le 08 or 10 and more; answers 8 or 16 random bytes, RND.IC."""
    if command.p1 or command.p2:
        raise IncorrectP1P2("GET CHALLENGE has P1-P2 0000")
    if command.data or (command.ne < CHALLENGE_LENGTH and command.ne != SHORT_CHALLENGE_LENGTH):
        raise WrongLength("GET CHALLENGE has no data and answers 8 or 16 bytes")
    challenge = context.randomness.bytes(min(command.ne, CHALLENGE_LENGTH))
    context.session.challenge = challenge
    return challenge


def challenge_length(context: Context, reference: int) -> int:
    """Bytes of the challenge that an authentication with a key takes; 00 stands for the implied one.

    Raises:
        ReferenceDataNotFound: 6A88, no terminal's key of that reference.
    """
    key = find_key(context, reference or implicit_terminal_key(context), KeyUsage.TERMINAL)
    pair = _PAIRS.get(KeyAlgorithm(key.algorithm))
    return CHALLENGE_LENGTH if pair is None else pair.challenge


def authenticate(context: Context, command: CommandApdu) -> bytes:
    """EXTERNAL or MUTUAL AUTHENTICATE (INS 82): P1 00, P2 reference, data as in the table of the module.

    EXTERNAL gives the key's role until deselection or the next MUTUAL, and is refused under secure messaging. MUTUAL
    opens secure messaging, gives the role to the commands under it only, and ends roles that were given in plain.

    Raises:
        WrongLength: 6700, no length of an authentication with this key.
        ReferenceDataNotFound: 6A88.
        ReferenceDataNotUsable: 6984, no challenge, or one of another length.
        VerificationFailed: 63CX, a wrong MAC, challenge or signature.
        AuthenticationFailed: 6300, a wrong signature of a key that came in a certificate.
        MethodBlocked: 6983, no tries left.
    """
    challenge, context.session.challenge = context.session.challenge, None
    if command.p1:
        raise IncorrectP1P2("the algorithm is that of the key: P1 00")
    if len(command.data) not in _LENGTHS:
        raise WrongLength("neither an external nor a mutual authentication")
    terminal = None if command.p2 else chosen_terminal(context)
    if terminal is not None:
        return _external_by_certificate(context, command, terminal, challenge)
    reference = command.p2 or implicit_terminal_key(context)
    key = find_key(context, reference, KeyUsage.TERMINAL)
    pair = _PAIRS.get(KeyAlgorithm(key.algorithm))
    if pair is not None and len(command.data) == pair.cryptogram + pair.checksum:
        return _mutual(context, command, key, pair, challenge)
    return _external(context, command, key, pair, challenge)


def _external_by_certificate(
    context: Context, command: CommandApdu, terminal: CertifiedKey, challenge: bytes | None
) -> bytes:
    """EXTERNAL AUTHENTICATE with the key of a certificate; nobody guesses a signature, so that it costs no try."""
    _require_plain(context)
    message = _signed_message(challenge)
    take_proof(context.session, terminal.proofs)
    spend_on_signature(context.clock, terminal.algorithm, terminal.value, len(message))
    if not verify_message(terminal.algorithm, terminal.value, message, command.data):
        raise AuthenticationFailed("the signature is wrong")
    give_proof(context.session, terminal.proofs)
    return b""


def _external(context: Context, command: CommandApdu, key: Key, pair: _Pair | None, challenge: bytes | None) -> bytes:
    """EXTERNAL AUTHENTICATE with a key of the card: a MAC of a pair, or a signature when ``pair`` is None."""
    _require_plain(context)
    if pair is not None and len(command.data) != pair.checksum:
        raise WrongLength("no authentication with a key of this kind")
    message = _signed_message(challenge) if pair is None else _usable(challenge, pair.challenge)
    role = int(Proof.key(key.role))
    take_proof(context.session, role)
    left = spend_try(context.store, key.item, key.tries_left)
    spend_on_signature(context.clock, KeyAlgorithm(key.algorithm), key.value, len(message))
    if pair is None:
        right = verify_message(KeyAlgorithm(key.algorithm), key.value, message, command.data)
    else:
        prefix = _EXTERNAL + bytes((key.item.identifier,))
        right = equal(pair.mac(key, prefix, message, cryptogram=False), command.data)
    if not right:
        raise VerificationFailed(left)
    restore_tries(context.store, key.item, key.try_limit)
    give_proof(context.session, role)
    return b""


def _require_plain(context: Context) -> None:
    if context.session.secure_channel is not None:
        raise ConditionsNotSatisfied("an external authentication belongs to plain commands")


def _usable(challenge: bytes | None, length: int) -> bytes:
    if challenge is None or len(challenge) != length:
        raise ReferenceDataNotUsable("no challenge of the length that the key takes")
    return challenge


def _signed_message(challenge: bytes | None) -> bytes:
    """What a terminal signs; a challenge of either length will do."""
    if challenge is None:
        raise ReferenceDataNotUsable("no challenge")
    return TERMINAL_SIGNATURE_PREFIX + challenge


def _mutual(context: Context, command: CommandApdu, key: Key, pair: _Pair, challenge: bytes | None) -> bytes:
    """MUTUAL AUTHENTICATE: verify E.IFD ‖ M.IFD, open the session, answer E.IC ‖ M.IC."""
    challenge = _usable(challenge, pair.challenge)
    reference = bytes((key.item.identifier,))
    take_proof(context.session, int(Proof.key(key.role)))
    left = spend_try(context.store, key.item, key.tries_left)
    spend_on_cryptogram(context.clock, KeyAlgorithm(key.algorithm), key.value, _PASSES_OF_MUTUAL * len(command.data))
    cryptogram, mac = command.data[: pair.cryptogram], command.data[pair.cryptogram :]
    if not equal(pair.mac(key, _FROM_TERMINAL + reference, cryptogram, cryptogram=True), mac):
        raise VerificationFailed(left)
    plain = cbc_decrypt(pair.cipher, key.encryption, cryptogram)
    terminal_challenge, seed_at = plain[: pair.challenge], 2 * pair.challenge
    if not equal(plain[pair.challenge : seed_at], challenge):
        raise VerificationFailed(left, "another challenge")
    restore_tries(context.store, key.item, key.try_limit)
    seed = context.randomness.bytes(_SEED)
    answer = cbc_encrypt(pair.cipher, key.encryption, challenge + terminal_challenge + seed)
    take_proof(context.session, ALL_KEY_ROLES)
    context.session.secure_channel = session(
        _exclusive_or(plain[seed_at:], seed),
        challenge,
        terminal_challenge,
        role=key.role,
        cla=command.cla,
        cipher=pair.cipher,
    )
    return answer + pair.mac(key, _FROM_CARD + reference, answer, cryptogram=True)


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
    context.clock.work(Work.P256_SIGN)
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
