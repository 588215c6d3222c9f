"""PUT KEY and DELETE [key]: keys of a security domain, added, put in place of others, and taken away.

Every command, and every chain of PUT KEY commands, is one transaction.

Source: GlobalPlatform Card Specification 2.3.1, clauses 7.6, 11.2 (DELETE) and 11.8 (PUT KEY); Amendment D v1.1.1,
clause 7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform import keys
from card_os.globalplatform.domain_session import PendingKeys, content_management_channel, domain_session
from card_os.globalplatform.key_data import parse_keys
from card_os.globalplatform.key_records import delete_records
from card_os.globalplatform.key_types import KeyType
from card_os.globalplatform.keys import FACTORY_KEY_VERSION, MAX_KEY_IDENTIFIER, MAX_KEY_VERSION, KeyIdentifier
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.iso7816 import tlv
from card_os.iso7816.errors import ConditionsNotSatisfied, IncorrectP1P2, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from collections.abc import Iterable

    from card_os.applet_api import Context
    from card_os.globalplatform.key_types import DomainKey
    from card_os.iso7816.apdu import CommandApdu
    from card_os.storage.store import ObjectStore

_ADD: Final = 0x00
_MORE: Final = 0x80
_SEVERAL: Final = 0x80
_RELATED: Final = 0x80
_NUMBER: Final = 0x7F
_TAG_IDENTIFIER: Final = 0xD0
_TAG_VERSION: Final = 0xD2
KEY_NAMES: Final = (b"\xd0", b"\xd2")
"""How the data field of DELETE begins when it names keys."""
_NOTHING_MORE: Final = b"\x00"
MAX_PENDING: Final = 32
"""Keys that a chain of PUT KEY commands may bring."""


def put_key(context: Context, command: CommandApdu) -> bytes:
    """PUT KEY: P1 is the version that is replaced, 00 to add, +80 when more commands follow; P2 the first identifier.

    The factory set FF goes as soon as a whole set is added in a session that it opened, because P1 has no coding for FF
    but "more commands follow"; where that set is there, FF is taken for it. A replaced key keeps its type and length,
    but for the factory set.

    Returns:
        New version (1) ‖ check value (3) of each key that has one.

    Raises:
        IncorrectP1P2: 6A86, P2 goes beyond 7F.
        ReferenceDataNotFound: 6A88, a key to replace is not there.
        WrongData: 6A80, a version out of range, a key that is there or of another kind, malformed key data.
        SecurityStatusNotSatisfied: 6982, a check value is wrong.
        ConditionsNotSatisfied: 6985, the chain is too long.
    """
    channel = content_management_channel(context)
    state = domain_session(context)
    pending = state.pending_keys
    state.pending_keys = None
    if pending is None or pending.channel is not channel:
        pending = PendingKeys(channel)
    store, owner = context.store, context.application.owner
    factory = command.p1 == FACTORY_KEY_VERSION and keys.load_key_set(store, owner, FACTORY_KEY_VERSION) is not None
    replaced = FACTORY_KEY_VERSION if factory else command.p1 & _NUMBER
    new = parse_keys(command.data, channel, identifier=command.p2 & _NUMBER, several=bool(command.p2 & _SEVERAL))
    if new[-1].identifier > MAX_KEY_IDENTIFIER:
        raise IncorrectP1P2("a key identifier is at most 7F")
    if not 1 <= new[0].version <= MAX_KEY_VERSION:
        raise WrongData("a key version number is 01 to 7F")
    pending.keys += [(replaced, key) for key in new]
    if len(pending.keys) > MAX_PENDING:
        raise ConditionsNotSatisfied("too many keys in one chain of commands")
    if command.p1 & _MORE and not factory:
        state.pending_keys = pending
    else:
        _put(store, owner, pending.keys, channel.key_version)
    return bytes((new[0].version,)) + b"".join(key.check_value() for key in new)


def _put(store: ObjectStore, owner: int, entries: list[tuple[int, DomainKey]], session_version: int) -> None:
    """All keys in one transaction; each comes with the version that it replaces, 00 for none."""
    new = [key for _, key in entries]
    gone = [(version, key.identifier) for version, key in entries if version != _ADD]
    if session_version == FACTORY_KEY_VERSION and _adds_set(entries):
        gone += [(FACTORY_KEY_VERSION, identifier) for identifier in KeyIdentifier]
    _check(store, owner, entries, gone)
    with store.transaction():
        keys.delete_keys(store, owner, gone)
        delete_records(store, owner, gone)
        keys.store_keys(store, owner, new)
        for version in sorted({key.version for key in new if key.key_type is KeyType.DES and keys.is_set_key(key)}):
            keys.reset_counters(store, owner, version)


def _adds_set(entries: list[tuple[int, DomainKey]]) -> bool:
    """True when a whole key set is among the keys that replace none."""
    added = {(key.version, key.identifier) for version, key in entries if version == _ADD and keys.is_set_key(key)}
    return any(all((version, item) in added for item in KeyIdentifier) for version, _ in added)


def _check(store: ObjectStore, owner: int, entries: list[tuple[int, DomainKey]], gone: list[tuple[int, int]]) -> None:
    """See that what is replaced is there and of the same kind, and what is new is not there."""
    names = [(key.version, key.identifier) for _, key in entries]
    if len(set(names)) != len(names):
        raise WrongData("a key comes twice")
    for version, key in entries:
        if version != _ADD:
            old = keys.load_key(store, owner, version, key.identifier)
            if old is None:
                raise ReferenceDataNotFound("the key to replace is not there")
            if version != FACTORY_KEY_VERSION and not old.same_kind(key):
                raise WrongData("a key is replaced by one of its type and length only")
        name = key.version, key.identifier
        if name not in gone and keys.load_key(store, owner, *name) is not None:
            raise WrongData("a key of this version and identifier is there")


def delete_keys(context: Context, command: CommandApdu) -> bytes:
    """DELETE [key]: all keys with the identifier D0, the version D2, or both; P1 is 00, P2 00 or 80.

    P2 80 asks for related objects, of which a key has none but what is attached to it and goes with it anyway; hosts in
    the field send it.

    The issuer domain keeps one whole key set at least, for nobody could reach the card without; another domain is
    reached by the keys of its associated domain then.

    Returns:
        00, no confirmation.

    Raises:
        IncorrectP1P2: 6A86.
        WrongData: 6A80, data is neither D0 nor D2 with one byte, or one of them twice.
        ReferenceDataNotFound: 6A88, no key matches.
        ConditionsNotSatisfied: 6985, the last key set of the issuer domain.
    """
    content_management_channel(context)
    if command.p1 or command.p2 & ~_RELATED:
        raise IncorrectP1P2("no such form of DELETE [key]")
    wanted = _wanted(command.data)
    store, owner = context.store, context.application.owner
    gone = [
        (key.version, key.identifier)
        for key in keys.load_keys(store, owner)
        if wanted.get(_TAG_IDENTIFIER, key.identifier) == key.identifier
        and wanted.get(_TAG_VERSION, key.version) == key.version
    ]
    if not gone:
        raise ReferenceDataNotFound("no such key")
    if owner == ISSUER_DOMAIN and not _whole_sets_without(store, owner, gone):
        raise ConditionsNotSatisfied("the last key set of the issuer domain stays")
    domain_session(context).pending_keys = None
    with store.transaction():
        keys.delete_keys(store, owner, gone)
        delete_records(store, owner, gone)
    return _NOTHING_MORE


def _wanted(data: bytes) -> dict[int, int]:
    try:
        objects = tlv.parse_all(data)
    except tlv.TlvError as error:
        raise WrongData("the data field is malformed") from error
    tags = [item.tag for item in objects]
    if not tags or len(set(tags)) != len(tags) or not set(tags) <= {_TAG_IDENTIFIER, _TAG_VERSION}:
        raise WrongData("a key is named by identifier and version")
    if any(len(item.value) != 1 for item in objects):
        raise WrongData("identifier and version have one byte each")
    return {item.tag: item.value[0] for item in objects}


def _whole_sets_without(store: ObjectStore, owner: int, gone: Iterable[tuple[int, int]]) -> set[int]:
    """Versions of the key sets that stay whole."""
    broken = {version for version, identifier in gone if identifier in tuple(KeyIdentifier)}
    return set(keys.key_versions(store, owner)) - broken
