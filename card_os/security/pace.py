"""PACE with generic mapping over ECDH: a short password opens secure messaging, also over the field.

The password is the card access number (CAN), which is printed on the card: a phone that holds the card in its field can
read the number, open secure messaging with it, and then send the holder's PIN. PACE gives no role and verifies nobody.

```
0022 C1A4   80 algorithm ‖ 83 01 02 (CAN) [‖ 84 01 curve]         choose
1086 0000   7C { }                        → 7C { 80 z }           nonce s, encrypted under the password
1086 0000   7C { 81 map key of terminal } → 7C { 82 map key }     generator G' = s·G + H, H the agreed point
1086 0000   7C { 83 key of terminal }     → 7C { 84 key }         agreement K over G'
0086 0000   7C { 85 token of terminal }   → 7C { 86 token }       CMAC over the other side's key
```

The algorithm is id-PACE-ECDH-GM-AES-CBC-CMAC-128, the curve brainpoolP256r1 (0D, unless 84 says otherwise) or P-256
(0C). Keys are 04 ‖ x ‖ y. Secure messaging starts with the next command, its counter at zero.

A card access number is never blocked, for anybody who comes near could block it; instead each wrong token costs a
second of the card's time. An error ends the exchange, which then starts again with MANAGE SECURITY ENVIRONMENT.

Source: ICAO Doc 9303-11 (8th edition), clauses 4.4 and 9.7; BSI TR-03110-2, clause 3.2 (PACE).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.hardware.work import Work
from card_os.iso7816 import tlv
from card_os.iso7816.errors import (
    AuthenticationFailed,
    ConditionsNotSatisfied,
    IncorrectP1P2,
    ReferenceDataNotFound,
    SecurityStatusNotSatisfied,
    WrongData,
)
from card_os.security.access import ALWAYS, NEVER, AccessRule, explain
from card_os.security.cryptography import BLOCK, aes_cbc_encrypt, cmac, equal
from card_os.security.key_kinds import KeyAlgorithm
from card_os.security.keys import KeyUsage, create_key, find_key, has_key
from card_os.security.libcrypto import Curve, CurveName, curve
from card_os.security.secure_messaging import IsoSecureMessaging
from card_os.security.security_operations import manage_security_environment, security_operation_instructions

if TYPE_CHECKING:
    from card_os.applet_api import Context, Handler, Instruction
    from card_os.hardware.randomness import Randomness
    from card_os.iso7816.apdu import CommandApdu
    from card_os.storage.store import StoredObject

CARD_ACCESS_NUMBER: Final = 0x02
"""Reference of the card access number (ICAO Doc 9303-11, 4.4.4.1); the password key has the same one."""
ALGORITHM: Final = bytes.fromhex("04007f00070202040202")
"""Object identifier id-PACE-ECDH-GM-AES-CBC-CMAC-128."""
TOKEN_LENGTH: Final = 8

_SCRATCH: Final = "PACE"
_SET_AUTHENTICATION: Final = 0xC1A4
_VERSION: Final = 2
_BRAINPOOL_P256R1: Final = 13
_CURVES: Final = MappingProxyType({12: CurveName.P256, _BRAINPOOL_P256R1: CurveName.BRAINPOOL_P256R1})
_WRONG_TOKEN_NS: Final = 1_000_000_000
_CHAINED: Final = 0x10
_MULTIPLICATIONS_TO_MAP: Final = 3
"""Key of the card, agreed point, mapped generator."""
_MULTIPLICATIONS_TO_AGREE: Final = 2
"""Key of the card, shared point."""
_TAG_ALGORITHM, _TAG_PASSWORD, _TAG_CURVE = 0x80, 0x83, 0x84
_TAG_DYNAMIC: Final = 0x7C
_TAG_PUBLIC_KEY: Final = 0x7F49
_TAG_OBJECT_IDENTIFIER: Final = 0x06
_TAG_POINT: Final = 0x86
_TAG_SET, _TAG_SEQUENCE, _TAG_INTEGER = 0x31, 0x30, 0x02


class PaceKeys(NamedTuple):
    """Session keys; their repr does not show them.

    Attributes:
        encryption: KS.ENC, 16 bytes.
        mac: KS.MAC, 16 bytes.
    """

    encryption: bytes
    mac: bytes

    def __repr__(self) -> str:
        return "PaceKeys()"


def derive_key(secret: bytes, counter: int) -> bytes:
    """Key derivation function for AES-128: first 16 bytes of SHA-1(secret ‖ counter in 4 bytes) (9.7.1.2).

    Args:
        secret: shared secret, or a password for counter 3.
        counter: 1 encryption, 2 MAC, 3 password.
    """
    return hashlib.sha1(secret + counter.to_bytes(4, "big"), usedforsecurity=False).digest()[:BLOCK]


def map_generator(group: Curve, nonce: bytes, private: int, other: bytes) -> bytes:
    """The mapped generator G' = s·G + H, H being the point that the two mapping keys agree on (4.4.3.3.1).

    Raises:
        ValueError: ``other`` is no point of the curve, or the result is the point at infinity.
    """
    agreed = group.multiply(private, other)
    scalar = int.from_bytes(nonce, "big") % group.order
    return group.combine(scalar, 1, agreed)


def session_keys(shared: bytes) -> PaceKeys:
    """Session keys of the shared point (04 ‖ x ‖ y): its x coordinate is the secret."""
    secret = shared[1 : 1 + len(shared) // 2]
    return PaceKeys(derive_key(secret, 1), derive_key(secret, 2))


def token(mac_key: bytes, point: bytes) -> bytes:
    """Authentication token over the other side's key: leftmost 8 bytes of CMAC over the public key object (4.4.3.4)."""
    body = tlv.encode(_TAG_OBJECT_IDENTIFIER, ALGORITHM) + tlv.encode(_TAG_POINT, point)
    return cmac(mac_key, tlv.encode(_TAG_PUBLIC_KEY, body))[:TOKEN_LENGTH]


def card_access() -> bytes:
    """What EF.CardAccess holds: PACEInfo with version 2 and the default curve (9.2.1)."""
    info = (
        tlv.encode(_TAG_OBJECT_IDENTIFIER, ALGORITHM),
        tlv.encode(_TAG_INTEGER, bytes((_VERSION,))),
        tlv.encode(_TAG_INTEGER, bytes((_BRAINPOOL_P256R1,))),
    )
    return tlv.encode(_TAG_SET, tlv.encode(_TAG_SEQUENCE, *info))


def create_card_access_number(context: Context, digits: str) -> StoredObject:
    """Create the password of PACE, in the open transaction or in one of its own.

    Args:
        context: the application's context.
        digits: 6 to 16 digits.

    Raises:
        WrongData: 6A80, other characters or another length; the digits are not repeated.
        FileExists: 6A89, there is one.
        NotEnoughMemory: 6A84.
    """
    if not digits.isascii():
        raise WrongData("a card access number has 6 to 16 digits")
    return create_key(
        context,
        CARD_ACCESS_NUMBER,
        digits.encode("ascii"),
        usage=KeyUsage.PACE,
        algorithm=KeyAlgorithm.PASSWORD,
    )


class _Exchange:
    """What the card keeps between two commands of one exchange."""

    __slots__ = ("generator", "group", "keys", "nonce", "own", "step", "theirs")

    def __init__(self, group: Curve) -> None:
        self.group = group
        self.step = 0
        self.nonce = self.generator = self.own = self.theirs = b""
        self.keys = PaceKeys(b"", b"")


def set_authentication(context: Context, command: CommandApdu) -> bytes:
    """MANAGE SECURITY ENVIRONMENT, SET AT for PACE (INS 22, P1-P2 C1A4): 80 algorithm, 83 password, [84 curve].

    Raises:
        IncorrectP1P2: 6A86, another function.
        WrongData: 6A80, other objects, or an algorithm that the card does not have.
        ReferenceDataNotFound: 6A88, no such password or curve.
    """
    context.session.scratch.pop(_SCRATCH, None)
    if command.p1 << 8 | command.p2 != _SET_AUTHENTICATION:
        raise IncorrectP1P2("not SET AT for mutual authentication")
    try:
        items = tlv.parse_all(command.data)
    except tlv.TlvError as error:
        raise WrongData(str(error)) from None
    objects = {item.tag: item.value for item in items}
    if len(objects) != len(items) or objects.keys() - {_TAG_CURVE} != {_TAG_ALGORITHM, _TAG_PASSWORD}:
        raise WrongData("other data objects than 80, 83 and 84")
    if objects[_TAG_ALGORITHM] != ALGORITHM:
        raise WrongData("another algorithm")
    number = objects.get(_TAG_CURVE, bytes((_BRAINPOOL_P256R1,)))
    if objects[_TAG_PASSWORD] != bytes((CARD_ACCESS_NUMBER,)) or not has_key(
        context, CARD_ACCESS_NUMBER, KeyUsage.PACE
    ):
        raise ReferenceDataNotFound("no such password")
    if len(number) != 1 or number[0] not in _CURVES:
        raise ReferenceDataNotFound("no such curve")
    context.session.scratch[_SCRATCH] = _Exchange(curve(_CURVES[number[0]]))
    return b""


def general_authenticate(context: Context, command: CommandApdu) -> bytes:
    """GENERAL AUTHENTICATE (INS 86, P1-P2 0000): one step of PACE, all but the last with the chaining bit.

    Raises:
        IncorrectP1P2: 6A86.
        ConditionsNotSatisfied: 6985, no exchange is open, or the chaining bit does not fit the step.
        WrongData: 6A80, not the object of this step, or no point of the curve.
        AuthenticationFailed: 6300, the token is wrong: the terminal has another password.
    """
    exchange = context.session.scratch.pop(_SCRATCH, None)
    if command.p1 or command.p2:
        raise IncorrectP1P2("GENERAL AUTHENTICATE has P1-P2 0000")
    if not isinstance(exchange, _Exchange):
        raise ConditionsNotSatisfied("no PACE exchange is open")
    step = exchange.step
    if bool(command.cla & _CHAINED) is (step == _LAST_STEP):
        raise ConditionsNotSatisfied("the chaining bit does not fit the step")
    received, handler = _STEPS[step]
    value = _dynamic(command.data, received)
    try:
        answer = handler(context, exchange, value)
    except ValueError as error:
        raise WrongData(str(error)) from None
    if step == _LAST_STEP:
        keys = exchange.keys
        context.session.secure_channel = IsoSecureMessaging(keys.encryption, keys.mac, cla=command.cla)
    else:
        exchange.step = step + 1
        context.session.scratch[_SCRATCH] = exchange
    return tlv.encode(_TAG_DYNAMIC, tlv.encode(_ANSWERS[step], answer))


def _dynamic(data: bytes, tag: int | None) -> bytes:
    """The value of the one object inside 7C, nothing for the first step."""
    try:
        outer = tlv.parse_one(data)
        inside = outer.children()
    except tlv.TlvError as error:
        raise WrongData(str(error)) from None
    if outer.tag != _TAG_DYNAMIC or [item.tag for item in inside] != ([] if tag is None else [tag]):
        raise WrongData("other dynamic authentication data than this step has")
    return inside[0].value if inside else b""


def _send_nonce(context: Context, exchange: _Exchange, _value: bytes) -> bytes:
    password = find_key(context, CARD_ACCESS_NUMBER, KeyUsage.PACE)
    exchange.nonce = context.randomness.bytes(BLOCK)
    return aes_cbc_encrypt(derive_key(password.value, 3), exchange.nonce)


def _map(context: Context, exchange: _Exchange, value: bytes) -> bytes:
    group = exchange.group
    context.clock.work(Work.POINT_MULTIPLICATION, _MULTIPLICATIONS_TO_MAP)
    private = _private(group, context.randomness)
    exchange.generator = map_generator(group, exchange.nonce, private, value)
    return group.public_point(private)


def _agree(context: Context, exchange: _Exchange, value: bytes) -> bytes:
    group = exchange.group
    context.clock.work(Work.POINT_MULTIPLICATION, _MULTIPLICATIONS_TO_AGREE)
    private = _private(group, context.randomness)
    exchange.own, exchange.theirs = group.multiply(private, exchange.generator), value
    if exchange.own == value:
        raise ValueError("the key of the card itself")
    exchange.keys = session_keys(group.multiply(private, value))
    return exchange.own


def _authenticate(context: Context, exchange: _Exchange, value: bytes) -> bytes:
    mac_key = exchange.keys.mac
    if not equal(token(mac_key, exchange.own), value):
        context.clock.spend(_WRONG_TOKEN_NS)
        raise AuthenticationFailed("the terminal has another password")
    return token(mac_key, exchange.theirs)


def _private(group: Curve, randomness: Randomness) -> int:
    """A private key from the injected source; what does not fit is passed over."""
    while True:
        value = int.from_bytes(randomness.bytes(group.length), "big")
        if 0 < value < group.order:
            return value


_STEPS: Final[tuple[tuple[int | None, Callable[[Context, _Exchange, bytes], bytes]], ...]] = (
    (None, _send_nonce),
    (0x81, _map),
    (0x83, _agree),
    (0x85, _authenticate),
)
"""Object that the terminal sends, and what the card does with it, by step."""
_ANSWERS: Final = (0x80, 0x82, 0x84, 0x86)
_LAST_STEP: Final = len(_STEPS) - 1


@dataclass(frozen=True, slots=True)
class PaceOrOperation:
    """MANAGE SECURITY ENVIRONMENT of an application with PACE and with security operations.

    SET AT for PACE is `set_authentication`, everything else `manage_security_environment` under a rule of its own.

    Attributes:
        operations: what the latter takes.
    """

    operations: AccessRule

    def __call__(self, context: Context, command: CommandApdu) -> bytes:
        """Run the command.

        Raises:
            SecurityStatusNotSatisfied: 6982, the rule of the operations is not satisfied.
        """
        if command.p1 << 8 | command.p2 == _SET_AUTHENTICATION:
            return set_authentication(context, command)
        if not self.operations.allows(context.proofs):
            raise SecurityStatusNotSatisfied(explain(self.operations, context.proofs))
        return manage_security_environment(context, command)


def pace_instructions(
    access: AccessRule = ALWAYS, states: frozenset[int] | None = None, *, operations: AccessRule = NEVER
) -> tuple[Instruction, ...]:
    """The rows of PACE for an application's command table.

    Args:
        access: rule of PACE.
        states: application life-cycle states in which it is allowed; None = every selectable state.
        operations: rule of PERFORM SECURITY OPERATION, whose row comes with these then, for both share MANAGE SECURITY
            ENVIRONMENT; never leaves it out.
    """
    from card_os.applet_api import Instruction

    manage: Handler = PaceOrOperation(operations) if operations.alternatives else set_authentication
    rows = (
        Instruction(0x22, "MANAGE SECURITY ENVIRONMENT", manage, access=access, states=states),
        Instruction(0x86, "GENERAL AUTHENTICATE", general_authenticate, access=access, states=states, stepwise=True),
    )
    if not operations.alternatives:
        return rows
    return (*rows, *(row for row in security_operation_instructions(operations, states) if row.ins != rows[0].ins))
