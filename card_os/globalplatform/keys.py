"""Keys of a security domain as objects in the store, and the counters of its key sets.

A set for SCP02 or SCP03 is three symmetric keys of one type under one key version number. All objects belong to the
domain:

| object | identifier | body |
|---|---|---|
| KEY, one a key | version × 256 + key identifier | type (1) ‖ length (BER) ‖ value, for each component; attributes |
| COUNTER, sequence | 0100 + version | Secure Channel Sequence Counter (3), big-endian; SCP02 uses the last two bytes |
| COUNTER, tries | 0200 + version | tries that are left (1) |

Attributes are 00 ‖ usage qualifier (2) ‖ key access (1), FF when it is not known; they are there when PUT KEY told
them.

Both counters are there while a version has a symmetric key 1, 2 or 3. They are written through: the old or the new
value after a cut, whatever becomes of an open transaction. The set with the lowest version is the default one (key
version 00 in INITIALIZE UPDATE).

Source: GlobalPlatform Card Specification 2.3.1, clauses 7.5 (keys), 11.3.3.1.1 (key information), E.1.2 (sequence
counter of SCP02); Amendment D v1.1.1, clauses 5.1 and 6.2.2.1 (sequence counter of SCP03).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.globalplatform.channel_policy import load_policy
from card_os.globalplatform.key_types import DomainKey, KeyComponent, KeyType
from card_os.globalplatform.secure_channel import Protocol
from card_os.iso7816 import tlv
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from card_os.storage.store import ObjectStore, StoredObject

TRY_LIMIT: Final = 10
"""Failed authentications in a row after which a key set is blocked, unless the domain's policy says otherwise."""
MAX_KEY_VERSION: Final = 0x7F
MAX_KEY_IDENTIFIER: Final = 0x7F
FACTORY_KEY_VERSION: Final = 0xFF
SEQUENCE_LENGTH: Final = 3

_VERSION_SHIFT: Final = 8
_SEQUENCE_BASE: Final = 0x0100
_TRIES_BASE: Final = 0x0200
_SEQUENCE_LIMITS: Final = {Protocol.SCP02: 1 << 16, Protocol.SCP03: 1 << 24}
_ATTRIBUTES: Final = 0x00
_UNKNOWN_ACCESS: Final = 0xFF
_SHORT_LENGTH: Final = 0xFF
_SET_LENGTHS: Final = {KeyType.DES: (16,), KeyType.AES: (16, 24, 32)}
"""Bytes of each key of a set (table E-3; Amendment D, table 6-1)."""
_PROTOCOLS: Final = {KeyType.DES: Protocol.SCP02, KeyType.AES: Protocol.SCP03}


class KeyIdentifier(IntEnum):
    """Key identifiers inside a key set (Amendment D, 5.1; E.2)."""

    ENC = 1
    MAC = 2
    DEK = 3


class KeyInformation(NamedTuple):
    """What GET DATA 00E0 tells of a key, in the basic structure (tables 11-28 and 11-29).

    Attributes:
        identifier: key identifier.
        version: key version number.
        components: type and length of each; the length of a public point leaves its first byte out, 256 bytes and more
            are 0, and for a parameter reference it is the reference itself.
    """

    identifier: int
    version: int
    components: tuple[tuple[KeyType, int], ...]

    def __bytes__(self) -> bytes:
        """The value of the data object C0."""
        return bytes((self.identifier, self.version)) + b"".join(bytes(row) for row in self.components)


class KeySet(NamedTuple):
    """The values of a key set, read for one command."""

    version: int
    enc: bytes
    mac: bytes
    dek: bytes
    key_type: KeyType = KeyType.AES

    @property
    def protocol(self) -> Protocol:
        """The protocol that keys of this type are for."""
        return _PROTOCOLS[self.key_type]

    def __repr__(self) -> str:
        """The version only."""
        return f"KeySet({self.version:02X})"


def key_object_identifier(version: int, identifier: int) -> int:
    """Identifier of the key object in the store."""
    return version << _VERSION_SHIFT | identifier


def is_set_key(key: DomainKey) -> bool:
    """True for a symmetric key that belongs to a key set by its identifier."""
    return key.key_type in _PROTOCOLS and key.identifier in tuple(KeyIdentifier)


def _encode(key: DomainKey) -> bytes:
    body = b"".join(
        bytes((item.key_type,)) + tlv.encode_length(len(item.value)) + item.value for item in key.components
    )
    if key.usage or key.access is not None:
        access = _UNKNOWN_ACCESS if key.access is None else key.access
        body += bytes((_ATTRIBUTES,)) + key.usage.to_bytes(2, "big") + bytes((access,))
    return body


def _decode(version: int, identifier: int, body: bytes) -> DomainKey:
    components: list[KeyComponent] = []
    usage, access, at = 0, None, 0
    while at < len(body):
        if body[at] == _ATTRIBUTES:
            usage = int.from_bytes(body[at + 1 : at + 3], "big")
            access = None if body[at + 3] == _UNKNOWN_ACCESS else body[at + 3]
            break
        length, start = tlv.parse_length(body, at + 1)
        components.append(KeyComponent(KeyType(body[at]), body[start : start + length]))
        at = start + length
    return DomainKey(version, identifier, tuple(components), usage, access)


# ---- Keys


def load_key(store: ObjectStore, owner: int, version: int, identifier: int) -> DomainKey | None:
    """One key, None when it is not there."""
    item = store.find(owner, ObjectKind.KEY, key_object_identifier(version, identifier))
    return None if item is None else _decode(version, identifier, store.read(item))


def load_keys(store: ObjectStore, owner: int) -> list[DomainKey]:
    """All keys of a domain, by version and identifier."""
    items = sorted(store.owned(owner, ObjectKind.KEY), key=lambda entry: entry.identifier)
    return [_decode(item.identifier >> _VERSION_SHIFT, item.identifier & 0xFF, store.read(item)) for item in items]


def store_keys(store: ObjectStore, owner: int, keys: Iterable[DomainKey]) -> None:
    """Create keys; counters appear with the first symmetric key of a version. Joins the open transaction.

    Raises:
        FileExists: a key of this version and identifier is there already.
        NotEnoughMemory: no space for them.
    """
    with store.transaction():
        versions: list[int] = []
        for key in keys:
            body = _encode(key)
            store.create(owner, ObjectKind.KEY, key_object_identifier(key.version, key.identifier), len(body), body)
            if is_set_key(key) and key.version not in versions:
                versions.append(key.version)
        for version in versions:
            if store.find(owner, ObjectKind.COUNTER, _SEQUENCE_BASE + version) is None:
                _create_counters(store, owner, version)


def delete_keys(store: ObjectStore, owner: int, keys: Iterable[tuple[int, int]]) -> None:
    """Delete keys by version and identifier, and the counters of versions that have no set key left.

    Joins the open transaction; a key that is not there is passed over.
    """
    with store.transaction():
        versions: set[int] = set()
        for version, identifier in keys:
            _delete(store, store.find(owner, ObjectKind.KEY, key_object_identifier(version, identifier)))
            versions.add(version)
        for version in sorted(versions):
            if not _has_set_key(store, owner, version):
                for base in (_SEQUENCE_BASE, _TRIES_BASE):
                    _delete(store, store.find(owner, ObjectKind.COUNTER, base + version))


def _has_set_key(store: ObjectStore, owner: int, version: int) -> bool:
    keys = (load_key(store, owner, version, identifier) for identifier in KeyIdentifier)
    return any(key is not None and is_set_key(key) for key in keys)


def _delete(store: ObjectStore, item: StoredObject | None) -> None:
    if item is not None:
        store.delete(item)


def key_information(store: ObjectStore, owner: int) -> list[KeyInformation]:
    """What the domain's keys are, by version and identifier."""
    return [
        KeyInformation(key.identifier, key.version, tuple(_told(item) for item in key.components))
        for key in load_keys(store, owner)
    ]


def _told(component: KeyComponent) -> tuple[KeyType, int]:
    length = len(component.value)
    if component.key_type is KeyType.EC_PARAMETERS:
        length = component.value[0]
    elif component.key_type is KeyType.EC_PUBLIC:
        length -= 1
    return component.key_type, length if length <= _SHORT_LENGTH else 0


# ---- Key sets


def create_key_set(store: ObjectStore, owner: int, keys: KeySet) -> None:
    """Store a new set with its counters; its sequence counter starts at 0 and all tries are there.

    Manufacture uses this for the factory set; joins the open transaction.

    Raises:
        FileExists: the version is there already.
        NotEnoughMemory: no space for it.
    """
    values = zip(KeyIdentifier, (keys.enc, keys.mac, keys.dek), strict=True)
    store_keys(
        store,
        owner,
        (DomainKey(keys.version, identifier, (KeyComponent(keys.key_type, value),)) for identifier, value in values),
    )


def load_key_set(store: ObjectStore, owner: int, version: int) -> KeySet | None:
    """The values of a set, or None unless all three keys are there, of one type and a length for its protocol."""
    keys: list[DomainKey] = []
    for identifier in KeyIdentifier:
        key = load_key(store, owner, version, identifier)
        if key is None or key.key_type not in _PROTOCOLS:
            return None
        keys.append(key)
    if not all(key.same_kind(keys[0]) for key in keys) or len(keys[0].value) not in _SET_LENGTHS[keys[0].key_type]:
        return None
    return KeySet(version, keys[0].value, keys[1].value, keys[2].value, keys[0].key_type)


def key_versions(store: ObjectStore, owner: int) -> list[int]:
    """Versions of the complete sets of a domain, ascending, the factory set last."""
    versions = sorted({item.identifier >> _VERSION_SHIFT for item in store.owned(owner, ObjectKind.KEY)})
    return [version for version in versions if load_key_set(store, owner, version) is not None]


# ---- Counters


def _create_counters(store: ObjectStore, owner: int, version: int) -> None:
    tries = bytes((load_policy(store, owner).all_tries,))
    store.create(owner, ObjectKind.COUNTER, _SEQUENCE_BASE + version, SEQUENCE_LENGTH, bytes(SEQUENCE_LENGTH))
    store.create(owner, ObjectKind.COUNTER, _TRIES_BASE + version, 1, tries)


def reset_counters(store: ObjectStore, owner: int, version: int) -> None:
    """Begin a set's counters anew, as for new keys; joins the open transaction."""
    with store.transaction():
        for base in (_SEQUENCE_BASE, _TRIES_BASE):
            _delete(store, store.find(owner, ObjectKind.COUNTER, base + version))
        _create_counters(store, owner, version)


def sequence_counter(store: ObjectStore, owner: int, version: int) -> int | None:
    """The sequence counter of a set, None when it is not there."""
    item = store.find(owner, ObjectKind.COUNTER, _SEQUENCE_BASE + version)
    return None if item is None else int.from_bytes(store.read(item), "big")


def advance_sequence_counter(store: ObjectStore, owner: int, version: int) -> bytes | None:
    """Move the sequence counter by one, at once; returns the new value, 3 bytes.

    Returns:
        None when the counter is missing or used up; the set gives no session any more.
    """
    item = store.find(owner, ObjectKind.COUNTER, _SEQUENCE_BASE + version)
    if item is None:
        return None
    value = int.from_bytes(store.read(item), "big") + 1
    if value >= _SEQUENCE_LIMITS[Protocol.SCP03]:
        return None
    field = value.to_bytes(SEQUENCE_LENGTH, "big")
    store.write_through(item, 0, field)
    return field


def usable_sequence(store: ObjectStore, owner: int, version: int) -> bytes | None:
    """The sequence counter of an SCP02 set as it is, 2 bytes.

    Returns:
        None when the counter is missing or its next value is none (E.1.2: it never starts again).
    """
    value = sequence_counter(store, owner, version)
    if value is None or value + 1 >= _SEQUENCE_LIMITS[Protocol.SCP02]:
        return None
    return value.to_bytes(2, "big")


def failures(store: ObjectStore, owner: int, version: int) -> int:
    """Authentications that failed in a row; as many as the counter can hold when it is missing."""
    return load_policy(store, owner).all_tries - tries_left(store, owner, version)


def tries_left(store: ObjectStore, owner: int, version: int) -> int:
    """Authentications that may still fail; 0 when the counter is missing."""
    item = store.find(owner, ObjectKind.COUNTER, _TRIES_BASE + version)
    return 0 if item is None else store.read(item)[0]


def spend_try(store: ObjectStore, owner: int, version: int) -> bool:
    """Take one try, at once; False when none is left, and nothing is written.

    A policy without a limit never refuses; its counter stays at its end.
    """
    item = store.find(owner, ObjectKind.COUNTER, _TRIES_BASE + version)
    if item is None:
        return False
    left = store.read(item)[0]
    if left == 0:
        return load_policy(store, owner).try_limit == 0
    store.write_through(item, 0, bytes((left - 1,)))
    return True


def restore_tries(store: ObjectStore, owner: int, version: int) -> None:
    """Give all tries back after a success."""
    item = store.find(owner, ObjectKind.COUNTER, _TRIES_BASE + version)
    if item is not None:
        store.write_through(item, 0, bytes((load_policy(store, owner).all_tries,)))
