"""STORE DATA: data groupings or data objects, for an application or for the domain itself.

Source: GlobalPlatform Card Specification 2.3.1, clauses 7.3.3 (personalization support) and 11.11 (STORE DATA); EMV
Card Personalization Specification 1.1, clause 2 (data groupings); Amendment D v1.1.1, clause 6.2.8 (key data).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.globalplatform.data_objects import store_objects
from card_os.globalplatform.domain_session import (
    PendingData,
    PersonalizationTarget,
    content_management_channel,
    domain_session,
)
from card_os.globalplatform.keys import key_versions
from card_os.globalplatform.registry import ApplicationLifeCycle
from card_os.globalplatform.resident_code import OPAQUE_SCHEMA
from card_os.iso7816 import tlv
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncorrectP1P2,
    NotEnoughMemory,
    ReferenceDataNotFound,
    WrongData,
)
from card_os.security.cryptography import unpad

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.globalplatform.registry import Application
    from card_os.globalplatform.secure_channel import DomainChannel
    from card_os.iso7816.apdu import CommandApdu

MAX_GROUPING: Final = 4096
"""The longest data grouping in bytes that the domain keeps while it comes in pieces."""
TEMPLATE_GROUPING: Final = 0x0070
"""Grouping that carries BER-TLV data objects to a domain (11.11.2.3)."""

_LAST_BLOCK: Final = 0x80
_ENCRYPTION: Final = 0x60
_STRUCTURE: Final = 0x18
_RESPONSE_EXPECTED: Final = 0x01
_IDENTIFIER_LENGTH: Final = 2
_LONG_LENGTH_MARK: Final = 0xFF


class _Encryption(IntEnum):
    """P1 b7-b6 (table 11-89); "application dependent" (20) is not supported."""

    NONE = 0x00
    ALL = 0x60


class _Structure(IntEnum):
    """P1 b5-b4 (table 11-89).

    Without information data are what they were before these bits were there: data objects for a domain, groupings for
    an application. An instance without code takes a block as it comes.
    """

    NO_INFORMATION = 0x00
    DGI = 0x08
    BER_TLV = 0x10


class Grouping(NamedTuple):
    """One data grouping or data object, decrypted; the identifier of a data object is its tag."""

    identifier: int
    value: bytes

    def __repr__(self) -> str:
        """Identifier and length only."""
        return f"Grouping({self.identifier:04X}, {len(self.value)} bytes)"


def store_data(context: Context, command: CommandApdu) -> bytes:
    """STORE DATA in one transaction; P1 is last block, encryption and structure, P2 the block number.

    After INSTALL [for personalization] the groupings go to that application until its last block; before, data goes to
    the domain, all of it with the last block. A grouping that the command cuts goes on in the next one. A command for
    an application that fails changes nothing and may be sent again; one for the domain ends what it was part of.

    Raises:
        IncorrectP1P2: 6A86, a coding of P1 that is not supported, or a block number out of turn.
        WrongData: 6A80, malformed data, or the last block ends inside a grouping.
        NotEnoughMemory: 6A84, a grouping longer than 4096 bytes in pieces, or no memory for its content.
        ConditionsNotSatisfied: 6985, the application may not be personalized any more.
    """
    channel = content_management_channel(context)
    state = domain_session(context)
    target = state.target
    if command.p1 & ~(_LAST_BLOCK | _ENCRYPTION | _STRUCTURE | _RESPONSE_EXPECTED):
        raise IncorrectP1P2("a reserved bit of P1")
    if target is None or target.channel is not channel:
        state.target = None
        _store_own(context, channel, command)
    elif _store_for(context, target, command):
        state.target = None
    return b""


def _store_own(context: Context, channel: DomainChannel, command: CommandApdu) -> None:
    """Data objects of the domain itself, in BER-TLV or in the grouping 0070; they are taken with the last block."""
    state = domain_session(context)
    pending, state.own = state.own, None
    structure = command.p1 & (_STRUCTURE | _ENCRYPTION)
    if structure not in tuple(_Structure):
        raise IncorrectP1P2("a domain takes plain data objects, or groupings of them")
    if pending is None or pending.channel is not channel or command.p2 == 0:
        pending = PendingData(channel, structure)
    if command.p2 != pending.next_block or structure != pending.structure:
        raise IncorrectP1P2("a block number out of turn, or another structure")
    pending.data += command.data
    if not command.p1 & _LAST_BLOCK:
        if len(pending.data) > MAX_GROUPING:
            raise NotEnoughMemory("the data is too long to be kept")
        pending.next_block += 1
        state.own = pending
        return
    groupings, rest = _OWN_SPLITTERS[structure](pending.data)
    if rest or not groupings:
        raise WrongData("the last block has to end with a data object")
    with context.store.transaction():
        if structure == _Structure.DGI:
            for grouping in groupings:
                store_grouping(context, state.platform, grouping.identifier, grouping.value)
        else:
            store_objects(context, state.platform, [tlv.Tlv(*grouping) for grouping in groupings])


def store_grouping(context: Context, platform: Platform, identifier: int, value: bytes) -> None:
    """Take a grouping for a domain itself; joins the open transaction.

    Raises:
        WrongData: 6A80, another grouping than 0070, or malformed data objects in it.
    """
    if identifier != TEMPLATE_GROUPING:
        raise WrongData("a grouping that a domain does not take")
    try:
        objects = tlv.parse_all(value)
    except tlv.TlvError as error:
        raise WrongData("malformed data objects") from error
    store_objects(context, platform, objects)


def _store_for(context: Context, target: PersonalizationTarget, command: CommandApdu) -> bool:
    """Groupings of an application; True after its last block."""
    platform = domain_session(context).platform
    application = _application(platform, target)
    encryption = command.p1 & _ENCRYPTION
    last = bool(command.p1 & _LAST_BLOCK)
    splitter = _splitter(application, command)
    if splitter is None or encryption not in (_Encryption.NONE, _Encryption.ALL):
        raise IncorrectP1P2("plain or encrypted groupings or data objects only")
    if command.p2 != target.next_block:
        raise IncorrectP1P2("a block number out of turn")
    form = command.p1 & (_ENCRYPTION | _STRUCTURE)
    if target.pending and form != target.pending_form:
        raise WrongData("a grouping goes on with another encryption or structure")
    groupings, rest = splitter(target.pending + command.data)
    if encryption == _Encryption.ALL:
        groupings = [Grouping(identifier, _decrypt(value, target.channel)) for identifier, value in groupings]
    if last and (rest or not groupings):
        raise WrongData("the last block has to end with a grouping")
    if len(rest) > MAX_GROUPING:
        raise NotEnoughMemory("the grouping is too long to be kept")
    if groupings:
        _hand_over(platform, application, groupings, last=last)
    target.next_block += 1
    target.pending = rest
    target.pending_form = form
    return last


def _application(platform: Platform, target: PersonalizationTarget) -> Application:
    application = target.application
    if platform.registry.by_owner(application.owner) is not application:
        raise ReferenceDataNotFound("the application was deleted")
    if application.locked:
        raise ConditionsNotSatisfied("the application is locked")
    return application


def _hand_over(platform: Platform, application: Application, groupings: list[Grouping], *, last: bool) -> None:
    """Give groupings to the application; the last one of the last block makes it PERSONALIZED.

    A domain becomes that when it has a key set, see `security_domain`.
    """
    code = platform.code_of(application)
    context = platform.context_of(application)
    end = len(groupings) - 1
    with platform.store.transaction():
        for position, grouping in enumerate(groupings):
            code.store_data(context, grouping.identifier, grouping.value, last=last and position == end)
        if last and (not application.is_security_domain or key_versions(platform.store, application.owner)):
            platform.registry.set_life_cycle(application, ApplicationLifeCycle.PERSONALIZED)


def _split_groupings(data: bytes) -> tuple[list[Grouping], bytes]:
    """The whole groupings in ``data`` and what is left of one that is cut."""
    groupings: list[Grouping] = []
    offset = 0
    while (bounds := _bounds(data, offset)) is not None:
        start, end = bounds
        groupings.append(Grouping(int.from_bytes(data[offset : offset + _IDENTIFIER_LENGTH], "big"), data[start:end]))
        offset = end
    return groupings, data[offset:]


def _bounds(data: bytes, offset: int) -> tuple[int, int] | None:
    """Start and end of the content of the grouping at ``offset``, None when it is cut (or there is none)."""
    start = offset + _IDENTIFIER_LENGTH + 1
    if len(data) < start:
        return None
    length = data[start - 1]
    if length == _LONG_LENGTH_MARK:
        start += 2
        if len(data) < start:
            return None
        length = data[start - 2] << 8 | data[start - 1]
    end = start + length
    return (start, end) if end <= len(data) else None


def _split_objects(data: bytes) -> tuple[list[Grouping], bytes]:
    """The whole data objects in ``data`` and what is left of one that is cut.

    Raises:
        WrongData: 6A80, a length field that none can be.
    """
    objects: list[Grouping] = []
    offset = 0
    while offset < len(data):
        try:
            tag, at = tlv.parse_tag(data, offset)
            length, start = tlv.parse_length(data, at)
        except tlv.TlvError as error:
            if len(data) - offset >= _LONGEST_HEAD:
                raise WrongData("a malformed data object") from error
            break
        if start + length > len(data):
            break
        objects.append(Grouping(tag, data[start : start + length]))
        offset = start + length
    return objects, data[offset:]


def _decrypt(value: bytes, channel: DomainChannel) -> bytes:
    """Content under the key for sensitive data of the session, padded with 80 and zeroes."""
    try:
        return unpad(channel.decrypt_sensitive(value))
    except ValueError as error:
        raise WrongData("an encrypted grouping is malformed") from error


def _splitter(application: Application, command: CommandApdu) -> Splitter | None:
    """How the data of an application is split; None for a reserved structure."""
    structure, block = command.p1 & _STRUCTURE, command.p2
    if structure == _Structure.NO_INFORMATION and application.data.state_schema == OPAQUE_SCHEMA:
        return lambda data: ([Grouping(block, data)], b"")
    return _SPLITTERS.get(structure)


Splitter = Callable[[bytes], tuple[list[Grouping], bytes]]
"""Takes data apart: whole groupings, and what is left of one that is cut."""

_LONGEST_HEAD: Final = 8
_SPLITTERS: Final[Mapping[int, Splitter]] = {
    _Structure.NO_INFORMATION: _split_groupings,
    _Structure.DGI: _split_groupings,
    _Structure.BER_TLV: _split_objects,
}
_OWN_SPLITTERS: Final = {**_SPLITTERS, _Structure.NO_INFORMATION: _split_objects}
