"""The data field of INSTALL: its length-value fields and what the parameters among them say.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.5.2.3; Amendment C, clause 11.2 (contactless parameters).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.globalplatform.registry_entry import ContactlessState, Memory, Restriction, split_services
from card_os.globalplatform.tokens import Token, signed_data
from card_os.iso7816 import tlv
from card_os.iso7816.errors import WrongData

if TYPE_CHECKING:
    from card_os.iso7816.apdu import CommandApdu

_ONE_BYTE_128: Final = 0x80


class InstallPurpose(IntEnum):
    """P1 of INSTALL (table 11-41)."""

    LOAD = 0x02
    INSTALL = 0x04
    MAKE_SELECTABLE = 0x08
    INSTALL_AND_MAKE_SELECTABLE = 0x0C
    LOAD_INSTALL_AND_MAKE_SELECTABLE = 0x0E
    EXTRADITION = 0x10
    PERSONALIZATION = 0x20
    REGISTRY_UPDATE = 0x40


class ParameterTag(IntEnum):
    """Tags of the parameters field (tables 11-48 to 11-52), and of Amendment C inside EF."""

    APPLICATION = 0xC9
    SYSTEM = 0xEF
    UICC_SYSTEM = 0xEA
    TOKEN_REFERENCE = 0xB6
    CODE_MINIMUM = 0xC6
    VOLATILE_QUOTA = 0xC7
    QUOTA = 0xC8
    VOLATILE_RESERVED = 0xD7
    RESERVED = 0xD8
    IMPLICIT_SELECTION = 0xCF
    SERVICES = 0xCB
    RESTRICT = 0xD9
    CONTACTLESS = 0xA0
    CONTACTLESS_STATE = 0x81
    PROVIDER_NUMBER = 0x42
    IMAGE_NUMBER = 0x45
    PROVIDER = 0x5F20
    TOKEN_IDENTIFIER = 0x93


_Tag = ParameterTag

ALLOWED: Final[Mapping[InstallPurpose, frozenset[int]]] = {
    InstallPurpose.LOAD: frozenset({_Tag.SYSTEM, _Tag.TOKEN_REFERENCE}),
    InstallPurpose.INSTALL: frozenset({_Tag.APPLICATION, _Tag.SYSTEM, _Tag.UICC_SYSTEM, _Tag.TOKEN_REFERENCE}),
    InstallPurpose.MAKE_SELECTABLE: frozenset({_Tag.SYSTEM, _Tag.TOKEN_REFERENCE}),
    InstallPurpose.EXTRADITION: frozenset({_Tag.TOKEN_REFERENCE}),
    InstallPurpose.REGISTRY_UPDATE: frozenset({_Tag.SYSTEM, _Tag.TOKEN_REFERENCE}),
}
"""Tags at the first level of the parameters field for each purpose."""


class InstallFields(NamedTuple):
    """The fields of INSTALL in their order; the names are those of INSTALL [for install].

    Attributes:
        package_aid: executable load file; for extradition and registry update the new security domain.
        module_aid: executable module.
        instance_aid: application; for extradition an application or a load file.
        privileges: as they came.
        parameters: as they came.
        token: as it came.
        signed: the data field as far as the token signs it.
    """

    package_aid: bytes
    module_aid: bytes
    instance_aid: bytes
    privileges: bytes
    parameters: bytes
    token: bytes
    signed: bytes

    @classmethod
    def parse(cls, data: bytes) -> InstallFields:
        """Split a data field.

        Raises:
            WrongData: 6A80, cut short or too long.
        """
        return cls(*split_fields(data, short=4))


class LoadFields(NamedTuple):
    """The fields of INSTALL [for load] in their order.

    Attributes:
        file_aid: load file.
        domain_aid: security domain that it is to be associated with, empty for the one that loads.
        digest: hash of the load file data block, empty when none is given.
        parameters: as they came.
        token: as it came.
        signed: the data field as far as the token signs it.
    """

    file_aid: bytes
    domain_aid: bytes
    digest: bytes
    parameters: bytes
    token: bytes
    signed: bytes

    @classmethod
    def parse(cls, data: bytes) -> LoadFields:
        """Split a data field.

        Raises:
            WrongData: 6A80, cut short or too long.
        """
        return cls(*split_fields(data, short=3))


def split_fields(data: bytes, *, short: int) -> list[bytes]:
    """Split a data field: ``short`` fields with lengths of one byte, parameters and token with BER lengths.

    Returns:
        The fields, and the part of the data field before the token.

    Raises:
        WrongData: 6A80, cut short or too long.
    """
    values: list[bytes] = []
    offset = signed = 0
    for index in range(short + 2):
        signed = offset
        length, offset = _field_length(data, offset, ber=index >= short)
        end = offset + length
        if end > len(data):
            raise WrongData("a field of INSTALL is cut short")
        values.append(data[offset:end])
        offset = end
    if offset != len(data):
        raise WrongData("more data than the fields of INSTALL")
    return [*values, data[:signed]]


def _field_length(data: bytes, offset: int, *, ber: bool) -> tuple[int, int]:
    if offset >= len(data):
        raise WrongData("a field of INSTALL is missing")
    if not ber or data[offset] <= _ONE_BYTE_128:  # 80 alone is 128 here, see 11.5.2.3.1
        return data[offset], offset + 1
    try:
        return tlv.parse_length(data, offset)
    except tlv.TlvError as error:
        raise WrongData("the length of a field is malformed") from error


class InstallParameters(NamedTuple):
    """What the parameters field says.

    Attributes:
        application: value of C9, for the application.
        memory: quotas and reserves.
        code_minimum: bytes that have to be free for the code.
        implicit_selection: values of CF.
        services: values of CB.
        restrict: value of D9, None when there is none.
        contactless: initial contactless activation, None when there is none.
        provider: application provider identifier.
        provider_number: whom the token is for, None when there is none.
        image_number: likewise.
        token_identifier: what the token is called.
    """

    application: bytes = b""
    memory: Memory = Memory()
    code_minimum: int = 0
    implicit_selection: tuple[int, ...] = ()
    services: tuple[int, ...] = ()
    restrict: Restriction | None = None
    contactless: ContactlessState | None = None
    provider: bytes = b""
    provider_number: bytes | None = None
    image_number: bytes | None = None
    token_identifier: bytes = b""

    @classmethod
    def parse(cls, raw: bytes, purpose: InstallPurpose) -> InstallParameters:
        """Read a parameters field.

        Raises:
            WrongData: 6A80, malformed, or a tag that does not belong to the purpose.
        """
        objects = _objects(raw)
        if any(item.tag not in ALLOWED[purpose] for item in objects):
            raise WrongData("an install parameter that is not supported")
        values = {item.tag: item.value for item in objects}
        system = _objects(values.get(_Tag.SYSTEM, b""))
        return read_reference(values.get(_Tag.TOKEN_REFERENCE, b""), _read_system(system))._replace(
            application=values.get(_Tag.APPLICATION, b"")
        )


def token_of(command: CommandApdu, fields: InstallFields | LoadFields, parameters: InstallParameters) -> Token:
    """The token of an INSTALL command with what it signs."""
    return Token(
        signed_data(command.p1, command.p2, fields.signed),
        fields.token,
        parameters.provider_number,
        parameters.image_number,
        parameters.token_identifier,
    )


def read_reference(raw: bytes, parameters: InstallParameters | None = None) -> InstallParameters:
    """Take over a control reference template for digital signature, value of B6.

    Raises:
        WrongData: 6A80, malformed.
    """
    values = {item.tag: item.value for item in _objects(raw)}
    return (parameters or InstallParameters())._replace(
        provider=values.get(_Tag.PROVIDER, b""),
        provider_number=values.get(_Tag.PROVIDER_NUMBER),
        image_number=values.get(_Tag.IMAGE_NUMBER),
        token_identifier=values.get(_Tag.TOKEN_IDENTIFIER, b""),
    )


def _objects(raw: bytes) -> list[tlv.Tlv]:
    try:
        return tlv.parse_all(raw)
    except tlv.TlvError as error:
        raise WrongData("install parameters are malformed") from error


def _read_system(objects: list[tlv.Tlv]) -> InstallParameters:
    """System specific parameters; those that this card does not know are ignored, as 11.5.2.3.7 allows."""
    values = {item.tag: item.value for item in objects}
    memory = Memory(
        *(_amount(values.get(tag)) for tag in (_Tag.QUOTA, _Tag.RESERVED, _Tag.VOLATILE_QUOTA, _Tag.VOLATILE_RESERVED))
    )
    services = values.get(_Tag.SERVICES, b"")
    if not memory.consistent or len(services) % 2:
        raise WrongData("a quota is less than what is reserved, or a service is cut short")
    return InstallParameters(
        memory=memory,
        code_minimum=_amount(values.get(_Tag.CODE_MINIMUM)) or 0,
        implicit_selection=tuple(_one_byte(item.value) for item in objects if item.tag == _Tag.IMPLICIT_SELECTION),
        services=split_services(services),
        restrict=_restriction(values.get(_Tag.RESTRICT)),
        contactless=_contactless(values.get(_Tag.CONTACTLESS)),
    )


def _amount(value: bytes | None) -> int | None:
    """Bytes of memory, coded on two or four bytes."""
    if value is None:
        return None
    if len(value) not in (2, 4):
        raise WrongData("an amount of memory has two or four bytes")
    return int.from_bytes(value, "big")


def _one_byte(value: bytes) -> int:
    if len(value) != 1:
        raise WrongData("a parameter has one byte")
    return value[0]


def _restriction(value: bytes | None) -> Restriction | None:
    return None if value is None else Restriction(_one_byte(value) & _ALL_RESTRICTIONS)


def _contactless(value: bytes | None) -> ContactlessState | None:
    state = None if value is None else next((o.value for o in _objects(value) if o.tag == _Tag.CONTACTLESS_STATE), None)
    if state is None:
        return None
    if len(state) != 1 or state[0] not in (ContactlessState.DEACTIVATED, ContactlessState.ACTIVATED):
        raise WrongData("a contactless activation is 00 or 01")
    return ContactlessState(state[0])


_ALL_RESTRICTIONS: Final = 0x7F
