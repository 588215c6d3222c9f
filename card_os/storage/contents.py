"""What a memory means at rest: its objects, which bytes of them count, and what should be blank and is not.

For tools that compare memories. Values stay inside: nothing here puts them into a repr or an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from card_os.hardware.chip import CellKind
from card_os.hardware.nvm import Nvm
from card_os.storage.blocks import block_bytes_of, survey_blocks
from card_os.storage.layout import open_layout, words
from card_os.storage.memory import open_memory
from card_os.storage.objects import counter_bytes
from card_os.storage.store import ObjectKind, ObjectStore


class ObjectName(NamedTuple):
    """What tells one object of a card from all others."""

    owner: int
    kind: ObjectKind
    identifier: int

    def __str__(self) -> str:
        return f"{self.kind.name} {self.identifier:04X} of {self.owner}"


@dataclass(frozen=True, slots=True)
class StoredState:
    """The objects of a memory at rest.

    Attributes:
        fixed: content by name, without counters.
        counters: tries and sequence counters by name: the first bytes of an object, see `objects.counter_bytes`.
        extents: address and bytes of what each object has in the memory, its cells first.
        cells: address of the cells of each counter that has some.
    """

    fixed: Mapping[ObjectName, bytes] = field(repr=False)
    counters: Mapping[ObjectName, bytes] = field(repr=False)
    extents: Mapping[ObjectName, tuple[int, int]] = field(repr=False)
    cells: Mapping[ObjectName, int] = field(repr=False)

    def content(self, name: ObjectName) -> bytes | None:
        """The whole content, None when there is no such object."""
        return self.counters.get(name, b"") + self.fixed[name] if name in self.fixed else None


def read_state(nvm: Nvm) -> StoredState:
    """Boot a store on ``nvm``, which finishes or forgets what was torn, and read all objects.

    Raises:
        MemoryFailure: the memory holds no sound store.
    """
    store = ObjectStore(nvm)
    fixed: dict[ObjectName, bytes] = {}
    counters: dict[ObjectName, bytes] = {}
    extents: dict[ObjectName, tuple[int, int]] = {}
    cells: dict[ObjectName, int] = {}
    for item in store.objects():
        name = ObjectName(item.owner, item.kind, item.identifier)
        content = store.read(item)
        count = counter_bytes(item.kind, item.identifier, item.size)
        fixed[name] = content[count:]
        if count:
            counters[name] = content[:count]
        extents[name] = item.extent
        if item.cells is not None:
            cells[name] = item.cells.address
    return StoredState(fixed, counters, extents, cells)


def count_residue(nvm: Nvm, state: StoredState) -> int:
    """Bytes that are not blank where nothing should stand: scrub word, journals and the gaps between the objects.

    On a mapped memory: in blocks that hold neither a page nor the log, and in the gaps.

    Args:
        nvm: the memory; a mapped one is booted, without cleaning its gaps.
        state: its objects.
    """
    if nvm.kind is CellKind.WORDS:
        layout = open_layout(nvm)
        found, start, end, read = (
            _not_blank(nvm.read, nvm.erased, layout.scrub, layout.table),
            layout.heap,
            nvm.size,
            nvm.read,
        )
    else:
        size = block_bytes_of(nvm)
        garbage = survey_blocks(nvm.cells, size, nvm.erased).garbage
        found = sum(_not_blank(nvm.read, nvm.erased, block * size, (block + 1) * size) for block in garbage)
        memory = open_memory(nvm)
        start, end, read = memory.heap, memory.end, memory.read
    for address, size in sorted(extent for extent in state.extents.values() if extent[1]):
        found += _not_blank(read, nvm.erased, start, address)
        start = address + words(size, nvm.word_size)
    return found + _not_blank(read, nvm.erased, start, end)


def _not_blank(read: Callable[[int, int], bytes], erased: int, start: int, end: int) -> int:
    length = max(end - start, 0)
    return length - read(start, length).count(erased)
