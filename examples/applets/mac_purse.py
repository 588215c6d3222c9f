"""A purse that takes money off for who knows its key: each debit carries a MAC, and wrong ones are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from card_os.applet_api import Context, Instruction, KeyUsage, cmac, equal, find_key, instruction_table, load_keys
from card_os.applet_services import ObjectKind, StoredObject
from card_os.iso7816.aid import Aid
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncorrectP1P2,
    MethodBlocked,
    ReferenceDataNotFound,
    VerificationFailed,
    WrongLength,
)
from card_os.iso7816.tlv import encode

PACKAGE: Final = Aid(bytes.fromhex("F04D5055525345"))
MODULE: Final = Aid(bytes.fromhex("F04D505552534501"))

PURSE: Final = 1
"""Identifier of the object with number of debits (2) ‖ balance (4)."""
TRIES: Final = 2
"""Identifier of the counter: tries left, 1 byte. It is an object of its own, for it changes outside of transactions."""
TRY_LIMIT: Final = 5
DEBIT_KEY: Final = 0x01
KEYS_GROUPING: Final = 0x8000
_NUMBER: Final = slice(0, 2)
_BALANCE: Final = slice(2, 6)
_AMOUNT: Final = slice(0, 4)
_MAC: Final = slice(4, 8)
_MOST_DEBITS: Final = 0xFFFF


def _find(context: Context, kind: ObjectKind, identifier: int) -> StoredObject:
    found = context.store.find(context.application.owner, kind, identifier)
    if found is None:
        raise ReferenceDataNotFound("the purse is not there")
    return found


def get_balance(context: Context, command: CommandApdu) -> bytes:
    """GET BALANCE (80 5C): number of debits (2) ‖ balance (4)."""
    if command.p1 or command.p2:
        raise IncorrectP1P2("P1-P2 is 0000")
    if command.data:
        raise WrongLength("GET BALANCE has no data")
    return context.store.read(_find(context, ObjectKind.DATA, PURSE))


def debit(context: Context, command: CommandApdu) -> bytes:
    """DEBIT (80 54): amount (4) ‖ MAC (4); answers as GET BALANCE.

    The MAC is the leftmost bytes of CMAC(key, number of debits ‖ amount), so that no debit is taken twice. The try is
    spent before the compare, so that a cut of power at the answer gives none back.

    Raises:
        VerificationFailed: 63Cx, a wrong MAC.
        MethodBlocked: 6983, no try is left.
        ConditionsNotSatisfied: 6985, the purse does not hold that, or its number of debits is used up.
    """
    if command.p1 or command.p2:
        raise IncorrectP1P2("P1-P2 is 0000")
    if len(command.data) != _MAC.stop:
        raise WrongLength("an amount and its MAC")
    store = context.store
    key = find_key(context, DEBIT_KEY, KeyUsage.APPLICATION)
    purse, tries = _find(context, ObjectKind.DATA, PURSE), _find(context, ObjectKind.COUNTER, TRIES)
    held, left = store.read(purse), store.read(tries)[0]
    if not left:
        raise MethodBlocked("no try is left")
    store.count(tries, bytes((left - 1,)))
    amount = command.data[_AMOUNT]
    if not equal(cmac(key.value, held[_NUMBER] + amount)[:4], command.data[_MAC]):
        raise VerificationFailed(left - 1)
    store.count(tries, bytes((TRY_LIMIT,)))
    number = int.from_bytes(held[_NUMBER], "big")
    balance = int.from_bytes(held[_BALANCE], "big") - int.from_bytes(amount, "big")
    if balance < 0 or number == _MOST_DEBITS:
        raise ConditionsNotSatisfied("the purse does not hold that, or takes no more debits")
    written = (number + 1).to_bytes(2, "big") + balance.to_bytes(4, "big")
    store.change(purse, 0, written)
    return written


class MacPurse:
    """Implements `card_os.applet_api.Applet`."""

    package_aid: ClassVar[bytes] = PACKAGE
    module_aid: ClassVar[bytes] = MODULE
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        Instruction(0x5C, "GET BALANCE", get_balance, proprietary=True),
        Instruction(0x54, "DEBIT", debit, proprietary=True),
    )

    def install(self, context: Context, parameters: bytes) -> None:
        """Make the purse; the install parameters are the first balance (4)."""
        if len(parameters) != _BALANCE.stop - _BALANCE.start:
            raise WrongLength("a balance has four bytes")
        owner = context.application.owner
        content = bytes(_NUMBER.stop) + parameters
        context.store.create(owner, ObjectKind.DATA, PURSE, len(content), content)
        context.store.create(owner, ObjectKind.COUNTER, TRIES, 1, bytes((TRY_LIMIT,)))

    def select(self, context: Context) -> bytes:
        """FCI: 6F { 84 name }."""
        return encode(0x6F, encode(0x84, context.application.aid))

    def deselect(self, context: Context) -> None:
        """Nothing to do."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """DGI 8000: the key, as `load_keys` has it: 01 ‖ 00 ‖ 00 ‖ length ‖ key ‖ check value (3)."""
        del last
        if identifier != KEYS_GROUPING:
            raise ReferenceDataNotFound(f"no data grouping {identifier:04X}")
        load_keys(context, value)
