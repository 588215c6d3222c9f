"""A loyalty purse: a shop adds points, the holder spends them with a PIN, and the last bookings can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from card_os.applet_api import AccessRule, Context, Instruction, Proof, create_pin, instruction_table, pin_instructions
from card_os.applet_services import FILE_INSTRUCTIONS, AccessMode, FileSpec, FileStructure, ObjectKind
from card_os.iso7816.aid import Aid
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, ReferenceDataNotFound, WrongLength
from card_os.iso7816.tlv import encode

PACKAGE: Final = Aid(bytes.fromhex("F04C4F59414C"))
MODULE: Final = Aid(bytes.fromhex("F04C4F59414C01"))

PIN: Final = 0x81
POINTS_LENGTH: Final = 2
MOST_POINTS: Final = 0xFFFF
BALANCE: Final = 1
"""Identifier of the object with the balance: points, 2 bytes."""
RULES: Final = {AccessMode.READ: AccessRule((int(Proof.CONTACT),))}  # tells nothing to a reader that is carried past
HISTORY: Final = FileSpec(0x0001, FileStructure.CYCLIC, 12, 1, record_length=3, record_count=4, rules=RULES)
"""A ring of four bookings: 01 added or 02 spent, then points."""


def _balance(context: Context) -> int:
    item = context.store.find(context.application.owner, ObjectKind.DATA, BALANCE)
    return 0 if item is None else int.from_bytes(context.store.read(item), "big")


def _points(command: CommandApdu) -> int:
    if command.p1 or command.p2:
        raise IncorrectP1P2("P1-P2 is 0000")
    if len(command.data) != POINTS_LENGTH:
        raise WrongLength("points have two bytes")
    return int.from_bytes(command.data, "big")


def _book(context: Context, kind: int, command: CommandApdu, balance: int) -> bytes:
    """Balance and booking in one transaction: a cut of power leaves both or neither."""
    if not 0 <= balance <= MOST_POINTS:
        raise ConditionsNotSatisfied("the purse does not hold that")
    store, owner = context.store, context.application.owner
    with store.transaction():
        item = store.find(owner, ObjectKind.DATA, BALANCE) or store.create(
            owner, ObjectKind.DATA, BALANCE, POINTS_LENGTH
        )
        store.write(item, 0, balance.to_bytes(POINTS_LENGTH, "big"))
        context.files.append_record(context.files.get(HISTORY.fid), bytes((kind,)) + command.data)
    return balance.to_bytes(POINTS_LENGTH, "big")


def add(context: Context, command: CommandApdu) -> bytes:
    """ADD POINTS (80 10): points, 2 bytes; answers the balance."""
    return _book(context, 1, command, _balance(context) + _points(command))


def spend(context: Context, command: CommandApdu) -> bytes:
    """SPEND POINTS (80 12): points, 2 bytes; answers the balance."""
    return _book(context, 2, command, _balance(context) - _points(command))


class Loyalty:
    """Implements `card_os.applet_api.Applet`."""

    package_aid: ClassVar[bytes] = PACKAGE
    module_aid: ClassVar[bytes] = MODULE
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(
        Instruction(0x10, "ADD POINTS", add, proprietary=True),
        Instruction(0x12, "SPEND POINTS", spend, proprietary=True, access=AccessRule((int(Proof.pin(1)),))),
        *pin_instructions(),
        *FILE_INSTRUCTIONS,
    )

    def install(self, context: Context, parameters: bytes) -> None:
        """Make history and PIN; the install parameters are the PIN block."""
        context.files.create(HISTORY)
        create_pin(context, PIN, parameters, number=1, try_limit=3)

    def select(self, context: Context) -> bytes:
        """FCI: 6F { 84 name }."""
        return encode(0x6F, encode(0x84, context.application.aid))

    def deselect(self, context: Context) -> None:
        """Proofs end with the session."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """The purse is ready once it is installed, and takes no data grouping."""
        del context, value, last
        raise ReferenceDataNotFound(f"no data grouping {identifier:04X}")
