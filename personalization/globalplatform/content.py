"""INSTALL in all variants and DELETE of card content, as pure functions from data to commands.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.5 (INSTALL), 11.2 (DELETE), 11.1.2 (privileges) and
11.5.2.3.7 (parameters).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import Final

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_SHORT_NE, CommandApdu

_CLA: Final = 0x80
_INS_INSTALL: Final = 0xE6
_INS_DELETE: Final = 0xE4
_WITH_RELATED_OBJECTS: Final = 0x80
_COMBINED_BEGINS: Final = 0x01
_COMBINED_ENDS: Final = 0x03
_APPLICATION_PARAMETERS: Final = 0xC9
_SYSTEM_PARAMETERS: Final = 0xEF
_AID_TAG: Final = 0x4F
_TOKEN_TAG: Final = 0x9E
_NO_PRIVILEGES: Final = b"\x00"
_LARGE_QUOTA: Final = 0x8000


class InstallPurpose(IntFlag):
    """P1 of INSTALL (table 11-41)."""

    LOAD = 0x02
    INSTALL = 0x04
    MAKE_SELECTABLE = 0x08
    EXTRADITION = 0x10
    PERSONALIZATION = 0x20
    REGISTRY_UPDATE = 0x40


class Privilege(IntFlag):
    """Privileges as three bytes, the first byte leftmost (tables 11-7 to 11-9)."""

    SECURITY_DOMAIN = 0x800000
    DAP_VERIFICATION = 0xC00000
    DELEGATED_MANAGEMENT = 0xA00000
    CARD_LOCK = 0x100000
    CARD_TERMINATE = 0x080000
    CARD_RESET = 0x040000
    CVM_MANAGEMENT = 0x020000
    MANDATED_DAP_VERIFICATION = 0xC10000
    TRUSTED_PATH = 0x008000
    AUTHORIZED_MANAGEMENT = 0x004000
    TOKEN_VERIFICATION = 0x002000
    GLOBAL_DELETE = 0x001000
    GLOBAL_LOCK = 0x000800
    GLOBAL_REGISTRY = 0x000400
    FINAL_APPLICATION = 0x000200
    GLOBAL_SERVICE = 0x000100
    RECEIPT_GENERATION = 0x000080
    CIPHERED_LOAD_FILE = 0x000040
    CONTACTLESS_ACTIVATION = 0x000020
    CONTACTLESS_SELF_ACTIVATION = 0x000010


def privilege_names(privileges: bytes) -> list[str]:
    """Names of the privileges in 1 or 3 bytes, such as ``security-domain``."""
    value = int.from_bytes(privileges.ljust(3, b"\x00")[:3], "big")
    return [
        flag.name.lower().replace("_", "-")
        for flag in Privilege.__members__.values()
        if flag.name and value & flag == flag
    ]


def privileges_of(names: Iterable[str]) -> bytes:
    """Three bytes of named privileges.

    Raises:
        ValueError: no such privilege.
    """
    value = 0
    for name in names:
        flag = Privilege.__members__.get(name.strip().upper().replace("-", "_"))
        if flag is None:
            raise ValueError(name)
        value |= flag
    return int(value).to_bytes(3, "big")


def install_for_load(
    package_aid: bytes,
    *,
    domain_aid: bytes = b"",
    digest: bytes = b"",
    parameters: bytes = b"",
    token: bytes = b"",
    combined: bool = False,
) -> CommandApdu:
    """INSTALL [for load] (table 11-42).

    Args:
        package_aid: AID of the load file.
        domain_aid: security domain that it shall belong to; empty for the selected one.
        digest: load file data block hash.
        parameters: load parameters field, see `system_parameters`.
        token: load token.
        combined: the beginning of [for load, install and make selectable].
    """
    fields = (package_aid, domain_aid, digest, parameters, token)
    if combined:
        purpose = InstallPurpose.LOAD | InstallPurpose.INSTALL | InstallPurpose.MAKE_SELECTABLE
        return _install(purpose, fields, p2=_COMBINED_BEGINS)
    return _install(InstallPurpose.LOAD, fields)


def install(
    *,
    package_aid: bytes,
    module_aid: bytes,
    instance_aid: bytes,
    privileges: bytes = _NO_PRIVILEGES,
    parameters: bytes = b"",
    system: bytes = b"",
    token: bytes = b"",
    selectable: bool = True,
    combined: bool = False,
) -> CommandApdu:
    """INSTALL [for install], or [for install and make selectable] (table 11-43).

    Args:
        package_aid: executable load file.
        module_aid: executable module in it.
        instance_aid: AID of the new application.
        privileges: 1 or 3 bytes.
        parameters: value of the application specific parameters, tag C9.
        system: further parameters, encoded, see `system_parameters`.
        token: install token.
        selectable: make it selectable in the same command.
        combined: the end of [for load, install and make selectable].
    """
    purpose = InstallPurpose.INSTALL | (InstallPurpose.MAKE_SELECTABLE if selectable else 0)
    parameters_field = tlv.encode(_APPLICATION_PARAMETERS, parameters) + system
    fields = (package_aid, module_aid, instance_aid, privileges, parameters_field, token)
    if combined:
        return _install(purpose | InstallPurpose.LOAD, fields, p2=_COMBINED_ENDS)
    return _install(purpose, fields)


def make_selectable(
    instance_aid: bytes, privileges: bytes = _NO_PRIVILEGES, *, parameters: bytes = b"", token: bytes = b""
) -> CommandApdu:
    """INSTALL [for make selectable] (table 11-44)."""
    return _install(InstallPurpose.MAKE_SELECTABLE, (b"", b"", instance_aid, privileges, parameters, token))


def extradite(aid: bytes, domain_aid: bytes, *, parameters: bytes = b"", token: bytes = b"") -> CommandApdu:
    """INSTALL [for extradition] of an application or load file to another security domain (table 11-45)."""
    return _install(InstallPurpose.EXTRADITION, (domain_aid, b"", aid, b"", parameters, token))


def update_registry(
    aid: bytes = b"", *, domain_aid: bytes = b"", privileges: bytes = b"", parameters: bytes = b"", token: bytes = b""
) -> CommandApdu:
    """INSTALL [for registry update] (table 11-46); without ``aid`` it is for the OPEN itself."""
    fields = (domain_aid, b"", aid, privileges, parameters, token)
    return _install(InstallPurpose.REGISTRY_UPDATE, fields)


def install_for_personalization(instance_aid: bytes) -> CommandApdu:
    """INSTALL [for personalization]: the STORE DATA commands that follow are for this application (table 11-47)."""
    return _install(InstallPurpose.PERSONALIZATION, (b"", b"", instance_aid, b"", b"", b""))


def system_parameters(objects: Iterable[tuple[int, bytes]]) -> bytes:
    """System specific parameters, template EF, of (tag, value) such as (C8, quota) (tables 11-48, 11-49)."""
    return tlv.encode(_SYSTEM_PARAMETERS, *(tlv.encode(tag, value) for tag, value in objects))


def memory_quota(size: int) -> bytes:
    """Bytes of memory as a quota: 2 bytes up to 32,767, 4 above (11.5.2.3.7)."""
    return size.to_bytes(2 if size < _LARGE_QUOTA else 4, "big")


def delete(aid: bytes, *, related: bool = False, token: bytes = b"") -> CommandApdu:
    """DELETE an application, or with ``related`` a package and all that came from it (table 11-23)."""
    data = tlv.encode(_AID_TAG, aid) + (tlv.encode(_TOKEN_TAG, token) if token else b"")
    return CommandApdu(_CLA, _INS_DELETE, 0x00, _WITH_RELATED_OBJECTS if related else 0, data, MAX_SHORT_NE)


def _install(purpose: int, fields: Iterable[bytes], *, p2: int = 0x00) -> CommandApdu:
    """Fields with their lengths, one byte up to 127 and BER above; a data field above 255 bytes has to be chained."""
    data = b"".join(tlv.encode_length(len(field)) + field for field in fields)
    return CommandApdu(_CLA, _INS_INSTALL, int(purpose), p2, data, MAX_SHORT_NE)
