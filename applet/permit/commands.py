"""The permit's command table, and the data objects that only the permit has.

Rows of files, PINs and authentication are the firmware's; what is here is who may use them. Before the permit is
personalized nothing but SELECT by name answers.

Source: ISO/IEC 7816-4:2020, clauses 11.5.1 (GET DATA) and 11.5.2 (PUT DATA); card specification, "Commands".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from applet.permit.bound import BOUND_OBJECT, bound_of, put_bound
from applet.permit.changes import CHANGES, put_changes
from applet.permit.concealment import RANDOM_LENGTH, conceal
from applet.permit.personalize import IDENTIFICATION_OBJECT
from applet.permit.status import CORRECTION_OBJECT, DATE_OBJECT, correct_date, correction_of, date_of, put_date
from card_os.applet_api import (
    ALWAYS,
    AccessRule,
    Instruction,
    KeyUsage,
    Proof,
    authentication_instructions,
    explain,
    find_key,
    instruction_table,
    pin_instructions,
)
from card_os.applet_services import FILE_INSTRUCTIONS, ApplicationLifeCycle, ObjectKind
from card_os.iso7816.errors import ReferenceDataNotFound, SecurityStatusNotSatisfied, WrongLength

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

CONCEALED_NUMBER: Final = 0xDF20
"""Tag of GET DATA: the concealed card number."""
CONCEALMENT_KEY: Final = 0x90

INSPECTION: Final = Proof.key(1)
SERVICE_DESK: Final = Proof.key(2)
BANK_BRANCH: Final = Proof.key(3)
ISSUER: Final = Proof.key(4)

PERSONALIZED: Final = frozenset({int(ApplicationLifeCycle.PERSONALIZED)})

_PROTECTED: Final = Proof.SECURE_MESSAGING
CLOCK_ACCESS: Final = AccessRule(tuple(int(role | _PROTECTED) for role in (INSPECTION, SERVICE_DESK, ISSUER)))
"""Who tells the date."""
CHIP_ACCESS: Final = AccessRule(
    tuple(int(role | _PROTECTED) for role in (INSPECTION, SERVICE_DESK, BANK_BRANCH, ISSUER))
)
"""Who may have the chip key sign: never in plain, for a signature reveals the public key."""
ISSUER_ACCESS: Final = AccessRule((int(ISSUER | _PROTECTED),))
"""Who corrects the date."""


class _Readable(NamedTuple):
    """A data object that GET DATA answers: who may, and what it is."""

    access: AccessRule
    read: Callable[[Context], bytes]


class _Writable(NamedTuple):
    """A data object that PUT DATA takes: who may, and what it does."""

    access: AccessRule
    write: Callable[[Context, CommandApdu], bytes]


def _concealed_number(context: Context) -> bytes:
    key = find_key(context, CONCEALMENT_KEY, KeyUsage.APPLICATION)
    return conceal(key.value, context.card_number, context.randomness.bytes(RANDOM_LENGTH))


def _identification(context: Context) -> bytes:
    item = context.store.find(context.application.owner, ObjectKind.DATA, IDENTIFICATION_OBJECT)
    if item is None:
        raise ReferenceDataNotFound("the permit has no identification")
    return context.store.read(item)


_READABLE: Final[Mapping[int, _Readable]] = MappingProxyType(
    {
        CONCEALED_NUMBER: _Readable(ALWAYS, _concealed_number),
        IDENTIFICATION_OBJECT: _Readable(ALWAYS, _identification),
        DATE_OBJECT: _Readable(CLOCK_ACCESS, date_of),
        CORRECTION_OBJECT: _Readable(CLOCK_ACCESS, correction_of),
        BOUND_OBJECT: _Readable(CLOCK_ACCESS, bound_of),
    }
)
_WRITABLE: Final[Mapping[int, _Writable]] = MappingProxyType(
    {
        DATE_OBJECT: _Writable(CLOCK_ACCESS, put_date),
        CHANGES: _Writable(CHIP_ACCESS, put_changes),
        CORRECTION_OBJECT: _Writable(ISSUER_ACCESS, correct_date),
        BOUND_OBJECT: _Writable(CHIP_ACCESS, put_bound),
    }
)


def get_data(context: Context, command: CommandApdu) -> bytes:
    """GET DATA (INS CA) of the object that P1-P2 names (table `_READABLE`).

    Raises:
        WrongLength: 6700, the command has data.
        ReferenceDataNotFound: 6A88, any other tag.
        SecurityStatusNotSatisfied: 6982, not with these proofs.
    """
    if command.data:
        raise WrongLength("GET DATA by tag in P1-P2 has no data")
    found = _READABLE.get(command.p1 << 8 | command.p2)
    if found is None:
        raise ReferenceDataNotFound("no such data object")
    _require(context, found.access)
    return found.read(context)


def put_data(context: Context, command: CommandApdu) -> bytes:
    """PUT DATA (INS DA) of the object that P1-P2 names (table `_WRITABLE`).

    Raises:
        ReferenceDataNotFound: 6A88, any other tag.
        SecurityStatusNotSatisfied: 6982, not with these proofs.
    """
    found = _WRITABLE.get(command.p1 << 8 | command.p2)
    if found is None:
        raise ReferenceDataNotFound("no such data object")
    _require(context, found.access)
    return found.write(context, command)


def _require(context: Context, access: AccessRule) -> None:
    if not access.allows(context.proofs):
        raise SecurityStatusNotSatisfied(explain(access, context.proofs))


PERMIT_INSTRUCTIONS: Final = instruction_table(
    *(replace(row, states=PERSONALIZED) for row in FILE_INSTRUCTIONS),
    *pin_instructions(states=PERSONALIZED),
    *authentication_instructions(internal=CHIP_ACCESS, states=PERSONALIZED),
    Instruction(0xCA, "GET DATA", get_data, states=PERSONALIZED),
    Instruction(0xDA, "PUT DATA", put_data, access=CHIP_ACCESS, states=PERSONALIZED),
)
