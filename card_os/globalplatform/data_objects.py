"""GET DATA of the issuer domain, and the data objects that STORE DATA may give it.

Source: GlobalPlatform Card Specification 2.3.1, clauses 11.3 (GET DATA) and H.2, H.3 (card data, key information);
Amendment D v1.1.1, clause 7.1.1.6 (sequence counter).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform import keys
from card_os.globalplatform.channel_policy import DEFAULT_POLICY, ChannelPolicy, load_policy
from card_os.globalplatform.domain_session import authenticated_channel, domain_session
from card_os.globalplatform.registry import CARD_OWNER, CardLifeCycle, CardObject
from card_os.iso7816 import tlv
from card_os.iso7816.errors import ReferenceDataNotFound, WrongLength
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu
    from card_os.storage.store import ObjectStore


class DataTag(IntEnum):
    """Tags of GET DATA (11.3.3.1)."""

    ISSUER_IDENTIFICATION = 0x42
    CARD_IMAGE = 0x45
    CARD_DATA = 0x66
    KEY_INFORMATION = 0xE0
    SEQUENCE_COUNTER = 0xC1
    PRODUCTION_LIFE_CYCLE = 0x9F7F


class _Tag(IntEnum):
    """Tags inside card data and key information."""

    OBJECT_IDENTIFIER = 0x06
    RECOGNITION = 0x73
    CARD_MANAGEMENT = 0x60
    IDENTIFICATION_SCHEME = 0x63
    SECURE_CHANNEL = 0x64
    KEY = 0xC0


STORABLE: Final = frozenset({DataTag.ISSUER_IDENTIFICATION, DataTag.CARD_IMAGE})
"""What STORE DATA for the issuer domain itself may bring (11.11.2.3)."""

_GLOBALPLATFORM_OID: Final = bytes.fromhex("2A864886FC6B01")
_CARD_MANAGEMENT_OID: Final = bytes.fromhex("2A864886FC6B02020301")
_IDENTIFICATION_OID: Final = bytes.fromhex("2A864886FC6B03")
_SECURE_CHANNEL_OID: Final = bytes.fromhex("2A864886FC6B04")


def get_data(context: Context, command: CommandApdu) -> bytes:
    """GET DATA: the data object whose tag is P1-P2.

    Raises:
        WrongLength: 6700, it has no data field.
        ReferenceDataNotFound: 6A88, there is no such object.
        SecurityStatusNotSatisfied: 6982, production data of a secured card outside a secure channel session.
    """
    if command.data:
        raise WrongLength("GET DATA has no data field")
    reader = _READERS.get(command.p1 << 8 | command.p2)
    if reader is None:
        raise ReferenceDataNotFound("no such data object")
    return reader(context)


def _stored(tag: DataTag) -> Callable[[Context], bytes]:
    def read(context: Context) -> bytes:
        item = context.store.find(context.application.owner, ObjectKind.DATA, tag)
        if item is None:
            raise ReferenceDataNotFound("the data object was never stored")
        return tlv.encode(tag, context.store.read(item))

    return read


def card_data(policy: ChannelPolicy = DEFAULT_POLICY) -> bytes:
    """Card data, tag 66: what the domain implements, as object identifiers (H.2), one 64 for each protocol."""
    rows = [
        (_Tag.CARD_MANAGEMENT, _CARD_MANAGEMENT_OID),
        (_Tag.IDENTIFICATION_SCHEME, _IDENTIFICATION_OID),
        *((_Tag.SECURE_CHANNEL, _SECURE_CHANNEL_OID + bytes(row)) for row in policy.protocols),
    ]
    recognition = tlv.encode(_Tag.OBJECT_IDENTIFIER, _GLOBALPLATFORM_OID) + b"".join(
        tlv.encode(tag, tlv.encode(_Tag.OBJECT_IDENTIFIER, identifier)) for tag, identifier in rows
    )
    return tlv.encode(DataTag.CARD_DATA, tlv.encode(_Tag.RECOGNITION, recognition))


def _card_data(context: Context) -> bytes:
    return card_data(load_policy(context.store, context.application.owner))


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


def _production_life_cycle(context: Context) -> bytes:
    """CPLC: open in the factory; it traces a card, so a secured one tells it in a secure channel session only."""
    if domain_session(context).platform.registry.card_life_cycle >= CardLifeCycle.SECURED:
        authenticated_channel(context)
    item = context.store.find(CARD_OWNER, ObjectKind.CARD, CardObject.PRODUCTION_DATA)
    if item is None:
        raise ReferenceDataNotFound("the card has no production data")
    return tlv.encode(DataTag.PRODUCTION_LIFE_CYCLE, context.store.read(item))


def put_data_object(store: ObjectStore, owner: int, tag: int, value: bytes) -> None:
    """Create or replace a data object of the domain; joins the open transaction."""
    with store.transaction():
        item = store.find(owner, ObjectKind.DATA, tag)
        if item is not None:
            store.delete(item)
        store.create(owner, ObjectKind.DATA, tag, len(value), value)


_READERS: Final[Mapping[int, Callable[[Context], bytes]]] = {
    DataTag.ISSUER_IDENTIFICATION: _stored(DataTag.ISSUER_IDENTIFICATION),
    DataTag.CARD_IMAGE: _stored(DataTag.CARD_IMAGE),
    DataTag.CARD_DATA: _card_data,
    DataTag.KEY_INFORMATION: _key_information,
    DataTag.SEQUENCE_COUNTER: _sequence_counter,
    DataTag.PRODUCTION_LIFE_CYCLE: _production_life_cycle,
}
