"""INSTALL in all variants: which does what, making selectable, and personalization.

Source: GlobalPlatform Card Specification 2.3.1, clauses 9.3.7 (make selectable) and 11.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.authority import (
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
from card_os.globalplatform.installation import (
    begin_combined,
    end_combined,
    install_application,
    requested_privileges,
)
from card_os.globalplatform.load import begin_load
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import (
    Application,
    ApplicationLifeCycle,
    Restriction,
)
from card_os.globalplatform.tokens import confirmation
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

_NO_DATA: Final = b"\x00"


def install(context: Context, command: CommandApdu) -> bytes:
    """INSTALL for the purpose in P1; P2 is 00, or 01 and 03 at the beginning and end of a combined process.

    Returns:
        Length of a confirmation, and the confirmation when the deed was delegated.

    Raises:
        IncorrectP1P2: 6A86, no such purpose.
        WrongData: 6A80, the data field does not fit the purpose.
        ConditionsNotSatisfied: 6985, the domain may not do it, see `authority.permit`.
    """
    content_management_channel(context)
    purpose = _PURPOSES.get((command.p1, command.p2))
    if purpose is None:
        raise IncorrectP1P2("no such purpose of INSTALL")
    return purpose(context, command)


def _make_selectable(context: Context, command: CommandApdu) -> bytes:
    """Make an application selectable, or by default selected where it is selectable already."""
    fields = InstallFields.parse(command.data)
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.MAKE_SELECTABLE)
    permission = permit(context, Restriction.MAKE_SELECTABLE, token_of(command, fields, parameters))
    registry = domain_session(context).platform.registry
    application = _application(context, fields)
    require_association(permission, application, Privilege.NONE)
    added = requested_privileges(fields.privileges or b"\x00") & Privilege.CARD_RESET
    if application.life_cycle != ApplicationLifeCycle.INSTALLED and not (added and application.selectable):
        raise ConditionsNotSatisfied("the application is selectable, and nothing else is asked for")
    require_grantable(registry, permission, application.privileges | added, application)
    data = application.data
    with context.store.transaction():
        if application.life_cycle == ApplicationLifeCycle.INSTALLED:
            application.life_cycle = ApplicationLifeCycle.SELECTABLE
            data = data._replace(contactless=data.initial_contactless)
        application.privileges |= added
        application.data = data._replace(implicit_selection=data.implicit_selection + parameters.implicit_selection)
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


_ALONE: Final = 0x00
_BEGINNING: Final = 0x01
_END: Final = 0x03
_PURPOSES: Final[Mapping[tuple[int, int], Callable[[Context, CommandApdu], bytes]]] = {
    (InstallPurpose.LOAD, _ALONE): begin_load,
    (InstallPurpose.INSTALL, _ALONE): install_application,
    (InstallPurpose.MAKE_SELECTABLE, _ALONE): _make_selectable,
    (InstallPurpose.INSTALL_AND_MAKE_SELECTABLE, _ALONE): install_application,
    (InstallPurpose.LOAD_INSTALL_AND_MAKE_SELECTABLE, _BEGINNING): begin_combined,
    (InstallPurpose.LOAD_INSTALL_AND_MAKE_SELECTABLE, _END): end_combined,
    (InstallPurpose.INSTALL_AND_MAKE_SELECTABLE, _END): end_combined,
    (InstallPurpose.EXTRADITION, _ALONE): extradite,
    (InstallPurpose.PERSONALIZATION, _ALONE): _personalize,
    (InstallPurpose.REGISTRY_UPDATE, _ALONE): update_registry,
}
"""What INSTALL does by P1 and P2 (table 11-41, clause 11.5.2.2); some hosts leave [for load] out of the last P1."""
