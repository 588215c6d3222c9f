"""The permit's command table, and the two commands that only the permit has.

Rows of files, PINs and authentication are the firmware's; what is here is who may use them. Before the permit is
personalized nothing but SELECT by name answers.

Source: ISO/IEC 7816-4:2020, clauses 11.5.1 (GET DATA) and 11.5.2 (PUT DATA); card specification, "Commands".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from applet.permit.concealment import RANDOM_LENGTH, conceal
from applet.permit.personalize import IDENTIFICATION_OBJECT
from applet.permit.status import DATE_OBJECT, put_date
from card_os.applet_api import (
    AccessRule,
    Instruction,
    KeyUsage,
    Proof,
    authentication_instructions,
    find_key,
    instruction_table,
    pin_instructions,
)
from card_os.applet_services import FILE_INSTRUCTIONS, ApplicationLifeCycle, ObjectKind
from card_os.iso7816.errors import ReferenceDataNotFound, WrongLength

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


def get_data(context: Context, command: CommandApdu) -> bytes:
    """GET DATA (INS CA): P1-P2 DF20 concealed card number, DF21 profile name and version.

    Raises:
        WrongLength: 6700, the command has data.
        ReferenceDataNotFound: 6A88, any other tag.
    """
    if command.data:
        raise WrongLength("GET DATA by tag in P1-P2 has no data")
    tag = command.p1 << 8 | command.p2
    if tag == CONCEALED_NUMBER:
        key = find_key(context, CONCEALMENT_KEY, KeyUsage.APPLICATION)
        return conceal(key.value, context.card_number, context.randomness.bytes(RANDOM_LENGTH))
    if tag == IDENTIFICATION_OBJECT:
        item = context.store.find(context.application.owner, ObjectKind.DATA, IDENTIFICATION_OBJECT)
        if item is not None:
            return context.store.read(item)
    raise ReferenceDataNotFound("no such data object")


def put_data(context: Context, command: CommandApdu) -> bytes:
    """PUT DATA (INS DA): P1-P2 DF22, the date; see `put_date`.

    Raises:
        ReferenceDataNotFound: 6A88, any other tag.
    """
    if command.p1 << 8 | command.p2 != DATE_OBJECT:
        raise ReferenceDataNotFound("no such data object")
    return put_date(context, command)


PERMIT_INSTRUCTIONS: Final = instruction_table(
    *(replace(row, states=PERSONALIZED) for row in FILE_INSTRUCTIONS),
    *pin_instructions(states=PERSONALIZED),
    *authentication_instructions(internal=CHIP_ACCESS, states=PERSONALIZED),
    Instruction(0xCA, "GET DATA", get_data, states=PERSONALIZED),
    Instruction(0xDA, "PUT DATA", put_data, access=CLOCK_ACCESS, states=PERSONALIZED),
)
