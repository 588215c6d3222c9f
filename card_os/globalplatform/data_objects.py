"""GET DATA of security domains, and the data objects that STORE DATA may give them.

An object that was stored is told as it was stored; card data and the like that were not are made from what the card is.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.3 (GET DATA), 11.11.2.3 (STORE DATA) and H.2 to H.4 (card
data, capability information); ETSI TS 102 226, clause 8.2.1.7.2 (extended card resources).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform import keys
from card_os.globalplatform.capabilities import capability_information, recognition_data
from card_os.globalplatform.card_policy import load_card_policy
from card_os.globalplatform.domain_session import authenticated_channel, domain_session
from card_os.globalplatform.key_records import (
    TAG_CARD_AUTHORITIES,
    TAG_CERTIFICATE_STORE,
    TAG_HOST_AUTHORITIES,
    TAG_KEY,
    TAG_REFERENCE_TEMPLATE,
    authorities,
    certificate_store,
    reference_of_authority,
    store_key_records,
)
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import CARD_OWNER, ISSUER_DOMAIN, CardLifeCycle, CardObject
from card_os.globalplatform.tokens import confirmation_counter
from card_os.iso7816 import tlv
from card_os.iso7816.aid import Aid
from card_os.iso7816.errors import ConditionsNotSatisfied, DfNameExists, ReferenceDataNotFound, WrongData, WrongLength
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.iso7816.apdu import CommandApdu
    from card_os.storage.store import ObjectStore


class DataTag(IntEnum):
    """Tags of GET DATA (11.3.2.1)."""

    ISSUER_IDENTIFICATION = 0x42
    CARD_IMAGE = 0x45
    DOMAIN_AID = 0x4F
    CARD_DATA = 0x66
    CAPABILITIES = 0x67
    SEQUENCE_COUNTER = 0xC1
    CONFIRMATION_COUNTER = 0xC2
    SECURITY_LEVEL = 0xD3
    KEY_INFORMATION = 0xE0
    APPLICATIONS = 0x2F00
    MANAGER_URL = 0x5F50
    PERSONALIZER = 0x9F66
    PRE_PERSONALIZER = 0x9F67
    PRODUCTION_LIFE_CYCLE = 0x9F7F
    CARD_RESOURCES = 0xFF21


class _Tag(IntEnum):
    """Tags inside the answers."""

    APPLICATION = 0x61
    AID = 0x4F
    KEY = 0xC0
    APPLICATION_COUNT = 0x81
    FREE_MEMORY = 0x82
    FREE_VOLATILE_MEMORY = 0x83


STORABLE: Final[Mapping[bool, frozenset[int]]] = {
    True: frozenset(
        {
            DataTag.ISSUER_IDENTIFICATION,
            DataTag.CARD_IMAGE,
            DataTag.DOMAIN_AID,
            DataTag.CARD_DATA,
            DataTag.CAPABILITIES,
            DataTag.MANAGER_URL,
            DataTag.PERSONALIZER,
            DataTag.PRE_PERSONALIZER,
        }
    ),
    False: frozenset({DataTag.ISSUER_IDENTIFICATION, DataTag.CARD_IMAGE, DataTag.CARD_DATA, DataTag.MANAGER_URL}),
}
"""What STORE DATA may bring to the issuer domain (True) and to another one (11.11.2.3)."""

PRODUCTION_FIELDS: Final[Mapping[int, int]] = {DataTag.PRE_PERSONALIZER: 26, DataTag.PERSONALIZER: 34}
"""Offset in the CPLC of what STORE DATA completes; the tags are the industry's, as those of the CPLC itself."""
PRODUCTION_FIELD_LENGTH: Final = 8
_TAG_LIST: Final = bytes.fromhex("5C00")
_AUTHORITIES: Final = frozenset({TAG_HOST_AUTHORITIES, TAG_CARD_AUTHORITIES})
_NAMED: Final[Mapping[int, Callable[[ObjectStore, int, bytes], bytes]]] = {
    TAG_CERTIFICATE_STORE: certificate_store,
    TAG_KEY: reference_of_authority,
}
"""Data objects of the key or the authority that the data field names."""
_RECORDED_LENGTH: Final = 4


def get_data(context: Context, command: CommandApdu) -> bytes:
    """GET DATA: the data object whose tag is P1-P2; with an interindustry class byte its value only (11.3.3.1).

    The list of applications (2F00) takes the tag list 5C00 in its data field, certificates (BF21) the name of a key
    and the reference of a key (0083) that of an authority.

    Raises:
        WrongLength: 6700, another data field.
        ReferenceDataNotFound: 6A88, there is no such object.
        SecurityStatusNotSatisfied: 6982, what traces a secured card, outside a secure channel session.
        ConditionsNotSatisfied: 6985, the domain is locked.
    """
    domain_session(context)
    tag, store, owner = command.p1 << 8 | command.p2, context.store, context.application.owner
    named = _NAMED.get(tag)
    if named is not None:
        return named(store, owner, command.data)
    reader = _READERS.get(tag)
    if reader is None and tag not in _AUTHORITIES:
        raise ReferenceDataNotFound("no such data object")
    if command.data and (tag != DataTag.APPLICATIONS or command.data != _TAG_LIST):
        raise WrongLength("GET DATA has no data field")
    return authorities(store, owner, tag) if reader is None else reader(context)


def get_value(context: Context, command: CommandApdu) -> bytes:
    """GET DATA with an interindustry class byte: the value only, where the answer is one data object of that tag."""
    answer = get_data(context, command)
    try:
        item = tlv.parse_one(answer)
    except tlv.TlvError:
        return answer
    return item.value if item.tag == command.p1 << 8 | command.p2 else answer


def store_objects(context: Context, platform: Platform, objects: Iterable[tlv.Tlv]) -> None:
    """Create or replace data objects of a domain, or what a key has; joins the open transaction.

    Raises:
        WrongData: 6A80, an object that the domain does not keep.
        ReferenceDataNotFound: 6A88, no such key.
        DfNameExists: 6A8A, the new AID of the issuer domain is taken.
    """
    domain, store = context.application, context.store
    storable = STORABLE[domain.owner == ISSUER_DOMAIN]
    objects = list(objects)
    if objects and objects[0].tag == TAG_REFERENCE_TEMPLATE:
        store_key_records(store, domain.owner, objects)
        return
    if not objects or any(item.tag not in storable for item in objects):
        raise WrongData("a data object that the domain does not keep")
    for item in objects:
        if item.tag in PRODUCTION_FIELDS:
            _complete_production_data(store, PRODUCTION_FIELDS[item.tag], item.value)
        elif item.tag != DataTag.DOMAIN_AID:
            put_data_object(store, domain.owner, item.tag, item.value)
    for item in objects:
        if item.tag == DataTag.DOMAIN_AID:
            _rename(platform, item.value)


def _complete_production_data(store: ObjectStore, offset: int, value: bytes) -> None:
    """Who (pre-)personalizes says so in the CPLC, once: maker (2) ‖ date (2) ‖ equipment (4).

    Raises:
        WrongData: 6A80, not eight bytes.
        ConditionsNotSatisfied: 6985, the field is filled in, or the card has no CPLC.
    """
    if len(value) != PRODUCTION_FIELD_LENGTH:
        raise WrongData("maker, date and equipment have eight bytes")
    item = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.PRODUCTION_DATA)
    if item is None or any(store.read(item, offset, PRODUCTION_FIELD_LENGTH)):
        raise ConditionsNotSatisfied("this part of the production data is written once")
    store.write(item, offset, value)


def _rename(platform: Platform, raw: bytes) -> None:
    registry = platform.registry
    try:
        aid = Aid(raw)
    except ValueError as error:
        raise WrongData(str(error)) from error
    taken = registry.by_aid(aid) or registry.load_file(aid)
    issuer = registry.issuer_domain
    if issuer is None or (taken is not None and taken is not issuer):
        raise DfNameExists("an application or a load file has this AID")
    registry.rename(issuer, aid)


def put_data_object(store: ObjectStore, owner: int, tag: int, value: bytes) -> None:
    """Create or replace a data object of the domain; joins the open transaction."""
    with store.transaction():
        item = store.find(owner, ObjectKind.DATA, tag)
        if item is not None:
            store.delete(item)
        store.create(owner, ObjectKind.DATA, tag, len(value), value)


def _kept(context: Context, tag: DataTag) -> bytes | None:
    item = context.store.find(context.application.owner, ObjectKind.DATA, tag)
    return None if item is None else tlv.encode(tag, context.store.read(item))


def _stored(tag: DataTag) -> Callable[[Context], bytes]:
    def read(context: Context) -> bytes:
        kept = _kept(context, tag)
        if kept is None:
            raise ReferenceDataNotFound("the data object was never stored")
        return kept

    return read


def _domain_aid(context: Context) -> bytes:
    return tlv.encode(DataTag.DOMAIN_AID, context.application.aid)


def _card_data(context: Context) -> bytes:
    return _kept(context, DataTag.CARD_DATA) or tlv.encode(DataTag.CARD_DATA, recognition_data(context))


def _capabilities(context: Context) -> bytes:
    if context.application.owner != ISSUER_DOMAIN:
        raise ReferenceDataNotFound("the issuer domain tells what the card can do")
    return _kept(context, DataTag.CAPABILITIES) or tlv.encode(DataTag.CAPABILITIES, capability_information(context))


def _key_information(context: Context) -> bytes:
    """Template E0: for each key C0 { identifier, version, type, length }."""
    rows = keys.key_information(context.store, context.application.owner)
    return tlv.encode(DataTag.KEY_INFORMATION, *(tlv.encode(_Tag.KEY, bytes(row)) for row in rows))


def _sequence_counter(context: Context) -> bytes:
    """Sequence counter of the default key set."""
    store, owner = context.store, context.application.owner
    version = next(iter(keys.key_versions(store, owner)), None)
    value = None if version is None else keys.sequence_counter(store, owner, version)
    if value is None:
        raise ReferenceDataNotFound("there is no key set")
    return tlv.encode(DataTag.SEQUENCE_COUNTER, value.to_bytes(keys.SEQUENCE_LENGTH, "big"))


def _confirmation_counter(context: Context) -> bytes:
    if not context.application.privileges & Privilege.RECEIPT_GENERATION:
        raise ReferenceDataNotFound("the domain gives no receipts")
    counter = confirmation_counter(context.store, context.application.owner)
    return tlv.encode(DataTag.CONFIRMATION_COUNTER, counter)


def _security_level(context: Context) -> bytes:
    channel = authenticated_channel(context)
    return tlv.encode(DataTag.SECURITY_LEVEL, bytes((_AUTHENTICATED | channel.level,)))


def _applications(context: Context) -> bytes:
    """Applications of the domain, or of the card with the global registry privilege, as templates 61 { 4F AID }."""
    _guard(context)
    domain, registry = context.application, domain_session(context).platform.registry
    everything = bool(domain.privileges & Privilege.GLOBAL_REGISTRY)
    names = [entry.aid for entry in registry if everything or registry.is_below(entry, domain)]
    return b"".join(tlv.encode(_Tag.APPLICATION, tlv.encode(_Tag.AID, aid)) for aid in names)


def _card_resources(context: Context) -> bytes:
    """FF21 { 81 applications installed, 82 free non-volatile memory, 83 free volatile memory }, big-endian."""
    store, registry = context.store, domain_session(context).platform.registry
    free = store.free_in_all - store.grants.outstanding(store.used_by)
    granted = sum(entry.data.memory.volatile_reserved or 0 for entry in registry)
    rows = (
        (_Tag.APPLICATION_COUNT, len(registry)),
        (_Tag.FREE_MEMORY, max(free, 0)),
        (_Tag.FREE_VOLATILE_MEMORY, max(load_card_policy(store).volatile_memory - granted, 0)),
    )
    return tlv.encode(
        DataTag.CARD_RESOURCES, *(tlv.encode(tag, value.to_bytes(_RECORDED_LENGTH, "big")) for tag, value in rows)
    )


def _production_life_cycle(context: Context) -> bytes:
    """CPLC; it traces a card, so a secured one tells it in a secure channel session only, unless its policy is open."""
    _guard(context)
    item = context.store.find(CARD_OWNER, ObjectKind.CARD, CardObject.PRODUCTION_DATA)
    if item is None:
        raise ReferenceDataNotFound("the card has no production data")
    return tlv.encode(DataTag.PRODUCTION_LIFE_CYCLE, context.store.read(item))


def _guard(context: Context) -> None:
    secured = domain_session(context).platform.registry.card_life_cycle >= CardLifeCycle.SECURED
    if secured and not load_card_policy(context.store).open_identification:
        authenticated_channel(context)


_AUTHENTICATED: Final = 0x80
_READERS: Final[Mapping[int, Callable[[Context], bytes]]] = {
    DataTag.ISSUER_IDENTIFICATION: _stored(DataTag.ISSUER_IDENTIFICATION),
    DataTag.CARD_IMAGE: _stored(DataTag.CARD_IMAGE),
    DataTag.DOMAIN_AID: _domain_aid,
    DataTag.CARD_DATA: _card_data,
    DataTag.CAPABILITIES: _capabilities,
    DataTag.KEY_INFORMATION: _key_information,
    DataTag.SEQUENCE_COUNTER: _sequence_counter,
    DataTag.CONFIRMATION_COUNTER: _confirmation_counter,
    DataTag.SECURITY_LEVEL: _security_level,
    DataTag.APPLICATIONS: _applications,
    DataTag.MANAGER_URL: _stored(DataTag.MANAGER_URL),
    DataTag.PRODUCTION_LIFE_CYCLE: _production_life_cycle,
    DataTag.CARD_RESOURCES: _card_resources,
}
