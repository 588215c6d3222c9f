"""Key sets of a security domain as objects in the store.

A set is three AES keys under one key version number. All its objects belong to the domain:

| object | identifier | body |
|---|---|---|
| KEY, one a key | version × 256 + key identifier (1 ENC, 2 MAC, 3 DEK) | type (1), 88 = AES ‖ key length (1) ‖ key |
| COUNTER, sequence | 0100 + version | Secure Channel Sequence Counter (3), big-endian |
| COUNTER, tries | 0200 + version | tries that are left (1) |

Both counters are written through: the old or the new value after a cut, whatever becomes of an open transaction. The
set with the lowest version is the default one (key version 00 in INITIALIZE UPDATE).

Source: GlobalPlatform Card Specification 2.3.1, clauses 7.5 (keys), 11.1.8 (key types); Amendment D v1.1.1, clauses 5.1
and 6.2.2.1 (sequence counter).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.storage.store import ObjectStore, StoredObject

TRY_LIMIT: Final = 10
"""Failed authentications in a row after which a key set is blocked."""
MAX_KEY_VERSION: Final = 0x7F
FACTORY_KEY_VERSION: Final = 0xFF
SEQUENCE_LENGTH: Final = 3
KEY_TYPE_AES: Final = 0x88
KEY_LENGTHS: Final = (16, 24, 32)

_VERSION_SHIFT: Final = 8
_SEQUENCE_BASE: Final = 0x0100
_TRIES_BASE: Final = 0x0200
_KEY_HEADER: Final = 2
_SEQUENCE_LIMIT: Final = 1 << (8 * SEQUENCE_LENGTH)


class KeyIdentifier(IntEnum):
    """Key identifiers inside a Secure Channel Protocol '03' key set (Amendment D, 5.1)."""

    ENC = 1
    MAC = 2
    DEK = 3


class KeyInformation(NamedTuple):
    """What GET DATA 00E0 tells of a key.

    Attributes:
        identifier: 1..3.
        version: key version number.
        key_type: 88 for AES.
        length: bytes.
    """

    identifier: int
    version: int
    key_type: int
    length: int


class KeySet(NamedTuple):
    """The values of a key set, read for one command."""

    version: int
    enc: bytes
    mac: bytes
    dek: bytes

    def __repr__(self) -> str:
        """The version only."""
        return f"KeySet({self.version:02X})"


def key_object_identifier(version: int, identifier: int) -> int:
    """Identifier of the key object in the store."""
    return version << _VERSION_SHIFT | identifier


def create_key_set(store: ObjectStore, owner: int, keys: KeySet) -> None:
    """Store a new set with its counters; its sequence counter starts at 0 and all tries are there.

    Manufacture uses this for the factory set, PUT KEY for the others; joins the open transaction.

    Raises:
        FileExists: the version is there already.
        NotEnoughMemory: no space for it.
    """
    with store.transaction():
        for identifier, value in (
            (KeyIdentifier.ENC, keys.enc),
            (KeyIdentifier.MAC, keys.mac),
            (KeyIdentifier.DEK, keys.dek),
        ):
            body = bytes((KEY_TYPE_AES, len(value))) + value
            store.create(owner, ObjectKind.KEY, key_object_identifier(keys.version, identifier), len(body), body)
        store.create(owner, ObjectKind.COUNTER, _SEQUENCE_BASE + keys.version, SEQUENCE_LENGTH, bytes(SEQUENCE_LENGTH))
        store.create(owner, ObjectKind.COUNTER, _TRIES_BASE + keys.version, 1, bytes((TRY_LIMIT,)))


def delete_key_set(store: ObjectStore, owner: int, version: int) -> None:
    """Delete every object of a set that is there; joins the open transaction."""
    with store.transaction():
        for identifier in KeyIdentifier:
            _delete(store, store.find(owner, ObjectKind.KEY, key_object_identifier(version, identifier)))
        for base in (_SEQUENCE_BASE, _TRIES_BASE):
            _delete(store, store.find(owner, ObjectKind.COUNTER, base + version))


def _delete(store: ObjectStore, item: StoredObject | None) -> None:
    if item is not None:
        store.delete(item)


def load_key_set(store: ObjectStore, owner: int, version: int) -> KeySet | None:
    """The values of a set, or None unless all three keys are there."""
    values: list[bytes] = []
    for identifier in KeyIdentifier:
        item = store.find(owner, ObjectKind.KEY, key_object_identifier(version, identifier))
        if item is None:
            return None
        body = store.read(item)
        values.append(body[_KEY_HEADER : _KEY_HEADER + body[1]])
    return KeySet(version, *values)


def has_key_set(store: ObjectStore, owner: int, version: int) -> bool:
    """True when any key of that version is there."""
    return any(
        store.find(owner, ObjectKind.KEY, key_object_identifier(version, identifier)) is not None
        for identifier in KeyIdentifier
    )


def key_versions(store: ObjectStore, owner: int) -> list[int]:
    """Versions of the complete sets of a domain, ascending, the factory set last."""
    present = {item.identifier for item in store.owned(owner, ObjectKind.KEY)}
    versions = sorted({identifier >> _VERSION_SHIFT for identifier in present})
    return [
        version for version in versions if all(key_object_identifier(version, key) in present for key in KeyIdentifier)
    ]


def key_information(store: ObjectStore, owner: int) -> list[KeyInformation]:
    """What the domain's keys are, by version and identifier."""
    rows: list[KeyInformation] = []
    for item in sorted(store.owned(owner, ObjectKind.KEY), key=lambda entry: entry.identifier):
        key_type, length = store.read(item, 0, _KEY_HEADER)
        rows.append(KeyInformation(item.identifier & 0xFF, item.identifier >> _VERSION_SHIFT, key_type, length))
    return rows


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
    if value >= _SEQUENCE_LIMIT:
        return None
    field = value.to_bytes(SEQUENCE_LENGTH, "big")
    store.write_through(item, 0, field)
    return field


def tries_left(store: ObjectStore, owner: int, version: int) -> int:
    """Authentications that may still fail; 0 when the counter is missing."""
    item = store.find(owner, ObjectKind.COUNTER, _TRIES_BASE + version)
    return 0 if item is None else store.read(item)[0]


def spend_try(store: ObjectStore, owner: int, version: int) -> bool:
    """Take one try, at once; False when none is left, and nothing is written."""
    item = store.find(owner, ObjectKind.COUNTER, _TRIES_BASE + version)
    left = 0 if item is None else store.read(item)[0]
    if item is None or left == 0:
        return False
    store.write_through(item, 0, bytes((left - 1,)))
    return True


def restore_tries(store: ObjectStore, owner: int, version: int) -> None:
    """Give all tries back after a success."""
    item = store.find(owner, ObjectKind.COUNTER, _TRIES_BASE + version)
    if item is not None:
        store.write_through(item, 0, bytes((TRY_LIMIT,)))
