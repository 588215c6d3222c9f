"""What STORE DATA attaches to the keys of SCP11, and GET DATA tells: certificates, allowlists, authorities.

```
A6 { 83 identifier, version } ‖ BF21 { certificate … }            certificates of a card's key, the leaf last
A6 { 83 identifier, version } ‖ 70 { 93 serial number … }         serial numbers that an authority's key lets in
A6 { 80 00 or 01, 42 authority, 83 identifier, version }          authority of a key: 00 of hosts, 01 of cards
```

The authority of hosts is CA-KLOC, that of cards CA-KLCC.

Each is an object of the domain, whose identifier is its kind ‖ key identifier ‖ key version. An empty value takes it
away. It goes with its key.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '11', Amendment F, clauses 6.7 to 6.9 (STORE DATA).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform import keys
from card_os.globalplatform.certificates import parse_certificate, split_certificates
from card_os.iso7816 import tlv
from card_os.iso7816.errors import ReferenceDataNotFound, WrongData
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from card_os.storage.store import ObjectStore


class RecordKind(IntEnum):
    """What is attached to a key; first byte of the object's identifier."""

    CERTIFICATES = 2
    ALLOWLIST = 3
    HOST_AUTHORITY = 4
    CARD_AUTHORITY = 5


TAG_REFERENCE_TEMPLATE: Final = 0xA6
TAG_CERTIFICATE_STORE: Final = 0xBF21
TAG_HOST_AUTHORITIES: Final = 0xFF33
TAG_CARD_AUTHORITIES: Final = 0xFF34
TAG_KEY: Final = 0x83
_TAG_FOR_CARDS: Final = 0x80
_TAG_AUTHORITY: Final = 0x42
_TAG_ALLOWLIST: Final = 0x70
_TAG_SERIAL: Final = 0x93
_KIND_SHIFT: Final = 24
_REFERENCE_LENGTH: Final = 2
_AUTHORITIES: Final = {b"\x00": RecordKind.HOST_AUTHORITY, b"\x01": RecordKind.CARD_AUTHORITY}
_AUTHORITY_LISTS: Final = {
    TAG_HOST_AUTHORITIES: RecordKind.HOST_AUTHORITY,
    TAG_CARD_AUTHORITIES: RecordKind.CARD_AUTHORITY,
}


def _identifier(kind: RecordKind, identifier: int, version: int) -> int:
    return kind << _KIND_SHIFT | identifier << 8 | version


def load_record(store: ObjectStore, owner: int, kind: RecordKind, identifier: int, version: int) -> bytes | None:
    """What is attached to a key, None when nothing is."""
    item = store.find(owner, ObjectKind.DATA, _identifier(kind, identifier, version))
    return None if item is None else store.read(item)


def delete_records(store: ObjectStore, owner: int, gone: Iterable[tuple[int, int]]) -> None:
    """Delete all that is attached to keys, by version and identifier; joins the open transaction."""
    with store.transaction():
        for version, identifier in gone:
            for kind in RecordKind:
                item = store.find(owner, ObjectKind.DATA, _identifier(kind, identifier, version))
                if item is not None:
                    store.delete(item)


def store_key_records(store: ObjectStore, owner: int, objects: Sequence[tlv.Tlv]) -> None:
    """Take the data objects of STORE DATA that begin with a reference to a key; joins the open transaction.

    Raises:
        WrongData: 6A80, none of the three forms, or malformed certificates.
        ReferenceDataNotFound: 6A88, the domain has no such key.
    """
    if not objects or objects[0].tag != TAG_REFERENCE_TEMPLATE:
        raise WrongData("the reference to a key comes first")
    identifier, version, authority = _reference(objects[0].value)
    if keys.load_key(store, owner, version, identifier) is None:
        raise ReferenceDataNotFound("no such key")
    kind, value = _record(objects[1:], authority)
    with store.transaction():
        item = store.find(owner, ObjectKind.DATA, _identifier(kind, identifier, version))
        if item is not None:
            store.delete(item)
        if value:
            store.create(owner, ObjectKind.DATA, _identifier(kind, identifier, version), len(value), value)


def _record(objects: Sequence[tlv.Tlv], authority: tuple[RecordKind, bytes] | None) -> tuple[RecordKind, bytes]:
    if authority is not None and not objects:
        return authority
    if authority is not None or len(objects) != 1:
        raise WrongData("one object for a key")
    tag, value = objects[0]
    if tag == TAG_CERTIFICATE_STORE:
        for certificate in split_certificates(value):
            parse_certificate(certificate)
        return RecordKind.CERTIFICATES, value
    if tag == _TAG_ALLOWLIST:
        _serial_numbers(value)
        return RecordKind.ALLOWLIST, value
    raise WrongData("an object that no key has")


def _reference(value: bytes) -> tuple[int, int, tuple[RecordKind, bytes] | None]:
    """Key identifier, key version, and what the template says of an authority."""
    try:
        parts = {item.tag: item.value for item in tlv.parse_all(value)}
    except tlv.TlvError as error:
        raise WrongData("the reference to a key is malformed") from error
    name = parts.pop(TAG_KEY, b"")
    if len(name) != _REFERENCE_LENGTH:
        raise WrongData("a key is named by identifier and version")
    if not parts:
        return name[0], name[1], None
    kind = _AUTHORITIES.get(parts.pop(_TAG_FOR_CARDS, b"\x00"))
    authority = parts.pop(_TAG_AUTHORITY, None)
    if kind is None or authority is None or parts:
        raise WrongData("no reference to an authority")
    return name[0], name[1], (kind, authority)


def _serial_numbers(value: bytes) -> list[bytes]:
    try:
        objects = tlv.parse_all(value)
    except tlv.TlvError as error:
        raise WrongData("the allowlist is malformed") from error
    if any(item.tag != _TAG_SERIAL or not item.value for item in objects):
        raise WrongData("an allowlist holds serial numbers")
    return [item.value.lstrip(b"\x00") for item in objects]


def is_allowed(store: ObjectStore, owner: int, identifier: int, version: int, serial: bytes) -> bool:
    """True when the key of an authority has no allowlist, or this serial number is on it."""
    value = load_record(store, owner, RecordKind.ALLOWLIST, identifier, version)
    return value is None or serial in _serial_numbers(value)


def _template(data: bytes) -> bytes:
    """The value of the reference template that a data field is."""
    try:
        template = tlv.parse_one(data)
    except tlv.TlvError as error:
        raise WrongData("the data field is not one reference") from error
    if template.tag != TAG_REFERENCE_TEMPLATE:
        raise WrongData("the data field is not one reference")
    return template.value


def certificate_store(store: ObjectStore, owner: int, data: bytes) -> bytes:
    """GET DATA BF21: the certificates of the key that the data field names.

    Raises:
        WrongData: 6A80, the data field names no key.
        ReferenceDataNotFound: 6A88, the key has no certificates.
    """
    identifier, version, _ = _reference(_template(data))
    value = load_record(store, owner, RecordKind.CERTIFICATES, identifier, version)
    if value is None:
        raise ReferenceDataNotFound("the key has no certificates")
    return tlv.encode(TAG_CERTIFICATE_STORE, value)


def authorities(store: ObjectStore, owner: int, tag: int) -> bytes:
    """GET DATA FF33 and FF34: 42 authority ‖ 83 identifier, version for each key that has one.

    Raises:
        ReferenceDataNotFound: 6A88, no key has.
    """
    kind = _AUTHORITY_LISTS[tag]
    rows = [
        tlv.encode(_TAG_AUTHORITY, store.read(item))
        + tlv.encode(TAG_KEY, (item.identifier & 0xFFFF).to_bytes(_REFERENCE_LENGTH, "big"))
        for item in sorted(store.owned(owner, ObjectKind.DATA), key=lambda entry: entry.identifier)
        if item.identifier >> _KIND_SHIFT == kind
    ]
    if not rows:
        raise ReferenceDataNotFound("no key has an authority")
    return tlv.encode(tag, *rows)


def reference_of_authority(store: ObjectStore, owner: int, data: bytes) -> bytes:
    """GET DATA 0083: 83 identifier, version of the key of the authority of hosts that the data field names.

    Source: libglobalplatform 8.0, GP211_ca_kloc_kid_kvn.

    Raises:
        WrongData: 6A80, the data field is not A6 { 42 authority }.
        ReferenceDataNotFound: 6A88, no key has this authority.
    """
    try:
        item = tlv.parse_one(_template(data))
    except tlv.TlvError as error:
        raise WrongData("the data field names no authority") from error
    if item.tag != _TAG_AUTHORITY:
        raise WrongData("the data field names no authority")
    found = key_of_authority(store, owner, item.value)
    if found is None:
        raise ReferenceDataNotFound("no key has this authority")
    return tlv.encode(TAG_KEY, bytes(found))


def key_of_authority(store: ObjectStore, owner: int, authority: bytes) -> tuple[int, int] | None:
    """Identifier and version of the key that belongs to an authority of hosts, None when there is none."""
    for item in store.owned(owner, ObjectKind.DATA):
        if item.identifier >> _KIND_SHIFT == RecordKind.HOST_AUTHORITY and store.read(item) == authority:
            return item.identifier >> 8 & 0xFF, item.identifier & 0xFF
    return None
