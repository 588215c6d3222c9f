"""The GlobalPlatform registry: applications, executable load files, and the life cycle of the card.

Every application is an object of kind APPLICATION that the card itself owns; its identifier is the number under which
the application owns its own objects. Load files are objects of kind PACKAGE, with numbers out of the same row. Entries
are also kept decoded, in the order in which they were installed; the decoded form is rebuilt from the objects at boot
and after a command that failed.

Source: GlobalPlatform Card Specification 2.3.1, clauses 5 (life cycle), 6.5 (registry) and 7.2 (association).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.privileges import ISSUER_PRIVILEGES, UNIQUE, Privilege
from card_os.globalplatform.registry_entry import (
    NO_DATA,
    Application,
    ApplicationLifeCycle,
    CardLifeCycle,
    ContactlessState,
    LoadFile,
    LoadFileLifeCycle,
    Memory,
    RegistryData,
    Restriction,
    stored_aid,
)
from card_os.iso7816.aid import Aid
from card_os.iso7816.errors import DfNameExists, NotEnoughMemory
from card_os.storage.grants import MemoryGrant
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.storage.store import ObjectStore, StoredObject

__all__ = [
    "CARD_OWNER",
    "CARD_STATE_ARBITRATION",
    "CARD_STATE_FORMAT",
    "CARD_STATE_LIFE_CYCLE",
    "CARD_STATE_RESTRICTIONS",
    "DOMAIN_MODULE_AID",
    "DOMAIN_PACKAGE_AID",
    "ISSUER_DOMAIN",
    "ISSUER_DOMAIN_AID",
    "ISSUER_PRIVILEGES",
    "Application",
    "ApplicationLifeCycle",
    "CardLifeCycle",
    "CardObject",
    "ContactlessState",
    "LoadFile",
    "LoadFileLifeCycle",
    "Memory",
    "Privilege",
    "Registry",
    "RegistryData",
    "Restriction",
]

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
_CHANNEL_MASK: Final = 0x1F
_AT_ONCE: Final = 40
"""Objects that one transaction deletes; the commit buffer takes twice as many."""


class CardObject(IntEnum):
    """Identifiers of the objects of kind CARD."""

    STATE = 1
    """Format (1) ‖ card life cycle (1) ‖ arbitration of the interfaces (1) ‖ restrictions (1)."""
    PRODUCTION_DATA = 2
    """CPLC, 42 bytes."""
    ATR = 3
    """Answer to reset of the contact interface; absent: built from what the card can do."""
    ATS = 4
    """Answer to select of the contactless interface; absent: built from what the card can do."""
    POLICY = 5
    """What the issuer decided once for all, see `card_policy`; absent: as by default."""
    RECLAIM = 6
    """Numbers (2 each) whose objects are to be deleted: their entries are gone already."""


CARD_STATE_FORMAT: Final = 1
"""First byte of the object CardObject.STATE."""
CARD_STATE_LIFE_CYCLE: Final = 1
"""Offset of the life cycle in the object CardObject.STATE."""
CARD_STATE_ARBITRATION: Final = 2
"""Offset of the arbitration in the object CardObject.STATE."""
CARD_STATE_RESTRICTIONS: Final = 3
"""Offset of the restrictions of all domains in the object CardObject.STATE."""


class Registry:
    """The applications and load files of a card, in the order of their numbers.

    Changes are written at once and join the transaction that is open, if any. `reload` brings the decoded entries back
    to what is stored; the dispatcher calls it when a command that changed the registry failed.

    Args:
        store: the card's objects.

    Attributes:
        card_life_cycle: the card's life-cycle byte, `CardLifeCycle`; changed by `set_card_life_cycle` only.
        restrictions: content management that is switched off for all domains.
        changed: something was written since the dispatcher last looked.
    """

    __slots__ = (
        "_applications",
        "_files",
        "_names",
        "_objects",
        "_resident",
        "_store",
        "card_life_cycle",
        "changed",
        "restrictions",
    )

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._applications: dict[int, Application] = {}
        self._objects: dict[int, StoredObject] = {}
        self._names: dict[bytes, Application] = {}
        self._files: dict[bytes, LoadFile] = {}
        self._resident: dict[bytes, LoadFile] = {}
        self.card_life_cycle: int = CardLifeCycle.OP_READY
        self.restrictions = Restriction.NONE
        self.changed = False
        self.reload()

    def __iter__(self) -> Iterator[Application]:
        return iter(self._applications.values())

    def __len__(self) -> int:
        return len(self._applications)

    def reload(self) -> None:
        """Decode all entries again; `Application` objects that are still stored keep their identity."""
        store, known = self._store, self._applications
        self._applications, self._objects, self._files = {}, {}, {}
        for item in sorted(store.owned(CARD_OWNER, ObjectKind.APPLICATION), key=lambda entry: entry.identifier):
            owner, raw = item.identifier, store.read(item)
            application = known.get(owner)
            if application is None or application.aid != stored_aid(raw):
                application = Application.decode(owner, raw)
            else:
                application.refresh(raw)
            self._applications[owner] = application
            self._objects[owner] = item
        self._names = {application.aid: application for application in self._applications.values()}
        for item in sorted(store.owned(CARD_OWNER, ObjectKind.PACKAGE), key=lambda entry: entry.identifier):
            file = LoadFile.decode(item.identifier, store.read(item))
            self._files[file.aid] = file
            self._objects[file.number] = item
        state = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.STATE)
        if state is not None:
            raw = store.read(state)
            self.card_life_cycle = raw[CARD_STATE_LIFE_CYCLE]
            self.restrictions = Restriction(raw[CARD_STATE_RESTRICTIONS])
        self._share_memory()
        self.changed = False

    def _share_memory(self) -> None:
        """Tell the store what is granted to whom."""
        granted = {application.owner: application.data.memory for application in self._applications.values()}
        self._store.grants.replace(
            {
                owner: MemoryGrant(memory.quota, memory.reserved or 0)
                for owner, memory in granted.items()
                if memory.quota is not None or memory.reserved
            }
        )

    # ------------------------------------------------------------------ applications

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

    def holder(self, privilege: Privilege) -> Application | None:
        """Who has a privilege that only one has, else the issuer domain (6.6.2)."""
        for application in self._applications.values():
            if application.privileges & privilege and application.owner != ISSUER_DOMAIN:
                return application
        return self.issuer_domain

    @property
    def default_selected(self) -> Application | None:
        """The application with the card reset (default selected) privilege, else the issuer domain."""
        return self.holder(Privilege.CARD_RESET)

    def implicitly_selected(self, interface_bit: int, channel: int) -> Application | None:
        """The application that is registered for an interface and a logical channel (11.1.7).

        Args:
            interface_bit: 80 contactless, 40 contact.
            channel: 0..19.
        """
        for application in self._applications.values():
            for parameter in application.data.implicit_selection:
                if parameter & interface_bit and parameter & _CHANNEL_MASK == channel:
                    return application
        return None

    # ------------------------------------------------------------------ association, clause 7.2

    def domain_of(self, entry: Application | LoadFile) -> Application | None:
        """The security domain that an application or load file is associated with."""
        return self._applications.get(entry.domain)

    def ancestors(self, entry: Application | LoadFile) -> Iterator[Application]:
        """The domains that an entry is associated with, directly and indirectly, up to the root of its hierarchy."""
        seen: set[int] = set()
        above = self._applications.get(entry.domain)
        while above is not None and above.owner not in seen:
            seen.add(above.owner)
            yield above
            above = self._applications.get(above.domain)

    def is_below(self, entry: Application | LoadFile, domain: Application) -> bool:
        """True when ``entry`` is associated with ``domain``, directly or indirectly, or is the domain itself."""
        return entry is domain or any(above is domain for above in self.ancestors(entry))

    def belongs_to(self, domain: Application) -> bool:
        """True when anything but itself is associated with ``domain``."""
        return any(entry.domain == domain.owner and entry is not domain for entry in self) or any(
            file.domain == domain.owner for file in self._files.values()
        )

    # ------------------------------------------------------------------ load files

    def announce(self, resident: Iterable[LoadFile]) -> None:
        """Take the load files whose code is in the card's read-only memory."""
        self._resident = {file.aid: file for file in resident}

    @property
    def load_files(self) -> list[LoadFile]:
        """All load files by AID; one in read-only memory that was extradited is as stored."""
        return [file for _, file in sorted({**self._resident, **self._files}.items())]

    def load_file(self, aid: bytes) -> LoadFile | None:
        """The load file with exactly this AID."""
        return self._files.get(aid) or self._resident.get(aid)

    def stored_load_files(self) -> list[LoadFile]:
        """The load files that have an entry of their own."""
        return list(self._files.values())

    # ------------------------------------------------------------------ changing

    def add(
        self,
        *,
        aid: Aid,
        package_aid: Aid,
        module_aid: Aid,
        life_cycle: int,
        privileges: Privilege,
        domain: int,
        data: RegistryData = NO_DATA,
    ) -> Application:
        """Store a new entry under the lowest owner number above all others in use.

        Args:
            aid: AID of the instance.
            package_aid: AID of its load file.
            module_aid: AID of its module.
            life_cycle: first state.
            privileges: its privileges.
            domain: associated domain.
            data: the rest of the entry.

        Raises:
            DfNameExists: 6A8A, the AID is taken.
            NotEnoughMemory: 6A84, no space or no number is left.
        """
        if aid in self._names or self.load_file(aid) is not None:
            raise DfNameExists("an application or a load file with this AID is there")
        owner = self._free_number()
        application = Application(owner, aid, package_aid, module_aid, life_cycle, privileges, domain, data)
        content = application.encode()
        self.changed = True
        with self._store.transaction():
            item = self._store.create(CARD_OWNER, ObjectKind.APPLICATION, owner, len(content), content)
        self._objects[owner] = item
        self._applications[owner] = application
        self._names[aid] = application
        if owner < max(self._applications):
            self._applications = dict(sorted(self._applications.items()))
        self._share_memory()
        return application

    def add_load_file(self, file: LoadFile) -> LoadFile:
        """Store a new load file under a number of its own, which is set in ``file``.

        Raises:
            NotEnoughMemory: 6A84, no space or no number is left.
        """
        file.number = self._free_number()
        content = file.encode()
        self.changed = True
        with self._store.transaction():
            self._objects[file.number] = self._store.create(
                CARD_OWNER, ObjectKind.PACKAGE, file.number, len(content), content
            )
        self._files[file.aid] = file
        return file

    def _free_number(self) -> int:
        highest = max(self._objects, default=CARD_OWNER)
        if highest < _MAX_OWNER:
            return highest + 1
        for number in range(ISSUER_DOMAIN + 1, _MAX_OWNER):
            if number not in self._objects:
                return number
        raise NotEnoughMemory("no owner number is left")

    def remove(self, application: Application) -> None:
        """Delete an entry with every object that the application owns; unique privileges go back to the issuer's.

        Objects that are too many for one transaction are left to `reclaim`.
        """
        self.changed = True
        with self._store.transaction():
            self._give_back(application)
            self._erase(application.owner)
        del self._applications[application.owner], self._names[application.aid]
        self._share_memory()

    def _give_back(self, application: Application) -> None:
        returned = Privilege.NONE
        for privilege in UNIQUE:
            returned |= application.privileges & privilege
        issuer = self.issuer_domain
        if returned and issuer is not None and issuer is not application:
            self.set_privileges(issuer, issuer.privileges | returned)

    def remove_load_file(self, file: LoadFile) -> None:
        """Delete a load file and its content; one in read-only memory loses what was changed of its entry."""
        self.changed = True
        with self._store.transaction():
            self._erase(file.number)
        del self._files[file.aid]

    def _erase(self, number: int) -> None:
        """Delete an entry; its objects with it when they are few, else they are noted for `reclaim`."""
        store = self._store
        store.delete(self._objects.pop(number))
        owned = store.owned(number)
        if len(owned) <= _AT_ONCE:
            for item in owned:
                store.delete(item)
            return
        noted = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.RECLAIM)
        content = (b"" if noted is None else store.read(noted)) + number.to_bytes(2, "big")
        if noted is not None:
            store.delete(noted)
        store.create(CARD_OWNER, ObjectKind.CARD, CardObject.RECLAIM, len(content), content)

    def reclaim(self) -> None:
        """Delete what `remove` left, outside any transaction; whatever is cut, the next boot goes on with it."""
        store = self._store
        noted = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.RECLAIM)
        if noted is None:
            return
        content = store.read(noted)
        for at in range(0, len(content), 2):
            owned = store.owned(int.from_bytes(content[at : at + 2], "big"))
            for start in range(0, len(owned), _AT_ONCE):
                with store.transaction():
                    for item in owned[start : start + _AT_ONCE]:
                        store.delete(item)
        with store.transaction():
            store.delete(noted)

    def recover(self) -> None:
        """After a boot: finish deletions, and take back the memory of load files that never became whole."""
        self.reclaim()
        for file in self.stored_load_files():
            if file.life_cycle is LoadFileLifeCycle.LOADING:
                self.remove_load_file(file)

    def update(self, entry: Application | LoadFile) -> None:
        """Store what was changed in a decoded entry."""
        if isinstance(entry, LoadFile):
            if not entry.number:
                self.add_load_file(entry)
                return
            number, kind = entry.number, ObjectKind.PACKAGE
        else:
            number, kind = entry.owner, ObjectKind.APPLICATION
        self._write(number, kind, entry.encode())
        self._share_memory()

    def _write(self, number: int, kind: ObjectKind, content: bytes) -> None:
        """Write the bytes that are new, or a new object when the entry has another length."""
        store, item = self._store, self._objects[number]
        self.changed = True
        old = store.read(item)
        with store.transaction():
            if len(old) == len(content):
                start = next((at for at, pair in enumerate(zip(old, content, strict=True)) if pair[0] != pair[1]), 0)
                end = len(content)
                while end > start and old[end - 1] == content[end - 1]:
                    end -= 1
                store.write(item, start, content[start:end])
            else:
                store.delete(item)
                self._objects[number] = store.create(CARD_OWNER, kind, number, len(content), content)

    def set_life_cycle(self, application: Application, state: int) -> None:
        """Write a life-cycle byte; which transitions are allowed is the caller's to know."""
        application.life_cycle = state
        self.update(application)

    def set_privileges(self, application: Application, privileges: Privilege) -> None:
        """Write the privileges."""
        application.privileges = privileges
        self.update(application)

    def rename(self, application: Application, aid: Aid) -> None:
        """Give an application another AID; the last change of a transaction."""
        del self._names[application.aid]
        application.aid = aid
        self._names[aid] = application
        self.update(application)

    def set_domain(self, entry: Application | LoadFile, domain: int) -> None:
        """Write the associated security domain (extradition)."""
        entry.domain = domain
        self.update(entry)

    def set_card_life_cycle(self, state: CardLifeCycle) -> None:
        """Write the card's life cycle; which transitions are allowed is the caller's to know."""
        self._write_card_state(CARD_STATE_LIFE_CYCLE, state)
        self.card_life_cycle = state

    def restrict(self, restrictions: Restriction) -> None:
        """Switch content management off for all domains; what is off stays off."""
        restrictions |= self.restrictions
        self._write_card_state(CARD_STATE_RESTRICTIONS, restrictions)
        self.restrictions = restrictions

    def _write_card_state(self, offset: int, value: int) -> None:
        store = self._store
        self.changed = True
        item = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.STATE)
        if item is None:
            raise NotEnoughMemory("the card holds no state object")
        store.change(item, offset, bytes((value,)))
