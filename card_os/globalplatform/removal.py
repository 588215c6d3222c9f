"""DELETE of applications and load files.

Source: GlobalPlatform Card Specification 2.3.1, clauses 9.5 (content removal) and 11.2 (DELETE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform.authority import Permission, permit, require_association
from card_os.globalplatform.domain_session import content_management_channel, domain_session
from card_os.globalplatform.install_fields import read_reference
from card_os.globalplatform.key_management import KEY_NAMES, delete_keys
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import ISSUER_DOMAIN, Application, LoadFile, LoadFileLifeCycle, Restriction
from card_os.globalplatform.tokens import Token, confirmation, signed_data
from card_os.iso7816 import tlv
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.iso7816.apdu import CommandApdu

_RELATED: Final = 0x80
_AID_TAG: Final = 0x4F
_REFERENCE_TAG: Final = 0xB6
_TOKEN_TAG: Final = 0x9E
_FORMS: Final = (
    [_AID_TAG],
    [_AID_TAG, _TOKEN_TAG],
    [_AID_TAG, _REFERENCE_TAG],
    [_AID_TAG, _REFERENCE_TAG, _TOKEN_TAG],
)


def delete(context: Context, command: CommandApdu) -> bytes:
    """DELETE of an application or a load file; P2 80 takes the applications of a load file along.

    Where the data field names a key, `delete_keys`.

    Returns:
        Length of a confirmation, and the confirmation when the deed was delegated.

    Raises:
        IncorrectP1P2: 6A86.
        WrongData: 6A80, the data field is not 4F with an AID, and with a token where one belongs.
        ReferenceDataNotFound: 6A88, nothing has this AID.
        ConditionsNotSatisfied: 6985, another domain's, the domain itself, in read-only memory, in use, selected on
            another channel, or a domain with content.
    """
    if command.data[:1] in KEY_NAMES:
        return delete_keys(context, command)
    content_management_channel(context)
    if command.p1 or command.p2 & ~_RELATED:
        raise IncorrectP1P2("no such form of DELETE")
    aid, token = _parse(command)
    permission = permit(context, Restriction.DELETE, token)
    platform = domain_session(context).platform
    entry = platform.registry.by_aid(aid) or platform.registry.load_file(aid)
    if entry is None:
        raise ReferenceDataNotFound("neither an application nor a load file has this AID")
    files: list[LoadFile] = []
    if isinstance(entry, Application):
        applications = [entry]
    else:
        files, applications = [entry], _instances(platform, entry, related=bool(command.p2))
    for application in applications:
        _require_removable(platform, permission, application)
    for file in files:
        require_association(permission, file, Privilege.GLOBAL_DELETE)
        if file.resident or file.life_cycle is not LoadFileLifeCycle.LOADED:
            raise ConditionsNotSatisfied("what is in read-only memory cannot be deleted")
    _forget_target(context, applications)
    with context.store.transaction():
        for application in applications:
            platform.remove(application)
        for file in files:
            platform.registry.remove_load_file(file)
        answer = confirmation(platform.registry, context.store, permission, aid)
    platform.registry.reclaim()
    return answer


def _parse(command: CommandApdu) -> tuple[bytes, Token]:
    try:
        objects = tlv.parse_all(command.data)
    except tlv.TlvError as error:
        raise WrongData("the data field is malformed") from error
    tags = [item.tag for item in objects]
    if tags not in _FORMS:
        raise WrongData("an AID, then at most a reference and a token")
    values = {item.tag: item.value for item in objects}
    signature = values.get(_TOKEN_TAG, b"")
    fields = command.data[: len(command.data) - len(objects[-1].encode())] if signature else command.data
    reference = read_reference(values.get(_REFERENCE_TAG, b""))
    return values[_AID_TAG], Token(
        signed_data(command.p1, command.p2, fields),
        signature,
        reference.provider_number,
        reference.image_number,
        reference.token_identifier,
    )


def _instances(platform: Platform, file: LoadFile, *, related: bool) -> list[Application]:
    """The applications of a load file, all of which go with it; without ``related`` there must be none."""
    instances = [application for application in platform.registry if application.package_aid == file.aid]
    if instances and not related:
        raise ConditionsNotSatisfied("applications of this load file are installed")
    return instances


def _require_removable(platform: Platform, permission: Permission, application: Application) -> None:
    if application.owner == ISSUER_DOMAIN or application is permission.domain:
        raise ConditionsNotSatisfied("neither the issuer domain nor the acting one can be deleted")
    require_association(permission, application, Privilege.GLOBAL_DELETE)
    if application.is_security_domain and platform.registry.belongs_to(application):
        raise ConditionsNotSatisfied("something is associated with this domain")


def _forget_target(context: Context, applications: list[Application]) -> None:
    state = domain_session(context)
    if state.target is not None and state.target.application in applications:
        state.target = None
