"""INSTALL for installation, making selectable and personalization: applications come.

Source: GlobalPlatform Card Specification 2.3.1, clauses 9.3.6 (installation), 9.3.7 (make selectable) and 11.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.authority import (
    Permission,
    permit,
    require_association,
    require_grantable,
    require_usable,
    take_unique,
)
from card_os.globalplatform.domain_session import (
    PersonalizationTarget,
    content_management_channel,
    domain_session,
)
from card_os.globalplatform.extradition import extradite, update_registry
from card_os.globalplatform.install_fields import InstallFields, InstallParameters, InstallPurpose, token_of
from card_os.globalplatform.load import begin_load
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import (
    DOMAIN_PACKAGE_AID,
    Application,
    ApplicationLifeCycle,
    ContactlessState,
    RegistryData,
    Restriction,
)
from card_os.globalplatform.tokens import confirmation
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.iso7816.apdu import CommandApdu

_NO_DATA: Final = b"\x00"


def install(context: Context, command: CommandApdu) -> bytes:
    """INSTALL for the purpose in P1; P2 is 00.

    Returns:
        Length of a confirmation, and the confirmation when the deed was delegated.

    Raises:
        IncorrectP1P2: 6A86, no such purpose.
        WrongData: 6A80, the data field does not fit the purpose.
        ConditionsNotSatisfied: 6985, the domain may not do it, see `authority.permit`.
    """
    content_management_channel(context)
    purpose = _PURPOSES.get(command.p1)
    if purpose is None or command.p2:
        raise IncorrectP1P2("no such purpose of INSTALL")
    return purpose(context, command)


def _install(context: Context, command: CommandApdu) -> bytes:
    """Put an application into the registry and let it make its objects, in one transaction."""
    fields = InstallFields.parse(command.data)
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.INSTALL)
    permission = permit(context, Restriction.INSTALL, token_of(command, fields, parameters))
    platform = domain_session(context).platform
    selectable = bool(command.p1 & InstallPurpose.MAKE_SELECTABLE)
    privileges = requested_privileges(fields.privileges)
    if not selectable and (privileges & Privilege.CARD_RESET or parameters.implicit_selection):
        raise WrongData("what is selected by default has to be selectable")
    require_grantable(platform.registry, permission, privileges)
    domain = _domain_of_instance(platform, permission, fields, privileges)
    with context.store.transaction():
        application = platform.install(
            package_aid=fields.package_aid,
            module_aid=fields.module_aid,
            aid=fields.instance_aid,
            privileges=privileges,
            domain=domain,
            life_cycle=ApplicationLifeCycle.SELECTABLE if selectable else ApplicationLifeCycle.INSTALLED,
            parameters=parameters.application,
            data=_registry_data(parameters, selectable=selectable),
        )
        take_unique(platform.registry, application)
        return confirmation(platform.registry, context.store, permission, fields.package_aid, fields.instance_aid)


def _domain_of_instance(
    platform: Platform, permission: Permission, fields: InstallFields, privileges: Privilege
) -> int:
    """A new domain belongs to the domain that installs it, an application to the domain of its load file (9.3.3).

    Raises:
        WrongData: 6A80, a domain without the privilege, or the privilege without the code of a domain.
        ReferenceDataNotFound: 6A88, no such load file.
        ConditionsNotSatisfied: 6985, the load file is another domain's, which accepts nobody else's installation.
    """
    if (fields.package_aid == DOMAIN_PACKAGE_AID) is not bool(privileges & Privilege.SECURITY_DOMAIN):
        raise WrongData("the security domain privilege belongs to the module of security domains, and it alone")
    if fields.package_aid == DOMAIN_PACKAGE_AID:
        return permission.domain.owner
    file = platform.registry.load_file(fields.package_aid)
    if file is None:
        raise ReferenceDataNotFound("no such load file")
    require_association(permission, file, Privilege.NONE)
    return file.domain


def _registry_data(parameters: InstallParameters, *, selectable: bool) -> RegistryData:
    initial = ContactlessState.UNMANAGED if parameters.contactless is None else parameters.contactless
    return RegistryData(
        contactless=initial if selectable or initial is ContactlessState.UNMANAGED else ContactlessState.DEACTIVATED,
        initial_contactless=initial,
        memory=parameters.memory,
        implicit_selection=parameters.implicit_selection,
        services=parameters.services,
        provider=parameters.provider,
    )


def requested_privileges(raw: bytes) -> Privilege:
    """Privileges of a command.

    Raises:
        WrongData: 6A80, not one or three bytes, or a reserved bit.
    """
    try:
        return Privilege.requested(raw)
    except ValueError as error:
        raise WrongData(str(error)) from error


def _make_selectable(context: Context, command: CommandApdu) -> bytes:
    fields = InstallFields.parse(command.data)
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.MAKE_SELECTABLE)
    permission = permit(context, Restriction.MAKE_SELECTABLE, token_of(command, fields, parameters))
    registry = domain_session(context).platform.registry
    application = _application(context, fields)
    require_association(permission, application, Privilege.NONE)
    if application.life_cycle != ApplicationLifeCycle.INSTALLED:
        raise ConditionsNotSatisfied("the application is not in the state INSTALLED")
    added = requested_privileges(fields.privileges or b"\x00") & Privilege.CARD_RESET
    require_grantable(registry, permission, application.privileges | added, application)
    data = application.data
    with context.store.transaction():
        application.life_cycle = ApplicationLifeCycle.SELECTABLE
        application.privileges |= added
        application.data = data._replace(
            contactless=data.initial_contactless,
            implicit_selection=data.implicit_selection + parameters.implicit_selection,
        )
        registry.update(application)
        take_unique(registry, application)
        return confirmation(registry, context.store, permission, application.package_aid, application.aid)


def _personalize(context: Context, command: CommandApdu) -> bytes:
    """The STORE DATA commands of this session that follow are for the application."""
    channel = content_management_channel(context)
    fields = InstallFields.parse(command.data)
    domain, registry = context.application, domain_session(context).platform.registry
    require_usable(registry, domain, Restriction.PERSONALIZATION)
    application = _application(context, fields)
    if fields.privileges or fields.parameters or fields.token:
        raise WrongData("only the application is named for personalization")
    if application.domain != domain.owner:
        raise ReferenceDataNotFound("no such application of this domain")
    if application.locked or application is domain or not domain.privileges & Privilege.TRUSTED_PATH:
        raise ConditionsNotSatisfied("this application cannot be personalized")
    domain_session(context).target = PersonalizationTarget(application, channel)
    return _NO_DATA


def _application(context: Context, fields: InstallFields) -> Application:
    """The application that is named by its instance AID alone."""
    if fields.package_aid or fields.module_aid:
        raise WrongData("only the application is named")
    application = domain_session(context).platform.registry.by_aid(fields.instance_aid)
    if application is None:
        raise ReferenceDataNotFound("no such application")
    return application


_PURPOSES: Final[Mapping[int, Callable[[Context, CommandApdu], bytes]]] = {
    InstallPurpose.LOAD: begin_load,
    InstallPurpose.INSTALL: _install,
    InstallPurpose.MAKE_SELECTABLE: _make_selectable,
    InstallPurpose.INSTALL_AND_MAKE_SELECTABLE: _install,
    InstallPurpose.EXTRADITION: extradite,
    InstallPurpose.PERSONALIZATION: _personalize,
    InstallPurpose.REGISTRY_UPDATE: update_registry,
}
