"""INSTALL and DELETE: applications come and go.

The code of every application is built into the card, so packages are neither loaded nor deleted.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.2 (DELETE) and 11.5 (INSTALL).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.globalplatform.domain_session import (
    PersonalizationTarget,
    content_management_channel,
    domain_session,
)
from card_os.globalplatform.key_management import KEY_NAMES, delete_keys
from card_os.globalplatform.registry import Application, ApplicationLifeCycle, Privilege
from card_os.iso7816 import tlv
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncorrectP1P2,
    ReferenceDataNotFound,
    WrongData,
)

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

_CONFIRMATION: Final = b"\x00"
"""Length of a confirmation: there is none, for nothing is managed by delegation."""
_PRIVILEGE_LENGTHS: Final = (1, 3)
_DELETE_RELATED: Final = 0x80
_AID_TAG: Final = 0x4F

GRANTABLE: Final = Privilege.CARD_RESET
"""Privileges that INSTALL may give; the others belong to security domains, of which the issuer's is the only one."""


class InstallPurpose(IntEnum):
    """P1 of INSTALL (table 11-41)."""

    INSTALL = 0x04
    MAKE_SELECTABLE = 0x08
    INSTALL_AND_MAKE_SELECTABLE = 0x0C
    PERSONALIZATION = 0x20


class _ParameterTag(IntEnum):
    """Tags of the install parameters field (table 11-49)."""

    APPLICATION = 0xC9
    SYSTEM = 0xEF


class InstallFields(NamedTuple):
    """The data field of INSTALL: length and value of each, in this order."""

    package_aid: bytes
    module_aid: bytes
    instance_aid: bytes
    privileges: bytes
    parameters: bytes
    token: bytes

    @classmethod
    def parse(cls, data: bytes) -> InstallFields:
        """Split a data field.

        Raises:
            WrongData: 6A80, cut short or too long.
        """
        values: list[bytes] = []
        offset = 0
        for _ in cls._fields:
            if offset >= len(data):
                raise WrongData("a field of INSTALL is missing")
            end = offset + 1 + data[offset]
            if end > len(data):
                raise WrongData("a field of INSTALL is cut short")
            values.append(data[offset + 1 : end])
            offset = end
        if offset != len(data):
            raise WrongData("more data than the fields of INSTALL")
        return cls(*values)


def install(context: Context, command: CommandApdu) -> bytes:
    """INSTALL for the purpose in P1; P2 is 00.

    Returns:
        00, the length of a confirmation that is not there.

    Raises:
        IncorrectP1P2: 6A86, no such purpose.
        WrongData: 6A80, the data field does not fit the purpose.
    """
    content_management_channel(context)
    purpose = _PURPOSES.get(command.p1)
    if purpose is None or command.p2:
        raise IncorrectP1P2("no such purpose of INSTALL")
    fields = InstallFields.parse(command.data)
    if fields.token:
        raise WrongData("no token is expected: nothing is managed by delegation")
    purpose(context, fields)
    return _CONFIRMATION


def _install(context: Context, fields: InstallFields) -> None:
    _create(context, fields, ApplicationLifeCycle.INSTALLED)


def _install_and_make_selectable(context: Context, fields: InstallFields) -> None:
    _create(context, fields, ApplicationLifeCycle.SELECTABLE)


def _create(context: Context, fields: InstallFields, life_cycle: ApplicationLifeCycle) -> None:
    """Put an application into the registry and let it make its objects, in one transaction."""
    platform = domain_session(context).platform
    domain = context.application
    if fields.module_aid == domain.module_aid:
        raise WrongData("the issuer domain is there once only")
    privileges = _privileges(fields.privileges)
    if privileges & Privilege.CARD_RESET and any(
        entry.privileges & Privilege.CARD_RESET for entry in platform.registry
    ):
        raise ConditionsNotSatisfied("another application is selected by default")
    with context.store.transaction():
        platform.install(
            package_aid=fields.package_aid,
            module_aid=fields.module_aid,
            aid=fields.instance_aid,
            privileges=privileges,
            domain=domain.owner,
            life_cycle=life_cycle,
            parameters=_application_parameters(fields.parameters),
        )


def _privileges(raw: bytes) -> Privilege:
    if len(raw) not in _PRIVILEGE_LENGTHS:
        raise WrongData("privileges have one or three bytes")
    privileges = Privilege.decode(raw)
    if privileges & ~GRANTABLE:
        raise WrongData("a privilege that is not given to applications")
    return privileges


def _application_parameters(raw: bytes) -> bytes:
    """Value of C9 in the install parameters, empty when the field is."""
    try:
        objects = tlv.parse_all(raw)
    except tlv.TlvError as error:
        raise WrongData("install parameters are malformed") from error
    if any(item.tag not in (_ParameterTag.APPLICATION, _ParameterTag.SYSTEM) for item in objects):
        raise WrongData("an install parameter that is not supported")
    return next((item.value for item in objects if item.tag == _ParameterTag.APPLICATION), b"")


def _make_selectable(context: Context, fields: InstallFields) -> None:
    application = _application(context, fields)
    if application.life_cycle != ApplicationLifeCycle.INSTALLED:
        raise ConditionsNotSatisfied("the application is not in the state INSTALLED")
    if fields.privileges and _privileges(fields.privileges) != application.privileges:
        raise WrongData("privileges are given at installation")
    domain_session(context).platform.registry.set_life_cycle(application, ApplicationLifeCycle.SELECTABLE)


def _personalization(context: Context, fields: InstallFields) -> None:
    """The STORE DATA commands of this session that follow are for the application."""
    channel = content_management_channel(context)
    application = _application(context, fields)
    if fields.privileges or fields.parameters:
        raise WrongData("only the application is named for personalization")
    if application.locked or application.owner == context.application.owner:
        raise ConditionsNotSatisfied("this application cannot be personalized")
    domain_session(context).target = PersonalizationTarget(application, channel)


def _application(context: Context, fields: InstallFields) -> Application:
    """The application that is named by its instance AID alone, if it belongs to this domain."""
    if fields.package_aid or fields.module_aid:
        raise WrongData("only the application is named")
    application = domain_session(context).platform.registry.by_aid(fields.instance_aid)
    if application is None or application.domain != context.application.owner:
        raise ReferenceDataNotFound("no such application of this domain")
    return application


def delete(context: Context, command: CommandApdu) -> bytes:
    """DELETE of an application and all that it owns, in one transaction. P2 is 00 or 80 (related objects too).

    Where the data field names a key, `delete_keys`.

    Returns:
        00, the length of a confirmation that is not there.

    Raises:
        IncorrectP1P2: 6A86.
        WrongData: 6A80, the data field is not 4F with an AID.
        ReferenceDataNotFound: 6A88, nothing has this AID.
        ConditionsNotSatisfied: 6985, the issuer domain, a package, or selected on another channel.
    """
    if command.data[:1] in KEY_NAMES:
        return delete_keys(context, command)
    content_management_channel(context)
    state = domain_session(context)
    platform = state.platform
    if command.p1 or command.p2 & ~_DELETE_RELATED:
        raise IncorrectP1P2("no such form of DELETE")
    aid = _deleted_aid(command.data)
    application = platform.registry.by_aid(aid)
    if application is None:
        if any(code.package_aid == aid for code in platform.modules.values()):
            raise ConditionsNotSatisfied("a package of the card itself cannot be deleted")
        raise ReferenceDataNotFound("no application with this AID")
    if application.owner == context.application.owner or application.domain != context.application.owner:
        raise ConditionsNotSatisfied("this application cannot be deleted by this domain")
    if state.target is not None and state.target.application is application:
        state.target = None
    with context.store.transaction():
        platform.remove(application)
    return _CONFIRMATION


def _deleted_aid(data: bytes) -> bytes:
    try:
        item = tlv.parse_one(data)
    except tlv.TlvError as error:
        raise WrongData("the data field is not one data object") from error
    if item.tag != _AID_TAG:
        raise WrongData("an AID is expected")
    return item.value


_PURPOSES: Final[Mapping[int, Callable[[Context, InstallFields], None]]] = {
    InstallPurpose.INSTALL: _install,
    InstallPurpose.MAKE_SELECTABLE: _make_selectable,
    InstallPurpose.INSTALL_AND_MAKE_SELECTABLE: _install_and_make_selectable,
    InstallPurpose.PERSONALIZATION: _personalization,
}
