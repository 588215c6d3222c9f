"""The GlobalPlatform registry: applications, their life cycles and privileges, and the life cycle of the card.

Every entry is an object of kind APPLICATION that the card itself owns; its identifier is the number under which the
application owns its own objects. Entries are also kept decoded, in the order in which they were installed; the decoded
form is rebuilt from the objects at boot and after a command that failed.

Stored entry, 58 bytes:

```
offset 0   1  format, 01
offset 1   1  life-cycle state
offset 2   3  privileges
offset 5   2  number of the associated security domain, big-endian
offset 7  17  AID of the instance: length, value, 00 …
offset 24 17  AID of the package, same form
offset 41 17  AID of the module, same form
```

Source: GlobalPlatform Card Specification 2.3.1, clauses 5 (life cycle) and 6.6 (privileges, table 6-1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

from card_os.iso7816.aid import MAX_LENGTH, Aid
from card_os.iso7816.errors import DfNameExists, NotEnoughMemory
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.storage.store import ObjectStore, StoredObject

CARD_OWNER: Final = 0
"""Owner number of what belongs to the card itself."""
ISSUER_DOMAIN: Final = 1
"""Owner number of the issuer security domain."""
ISSUER_DOMAIN_AID: Final = Aid(bytes.fromhex("A000000151000000"))
"""AID of the issuer security domain (appendix H.1.3)."""
DOMAIN_PACKAGE_AID: Final = Aid(bytes.fromhex("A0000001515350"))
"""AID of the executable load file of security domains."""
DOMAIN_MODULE_AID: Final = Aid(bytes.fromhex("A000000151535041"))
"""AID of the executable module of security domains."""

_MAX_OWNER: Final = 0xFFFF
_FORMAT: Final = 1
_LIFE_CYCLE_AT: Final = 1
_PRIVILEGES_AT: Final = 2
_DOMAIN_AT: Final = 5
_AID_AT: Final = 7
_AID_FIELD: Final = 1 + MAX_LENGTH
_PACKAGE_AT: Final = _AID_AT + _AID_FIELD
_MODULE_AT: Final = _PACKAGE_AT + _AID_FIELD
_ENTRY_SIZE: Final = _MODULE_AT + _AID_FIELD


class CardObject(IntEnum):
    """Identifiers of the objects of kind CARD."""

    STATE = 1
    """Format (1) ‖ card life cycle (1) ‖ arbitration of the interfaces (1) ‖ reserved (1)."""
    PRODUCTION_DATA = 2
    """CPLC, 42 bytes."""
    ATR = 3
    """Answer to reset of the contact interface; absent: built from what the card can do."""
    ATS = 4
    """Answer to select of the contactless interface; absent: built from what the card can do."""


CARD_STATE_FORMAT: Final = 1
"""First byte of the object CardObject.STATE."""
CARD_STATE_LIFE_CYCLE: Final = 1
"""Offset of the life cycle in the object CardObject.STATE."""
CARD_STATE_ARBITRATION: Final = 2
"""Offset of the arbitration in the object CardObject.STATE."""


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


class Privilege(IntFlag):
    """Privileges as a number of their three bytes, big-endian (6.6.1, table 6-1)."""

    NONE = 0
    SECURITY_DOMAIN = 0x800000
    DAP_VERIFICATION = 0x400000
    DELEGATED_MANAGEMENT = 0x200000
    CARD_LOCK = 0x100000
    CARD_TERMINATE = 0x080000
    CARD_RESET = 0x040000
    CVM_MANAGEMENT = 0x020000
    MANDATED_DAP = 0x010000
    TRUSTED_PATH = 0x008000
    AUTHORIZED_MANAGEMENT = 0x004000
    TOKEN_VERIFICATION = 0x002000
    GLOBAL_DELETE = 0x001000
    GLOBAL_LOCK = 0x000800
    GLOBAL_REGISTRY = 0x000400
    FINAL_APPLICATION = 0x000200
    GLOBAL_SERVICE = 0x000100
    RECEIPT_GENERATION = 0x000080
    CIPHERED_LOAD_FILE = 0x000040
    CONTACTLESS_ACTIVATION = 0x000020
    CONTACTLESS_SELF_ACTIVATION = 0x000010

    def encode(self) -> bytes:
        """The three privilege bytes."""
        return self.to_bytes(3, "big")

    @classmethod
    def decode(cls, raw: bytes) -> Privilege:
        """Read one or three privilege bytes; a single byte is the first of the three (11.1.2)."""
        return cls(int.from_bytes(raw.ljust(3, b"\x00"), "big"))


ISSUER_PRIVILEGES: Final = (
    Privilege.SECURITY_DOMAIN
    | Privilege.CARD_LOCK
    | Privilege.CARD_TERMINATE
    | Privilege.AUTHORIZED_MANAGEMENT
    | Privilege.GLOBAL_DELETE
    | Privilege.GLOBAL_LOCK
    | Privilege.GLOBAL_REGISTRY
    | Privilege.TRUSTED_PATH
)
"""What an issuer security domain is installed with."""


@dataclass(slots=True, eq=False)
class Application:
    """One entry of the registry; an identity object that lives until the application is deleted or the card boots.

    Attributes:
        owner: number under which the application owns its objects, 1..65,535; 1 is the issuer domain.
        aid: AID of the instance.
        package_aid: AID of the executable load file.
        module_aid: AID of the executable module, which finds the code.
        life_cycle: life-cycle byte; `ApplicationLifeCycle` or an own state.
        privileges: privileges of the instance.
        domain: owner number of the associated security domain.
    """

    owner: int
    aid: Aid
    package_aid: Aid
    module_aid: Aid
    life_cycle: int
    privileges: Privilege
    domain: int

    @property
    def locked(self) -> bool:
        """True when the lock bit is set."""
        return bool(self.life_cycle & ApplicationLifeCycle.LOCKED)

    @property
    def selectable(self) -> bool:
        """True from state SELECTABLE on, unless locked."""
        state = self.life_cycle
        return (
            state & ApplicationLifeCycle.SELECTABLE == ApplicationLifeCycle.SELECTABLE
            and not state & ApplicationLifeCycle.LOCKED
        )

    @property
    def is_security_domain(self) -> bool:
        """True when the instance has the security domain privilege."""
        return bool(self.privileges & Privilege.SECURITY_DOMAIN)

    def encode(self) -> bytes:
        """The stored entry."""
        return b"".join(
            (
                bytes((_FORMAT, self.life_cycle)),
                self.privileges.encode(),
                self.domain.to_bytes(2, "big"),
                *(
                    bytes((len(aid),)) + aid.ljust(MAX_LENGTH, b"\x00")
                    for aid in (self.aid, self.package_aid, self.module_aid)
                ),
            )
        )

    def refresh(self, raw: bytes) -> None:
        """Take over what the stored entry says."""
        self.life_cycle = raw[_LIFE_CYCLE_AT]
        self.privileges = Privilege.decode(raw[_PRIVILEGES_AT:_DOMAIN_AT])
        self.domain = int.from_bytes(raw[_DOMAIN_AT:_AID_AT], "big")

    @classmethod
    def decode(cls, owner: int, raw: bytes) -> Application:
        """Read a stored entry."""
        return cls(
            owner=owner,
            aid=_read_aid(raw, _AID_AT),
            package_aid=_read_aid(raw, _PACKAGE_AT),
            module_aid=_read_aid(raw, _MODULE_AT),
            life_cycle=raw[_LIFE_CYCLE_AT],
            privileges=Privilege.decode(raw[_PRIVILEGES_AT:_DOMAIN_AT]),
            domain=int.from_bytes(raw[_DOMAIN_AT:_AID_AT], "big"),
        )


def _read_aid(raw: bytes, offset: int) -> Aid:
    start = offset + 1
    return Aid(raw[start : start + raw[offset]])


class Registry:
    """The applications of a card, in the order of their owner numbers.

    Changes are written at once and join the transaction that is open, if any. `reload` brings the decoded entries back
    to what is stored; the dispatcher calls it when a command that changed the registry failed.

    Args:
        store: the card's objects.

    Attributes:
        card_life_cycle: the card's life-cycle byte, `CardLifeCycle`; changed by `set_card_life_cycle` only.
        changed: something was written since the dispatcher last looked.
    """

    __slots__ = ("_applications", "_names", "_objects", "_store", "card_life_cycle", "changed")

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._applications: dict[int, Application] = {}
        self._objects: dict[int, StoredObject] = {}
        self._names: dict[bytes, Application] = {}
        self.card_life_cycle: int = CardLifeCycle.OP_READY
        self.changed = False
        self.reload()

    def __iter__(self) -> Iterator[Application]:
        return iter(self._applications.values())

    def __len__(self) -> int:
        return len(self._applications)

    def reload(self) -> None:
        """Decode all entries again; `Application` objects that are still stored keep their identity."""
        store, known = self._store, self._applications
        self._applications = {}
        self._objects = {}
        for item in sorted(store.owned(CARD_OWNER, ObjectKind.APPLICATION), key=lambda entry: entry.identifier):
            owner, raw = item.identifier, store.read(item)
            application = known.get(owner)
            if application is None or application.aid != _read_aid(raw, _AID_AT):
                application = Application.decode(owner, raw)
            else:
                application.refresh(raw)
            self._applications[owner] = application
            self._objects[owner] = item
        self._names = {application.aid: application for application in self._applications.values()}
        state = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.STATE)
        if state is not None:
            self.card_life_cycle = store.read(state, CARD_STATE_LIFE_CYCLE, 1)[0]
        self.changed = False

    def by_owner(self, owner: int) -> Application | None:
        """The application with an owner number."""
        return self._applications.get(owner)

    def by_aid(self, aid: bytes) -> Application | None:
        """The application with exactly this AID."""
        return self._names.get(aid)

    def matching(self, partial: bytes, *, after: Application | None = None) -> Iterator[Application]:
        """Applications whose AID is ``partial`` or begins with it, in registry order.

        Args:
            partial: 0 to 16 bytes; empty matches every application.
            after: begin behind this entry (next occurrence).
        """
        floor = after.owner if after is not None else CARD_OWNER
        for application in self._applications.values():
            if application.owner > floor and application.aid.startswith(partial):
                yield application

    @property
    def issuer_domain(self) -> Application | None:
        """The issuer security domain; None on an unformatted card."""
        return self._applications.get(ISSUER_DOMAIN)

    @property
    def default_selected(self) -> Application | None:
        """The application with the default selected (card reset) privilege, else the issuer domain (6.6.2.4)."""
        for application in self._applications.values():
            if application.privileges & Privilege.CARD_RESET:
                return application
        return self.issuer_domain

    def add(
        self,
        *,
        aid: Aid,
        package_aid: Aid,
        module_aid: Aid,
        life_cycle: int,
        privileges: Privilege,
        domain: int,
    ) -> Application:
        """Store a new entry under the lowest owner number above all others in use.

        Raises:
            DfNameExists: 6A8A, the AID is taken.
            NotEnoughMemory: 6A84, no space or no number is left.
        """
        if self.by_aid(aid) is not None:
            raise DfNameExists("an application with this AID is installed")
        owner = self._free_owner()
        application = Application(owner, aid, package_aid, module_aid, life_cycle, privileges, domain)
        content = application.encode()
        self.changed = True
        with self._store.transaction():
            item = self._store.create(CARD_OWNER, ObjectKind.APPLICATION, owner, len(content), content)
        self._objects[owner] = item
        self._applications[owner] = application
        self._names[aid] = application
        if owner < max(self._applications):
            self._applications = dict(sorted(self._applications.items()))
        return application

    def _free_owner(self) -> int:
        highest = max(self._applications, default=CARD_OWNER)
        if highest < _MAX_OWNER:
            return highest + 1
        for owner in range(ISSUER_DOMAIN + 1, _MAX_OWNER):
            if owner not in self._applications:
                return owner
        raise NotEnoughMemory("no owner number is left")

    def remove(self, application: Application) -> None:
        """Delete an entry and every object that the application owns."""
        store, owner = self._store, application.owner
        self.changed = True
        with store.transaction():
            for item in store.owned(owner):
                store.delete(item)
            store.delete(self._objects[owner])
        del self._objects[owner], self._applications[owner], self._names[application.aid]

    def set_life_cycle(self, application: Application, state: int) -> None:
        """Write a life-cycle byte; which transitions are allowed is the caller's to know."""
        self._write(application, _LIFE_CYCLE_AT, bytes((state,)))
        application.life_cycle = state

    def set_privileges(self, application: Application, privileges: Privilege) -> None:
        """Write the privileges."""
        self._write(application, _PRIVILEGES_AT, privileges.encode())
        application.privileges = privileges

    def set_domain(self, application: Application, domain: int) -> None:
        """Write the associated security domain (extradition)."""
        self._write(application, _DOMAIN_AT, domain.to_bytes(2, "big"))
        application.domain = domain

    def _write(self, application: Application, offset: int, content: bytes) -> None:
        self.changed = True
        with self._store.transaction():
            self._store.write(self._objects[application.owner], offset, content)

    def set_card_life_cycle(self, state: CardLifeCycle) -> None:
        """Write the card's life cycle; which transitions are allowed is the caller's to know."""
        store = self._store
        self.changed = True
        item = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.STATE)
        if item is None:
            raise NotEnoughMemory("the card holds no state object")
        with store.transaction():
            store.write(item, CARD_STATE_LIFE_CYCLE, bytes((state,)))
        self.card_life_cycle = state
