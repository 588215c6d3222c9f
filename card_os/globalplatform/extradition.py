"""INSTALL for extradition and for registry update: entries of the registry change.

Source: GlobalPlatform Card Specification 2.3.1, clauses 9.4 (content extradition and registry update), 11.5.2.3.4 and
11.5.2.3.5; Amendment C, clause 11.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from card_os.globalplatform.authority import (
    Permission,
    accepting_domain,
    permit,
    require_association,
    require_grantable,
    take_unique,
)
from card_os.globalplatform.domain_session import domain_session
from card_os.globalplatform.install_fields import InstallFields, InstallParameters, InstallPurpose, token_of
from card_os.globalplatform.privileges import UNIQUE, Privilege
from card_os.globalplatform.registry import ISSUER_DOMAIN, Application, LoadFile, Registry, Restriction
from card_os.globalplatform.tokens import confirmation
from card_os.iso7816.errors import ConditionsNotSatisfied, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu


def extradite(context: Context, command: CommandApdu) -> bytes:
    """INSTALL [for extradition]: associate an application or a load file with another domain.

    Raises:
        ReferenceDataNotFound: 6A88, nothing has this AID.
        WrongData: 6A80, the new domain is none.
        ConditionsNotSatisfied: 6985, it is another domain's, the issuer domain, or the new domain does not take it.
    """
    fields = InstallFields.parse(command.data)
    if fields.module_aid or fields.privileges:
        raise WrongData("extradition names a domain and what goes there")
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.EXTRADITION)
    permission = permit(context, Restriction.EXTRADITION, token_of(command, fields, parameters))
    registry = domain_session(context).platform.registry
    entry = registry.by_aid(fields.instance_aid) or registry.load_file(fields.instance_aid)
    if entry is None:
        raise ReferenceDataNotFound("neither an application nor a load file has this AID")
    domain = _new_domain(registry, permission, entry, fields.package_aid)
    with context.store.transaction():
        registry.set_domain(entry, domain.owner)
        return confirmation(registry, context.store, permission, permission.domain.aid, entry.aid, domain.aid)


def _new_domain(registry: Registry, permission: Permission, entry: Application | LoadFile, aid: bytes) -> Application:
    require_association(permission, entry, Privilege.NONE)
    if isinstance(entry, Application) and entry.owner == ISSUER_DOMAIN:
        raise ConditionsNotSatisfied("the issuer domain is associated with itself for ever")
    domain = accepting_domain(registry, aid, entry)
    if isinstance(entry, LoadFile) and domain.privileges & Privilege.DAP_VERIFICATION:
        raise ConditionsNotSatisfied("a load file does not get to a domain that verifies DAPs without its DAP")
    return domain


def update_registry(context: Context, command: CommandApdu) -> bytes:
    """INSTALL [for registry update]: privileges, implicit selection, services, restrictions, and the domain.

    All changes happen or none. Without an application, D9 switches content management off for the whole card.

    Raises:
        ReferenceDataNotFound: 6A88, no such application.
        WrongData: 6A80, privileges contradict each other, or nothing is named.
        ConditionsNotSatisfied: 6985, it is another domain's, or privileges cannot be given.
    """
    fields = InstallFields.parse(command.data)
    if fields.module_aid:
        raise WrongData("registry update names no module")
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.REGISTRY_UPDATE)
    permission = permit(context, Restriction.REGISTRY_UPDATE, token_of(command, fields, parameters))
    registry = domain_session(context).platform.registry
    if not fields.instance_aid:
        return _restrict_card(context, permission, fields, parameters)
    application = registry.by_aid(fields.instance_aid)
    if application is None:
        raise ReferenceDataNotFound("no such application")
    require_association(permission, application, Privilege.NONE)
    domain = _new_domain(registry, permission, application, fields.package_aid) if fields.package_aid else None
    privileges = _new_privileges(registry, permission, application, fields.privileges)
    if parameters.restrict is not None and not application.is_security_domain:
        raise WrongData("only a security domain can be restricted")
    old = permission.domain.aid if domain is not None else b""
    with context.store.transaction():
        _apply(registry, application, privileges, parameters)
        if domain is not None:
            registry.set_domain(application, domain.owner)
        return confirmation(
            registry,
            context.store,
            permission,
            old,
            application.aid,
            fields.package_aid,
            fields.privileges,
            fields.parameters,
        )


def _restrict_card(
    context: Context, permission: Permission, fields: InstallFields, parameters: InstallParameters
) -> bytes:
    if parameters.restrict is None or fields.package_aid or fields.privileges:
        raise WrongData("without an application, content management of the card is restricted and nothing else")
    if not permission.domain.privileges & Privilege.GLOBAL_LOCK:
        raise ConditionsNotSatisfied("restricting the card needs the global lock privilege")
    registry = domain_session(context).platform.registry
    with context.store.transaction():
        registry.restrict(parameters.restrict)
        return confirmation(registry, context.store, permission, b"", b"", b"", b"", fields.parameters)


def _new_privileges(registry: Registry, permission: Permission, application: Application, raw: bytes) -> Privilege:
    """The privileges afterwards; an empty field leaves them."""
    if not raw:
        return application.privileges
    try:
        wanted = Privilege.requested(raw)
    except ValueError as error:
        raise WrongData(str(error)) from error
    if (wanted ^ application.privileges) & Privilege.SECURITY_DOMAIN:
        raise WrongData("a security domain is one from its installation to its end")
    require_grantable(registry, permission, wanted, application)
    return wanted


def _apply(registry: Registry, application: Application, privileges: Privilege, parameters: InstallParameters) -> None:
    data = application.data
    lost = application.privileges & ~privileges
    application.privileges = privileges
    application.data = data._replace(
        implicit_selection=data.implicit_selection + parameters.implicit_selection,
        services=tuple(dict.fromkeys(data.services + parameters.services)),
        restrictions=data.restrictions | (parameters.restrict or Restriction.NONE),
        initial_contactless=data.initial_contactless if parameters.contactless is None else parameters.contactless,
        provider=parameters.provider or data.provider,
    )
    registry.update(application)
    take_unique(registry, application)
    issuer = registry.issuer_domain
    returned = Privilege.NONE
    for privilege in UNIQUE:
        returned |= lost & privilege
    if returned and issuer is not None and issuer is not application:
        registry.set_privileges(issuer, issuer.privileges | returned)
