"""Who may manage content: what every command that changes content asks before it does anything.

A domain with authorized management acts by its own right, one with delegated management by a token that the domain with
token verification above it accepts. What a domain may do to an entry hangs on association: an entry is changed by the
domain that it is associated with, and by nobody else, unless a global privilege says so.

Source: GlobalPlatform Card Specification 2.3.1, clauses 9.1.3 (privileges of domains), 9.3 to 9.5 (runtime behaviour of
each process) and 11.5.2.3 (tokens).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from card_os.globalplatform.domain_session import content_management_channel, domain_session
from card_os.globalplatform.privileges import (
    HANDED_DOWN,
    UNIQUE,
    UNIQUE_IN_HIERARCHY,
    Privilege,
    grants,
    is_consistent,
)
from card_os.globalplatform.registry import ISSUER_DOMAIN, Application, ApplicationLifeCycle, LoadFile, Registry
from card_os.globalplatform.tokens import Token, token_verifier, verify_token
from card_os.iso7816.errors import ConditionsNotSatisfied, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.globalplatform.registry import Restriction


class Permission(NamedTuple):
    """That a command may go on.

    Attributes:
        domain: the domain that acts.
        delegated: it acts by a token, and its deed is confirmed by a receipt.
        authority: privileges that it may hand down.
        token_identifier: what the token is called, for the receipt.
    """

    domain: Application
    delegated: bool
    authority: Privilege
    token_identifier: bytes = b""


def permit(context: Context, restriction: Restriction, token: Token, *, token_later: bool = False) -> Permission:
    """Ask whether the selected domain may manage content in this way.

    Args:
        context: the domain's context.
        restriction: the bits that switch this way off, each of them.
        token: what the command brought.
        token_later: the command begins a process whose token comes with the last command, so that none belongs here.

    Raises:
        SecurityStatusNotSatisfied: 6982, no authenticated session, or the token is wrong.
        ConditionsNotSatisfied: 6985, the card is locked, the domain is not personalized, this way is switched off, the
            domain has neither privilege, or nobody can verify its token.
        WrongData: 6A80, a token where none belongs.
    """
    content_management_channel(context)
    domain, registry = context.application, domain_session(context).platform.registry
    require_usable(registry, domain, restriction)
    if token.signature and (token_later or domain.privileges & Privilege.AUTHORIZED_MANAGEMENT):
        raise WrongData("a token where none belongs")
    if domain.privileges & Privilege.AUTHORIZED_MANAGEMENT:
        return Permission(domain, delegated=False, authority=domain.privileges)
    if not domain.privileges & Privilege.DELEGATED_MANAGEMENT:
        raise ConditionsNotSatisfied("the domain may not manage content")
    verifier = token_verifier(registry, domain)
    if verifier is None or not (token.signature or token_later):
        raise ConditionsNotSatisfied("delegated management needs a token, and a domain that verifies it")
    if not token_later:
        verify_token(context.store, verifier, token)
    return Permission(domain, delegated=True, authority=verifier.privileges, token_identifier=token.identifier)


def require_usable(registry: Registry, domain: Application, restriction: Restriction) -> None:
    """Refuse what is switched off for the card or the domain, and a domain that is not personalized.

    Raises:
        ConditionsNotSatisfied: 6985.
    """
    if (registry.restrictions | domain.data.restrictions) & restriction:
        raise ConditionsNotSatisfied("this content management is switched off")
    if not is_operational(domain):
        raise ConditionsNotSatisfied("the domain is locked, or not personalized")


def is_operational(domain: Application) -> bool:
    """True for the issuer domain, and for a domain that is PERSONALIZED and not locked (5.3.2)."""
    return domain.owner == ISSUER_DOMAIN or domain.life_cycle == ApplicationLifeCycle.PERSONALIZED


def require_association(permission: Permission, entry: Application | LoadFile, override: Privilege) -> None:
    """Refuse to change what is associated with somebody else.

    Args:
        permission: the domain that acts.
        entry: what is to be changed.
        override: a global privilege that makes up for the association; NONE when there is none.

    Raises:
        ConditionsNotSatisfied: 6985.
    """
    domain = permission.domain
    if entry.domain != domain.owner and not domain.privileges & override:
        raise ConditionsNotSatisfied("it is associated with another domain")


def require_acceptance(registry: Registry, permission: Permission, file: LoadFile) -> None:
    """Refuse to install from a load file whose domain does not accept it.

    A domain accepts itself, and whoever is above it with authorized management: so an issuer domain loads for a domain
    that verifies DAPs, and installs what it loaded. The new application is that domain's.

    Raises:
        ConditionsNotSatisfied: 6985.
    """
    domain = permission.domain
    if file.domain != domain.owner and (permission.delegated or domain not in registry.ancestors(file)):
        raise ConditionsNotSatisfied("the load file is associated with a domain that does not accept this one")


def accepting_domain(registry: Registry, aid: bytes, entry: Application | LoadFile | None = None) -> Application:
    """The domain with this AID, when it takes content: it is operational, and no part of what it would take.

    Args:
        registry: the registry.
        aid: AID of the domain.
        entry: what is extradited to it.

    Raises:
        WrongData: 6A80, no security domain has this AID.
        ConditionsNotSatisfied: 6985, it does not take content, or would become its own ancestor.
    """
    domain = registry.by_aid(aid)
    if domain is None or not domain.is_security_domain:
        raise WrongData("no security domain has this AID")
    if domain is entry:
        return domain
    if not is_operational(domain):
        raise ConditionsNotSatisfied("that domain takes no content")
    if isinstance(entry, Application) and registry.is_below(domain, entry):
        raise ConditionsNotSatisfied("a domain cannot be associated with one that is below it")
    return domain


def require_grantable(
    registry: Registry, permission: Permission, wanted: Privilege, holder: Application | None = None
) -> None:
    """Refuse privileges that contradict each other, that another has, or that are not the domain's to give.

    Args:
        registry: the registry.
        permission: the domain that gives them.
        wanted: all privileges of the application afterwards.
        holder: the application that has privileges already, None for a new one.

    Raises:
        WrongData: 6A80, they contradict each other.
        ConditionsNotSatisfied: 6985, they cannot be given.
    """
    if not is_consistent(wanted):
        raise WrongData("privileges that exclude each other, or that lack one that they need")
    new = wanted & ~(holder.privileges if holder is not None else Privilege.NONE)
    if new & HANDED_DOWN & ~grants(permission.authority):
        raise ConditionsNotSatisfied("a privilege that the domain has not itself")
    for privilege in UNIQUE:
        if new & privilege and registry.holder(privilege) not in (registry.issuer_domain, holder):
            raise ConditionsNotSatisfied("another application has this privilege")
    for privilege in UNIQUE_IN_HIERARCHY:
        if new & privilege and _has_verifier(registry, permission.domain, privilege):
            raise ConditionsNotSatisfied("another domain of the hierarchy has this privilege")


def _has_verifier(registry: Registry, domain: Application, privilege: Privilege) -> bool:
    """True when a domain below the next one with authorized management has the privilege."""
    line = (domain, *registry.ancestors(domain))
    root = next((one for one in line if one.privileges & Privilege.AUTHORIZED_MANAGEMENT), domain)
    return any(entry.privileges & privilege and registry.is_below(entry, root) for entry in registry)


def take_unique(registry: Registry, application: Application) -> None:
    """The issuer domain gives up what only one application has and the new one got; joins the open transaction."""
    issuer = registry.issuer_domain
    given = Privilege.NONE
    for privilege in UNIQUE:
        given |= application.privileges & privilege
    if issuer is not None and issuer is not application and issuer.privileges & given:
        registry.set_privileges(issuer, issuer.privileges & ~given)
