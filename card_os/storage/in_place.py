"""Logical memory on cells that are erased word by word: every byte has one place, changed by journals of fixed places.

Cards of the first release have it; `layout` says where its areas stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.counter_cells import CounterCells, cell_width
from card_os.storage.journal import Journal, WordJournal
from card_os.storage.layout import open_layout, wipe


class InPlaceMemory:
    """A memory whose logical addresses are the physical ones; see `card_os.storage.memory.Memory`.

    Args:
        nvm: the memory.

    Raises:
        MemoryFailure: neither blank nor sound.
    """

    __slots__ = (
        "_announced",
        "_journal",
        "_nvm",
        "_scrub",
        "_word_journal",
        "capacity",
        "counter_room",
        "end",
        "erased",
        "heap",
        "read",
        "slots",
        "table",
        "word_size",
        "write_word",
    )

    def __init__(self, nvm: Nvm) -> None:
        layout = open_layout(nvm)
        self._nvm = nvm
        self._announced = False
        self._scrub = layout.scrub
        self._word_journal = WordJournal(nvm, layout.word_journal)
        self._journal = Journal(nvm, layout.journal, layout.journal_capacity)
        self._word_journal.replay()
        self._journal.replay()
        self.table = layout.table
        self.slots = layout.slots
        self.heap = layout.heap
        self.end = nvm.size
        self.capacity = layout.journal_capacity
        self.word_size = nvm.word_size
        self.erased = nvm.erased
        self.read = nvm.read
        self.write_word = self._word_journal.write
        self.counter_room = 2 * cell_width(nvm.word_size) if layout.counters_apart else 0

    def commit(self, writes: Sequence[tuple[int, bytes]], wipes: Sequence[tuple[int, int]], secret: bool) -> None:
        """Do all or nothing; old content is gone in any case, for each byte has one place."""
        del secret
        self._journal.commit(writes, wipes)
        self.settle()

    def counter_cells(self, address: int) -> CounterCells:
        """The cells there; a memory of the first form has none."""
        if not self.counter_room:
            raise MemoryFailure("no counter of this memory has cells")
        return CounterCells(address, self._nvm, self.counter_room // 2)

    def announce(self) -> None:
        """Set the scrub word, once."""
        if not self._announced:
            self._nvm.write(self._scrub, bytes((self.erased ^ 0xFF,)) * self.word_size)
            self._announced = True

    def program(self, address: int, data: bytes) -> None:
        """Program free memory, after a note that it may have to be wiped."""
        self.announce()
        self._nvm.write(address, data)

    def take_back(self, address: int, length: int) -> None:
        """Wipe free memory that was programmed."""
        self._nvm.write(address, bytes((self.erased,)) * length)

    def settle(self) -> None:
        """Clear the scrub word."""
        if self._announced:
            self._clear()

    def _clear(self) -> None:
        self._nvm.write(self._scrub, bytes((self.erased,)) * self.word_size)
        self._announced = False

    def clean(self, gaps: Iterable[tuple[int, int]]) -> None:
        """Wipe the gaps when the scrub word is set."""
        if self._nvm.read(self._scrub, self.word_size) != bytes((self.erased,)) * self.word_size:
            for start, end in gaps:
                wipe(self._nvm, start, end)
            self._clear()
