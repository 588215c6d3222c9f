"""INSTALL [for install], and the combined process in which a load file comes first.

The combined process has one INSTALL at its beginning, the LOAD commands, and one INSTALL at its end. What it brings is
there with the last command or not at all: until then the load file is in the state LOADING, and whatever fails gives
its memory back.

Source: GlobalPlatform Card Specification 2.3.1, clauses 9.3.6 (installation), 9.3.8 (combined loading, installation and
make selectable), 11.5.2.1, 11.5.2.2 (P1 and P2) and C.4.7 (token of the combined process).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform.authority import (
    Permission,
    permit,
    require_acceptance,
    require_grantable,
    take_unique,
)
from card_os.globalplatform.domain_session import domain_session
from card_os.globalplatform.install_fields import (
    InstallFields,
    InstallParameters,
    InstallPurpose,
    LoadFields,
    token_of,
)
from card_os.globalplatform.load import Loading, expect_load_file
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import (
    DOMAIN_PACKAGE_AID,
    ApplicationLifeCycle,
    ContactlessState,
    LoadFileLifeCycle,
    Registry,
    RegistryData,
    Restriction,
)
from card_os.globalplatform.tokens import confirmation
from card_os.iso7816.errors import ConditionsNotSatisfied, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.iso7816.apdu import CommandApdu

_NO_DATA: Final = b"\x00"
_COMBINED: Final = Restriction.LOAD | Restriction.INSTALL | Restriction.MAKE_SELECTABLE


def install_application(context: Context, command: CommandApdu) -> bytes:
    """INSTALL [for install], with or without [for make selectable]: an application from a load file that is there."""
    fields = InstallFields.parse(command.data)
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.INSTALL)
    selectable = bool(command.p1 & InstallPurpose.MAKE_SELECTABLE)
    restriction = Restriction.INSTALL | (Restriction.MAKE_SELECTABLE if selectable else Restriction.NONE)
    permission = permit(context, restriction, token_of(command, fields, parameters))
    with context.store.transaction():
        return _place(context, permission, fields, parameters, selectable=selectable)


def begin_combined(context: Context, command: CommandApdu) -> bytes:
    """INSTALL [for load, install and make selectable], P2 01: announces the load file, as INSTALL [for load] does.

    Returns:
        00, no confirmation.

    Raises:
        WrongData, DfNameExists, ConditionsNotSatisfied, NotEnoughMemory: as `load.begin_load`; 6A80 also with a token,
            which belongs to the end of the process.
    """
    fields = LoadFields.parse(command.data)
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.LOAD)
    token = token_of(command, fields, parameters)
    permission = permit(context, _COMBINED, token, token_later=True)
    expect_load_file(context, permission, fields, parameters, request=token.data)
    return _NO_DATA


def end_combined(context: Context, command: CommandApdu) -> bytes:
    """INSTALL [for load, install and make selectable], P2 03: load file and application are there, in one transaction.

    The token signs what both INSTALL commands would give to a token of their own (C.4.7).

    Returns:
        Length of a confirmation, and the confirmation when the deed was delegated: the receipt of an installation.

    Raises:
        ConditionsNotSatisfied: 6985, the process was not begun, or its last block has not come.
        WrongData: 6A80, another load file than the one that came.
        CardError: as `install_application`; the load file is gone then.
    """
    state = domain_session(context)
    loading, registry = state.loading, state.platform.registry
    if loading is None or not loading.verified or registry.load_file(loading.file.aid) is not loading.file:
        raise ConditionsNotSatisfied("no combined process that could end here")
    state.loading = None
    try:
        return _end(context, command, loading, registry)
    except Exception:
        registry.reload()
        registry.recover()
        raise


def _end(context: Context, command: CommandApdu, loading: Loading, registry: Registry) -> bytes:
    fields = InstallFields.parse(command.data)
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.INSTALL)
    token = token_of(command, fields, parameters)
    permission = permit(context, _COMBINED, token._replace(data=loading.request + token.data))
    if fields.package_aid != loading.file.aid:
        raise WrongData("another load file than the one that was loaded")
    with context.store.transaction():
        loading.file.life_cycle = LoadFileLifeCycle.LOADED
        registry.update(loading.file)
        return _place(context, permission, fields, parameters, selectable=True)


def _place(
    context: Context, permission: Permission, fields: InstallFields, parameters: InstallParameters, *, selectable: bool
) -> bytes:
    """Put an application into the registry and let it make its objects; joins the open transaction.

    Returns:
        Length of a confirmation, and the confirmation when the deed was delegated.
    """
    platform = domain_session(context).platform
    privileges = requested_privileges(fields.privileges)
    if not selectable and (privileges & Privilege.CARD_RESET or parameters.implicit_selection):
        raise WrongData("what is selected by default has to be selectable")
    require_grantable(platform.registry, permission, privileges)
    domain = _domain_of_instance(platform, permission, fields, privileges)
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
        ConditionsNotSatisfied: 6985, the load file is another domain's, which does not accept it.
    """
    if (fields.package_aid == DOMAIN_PACKAGE_AID) is not bool(privileges & Privilege.SECURITY_DOMAIN):
        raise WrongData("the security domain privilege belongs to the module of security domains, and it alone")
    if fields.package_aid == DOMAIN_PACKAGE_AID:
        return permission.domain.owner
    file = platform.registry.load_file(fields.package_aid)
    if file is None:
        raise ReferenceDataNotFound("no such load file")
    require_acceptance(platform.registry, permission, file)
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
