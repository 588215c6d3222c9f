"""The module's command table and its GET DATA.

Source: ISO/IEC 7816-4:2020, clause 11.5.1 (GET DATA); card specification, "Secure access module".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from applet.sam.authentication import complete_authentication, prepare_authentication, prepare_external
from applet.sam.personalize import IDENTIFICATION_OBJECT, progress
from applet.sam.usage import uses_left
from card_os.applet_api import AccessRule, Handler, Instruction, Proof, authentication_instructions, instruction_table
from card_os.applet_services import ApplicationLifeCycle, ObjectKind
from card_os.iso7816.errors import ConditionsNotSatisfied, ReferenceDataNotFound, WrongLength

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

CARD_NUMBER: Final = 0xDF23
"""Tag of GET DATA: the module's own card number, in plain: a module stays in its terminal and is no secret."""
USES_LEFT: Final = 0xDF24
"""Tag of GET DATA: authentications left (4) ‖ wrong cards left (4)."""

PROGRESS: Final = 0xDF25
"""Tag of GET DATA: how far the personalization is, as long as it is not done."""

TERMINAL_ACCESS: Final = AccessRule((int(Proof.key(5) | Proof.SECURE_MESSAGING),))
"""The terminal that owns the module, under secure messaging."""
PERSONALIZED: Final = frozenset({int(ApplicationLifeCycle.PERSONALIZED)})
TELLING: Final = frozenset({int(ApplicationLifeCycle.SELECTABLE), int(ApplicationLifeCycle.PERSONALIZED)})
"""States in which there is something to tell by GET DATA."""

_INS_GET_CHALLENGE: Final = 0x84
_INS_AUTHENTICATE: Final = 0x82


def get_data(context: Context, command: CommandApdu) -> bytes:
    """GET DATA (INS CA): P1-P2 DF21 profile, DF23 card number (10), DF24 uses left (8); before them DF25 progress (4).

    Raises:
        WrongLength: 6700, the command has data.
        ConditionsNotSatisfied: 6985, anything but the progress of a module that is not personalized.
        ReferenceDataNotFound: 6A88, any other tag.
    """
    if command.data:
        raise WrongLength("GET DATA by tag in P1-P2 has no data")
    tag = command.p1 << 8 | command.p2
    if context.application.life_cycle == ApplicationLifeCycle.SELECTABLE:
        if tag != PROGRESS:
            raise ConditionsNotSatisfied("the module is not personalized")
        return progress(context)
    if tag == CARD_NUMBER:
        return context.card_number
    if tag == USES_LEFT:
        return uses_left(context)
    if tag == IDENTIFICATION_OBJECT:
        item = context.store.find(context.application.owner, ObjectKind.DATA, IDENTIFICATION_OBJECT)
        if item is not None:
            return context.store.read(item)
    raise ReferenceDataNotFound("no such data object")


def _own(ins: int, name: str, handler: Handler) -> Instruction:
    return Instruction(ins, name, handler, proprietary=True, access=TERMINAL_ACCESS, states=PERSONALIZED)


SAM_INSTRUCTIONS: Final = instruction_table(
    *(
        row
        for row in authentication_instructions(states=PERSONALIZED)
        if row.ins in {_INS_GET_CHALLENGE, _INS_AUTHENTICATE}
    ),
    Instruction(0xCA, "GET DATA", get_data, states=TELLING),
    _own(0x50, "PREPARE AUTHENTICATION", prepare_authentication),
    _own(0x52, "COMPLETE AUTHENTICATION", complete_authentication),
    _own(0x54, "PREPARE EXTERNAL AUTHENTICATION", prepare_external),
)
