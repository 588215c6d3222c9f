"""SET STATUS: life cycles of the card, of domains and of applications, as tables of transitions.

Source: GlobalPlatform Card Specification 2.3.1, clauses 5.1 (card), 5.3 (applications and domains), 9.6 (locking) and
11.10 (SET STATUS); Amendment C, clause 11.7 (contactless activation).

Deviates: 9.6.3 and 9.6.4 let applications that are selected go on to the end of their sessions when the card is
locked or terminated; here those sessions end at once, but the one in which it was asked for: nothing runs on a locked
card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.domain_session import authenticated_channel, domain_session
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import (
    ISSUER_DOMAIN,
    Application,
    ApplicationLifeCycle,
    CardLifeCycle,
    ContactlessState,
    Registry,
)
from card_os.iso7816 import tlv
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.iso7816.apdu import CommandApdu

_State = CardLifeCycle

CARD_TRANSITIONS: Final[Mapping[tuple[CardLifeCycle, CardLifeCycle], Privilege]] = {
    (_State.OP_READY, _State.INITIALIZED): Privilege.NONE,
    (_State.OP_READY, _State.SECURED): Privilege.NONE,
    (_State.INITIALIZED, _State.SECURED): Privilege.NONE,
    (_State.SECURED, _State.CARD_LOCKED): Privilege.CARD_LOCK,
    (_State.CARD_LOCKED, _State.SECURED): Privilege.CARD_LOCK,
    (_State.OP_READY, _State.TERMINATED): Privilege.CARD_TERMINATE,
    (_State.INITIALIZED, _State.TERMINATED): Privilege.CARD_TERMINATE,
    (_State.SECURED, _State.TERMINATED): Privilege.CARD_TERMINATE,
    (_State.CARD_LOCKED, _State.TERMINATED): Privilege.CARD_TERMINATE,
}
"""(from, to) → privilege that the domain needs (figure 5-1, table 6-1); NONE: the issuer domain alone, for these states
are its own life cycle (5.3). INITIALIZED is for its bookkeeping and may be left out, as cards in the field allow."""


class _Scope(IntEnum):
    """P1 of SET STATUS (table 11-86; Amendment C)."""

    CONTACTLESS = 0x01
    APPLICATION = 0x40
    DOMAIN_AND_APPLICATIONS = 0x60
    CARD = 0x80


_AID_TAG: Final = 0x4F
_LOCK: Final = ApplicationLifeCycle.LOCKED


def set_status(context: Context, command: CommandApdu) -> bytes:
    """SET STATUS of the card, of an application, or of a domain with all below it; P2 is the new state.

    P1 is 80 for the card, 40 for an application or a domain, 60 for a domain with all below it, 01 for the contactless
    activation of an application. Others lock (bit 8 of P2) and unlock an application, into the state that it had. A
    domain sets itself PERSONALIZED or locks itself, and cannot unlock itself.

    Raises:
        IncorrectP1P2: 6A86, another scope.
        WrongData: 6A80, no such state, or data that does not belong there.
        ReferenceDataNotFound: 6A88, no such application.
        ConditionsNotSatisfied: 6985, the transition is not in the table, or the domain may not make it.
    """
    authenticated_channel(context)
    setter = _SETTERS.get(command.p1)
    if setter is None:
        raise IncorrectP1P2("the card, an application, or a domain with its applications")
    setter(domain_session(context).platform, context.application, command)
    return b""


def _set_card_state(platform: Platform, domain: Application, command: CommandApdu) -> None:
    try:
        new = CardLifeCycle(command.p2)
    except ValueError as error:
        raise WrongData("no such state of the card") from error
    needed = CARD_TRANSITIONS.get((CardLifeCycle(platform.registry.card_life_cycle), new))
    if needed is None:
        raise ConditionsNotSatisfied("the card cannot go from its state to this one")
    if (domain.privileges & needed) != needed or (not needed and domain.owner != ISSUER_DOMAIN):
        raise ConditionsNotSatisfied("the domain may not set this state")
    platform.registry.set_card_life_cycle(new)
    if new >= CardLifeCycle.CARD_LOCKED:
        for application in list(platform.registry):
            platform.end_sessions(application)


def _set_application_state(platform: Platform, domain: Application, command: CommandApdu) -> None:
    application = _target(platform.registry, command.data)
    if application is domain:
        _set_own_state(platform, domain, command.p2)
        return
    _require_lock_right(platform.registry, domain, application)
    lock = bool(command.p2 & _LOCK)
    if application.locked is lock:
        raise ConditionsNotSatisfied("the application is in that state")
    _lock(platform, application, locked=lock)


def _set_own_state(platform: Platform, domain: Application, state: int) -> None:
    """A supplementary domain: PERSONALIZED once, or locked by itself (11.10.2.2)."""
    if domain.owner == ISSUER_DOMAIN:
        raise ConditionsNotSatisfied("the issuer domain has the state of the card")
    if state & _LOCK:
        _require_no_final(domain)
        _lock(platform, domain, locked=True)
    elif state == ApplicationLifeCycle.PERSONALIZED and domain.life_cycle == ApplicationLifeCycle.SELECTABLE:
        platform.registry.set_life_cycle(domain, state)
    else:
        raise ConditionsNotSatisfied("a domain sets itself personalized, once, or locks itself")


def _set_all_below(platform: Platform, domain: Application, command: CommandApdu) -> None:
    """A domain and all below it, in one transaction; what is in that state already stays so (11.10.2.1)."""
    registry = platform.registry
    head = _target(registry, command.data)
    if not head.is_security_domain:
        raise WrongData("a security domain is named")
    if head.owner == ISSUER_DOMAIN or head is domain:
        raise ConditionsNotSatisfied("neither the issuer domain nor the acting one is locked with all below it")
    _require_lock_right(registry, domain, head)
    lock = bool(command.p2 & _LOCK)
    with platform.store.transaction():
        for application in list(registry):
            if registry.is_below(application, head) and application.locked is not lock:
                _require_no_final(application)
                _lock(platform, application, locked=lock)


def _set_contactless(platform: Platform, domain: Application, command: CommandApdu) -> None:
    """Availability over the field: P2 01 or 00; the data field is 4F with an AID."""
    try:
        item = tlv.parse_one(command.data)
        state = ContactlessState(command.p2)
    except ValueError as error:
        raise WrongData("an AID in 4F, and activated or deactivated") from error
    if item.tag != _AID_TAG or state not in (ContactlessState.ACTIVATED, ContactlessState.DEACTIVATED):
        raise WrongData("an AID in 4F, and activated or deactivated")
    application = _target(platform.registry, item.value)
    if application.domain != domain.owner and not domain.privileges & Privilege.CONTACTLESS_ACTIVATION:
        raise ConditionsNotSatisfied("another domain's application")
    activate(platform.registry, application, state)
    if state is ContactlessState.DEACTIVATED:
        platform.end_sessions(application)


def activate(registry: Registry, application: Application, state: ContactlessState) -> None:
    """Change whether an application answers over the field.

    Raises:
        ConditionsNotSatisfied: 6985, it is in that state, not selectable, or not activatable.
    """
    if application.data.contactless in (state, ContactlessState.NON_ACTIVATABLE) or not application.selectable:
        raise ConditionsNotSatisfied("the application cannot change to this contactless state")
    application.data = application.data._replace(contactless=state)
    registry.update(application)


def _target(registry: Registry, aid: bytes) -> Application:
    if registry.card_life_cycle >= CardLifeCycle.CARD_LOCKED:
        raise ConditionsNotSatisfied("the card is locked")
    application = registry.by_aid(aid)
    if application is None:
        raise ReferenceDataNotFound("no application with this AID")
    return application


def _require_lock_right(registry: Registry, domain: Application, application: Application) -> None:
    """A domain above it, directly or indirectly, or one with global lock; never of the final application (9.6.2)."""
    if not domain.privileges & Privilege.GLOBAL_LOCK and domain not in registry.ancestors(application):
        raise ConditionsNotSatisfied("another domain's application")
    if application.owner == ISSUER_DOMAIN:
        raise ConditionsNotSatisfied("the issuer domain has the state of the card")
    _require_no_final(application)


def _require_no_final(application: Application) -> None:
    if application.privileges & Privilege.FINAL_APPLICATION:
        raise ConditionsNotSatisfied("the final application is never locked")


def _lock(platform: Platform, application: Application, *, locked: bool) -> None:
    """Change the lock bit; who is unlocked gets the contactless state that it began with (Amendment C, 8.3).

    Where it is selected it stays so until that session ends; nobody selects it again (9.6.2).
    """
    application.life_cycle ^= _LOCK
    if not locked and application.data.initial_contactless is not ContactlessState.UNMANAGED:
        application.data = application.data._replace(contactless=application.data.initial_contactless)
    platform.registry.update(application)


_SETTERS: Final[Mapping[int, Callable[[Platform, Application, CommandApdu], None]]] = {
    _Scope.CARD: _set_card_state,
    _Scope.APPLICATION: _set_application_state,
    _Scope.DOMAIN_AND_APPLICATIONS: _set_all_below,
    _Scope.CONTACTLESS: _set_contactless,
}
