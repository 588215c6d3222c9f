"""STORE DATA: data groupings for an application, or data objects for the issuer domain itself.

Source: GlobalPlatform Card Specification 2.3.1, clauses 7.3.3 (personalization support) and 11.11 (STORE DATA); EMV
Card Personalization Specification 1.1, clause 2 (data groupings); Amendment D v1.1.1, clause 6.2.8 (key data).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.globalplatform.data_objects import STORABLE, put_data_object
from card_os.globalplatform.domain_session import (
    PersonalizationTarget,
    content_management_channel,
    domain_session,
)
from card_os.globalplatform.registry import ApplicationLifeCycle
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

_LAST_BLOCK: Final = 0x80
_ENCRYPTION: Final = 0x60
_STRUCTURE: Final = 0x18
_IDENTIFIER_LENGTH: Final = 2
_LONG_LENGTH_MARK: Final = 0xFF


class _Encryption(IntEnum):
    """P1 b7-b6 (table 11-91); "application dependent" (20) is not supported."""

    NONE = 0x00
    ALL = 0x60


class _Structure(IntEnum):
    """P1 b5-b4 (table 11-91)."""

    DGI = 0x08
    BER_TLV = 0x10


class Grouping(NamedTuple):
    """One data grouping, decrypted."""

    identifier: int
    value: bytes

    def __repr__(self) -> str:
        """Identifier and length only."""
        return f"Grouping({self.identifier:04X}, {len(self.value)} bytes)"


def store_data(context: Context, command: CommandApdu) -> bytes:
    """STORE DATA in one transaction; P1 is last block, encryption and structure, P2 the block number.

    After INSTALL [for personalization] the groupings go to that application until its last block; before, data objects
    42 and 45 go to the issuer domain. A grouping that the command cuts goes on in the next one. A command that fails
    changes nothing and may be sent again.

    Raises:
        IncorrectP1P2: 6A86, a coding of P1 that is not supported, or a block number out of turn.
        WrongData: 6A80, malformed data, or the last block ends inside a grouping.
        NotEnoughMemory: 6A84, a grouping longer than 4096 bytes in pieces, or no memory for its content.
        ConditionsNotSatisfied: 6985, the application may not be personalized any more.
    """
    channel = content_management_channel(context)
    state = domain_session(context)
    target = state.target
    if command.p1 & ~(_LAST_BLOCK | _ENCRYPTION | _STRUCTURE):
        raise IncorrectP1P2("a reserved bit of P1")
    if target is None or target.channel is not channel:
        state.target = None
        _store_own(context, command)
    elif _store_for(context, target, command):
        state.target = None
    return b""


def _store_own(context: Context, command: CommandApdu) -> None:
    """Data objects of the issuer domain itself, in BER-TLV and one block."""
    if command.p1 != _LAST_BLOCK | _Structure.BER_TLV or command.p2:
        raise IncorrectP1P2("the issuer domain takes one block of BER-TLV data objects")
    try:
        objects = tlv.parse_all(command.data)
    except tlv.TlvError as error:
        raise WrongData("malformed data objects") from error
    if not objects or any(item.tag not in STORABLE for item in objects):
        raise WrongData("a data object that the issuer domain does not keep")
    with context.store.transaction():
        for item in objects:
            put_data_object(context.store, context.application.owner, item.tag, item.value)


def _store_for(context: Context, target: PersonalizationTarget, command: CommandApdu) -> bool:
    """Groupings of an application; True after its last block."""
    platform = domain_session(context).platform
    application = _application(platform, target)
    encryption = command.p1 & _ENCRYPTION
    last = bool(command.p1 & _LAST_BLOCK)
    if command.p1 & _STRUCTURE != _Structure.DGI or encryption not in (_Encryption.NONE, _Encryption.ALL):
        raise IncorrectP1P2("plain or encrypted data groupings only")
    if command.p2 != target.next_block:
        raise IncorrectP1P2("a block number out of turn")
    encrypted = encryption == _Encryption.ALL
    if target.pending and encrypted is not target.pending_encrypted:
        raise WrongData("a grouping goes on with another encryption")
    groupings, rest = _split(target.pending + command.data, target.channel if encrypted else None)
    if last and (rest or not groupings):
        raise WrongData("the last block has to end with a grouping")
    if len(rest) > MAX_GROUPING:
        raise NotEnoughMemory("the grouping is too long to be kept")
    if groupings:
        _hand_over(platform, application, groupings, last=last)
    target.next_block += 1
    target.pending = rest
    target.pending_encrypted = encrypted
    return last


def _application(platform: Platform, target: PersonalizationTarget) -> Application:
    application = target.application
    if platform.registry.by_owner(application.owner) is not application:
        raise ReferenceDataNotFound("the application was deleted")
    if application.locked:
        raise ConditionsNotSatisfied("the application is locked")
    return application


def _hand_over(platform: Platform, application: Application, groupings: list[Grouping], *, last: bool) -> None:
    """Give groupings to the application; the last one of the last block makes it PERSONALIZED."""
    code = platform.code_of(application)
    context = platform.context_of(application)
    end = len(groupings) - 1
    with platform.store.transaction():
        for position, grouping in enumerate(groupings):
            code.store_data(context, grouping.identifier, grouping.value, last=last and position == end)
        if last:
            platform.registry.set_life_cycle(application, ApplicationLifeCycle.PERSONALIZED)


def _split(data: bytes, channel: DomainChannel | None) -> tuple[list[Grouping], bytes]:
    """The whole groupings in ``data``, decrypted when a session is given, and what is left of one that is cut."""
    groupings: list[Grouping] = []
    offset = 0
    while (bounds := _bounds(data, offset)) is not None:
        start, end = bounds
        value = data[start:end]
        groupings.append(
            Grouping(
                int.from_bytes(data[offset : offset + _IDENTIFIER_LENGTH], "big"),
                value if channel is None else _decrypt(value, channel),
            )
        )
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


def _decrypt(value: bytes, channel: DomainChannel) -> bytes:
    """Content under the key for sensitive data of the session, padded with 80 and zeroes."""
    try:
        return unpad(channel.decrypt_sensitive(value))
    except ValueError as error:
        raise WrongData("an encrypted grouping is malformed") from error
