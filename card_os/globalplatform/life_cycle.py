"""SET STATUS: life cycles of the card and of applications, as tables of transitions.

Source: GlobalPlatform Card Specification 2.3.1, clauses 5.1 (card), 5.3 (applications) and 11.10 (SET STATUS).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.domain_session import authenticated_channel, domain_session
from card_os.globalplatform.registry import Application, ApplicationLifeCycle, CardLifeCycle, Privilege
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.iso7816.apdu import CommandApdu

_State = CardLifeCycle

CARD_TRANSITIONS: Final[Mapping[tuple[CardLifeCycle, CardLifeCycle], Privilege]] = {
    (_State.OP_READY, _State.INITIALIZED): Privilege.SECURITY_DOMAIN,
    (_State.OP_READY, _State.SECURED): Privilege.SECURITY_DOMAIN,
    (_State.INITIALIZED, _State.SECURED): Privilege.SECURITY_DOMAIN,
    (_State.SECURED, _State.CARD_LOCKED): Privilege.CARD_LOCK,
    (_State.CARD_LOCKED, _State.SECURED): Privilege.CARD_LOCK,
    (_State.OP_READY, _State.TERMINATED): Privilege.CARD_TERMINATE,
    (_State.INITIALIZED, _State.TERMINATED): Privilege.CARD_TERMINATE,
    (_State.SECURED, _State.TERMINATED): Privilege.CARD_TERMINATE,
    (_State.CARD_LOCKED, _State.TERMINATED): Privilege.CARD_TERMINATE,
}
"""(from, to) → privilege that the domain needs (figure 5-1, table 6-2). INITIALIZED is for the issuer's own bookkeeping
and may be left out, as cards in the field allow."""


class _Scope(IntEnum):
    """P1 of SET STATUS (table 11-84)."""

    CARD = 0x80
    APPLICATION = 0x40


def set_status(context: Context, command: CommandApdu) -> bytes:
    """SET STATUS of the card (P1 80) or of an application (P1 40, data = its AID); P2 is the new state.

    An application is locked by bit 8 of P2 and unlocked without it, into the state that it had.

    Raises:
        IncorrectP1P2: 6A86, another scope.
        WrongData: 6A80, no such state, or data that does not belong there.
        ReferenceDataNotFound: 6A88, no such application.
        ConditionsNotSatisfied: 6985, the transition is not in the table.
    """
    authenticated_channel(context)
    platform = domain_session(context).platform
    if command.p1 == _Scope.CARD:
        _set_card_state(platform, context.application, command)
    elif command.p1 == _Scope.APPLICATION:
        _set_application_state(platform, context.application, command)
    else:
        raise IncorrectP1P2("the card or an application only")
    return b""


def _set_card_state(platform: Platform, domain: Application, command: CommandApdu) -> None:
    if command.data not in (b"", domain.aid):
        raise WrongData("the state of the card is set for the issuer domain")
    try:
        new = CardLifeCycle(command.p2)
    except ValueError as error:
        raise WrongData("no such state of the card") from error
    needed = CARD_TRANSITIONS.get((CardLifeCycle(platform.registry.card_life_cycle), new))
    if needed is None or not domain.privileges & needed:
        raise ConditionsNotSatisfied("the card cannot go from its state to this one")
    platform.registry.set_card_life_cycle(new)
    if new >= CardLifeCycle.CARD_LOCKED:
        for application in list(platform.registry):
            platform.end_sessions(application)


def _set_application_state(platform: Platform, domain: Application, command: CommandApdu) -> None:
    registry = platform.registry
    if registry.card_life_cycle >= CardLifeCycle.CARD_LOCKED:
        raise ConditionsNotSatisfied("the card is locked")
    application = registry.by_aid(command.data)
    if application is None:
        raise ReferenceDataNotFound("no application with this AID")
    lock = bool(command.p2 & ApplicationLifeCycle.LOCKED)
    if application.owner == domain.owner or application.locked is lock:
        raise ConditionsNotSatisfied("the application is in that state, or is the issuer domain")
    registry.set_life_cycle(application, application.life_cycle ^ ApplicationLifeCycle.LOCKED)
    platform.end_sessions(application)
