"""The object table: one row of 16 bytes for each object of a memory.

```
offset  0  1  kind, 00 free
offset  1  1  where its counter of one byte is: 00 in the content, 01 in two cells before it
offset  2  2  owner
offset  4  4  identifier
offset  8  4  address of the content
offset 12  4  bytes of the content
```

Numbers are big-endian. The lowest free row is taken first, so that nothing follows the last one that is used.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from card_os.iso7816.errors import MemoryFailure
from card_os.storage.heap import FirstFitHeap
from card_os.storage.journal import RECORD_OVERHEAD
from card_os.storage.layout import words
from card_os.storage.memory import Memory
from card_os.storage.objects import ObjectKind, StoredObject

_ROW: Final = struct.Struct(">BBHIII")
ROW_COST: Final = RECORD_OVERHEAD + _ROW.size
"""Bytes that the change of a row takes of a transaction."""
_NO_ROW: Final = bytes(_ROW.size)
_IN_CONTENT: Final = 0
_IN_CELLS: Final = 1
_NEVER_USED: Final = 0xFF
_KINDS: Final = {int(kind): kind for kind in ObjectKind}


class ObjectTable(NamedTuple):
    """What a table says.

    Attributes:
        objects: the objects, in the order of their rows.
        free_rows: the rows of none, the one to take next at the end.
        heap: the memory that they leave.
    """

    objects: list[StoredObject]
    free_rows: list[int]
    heap: FirstFitHeap


def read_table(memory: Memory) -> ObjectTable:
    """Read the table of a memory.

    Raises:
        MemoryFailure: it is damaged.
    """
    raw = memory.read(memory.table, memory.slots * _ROW.size)
    blank = bytes((memory.erased,))
    used = words(len(raw.rstrip(b"\x00" + blank)), _ROW.size)
    free = list(range(memory.slots - 1, used // _ROW.size - 1, -1))
    objects: list[StoredObject] = []
    extents: list[tuple[int, int]] = []
    try:
        for slot, (kind, counter, owner, identifier, address, size) in enumerate(_ROW.iter_unpack(raw[:used])):
            if not kind or kind == _NEVER_USED:
                free.append(slot)
                continue
            item = StoredObject(slot, owner, _KINDS[kind], identifier, size, address)
            room = 0
            if counter != _IN_CONTENT:
                room = memory.counter_room
                item.cells = memory.counter_cells(address - room)
            objects.append(item)
            if size:
                extents.append((address - room, room + size))
        heap = FirstFitHeap(memory.heap, memory.end, memory.word_size)
        heap.occupy(extents)
    except (KeyError, ValueError) as error:
        raise MemoryFailure("the object table is damaged") from error
    return ObjectTable(objects, free, heap)


def row_of(memory: Memory, item: StoredObject) -> tuple[int, bytes]:
    """Address and content of an object's row."""
    counter = _IN_CONTENT if item.cells is None else _IN_CELLS
    row = _ROW.pack(item.kind, counter, item.owner, item.identifier, item.address, item.size)
    return memory.table + item.slot * _ROW.size, row


def free_row(memory: Memory, item: StoredObject) -> tuple[int, bytes]:
    """Address and content of the row of an object that goes."""
    return memory.table + item.slot * _ROW.size, _NO_ROW
