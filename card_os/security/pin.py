"""PINs of an application: objects, VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER, ENABLE and DISABLE.

A PIN is an object of kind PIN, the identifier of which is its reference (P2 of the commands):

```
offset 0  1  tries left
offset 1  1  try limit, 1..15
offset 2  1  PIN number, 1..8: which `Proof.pin` it gives; b8 = 1: verification is not required; b7 = 1: to be changed
offset 3  1  reference of the PIN that unblocks it, 00 none
offset 4  8  PIN block
```

PINs travel and rest as PIN blocks of format 2: control 2, number of digits (4 to 12), digits, filled with F.

A PIN whose verification is not required gives its proof to every session from selection on.

A PIN that is to be changed is one that came in a letter. It gives no proof: VERIFY of the right one is answered with
6985, and so is the question for its state while no try is missing, so that a terminal asks for another and sends
CHANGE REFERENCE DATA. From then on it is a PIN like any other.

Source: ISO/IEC 7816-4:2020, clauses 11.6.6 (VERIFY), 11.6.7 (CHANGE REFERENCE DATA), 11.6.8 and 11.6.9 (ENABLE and
DISABLE VERIFICATION REQUIREMENT), 11.6.10 (RESET RETRY COUNTER);
ISO 9564-1:2017, clause 9.3.4 (format 2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncorrectP1P2,
    MethodBlocked,
    ReferenceDataNotFound,
    SecurityStatusNotSatisfied,
    VerificationFailed,
    WrongData,
    WrongLength,
)
from card_os.security.access import NEVER, AccessRule, Proof, explain
from card_os.security.cryptography import equal
from card_os.security.proofs import give_proof, has_proof, take_proof
from card_os.security.tries import MAX_TRY_LIMIT, TRIES_LEFT_AT, initial_tries, spend_try
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.applet_api import Context, Instruction
    from card_os.iso7816.apdu import CommandApdu
    from card_os.storage.store import ObjectStore, StoredObject

PIN_BLOCK_LENGTH: Final = 8
MIN_DIGITS: Final = 4
MAX_DIGITS: Final = 12
PIN_ACCESS: Final = AccessRule((int(Proof.CONTACT), int(Proof.SECURE_MESSAGING)))
"""On contact, or over the field under secure messaging: never in plain where it can be overheard."""
NO_UNBLOCKING: Final[Mapping[int, int]] = MappingProxyType({})

_PIN: Final = ObjectKind.PIN  # to name it by its class takes ten times as long
_BLOCK_AT: Final = 4
_FORMAT_2: Final = 2
_FILL: Final = "f"
_MAX_NUMBER: Final = 8
_NOT_REQUIRED: Final = 0x80
TO_BE_CHANGED: Final = 0x40
"""Beside a PIN's number: it gives no proof before it was changed."""
_NUMBER_MASK: Final = 0x0F
_PROOFS: Final = tuple(
    int(Proof.pin(byte & _NUMBER_MASK)) if byte & TO_BE_CHANGED == 0 and 1 <= byte & _NUMBER_MASK <= _MAX_NUMBER else 0
    for byte in range(_NOT_REQUIRED + _MAX_NUMBER + 1)
)
"""Proof by the byte at offset 2; none of a PIN that is to be changed."""
_MAX_REFERENCE: Final = 0xFF
_DGI_ENTRY: Final = 3 + PIN_BLOCK_LENGTH

_UNCHANGED: Final = "the PIN has to be changed first"

_P1_DEFAULT: Final = 0x00
_P1_LOG_OUT: Final = 0xFF  # VERIFY: set the status to not verified
_P1_CODE_ONLY: Final = 0x01  # RESET RETRY COUNTER: resetting code without new reference data
_P1_NEW_ONLY: Final = 0x02  # RESET RETRY COUNTER: new reference data without resetting code
_P1_NOTHING: Final = 0x03  # RESET RETRY COUNTER: neither


def pin_block(digits: str) -> bytes:
    """The PIN block of format 2 for 4 to 12 decimal digits, 8 bytes.

    Raises:
        ValueError: not 4 to 12 decimal digits; the message does not repeat them.
    """
    if not (MIN_DIGITS <= len(digits) <= MAX_DIGITS and digits.isascii() and digits.isdecimal()):
        raise ValueError(f"a PIN has {MIN_DIGITS} to {MAX_DIGITS} decimal digits")
    return bytes.fromhex(f"{_FORMAT_2}{len(digits):x}{digits}".ljust(2 * PIN_BLOCK_LENGTH, _FILL))


def _shape(digits: int) -> str:
    """The PIN blocks of that many digits, in hexadecimal, as a regular expression."""
    return rf"{_FORMAT_2}{digits:x}\d{{{digits}}}{_FILL}{{{2 * PIN_BLOCK_LENGTH - 2 - digits}}}"


_SHAPES: Final = re.compile("|".join(map(_shape, range(MIN_DIGITS, MAX_DIGITS + 1))), re.ASCII)


def is_pin_block(block: bytes) -> bool:
    """True for a well-formed PIN block of format 2."""
    return _SHAPES.fullmatch(block.hex()) is not None


def create_pin(
    context: Context, reference: int, block: bytes, *, number: int, try_limit: int, unblocking: int = 0
) -> StoredObject:
    """Create a PIN of the application, in the open transaction or in one of its own.

    Args:
        context: the application's context.
        reference: 1..255, P2 of the commands.
        block: PIN block of format 2, 8 bytes.
        number: 1..8, the `Proof.pin` that it gives; plus `TO_BE_CHANGED` for one that has to be changed first.
        try_limit: 1..15.
        unblocking: reference of the PIN that RESET RETRY COUNTER asks for, 0 for none.

    Raises:
        WrongData: 6A80, a value is out of range or the block is malformed.
        FileExists: 6A89, the reference is taken.
        NotEnoughMemory: 6A84.
    """
    if not (
        0 < reference <= _MAX_REFERENCE
        and 1 <= number & ~TO_BE_CHANGED <= _MAX_NUMBER
        and 1 <= try_limit <= MAX_TRY_LIMIT
        and 0 <= unblocking <= _MAX_REFERENCE
        and is_pin_block(block)
    ):
        raise WrongData("a PIN's reference, number, limit or block is out of range")
    body = initial_tries(try_limit) + bytes((number, unblocking)) + block
    return context.store.create(context.application.owner, ObjectKind.PIN, reference, len(body), body)


def load_pins(context: Context, content: bytes, unblocking: Mapping[int, int] = NO_UNBLOCKING) -> None:
    """Create the PINs of a DGI: repeated reference 1 ‖ PIN number 1 ‖ try limit 1 ‖ PIN block 8.

    Bit 7 of the number byte says that the PIN has to be changed before it is of use.

    Args:
        context: the application's context.
        content: the DGI, decrypted.
        unblocking: for a reference the reference of the PIN that unblocks it.

    Raises:
        WrongData: 6A80, not whole entries, or a value is out of range; nothing is created.
        FileExists: 6A89, a reference is taken; nothing is created.
    """
    if not content or len(content) % _DGI_ENTRY:
        raise WrongData("not whole entries of PINs")
    with context.store.transaction():
        for at in range(0, len(content), _DGI_ENTRY):
            reference, number, try_limit = content[at : at + 3]
            block = content[at + 3 : at + _DGI_ENTRY]
            create_pin(
                context,
                reference,
                block,
                number=number,
                try_limit=try_limit,
                unblocking=unblocking.get(reference, 0),
            )


def pin_tries_left(context: Context, reference: int) -> int:
    """Tries left of a PIN; 0 = blocked.

    Raises:
        ReferenceDataNotFound: 6A88.
    """
    return context.store.read(_find(context, reference), TRIES_LEFT_AT, 1)[0]


def verify_pin(context: Context, reference: int, block: bytes) -> None:
    """Compare a PIN block; success gives the proof, failure takes it away.

    A proof that is given under secure messaging ends with it.

    A malformed block is refused without a try: it says nothing about the PIN and comes from a broken terminal.

    Raises:
        ReferenceDataNotFound: 6A88.
        WrongLength: 6700, not 8 bytes.
        WrongData: 6A80, no PIN block of format 2.
        VerificationFailed: 63CX, wrong PIN.
        MethodBlocked: 6983, no tries left.
        ConditionsNotSatisfied: 6985, it is the right PIN and has to be changed first.
    """
    item = _find(context, reference)
    if not is_pin_block(block):
        raise _malformed(block)
    store = context.store
    body = store.content(item)
    _compare(context, item, body, block)
    store.count(item, body[1:2])
    proof = _PROOFS[body[2]]
    if not proof:
        raise ConditionsNotSatisfied(_UNCHANGED)
    give_proof(context.session, proof)


def _compare(context: Context, item: StoredObject, body: bytes, block: bytes) -> None:
    """Take proof and try away, then compare; the caller gives them back."""
    take_proof(context.session, _PROOFS[body[2]])
    left = spend_try(context.store, item, body[TRIES_LEFT_AT])
    if not equal(body[_BLOCK_AT:], block):
        raise VerificationFailed(left)


def _find(context: Context, reference: int) -> StoredObject:
    item = context.store.find(context.application.owner, _PIN, reference)
    if item is None:
        raise ReferenceDataNotFound(f"no PIN {reference:02X}")
    return item


def _check_block(block: bytes) -> None:
    if not is_pin_block(block):
        raise _malformed(block)


def _malformed(block: bytes) -> WrongLength | WrongData:
    """Why it is no PIN block."""
    if len(block) != PIN_BLOCK_LENGTH:
        return WrongLength("a PIN block has 8 bytes")
    return WrongData("no PIN block of format 2")


def verify(context: Context, command: CommandApdu) -> bytes:
    """VERIFY (INS 20): P1 00, P2 reference, data PIN block.

    Without data it tells the state: 9000 verified, 63CX not verified, 6983 blocked, 6985 to be changed first and no try
    is missing. P1 FF without data logs out.
    """
    _, _, p1, reference, data, _, _ = command
    if p1 == _P1_DEFAULT and data:
        verify_pin(context, reference, data)
        return b""
    if p1 not in {_P1_DEFAULT, _P1_LOG_OUT}:
        raise IncorrectP1P2("VERIFY has P1 00 or FF")
    if data:
        raise WrongLength("logging out has no data")
    body = context.store.read(_find(context, reference))
    proof = _PROOFS[body[2]]
    if p1 == _P1_LOG_OUT:
        take_proof(context.session, proof)
        return b""
    if body[TRIES_LEFT_AT] == 0:
        raise MethodBlocked("no tries left")
    unchanged = body[2] & TO_BE_CHANGED
    if unchanged and body[TRIES_LEFT_AT] == body[1]:
        raise ConditionsNotSatisfied(_UNCHANGED)
    if unchanged or not has_proof(context.session, proof):
        raise VerificationFailed(body[TRIES_LEFT_AT], "not verified")
    return b""


def change_reference_data(context: Context, command: CommandApdu) -> bytes:
    """CHANGE REFERENCE DATA (INS 24): P1 00, P2 reference, data old PIN block ‖ new PIN block.

    Whether the PIN counts as verified stays as it was; a wrong old PIN takes the proof away. One that is to be changed
    is changed into another one (6A80 otherwise).
    """
    if command.p1 != _P1_DEFAULT:
        raise IncorrectP1P2("CHANGE REFERENCE DATA has P1 00")
    item = _find(context, command.p2)
    old, new = _two_blocks(command.data)
    body = context.store.read(item)
    session, proof = context.session, _PROOFS[body[2]]
    verified = has_proof(session, proof)
    _compare(context, item, body, old)
    _require_another(context, item, body, body, new)
    _renew(context, item, body, new)
    if verified:
        give_proof(session, proof)
    return b""


def reset_retry_counter(context: Context, command: CommandApdu) -> bytes:
    """RESET RETRY COUNTER (INS 2C): P2 reference; P1 00 unblocking PIN block ‖ new PIN block, P1 01 unblocking only.

    The unblocking PIN has tries of its own and gives no proof; the PIN itself is not verified afterwards.
    """
    if command.p1 not in {_P1_DEFAULT, _P1_CODE_ONLY}:
        raise IncorrectP1P2("RESET RETRY COUNTER has P1 00 or 01")
    store = context.store
    item = _find(context, command.p2)
    if command.p1 == _P1_CODE_ONLY:
        code, new = command.data, None
        _check_block(code)
    else:
        code, new = _two_blocks(command.data)
    body = store.read(item)
    unblocking = _find(context, body[3])
    unblocking_body = store.read(unblocking)
    _compare(context, unblocking, unblocking_body, code)
    _require_another(context, unblocking, unblocking_body, body, new)
    with store.transaction():
        _renew(context, item, body, new)
        store.write(unblocking, TRIES_LEFT_AT, unblocking_body[1:2])
    take_proof(context.session, _PROOFS[body[2]])
    return b""


@dataclass(frozen=True, slots=True)
class ResetWithoutCode:
    """RESET RETRY COUNTER that also knows the forms without a resetting code, for whoever satisfies a rule.

    P1 02: new PIN block; P1 03: no data. Every other P1 is `reset_retry_counter`.

    Attributes:
        rule: what P1 02 and 03 take, such as the role of the issuer under secure messaging.
    """

    rule: AccessRule

    def __call__(self, context: Context, command: CommandApdu) -> bytes:
        """Run the command.

        Raises:
            SecurityStatusNotSatisfied: 6982, the rule is not satisfied.
        """
        if command.p1 not in {_P1_NEW_ONLY, _P1_NOTHING}:
            return reset_retry_counter(context, command)
        if not self.rule.allows(context.proofs):
            raise SecurityStatusNotSatisfied(explain(self.rule, context.proofs))
        item = _find(context, command.p2)
        new = command.data if command.p1 == _P1_NEW_ONLY else None
        if new is not None:
            _check_block(new)
        elif command.data:
            raise WrongLength("P1 03 has no data")
        body = context.store.read(item)
        take_proof(context.session, _PROOFS[body[2]])
        _renew(context, item, body, new, by_holder=False)
        return b""


def _two_blocks(data: bytes) -> tuple[bytes, bytes]:
    """Two PIN blocks that follow each other, both well-formed."""
    if len(data) != 2 * PIN_BLOCK_LENGTH:
        raise WrongLength("two PIN blocks have 16 bytes")
    first, second = data[:PIN_BLOCK_LENGTH], data[PIN_BLOCK_LENGTH:]
    _check_block(first)
    _check_block(second)
    return first, second


def _require_another(context: Context, spent: StoredObject, spent_body: bytes, body: bytes, new: bytes | None) -> None:
    """Refuse to change a PIN that is to be changed into itself; the try of the right code is given back."""
    if new is not None and body[2] & TO_BE_CHANGED and equal(body[_BLOCK_AT:], new):
        context.store.count(spent, spent_body[1:2])
        raise WrongData("the PIN has to be changed into another one")


def _renew(context: Context, item: StoredObject, body: bytes, block: bytes | None, *, by_holder: bool = True) -> None:
    """All tries, and a new PIN block unless None: both or neither. One of the holder's own choice is changed now."""
    number = body[2] & ~TO_BE_CHANGED if by_holder and block is not None else body[2]
    content = bytes((body[1], body[1], number, body[3])) + (block or body[_BLOCK_AT:])
    context.store.change(item, TRIES_LEFT_AT, content)


def _require_verification(context: Context, command: CommandApdu, *, required: bool) -> bytes:
    if command.p1 != _P1_DEFAULT:
        raise IncorrectP1P2("the PIN itself is needed: P1 00")
    item = _find(context, command.p2)
    _check_block(command.data)
    body = context.store.read(item)
    if body[2] & TO_BE_CHANGED:
        raise ConditionsNotSatisfied(_UNCHANGED)
    _compare(context, item, body, command.data)
    number = body[2] & _NUMBER_MASK | (0 if required else _NOT_REQUIRED)
    context.store.watched.add(item.slot)  # so that `standing_proofs` is asked again
    context.store.change(item, TRIES_LEFT_AT, body[1:2] + body[1:2] + bytes((number,)))
    if not required:
        context.session.proofs |= _PROOFS[number]
    return b""


def enable_verification(context: Context, command: CommandApdu) -> bytes:
    """ENABLE VERIFICATION REQUIREMENT (INS 28): P1 00, P2 reference, data PIN block.

    The PIN is not verified afterwards; sessions on other channels keep what they have proved.

    Raises:
        VerificationFailed: 63CX, wrong PIN.
        MethodBlocked: 6983, no tries left.
    """
    return _require_verification(context, command, required=True)


def disable_verification(context: Context, command: CommandApdu) -> bytes:
    """DISABLE VERIFICATION REQUIREMENT (INS 26): P1 00, P2 reference, data PIN block.

    Raises:
        VerificationFailed: 63CX, wrong PIN.
        MethodBlocked: 6983, no tries left.
    """
    return _require_verification(context, command, required=False)


def standing_proofs(store: ObjectStore, owner: int) -> int:
    """The proofs of an application's PINs whose verification is not required."""
    proofs = 0
    for item in store.owned(owner, ObjectKind.PIN):
        number = store.read(item, 2, 1)[0]
        if number & _NOT_REQUIRED:
            proofs |= _PROOFS[number]
    return proofs


def verification_requirement_instructions(
    access: AccessRule = NEVER, states: frozenset[int] | None = None
) -> tuple[Instruction, Instruction]:
    """The rows of ENABLE and DISABLE VERIFICATION REQUIREMENT for an application's command table.

    Args:
        access: rule of both commands; never unless the application says so.
        states: application life-cycle states in which they are allowed; None = every selectable state.
    """
    from card_os.applet_api import Instruction

    return (
        Instruction(0x28, "ENABLE VERIFICATION REQUIREMENT", enable_verification, access=access, states=states),
        Instruction(0x26, "DISABLE VERIFICATION REQUIREMENT", disable_verification, access=access, states=states),
    )


def pin_instructions(
    access: AccessRule = PIN_ACCESS, states: frozenset[int] | None = None, *, reset: AccessRule = NEVER
) -> tuple[Instruction, Instruction, Instruction]:
    """The rows of VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER for an application's command table.

    Args:
        access: rule of all three commands.
        states: application life-cycle states in which they are allowed; None = every selectable state.
        reset: rule of RESET RETRY COUNTER without a resetting code (P1 02 and 03); never leaves these forms out.
    """
    from card_os.applet_api import Instruction

    resetting = ResetWithoutCode(reset) if reset.alternatives else reset_retry_counter
    return (
        Instruction(0x20, "VERIFY", verify, access=access, states=states),
        Instruction(0x24, "CHANGE REFERENCE DATA", change_reference_data, access=access, states=states),
        Instruction(0x2C, "RESET RETRY COUNTER", resetting, access=access, states=states),
    )
