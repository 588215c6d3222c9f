"""Entries of the registry: applications and executable load files, and their stored forms.

Application, object of kind APPLICATION of the card, its identifier is the owner number:

```
offset 0   1  format, 02; 01 ends at offset 58
offset 1   1  life-cycle state
offset 2   3  privileges
offset 5   2  number of the associated security domain, big-endian
offset 7  17  AID of the instance: length, value, 00 …
offset 24 17  AID of the package, same form
offset 41 17  AID of the module, same form
offset 58  2  version of the package that it was installed from: major, minor
offset 60  2  schema of its state
offset 62  1  restrictions, `Restriction`
offset 63  1  contactless activation, `ContactlessState`
offset 64  1  the same, initially
offset 65     BER-TLV objects with the tags of the install parameters: C7 C8 D7 D8 memory (4), CF each implicit
              selection (1), CB services (2 each), 5F20 application provider
```

Executable load file, object of kind PACKAGE of the card, its identifier is the owner number of its content:

```
offset 0   1  format, 01
offset 1   1  life-cycle state, `LoadFileLifeCycle`
offset 2   1  01: its code is in the card's read-only memory
offset 3   2  number of the associated security domain
offset 5  17  AID
offset 22  2  version: major, minor
offset 24  4  bytes of the load file data block
offset 28     BER-TLV objects: 84 AID of each module, 5F20 application provider, C1 hash of the data block
```

Source: GlobalPlatform Card Specification 2.3.1, clauses 5 (life cycles) and 6.5 (registry data).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from card_os.globalplatform.privileges import Privilege
from card_os.iso7816 import tlv
from card_os.iso7816.aid import MAX_LENGTH, Aid

_FORMAT: Final = 2
_AID_AT: Final = 7
_AID_FIELD: Final = 1 + MAX_LENGTH
_PACKAGE_AT: Final = _AID_AT + _AID_FIELD
_MODULE_AT: Final = _PACKAGE_AT + _AID_FIELD
_DATA_AT: Final = _MODULE_AT + _AID_FIELD
_DATA_HEAD: Final = struct.Struct(">2sHBBB")

_FILE_FORMAT: Final = 1
_FILE_AID_AT: Final = 5
_FILE_VERSION_AT: Final = _FILE_AID_AT + _AID_FIELD
_FILE_SIZE_AT: Final = _FILE_VERSION_AT + 2
_FILE_OBJECTS_AT: Final = _FILE_SIZE_AT + 4
_MEMORY_BYTES: Final = 4
_SERVICE_BYTES: Final = 2

FIRST_VERSION: Final = b"\x01\x00"
"""Version of a package that says none: 1.0."""
FIRST_SCHEMA: Final = 1
"""Schema of an application's state when its code says none."""


class CardLifeCycle(IntEnum):
    """Card life-cycle states (5.1.1)."""

    OP_READY = 0x01
    INITIALIZED = 0x07
    SECURED = 0x0F
    CARD_LOCKED = 0x7F
    TERMINATED = 0xFF


class ApplicationLifeCycle(IntEnum):
    """Application life-cycle states (5.3.1); an application's own states have the low three bits set."""

    INSTALLED = 0x03
    SELECTABLE = 0x07
    PERSONALIZED = 0x0F
    LOCKED = 0x80
    """Bit of a locked application; the other bits keep the state to return to."""


class LoadFileLifeCycle(IntEnum):
    """States of an executable load file (5.2.1)."""

    LOADING = 0x00
    """Our own: not all of it is here, and the next boot takes its memory back."""
    LOADED = 0x01


class Restriction(IntFlag):
    """Content management that is switched off for good, for a domain or for the whole card (table 11-53)."""

    NONE = 0x00
    DELETE = 0x01
    LOAD = 0x02
    INSTALL = 0x04
    MAKE_SELECTABLE = 0x08
    EXTRADITION = 0x10
    PERSONALIZATION = 0x20
    REGISTRY_UPDATE = 0x40


class ContactlessState(IntEnum):
    """Whether an application answers over the field (Amendment C, tag 9F70, second byte)."""

    DEACTIVATED = 0x00
    ACTIVATED = 0x01
    NON_ACTIVATABLE = 0x80
    UNMANAGED = 0xFF
    """Our own: never told; it answers on both interfaces, as before Amendment C."""


class EntryTag(IntEnum):
    """Tags inside stored entries, those of the commands that bring the values."""

    VOLATILE_QUOTA = 0xC7
    QUOTA = 0xC8
    VOLATILE_RESERVED = 0xD7
    RESERVED = 0xD8
    IMPLICIT_SELECTION = 0xCF
    SERVICES = 0xCB
    PROVIDER = 0x5F20
    MODULE = 0x84
    HASH = 0xC1


class Memory(NamedTuple):
    """Memory granted to an application in bytes (9.7); None where nothing was said.

    Attributes:
        quota: most non-volatile memory.
        reserved: non-volatile memory kept free for it.
        volatile_quota: most volatile memory.
        volatile_reserved: volatile memory kept free for it.
    """

    quota: int | None = None
    reserved: int | None = None
    volatile_quota: int | None = None
    volatile_reserved: int | None = None

    @property
    def consistent(self) -> bool:
        """True unless a quota is less than what is reserved (9.7)."""
        return (self.quota is None or self.quota >= (self.reserved or 0)) and (
            self.volatile_quota is None or self.volatile_quota >= (self.volatile_reserved or 0)
        )


_MEMORY_TAGS: Final = (
    EntryTag.QUOTA,
    EntryTag.RESERVED,
    EntryTag.VOLATILE_QUOTA,
    EntryTag.VOLATILE_RESERVED,
)


class RegistryData(NamedTuple):
    """What the registry keeps of an application besides its names, state, privileges and domain (6.5.1).

    Attributes:
        package_version: version of the package at installation: major, minor.
        state_schema: schema of its objects, which its code has to know.
        restrictions: content management that is switched off for this domain.
        contactless: whether it answers over the field.
        initial_contactless: what `contactless` becomes when it is made selectable or unlocked.
        memory: memory granted.
        implicit_selection: interface and channel of each implicit selection (table 11-15).
        services: global services that it offers, two bytes each.
        provider: identifier of the application provider.
    """

    package_version: bytes = FIRST_VERSION
    state_schema: int = FIRST_SCHEMA
    restrictions: Restriction = Restriction.NONE
    contactless: ContactlessState = ContactlessState.UNMANAGED
    initial_contactless: ContactlessState = ContactlessState.UNMANAGED
    memory: Memory = Memory()
    implicit_selection: tuple[int, ...] = ()
    services: tuple[int, ...] = ()
    provider: bytes = b""

    def encode(self) -> bytes:
        """The stored form, from offset 58 of an entry on."""
        granted = zip(_MEMORY_TAGS, self.memory, strict=True)
        objects = [tlv.Tlv(tag, value.to_bytes(_MEMORY_BYTES, "big")) for tag, value in granted if value is not None]
        objects.extend(tlv.Tlv(EntryTag.IMPLICIT_SELECTION, bytes((value,))) for value in self.implicit_selection)
        if self.services:
            services = b"".join(service.to_bytes(_SERVICE_BYTES, "big") for service in self.services)
            objects.append(tlv.Tlv(EntryTag.SERVICES, services))
        if self.provider:
            objects.append(tlv.Tlv(EntryTag.PROVIDER, self.provider))
        return b"".join(
            (
                self.package_version,
                self.state_schema.to_bytes(2, "big"),
                bytes((self.restrictions, self.contactless, self.initial_contactless)),
                tlv.encode_all(objects),
            )
        )

    @classmethod
    def decode(cls, raw: bytes) -> RegistryData:
        """Read the stored form; an empty one is of format 01."""
        if not raw:
            return cls()
        version, schema, restrictions, contactless, initial = _DATA_HEAD.unpack_from(raw)
        objects = tlv.parse_all(raw[_DATA_HEAD.size :])
        values = {item.tag: item.value for item in objects}
        return cls(
            version,
            schema,
            Restriction(restrictions),
            ContactlessState(contactless),
            ContactlessState(initial),
            Memory(*(int.from_bytes(values[tag], "big") if tag in values else None for tag in _MEMORY_TAGS)),
            tuple(item.value[0] for item in objects if item.tag == EntryTag.IMPLICIT_SELECTION),
            split_services(values.get(EntryTag.SERVICES, b"")),
            values.get(EntryTag.PROVIDER, b""),
        )


_SECURITY_DOMAIN: Final = int(Privilege.SECURITY_DOMAIN)
_SELECTABLE: Final = int(ApplicationLifeCycle.SELECTABLE)
_LOCKED: Final = int(ApplicationLifeCycle.LOCKED)
_SELECTABLE_OR_LOCKED: Final = _SELECTABLE | _LOCKED
NO_DATA: Final = RegistryData()
"""What the registry keeps of an application of which nothing more was said."""


@dataclass(slots=True, eq=False)
class Application:
    """One application or security domain; an identity object that lives until it is deleted or the card boots.

    Attributes:
        owner: number under which the application owns its objects, 1..65,535; 1 is the issuer domain.
        aid: AID of the instance.
        package_aid: AID of the executable load file.
        module_aid: AID of the executable module, which finds the code.
        life_cycle: life-cycle byte; `ApplicationLifeCycle` or an own state.
        privileges: privileges of the instance.
        domain: owner number of the associated security domain.
        data: the rest of what the registry keeps.
    """

    owner: int
    aid: Aid
    package_aid: Aid
    module_aid: Aid
    life_cycle: int
    privileges: Privilege
    domain: int
    data: RegistryData = NO_DATA

    @property
    def locked(self) -> bool:
        """True when the lock bit is set."""
        return self.life_cycle & _LOCKED != 0

    @property
    def selectable(self) -> bool:
        """True from state SELECTABLE on, unless locked."""
        return self.life_cycle & _SELECTABLE_OR_LOCKED == _SELECTABLE

    @property
    def is_security_domain(self) -> bool:
        """True when the instance has the security domain privilege."""
        return int(self.privileges) & _SECURITY_DOMAIN != 0  # asked for every command: plain numbers are faster

    def encode(self) -> bytes:
        """The stored entry."""
        return b"".join(
            (
                bytes((_FORMAT, self.life_cycle)),
                self.privileges.encode(),
                self.domain.to_bytes(2, "big"),
                *(_write_aid(aid) for aid in (self.aid, self.package_aid, self.module_aid)),
                self.data.encode(),
            )
        )

    def refresh(self, raw: bytes) -> None:
        """Take over what the stored entry says."""
        self.life_cycle = raw[1]
        self.privileges = Privilege.decode(raw[2:5])
        self.domain = int.from_bytes(raw[5:_AID_AT], "big")
        self.data = RegistryData.decode(raw[_DATA_AT:])

    @classmethod
    def decode(cls, owner: int, raw: bytes) -> Application:
        """Read a stored entry of either format; one of format 01 has no registry data."""
        names = stored_aid(raw), _read_aid(raw, _PACKAGE_AT), _read_aid(raw, _MODULE_AT)
        application = cls(owner, *names, raw[1], Privilege.NONE, owner)
        application.refresh(raw)
        return application


@dataclass(slots=True, eq=False)
class LoadFile:
    """One executable load file.

    Attributes:
        number: owner number of its content; 0 of a resident one that was never changed.
        aid: its AID.
        domain: owner number of the associated security domain.
        life_cycle: its state.
        resident: its code is in the card's read-only memory.
        version: major, minor.
        size: bytes of the load file data block, 0 of a resident one.
        modules: AIDs of its modules.
        provider: identifier of the application provider.
        digest: hash of the data block.
    """

    number: int
    aid: Aid
    domain: int
    life_cycle: LoadFileLifeCycle
    resident: bool = False
    version: bytes = FIRST_VERSION
    size: int = 0
    modules: tuple[Aid, ...] = ()
    provider: bytes = b""
    digest: bytes = b""

    def encode(self) -> bytes:
        """The stored entry."""
        objects = [tlv.Tlv(EntryTag.MODULE, module) for module in self.modules]
        if self.provider:
            objects.append(tlv.Tlv(EntryTag.PROVIDER, self.provider))
        if self.digest:
            objects.append(tlv.Tlv(EntryTag.HASH, self.digest))
        return b"".join(
            (
                bytes((_FILE_FORMAT, self.life_cycle, self.resident)),
                self.domain.to_bytes(2, "big"),
                _write_aid(self.aid),
                self.version,
                self.size.to_bytes(4, "big"),
                tlv.encode_all(objects),
            )
        )

    @classmethod
    def decode(cls, number: int, raw: bytes) -> LoadFile:
        """Read a stored entry."""
        objects = tlv.parse_all(raw[_FILE_OBJECTS_AT:])
        values = {item.tag: item.value for item in objects}
        return cls(
            number=number,
            aid=_read_aid(raw, _FILE_AID_AT),
            domain=int.from_bytes(raw[3:_FILE_AID_AT], "big"),
            life_cycle=LoadFileLifeCycle(raw[1]),
            resident=bool(raw[2]),
            version=raw[_FILE_VERSION_AT:_FILE_SIZE_AT],
            size=int.from_bytes(raw[_FILE_SIZE_AT:_FILE_OBJECTS_AT], "big"),
            modules=tuple(Aid(item.value) for item in objects if item.tag == EntryTag.MODULE),
            provider=values.get(EntryTag.PROVIDER, b""),
            digest=values.get(EntryTag.HASH, b""),
        )


def split_services(raw: bytes) -> tuple[int, ...]:
    """Service parameters, two bytes each (8.1.3)."""
    return tuple(int.from_bytes(raw[at : at + _SERVICE_BYTES], "big") for at in range(0, len(raw), _SERVICE_BYTES))


def stored_aid(raw: bytes) -> Aid:
    """AID in the stored entry of an application."""
    return _read_aid(raw, _AID_AT)


def _write_aid(aid: Aid) -> bytes:
    return bytes((len(aid),)) + aid.ljust(MAX_LENGTH, b"\x00")


def _read_aid(raw: bytes, offset: int) -> Aid:
    start = offset + 1
    return Aid(raw[start : start + raw[offset]])
