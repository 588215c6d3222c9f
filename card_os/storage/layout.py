"""Where the store's areas stand in the memory; made once, then read from the superblock.

```
magic           4  in a programming unit of its own: the form, "OBJ3", or "OBJ1" of the first release
superblock     12  number of table slots 4 ‖ journal capacity 4 ‖ CRC-32 of magic and these 4, big-endian
scrub word      1 word, not blank while free memory may hold bytes of an object that was not committed
word journal       see `WordJournal`
journal            see `Journal`
object table   16 a slot
heap               the rest, from a word boundary
```

The areas are the same in both forms. In the first one a counter of one byte stands in the content of its object and is
changed by the word journal; now it has cells of its own (`counter_cells`). A memory keeps the form that it was made in.
("OBJ2" is the superblock of a mapped memory.)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.journal import Journal, WordJournal

ROW_BYTES: Final = 16
MAX_TRANSACTION_DATA: Final = 2_048
"""Bytes of data that one transaction takes whatever their form; the announced longest command data field."""

JOURNAL_CAPACITY: Final = MAX_TRANSACTION_DATA + 1_024
_BYTES_A_SLOT: Final = 512
_MAGIC: Final = b"OBJ3"
_COUNTERS_IN_CELLS: Final[Mapping[bytes, bool]] = MappingProxyType({b"OBJ1": False, _MAGIC: True})
"""What sets the forms of a memory apart, by magic."""
_SUPERBLOCK: Final = struct.Struct(">III")
_CRC_BYTES: Final = 4


class StoreLayout(NamedTuple):
    """Addresses and sizes of the areas.

    Attributes:
        scrub: address of the scrub word.
        word_journal: address.
        journal: address.
        journal_capacity: record bytes.
        table: address.
        slots: rows of the table.
        heap: address of the first word for contents.
        counters_apart: counters of one byte stand in cells before the content.
    """

    scrub: int
    word_journal: int
    journal: int
    journal_capacity: int
    table: int
    slots: int
    heap: int
    counters_apart: bool


def open_layout(nvm: Nvm) -> StoreLayout:
    """The layout in the superblock; a blank memory is formatted first.

    Raises:
        MemoryFailure: neither blank nor a sound superblock.
    """
    magic = nvm.read(0, len(_MAGIC))
    if magic == _blank(nvm, len(_MAGIC)):
        return _format(nvm)
    raw = nvm.read(nvm.word_size, _SUPERBLOCK.size)
    slots, capacity, checksum = _SUPERBLOCK.unpack(raw)
    form = next((form for form in _COUNTERS_IN_CELLS if checksum == zlib.crc32(form + raw[:-_CRC_BYTES])), None)
    if form is None:
        raise MemoryFailure("the superblock is damaged")
    if magic != form:  # the last unit of the formatting was torn
        nvm.write(0, form)
    return _layout(nvm.word_size, slots, capacity, form)


def _layout(word: int, slots: int, capacity: int, form: bytes) -> StoreLayout:
    scrub = word + words(_SUPERBLOCK.size, word)
    word_journal = scrub + word
    journal = word_journal + WordJournal.extent(word)
    table = journal + Journal.extent(word, capacity)
    heap = words(table + slots * ROW_BYTES, word)
    return StoreLayout(scrub, word_journal, journal, capacity, table, slots, heap, _COUNTERS_IN_CELLS[form])


def _format(nvm: Nvm) -> StoreLayout:
    """Make a blank memory a store; the magic comes last, so that a cut leaves a memory that is formatted again."""
    layout = _layout(nvm.word_size, nvm.size // _BYTES_A_SLOT, JOURNAL_CAPACITY, _MAGIC)
    wipe(nvm, layout.scrub, layout.table)
    nvm.write(layout.table, bytes(layout.slots * ROW_BYTES))
    wipe(nvm, layout.heap, nvm.size)
    fields = _SUPERBLOCK.pack(layout.slots, layout.journal_capacity, 0)[:-_CRC_BYTES]
    nvm.write(nvm.word_size, fields + zlib.crc32(_MAGIC + fields).to_bytes(_CRC_BYTES, "big"))
    nvm.write(0, _MAGIC)
    return layout


def wipe(nvm: Nvm, start: int, end: int) -> None:
    """Erase what is not blank between two addresses, page by page."""
    cells, blank = nvm.read(start, end - start), _blank(nvm, end - start)
    if cells == blank:
        return
    for at in range(0, end - start, nvm.page_size):
        page = blank[at : at + nvm.page_size]
        if cells[at : at + nvm.page_size] != page:
            nvm.write(start + at, page)


def words(length: int, word: int) -> int:
    """``length`` rounded up to whole words."""
    return -(-length // word) * word


def _blank(nvm: Nvm, length: int) -> bytes:
    return bytes((nvm.erased,)) * length
