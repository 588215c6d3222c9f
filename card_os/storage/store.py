"""Objects on the non-volatile memory, changed by transactions: old or new after a cut, never between.

The object table (`object_table`) has a row for each object. Contents stand in the heap, each from a word boundary; free
memory is blank. `layout` says where all that is.

A counter of one byte stands in the content, or in two cells before it (`counter_cells`), where the memory is one that
changes words where they stand. Then the byte of the content is 00, so that nobody takes it for tries.

The content of a new object goes straight into free memory and is committed by its table row, so that its size is not
bounded by the journal. The scrub word is set before, and boot wipes free memory when it finds it set.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import CardTorn, FileExists, MemoryFailure, NotEnoughMemory
from card_os.storage.counter_cells import CounterCells
from card_os.storage.grants import MemoryGrants
from card_os.storage.journal import RECORD_OVERHEAD
from card_os.storage.mapped import MappedMemory
from card_os.storage.memory import open_memory
from card_os.storage.object_table import ROW_COST, free_row, read_table, row_of
from card_os.storage.objects import ObjectKind, StoredObject, counter_bytes
from card_os.storage.pending import PendingWrites, Savepoint

__all__ = ["ObjectKind", "ObjectStore", "StoredObject"]

_MAX_OWNER: Final = 0xFFFF
_MAX_IDENTIFIER: Final = 0xFFFF_FFFF
_GONE: Final = -1


class ObjectStore:
    """The objects of one card.

    Making a store boots it: a blank memory is formatted, a committed transaction finished, an uncommitted one
    forgotten. After a `CardTorn` the store is dead: boot another one from the memory.

    Args:
        nvm: the memory; it alone is the truth.

    Attributes:
        watched: slots of objects a change of which somebody wants to know of.
        touched: owners of watched objects that were written since it was cleared, also where it was undone.
        grants: memory that owners may use at most, or have for themselves; the registry tells them.

    Raises:
        MemoryFailure: the memory is neither blank nor a sound store.
    """

    __slots__ = (
        "_by_owner",
        "_created",
        "_deleted",
        "_dirty",
        "_free_slots",
        "_heap",
        "_index",
        "_memory",
        "_read",
        "_recounted",
        "_savepoints",
        "_secret",
        "_used",
        "_word",
        "_writes",
        "grants",
        "nvm",
        "touched",
        "watched",
    )

    def __init__(self, nvm: Nvm) -> None:
        self.nvm = nvm
        self.watched: set[int] = set()
        self.touched: set[int] = set()
        self._word = nvm.word_size
        self._writes = PendingWrites()
        self._dirty = self._writes.slots
        self._created: list[StoredObject] = []
        self._deleted: list[StoredObject] = []
        self._recounted: list[CounterCells] = []  # whose cells the open transaction changes
        self._used = 0
        self._savepoints: list[Savepoint] = []
        self._secret = False
        self._index: dict[tuple[int, int, int], StoredObject] = {}
        self._by_owner: dict[int, list[StoredObject]] = {}
        self._free_slots: list[int] = []
        self.grants = MemoryGrants()
        self._boot()

    # ------------------------------------------------------------------ boot

    def _boot(self) -> None:
        self._memory = memory = open_memory(self.nvm)
        self._read = memory.read
        self._load()
        memory.clean(self._heap.gaps())

    def _load(self) -> None:
        objects, self._free_slots, self._heap = read_table(self._memory)
        try:
            for item in objects:
                self._enter(item)
        except ValueError as error:
            raise MemoryFailure("the object table is damaged") from error

    # ------------------------------------------------------------------ looking

    def find(self, owner: int, kind: ObjectKind, identifier: int) -> StoredObject | None:
        """The object of that name, or None."""
        return self._index.get((owner, kind, identifier))

    def owned(self, owner: int, kind: ObjectKind | None = None) -> list[StoredObject]:
        """The objects of an owner, of one kind or of all."""
        items = self._by_owner.get(owner, ())
        if kind is None:
            return list(items)
        return [item for item in items if item.kind == kind]

    def objects(self) -> list[StoredObject]:
        """All objects of the card."""
        return list(self._index.values())

    @property
    def mapped_memory(self) -> MappedMemory | None:
        """The memory under the objects where its pages have an erase, for reports."""
        return self._memory if isinstance(self._memory, MappedMemory) else None

    def places(self, item: StoredObject) -> list[tuple[int, int]]:
        """Physical (start, end) of an object's content and counter now, for tools; without what the log holds of it."""
        memory = self.mapped_memory
        if memory is None:
            start, size = item.extent
            return [(start, start + size)]
        return memory.places_of(item.address, item.size)

    @property
    def free(self) -> int:
        """Largest size in bytes that an object created now can have; one with a tries counter needs its cells, too."""
        return self._heap.largest if self._free_slots else 0

    @property
    def free_in_all(self) -> int:
        """Bytes that nobody uses, in all gaps together."""
        return self._heap.total

    def used_by(self, owner: int) -> int:
        """Bytes of the contents of an owner's objects."""
        return sum(item.size for item in self._by_owner.get(owner, ()))

    def content(self, item: StoredObject) -> bytes:
        """All of an object, as the open transaction sees it.

        Raises:
            ValueError: the object is deleted.
        """
        if self._used or item.slot < 0:
            return self.read(item)
        content, cells = self._read(item.address, item.size), item.cells
        return content if cells is None else (cells.known or cells.look()) + content[1:]

    def read(self, item: StoredObject, offset: int = 0, length: int | None = None) -> bytes:
        """Content of ``item`` from ``offset``, as the open transaction sees it.

        Args:
            item: an object of this store.
            offset: first byte, 0..size.
            length: bytes, all that follow when None.

        Raises:
            ValueError: outside the object, or the object is deleted.
        """
        if length is None:
            length = item.size - offset
        if offset < 0 or length < 0 or offset + length > item.size or item.slot < 0:
            raise ValueError(f"read outside {item!r}")
        if self._dirty and item.slot in self._dirty:
            return self._read_changed(item, offset, length)
        content, cells = self._read(item.address + offset, length), item.cells
        if cells is None or offset or not length:
            return content
        return (cells.known or cells.look()) + content[1:]

    def _read_changed(self, item: StoredObject, offset: int, length: int) -> bytes:
        """What the open transaction has made of an object."""
        content = self._read_pending(item.address + offset, length)
        cells = item.cells
        if cells is None or offset or not length:
            return content
        return cells.value_in(self._read_pending(cells.address, cells.size)) + content[1:]

    def _read_pending(self, address: int, length: int) -> bytes:
        return self._writes.over(address, self._read(address, length))

    # ------------------------------------------------------------------ changing

    def transaction(self) -> AbstractContextManager[None]:
        """A scope whose changes happen all or not at all.

        Scopes nest: the outermost commits, one that an exception leaves undoes what happened inside it.
        """
        return self  # no object of its own: a cycle would keep dead stores in memory

    def write(self, item: StoredObject, offset: int, data: bytes) -> None:
        """Change content within the open transaction.

        Raises:
            NotEnoughMemory: the commit buffer is full; let it leave the transaction, which changes nothing then.
            ValueError: outside the object, or the object is deleted.
            RuntimeError: no transaction is open.
        """
        if not self._savepoints:
            raise RuntimeError("a write needs a transaction")
        if item.cells is not None and not offset and data:
            self._add(item, *item.cells.following(data))
            self._recounted.append(item.cells)
            data = _NO_TRIES + data[1:]
        start, data = self._whole_words(item, offset, data)
        if data:
            self._add(item, start, data)
            if item.kind in _SECRET_KINDS:
                self._secret = True
            if item.slot in self.watched:
                self.touched.add(item.owner)

    def change(self, item: StoredObject, offset: int, data: bytes) -> None:
        """Change content, in the open transaction or in one of its own.

        Raises:
            NotEnoughMemory: the commit buffer is too small; nothing is changed then.
            MemoryFailure: no sound memory is left for it; nothing is changed.
            ValueError: outside the object, or the object is deleted.
        """
        if self._savepoints or item.cells is not None:
            with self:
                self.write(item, offset, data)
            return
        start, data = self._whole_words(item, offset, data)
        if not data:
            return
        if RECORD_OVERHEAD + len(data) > self._memory.capacity:
            raise NotEnoughMemory(_TOO_LARGE)
        self._memory.commit(((start, data),), (), item.kind in _SECRET_KINDS)
        if item.slot in self.watched:
            self.touched.add(item.owner)

    def _whole_words(self, item: StoredObject, offset: int, data: bytes) -> tuple[int, bytes]:
        """Address and content of the programming units that a write changes; none for no data.

        Raises:
            ValueError: outside the object, or the object is deleted.
        """
        length = len(data)
        if offset < 0 or offset + length > item.size or item.slot < 0:
            raise ValueError(f"write outside {item!r}")
        rest = self._word - 1
        address = item.address + offset
        before, after = address & rest, -(address + length) & rest
        if type(data) is not bytes:  # a copy of bytes that are bytes is not for nothing
            data = bytes(data)
        if length:
            if before:
                data = self._around(item, address - before, before) + data
            if after:
                data += self._around(item, address + length, after)
        return address - before, data

    def _add(self, item: StoredObject, address: int, data: bytes) -> None:
        """Put whole words into the open transaction."""
        self._spend(RECORD_OVERHEAD + len(data))
        self._writes.add(item.slot, address, data)

    def _around(self, item: StoredObject, address: int, length: int) -> bytes:
        """Bytes that share a programming unit with a write, as the transaction sees them."""
        if item.slot in self._dirty:
            return self._read_pending(address, length)
        return self._read(address, length)

    def _spend(self, cost: int) -> None:
        used = self._used + cost
        if used > self._memory.capacity:
            raise NotEnoughMemory(_TOO_LARGE)
        self._used = used

    def count(self, item: StoredObject, value: bytes) -> None:
        """Set the counter of one byte at the start of an object, as by `write_through`.

        Raises:
            MemoryFailure: its cells are damaged.
            ValueError: the object is deleted.
        """
        cells = item.cells
        if cells is None or self._used or item.slot < 0:
            self.write_through(item, 0, value)
        else:
            cells.write(value)

    def write_through(self, item: StoredObject, offset: int, data: bytes) -> None:
        """Change bytes of one word at once, whatever becomes of the open transaction; for counters.

        Old or new after a cut at any unit. A pending write of the same bytes is changed too, so that a later commit
        does not bring the old value back.

        Raises:
            MemoryFailure: the cells of the counter are damaged.
            ValueError: more than one word, a counter in cells with what follows it, outside the object, or the object
                is deleted.
        """
        if offset < 0 or not data or offset + len(data) > item.size or item.slot < 0:
            raise ValueError(f"write outside {item!r}")
        if self._created:
            self._memory.announce()
        if item.cells is None or offset:
            self._write_word_through(item, offset, data)
        elif len(data) == 1:
            address, cell = item.cells.following(data)
            item.cells.write(data)
            self._writes.amend(address, cell)
        else:
            raise ValueError("a counter in cells is written through alone")

    def _write_word_through(self, item: StoredObject, offset: int, data: bytes) -> None:
        word, length = self._word, len(data)
        address = item.address + offset
        at = address & word - 1
        start = address - at
        if at + length > word:
            raise ValueError("more than one word is written through")
        new = data
        if length != word:
            old = self._read(start, word)
            new = old[:at] + data + old[at + length :] if at else data + old[length:]
        self._memory.write_word(start, new)
        self._writes.amend(address, data)

    def create(
        self, owner: int, kind: ObjectKind, identifier: int, size: int, content: bytes = b"", fill: int = 0x00
    ) -> StoredObject:
        """Make an object, in the open transaction or in one of its own.

        Args:
            owner: 0..65,535.
            kind: what it is.
            identifier: name within owner and kind, 0..2^32-1.
            size: bytes.
            content: its first bytes; not bounded by the commit buffer.
            fill: value of the bytes after ``content``.

        Raises:
            FileExists: an object of that name exists.
            NotEnoughMemory: no gap of that size, no free slot, or the transaction is too large; nothing is changed.
            ValueError: a number is out of range, or ``content`` is longer than ``size``.
        """
        if not (0 <= owner <= _MAX_OWNER and 0 <= identifier <= _MAX_IDENTIFIER and len(content) <= size):
            raise ValueError(f"not creatable: owner {owner}, identifier {identifier}, {size} bytes")
        if (owner, kind, identifier) in self._index:
            raise FileExists(f"{kind.name} {identifier:04X} of {owner} exists")
        if self.grants:
            self.grants.check(owner, size, self.used_by, self._heap.total)
        with self:
            if not self._free_slots:
                raise NotEnoughMemory("the object table is full")
            self._spend(ROW_COST)
            room = self._memory.counter_room if counter_bytes(kind, identifier, size) == 1 else 0
            start = self._heap.allocate(room + size) if size else 0
            if start is None:
                self._used -= ROW_COST
                raise NotEnoughMemory(f"no gap of {size} bytes")
            item = StoredObject(self._free_slots.pop(), owner, kind, identifier, size, start + room)
            if room:
                item.cells = self._memory.counter_cells(start)
            self._created.append(item)
            self._enter(item)
            self._fill(item, content, fill)
        return item

    def _fill(self, item: StoredObject, content: bytes, fill: int) -> None:
        """Program a new object's content into free memory."""
        if fill == self._memory.erased:
            data = bytes(content)
        else:
            data = bytes(content) + bytes((fill,)) * (item.size - len(content))
        if item.cells is not None:
            data = item.cells.first(data[0] if data else fill) + _NO_TRIES + data[1:]
        if data:
            self._memory.program(item.extent[0], data)

    def delete(self, item: StoredObject) -> None:
        """Remove an object and wipe its content, in the open transaction or in one of its own.

        Memory and slot can be used again after the commit.

        Raises:
            NotEnoughMemory: the transaction is larger than the commit buffer.
            ValueError: it is deleted already.
        """
        if item.slot < 0 or self._index.get((item.owner, item.kind, item.identifier)) is not item:
            raise ValueError(f"{item!r} is deleted")
        with self:
            self._spend(ROW_COST + RECORD_OVERHEAD)
            self._deleted.append(item)
            self._leave(item)

    def _enter(self, item: StoredObject) -> None:
        owner = item.owner
        key = (owner, item.kind, item.identifier)
        if key in self._index:
            raise ValueError("two objects of one name")
        self._index[key] = item
        if owner in self._by_owner:
            self._by_owner[owner].append(item)
        else:
            self._by_owner[owner] = [item]

    def _leave(self, item: StoredObject) -> None:
        del self._index[item.owner, item.kind, item.identifier]
        self._by_owner[item.owner].remove(item)

    # ------------------------------------------------------------------ transaction scopes

    def __enter__(self) -> None:
        self._savepoints.append(Savepoint(len(self._writes), len(self._created), len(self._deleted), self._used))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon(error)
            return
        if len(self._savepoints) == 1:
            if self._used:
                try:
                    self._commit()
                except MemoryFailure as failure:  # nothing was changed
                    self._abandon(failure)
                    raise
            else:
                self._memory.settle()
            self._forget()
        self._savepoints.pop()

    def _commit(self) -> None:
        memory, writes = self._memory, self._writes.steps()
        wipes: list[tuple[int, int]] = []
        if self._created or self._deleted:
            writes.extend([row_of(memory, item) for item in self._created])
            writes.extend([free_row(memory, item) for item in self._deleted])
            wipes = [item.extent for item in self._deleted if item.size]
        memory.commit(writes, wipes, self._secret)
        for cells in self._recounted:
            cells.forget()
        for item in self._deleted:
            self._heap.release(*item.extent)
            self._free_slots.append(item.slot)
            item.slot = _GONE

    def _forget(self) -> None:
        if self._used:
            self._writes.clear()
            self._created.clear()
            self._deleted.clear()
            self._recounted.clear()
            self._used = 0
            self._secret = False

    def _abandon(self, error: BaseException | None) -> None:
        """Undo what the innermost scope did; with the power gone there is nothing left to undo."""
        savepoint = self._savepoints.pop()
        if isinstance(error, CardTorn):
            return
        for item in reversed(self._created[savepoint.created :]):
            if self._index.get((item.owner, item.kind, item.identifier)) is item:
                self._leave(item)
            if item.size:
                self._memory.take_back(*item.extent)
            self._heap.release(*item.extent)
            self._free_slots.append(item.slot)
            item.slot = _GONE
        del self._created[savepoint.created :]
        for item in self._deleted[savepoint.deleted :]:
            if item.slot != _GONE:  # it was made in this scope too
                self._enter(item)
        del self._deleted[savepoint.deleted :]
        self._writes.undo(savepoint.writes)
        self._used = savepoint.used
        if not self._savepoints:
            self._recounted.clear()
            self._secret = False
            self._memory.settle()


_TOO_LARGE: Final = "the transaction is larger than the commit buffer"
_NO_TRIES: Final = b"\x00"
_SECRET_KINDS: Final = frozenset((ObjectKind.KEY, ObjectKind.PIN))
