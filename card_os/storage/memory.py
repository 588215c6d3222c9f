"""What the object store needs of the memory under it: logical addresses, changed all at once or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from card_os.hardware.chip import CellKind
from card_os.hardware.nvm import Nvm
from card_os.storage.counter_cells import CounterCells
from card_os.storage.in_place import InPlaceMemory
from card_os.storage.mapped import MappedMemory


class Memory(Protocol):
    """Logical memory of one store.

    Attributes:
        table: address of the object table.
        slots: rows of the table.
        heap: address of the first word for contents.
        end: address after the last.
        capacity: bytes of records that one commit takes.
        word_size: bytes of a programming unit.
        erased: value of a byte that was never written.
        counter_room: bytes of the cells of a counter; 0 where counters stand in the content of their object.
    """

    table: int
    slots: int
    heap: int
    end: int
    capacity: int
    word_size: int
    erased: int
    counter_room: int

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, as committed."""
        ...

    def commit(self, writes: Sequence[tuple[int, bytes]], wipes: Sequence[tuple[int, int]], secret: bool) -> None:
        """Do all writes (address, data), then wipe all areas (address, length), or nothing of both.

        Args:
            writes: whole words.
            wipes: areas whose old content must be nowhere in the memory afterwards.
            secret: what ``writes`` replace must be nowhere in the memory afterwards.
        """
        ...

    def write_word(self, address: int, word: bytes) -> None:
        """Program one word, old or new after a cut."""
        ...

    def counter_cells(self, address: int) -> CounterCells:
        """The cells of a counter from ``address`` on.

        Raises:
            MemoryFailure: counters have no cells here.
        """
        ...

    def announce(self) -> None:
        """Free memory is about to hold bytes of an object that is not committed."""
        ...

    def program(self, address: int, data: bytes) -> None:
        """Program blank, free memory; it outlives a cut only when a commit makes it an object's."""
        ...

    def take_back(self, address: int, length: int) -> None:
        """Wipe free memory that was programmed."""
        ...

    def settle(self) -> None:
        """Free memory is blank again, or what was programmed has become an object's."""
        ...

    def clean(self, gaps: Iterable[tuple[int, int]]) -> None:
        """At boot: wipe what uncommitted creations left in the free gaps (start, end)."""
        ...


def open_memory(nvm: Nvm) -> Memory:
    """The memory's logical side as its cells ask for it; a blank one is formatted, an interrupted change finished.

    Raises:
        MemoryFailure: neither blank nor sound.
    """
    return InPlaceMemory(nvm) if nvm.kind is CellKind.WORDS else MappedMemory(nvm)
