"""Blocks of a mapped memory: their headers, and what a memory at rest says of each.

```
offset 0    1  50 a logical page, 4C a piece of the log
offset 1    1  00
offset 2    2  number of the logical page, 0 for the log
offset 4    4  sequence: later ones are newer
offset 8    8  complement of offsets 0 to 7
offset 16      content
```

All numbers are big-endian. A header is valid when its halves are complements; a torn word cannot make that so. A blank
block is free; a block whose header is all complement of blank has been given up; anything else was left by a cut.
"""

from __future__ import annotations

import struct
from collections import deque
from enum import IntEnum
from typing import Final, NamedTuple

from card_os.hardware.nvm import Nvm

BLOCK_BYTES: Final = 512
HEADER_BYTES: Final = 16
_HEADER: Final = struct.Struct(">IIII")
_MASK: Final = 0xFFFF_FFFF
_KIND_SHIFT: Final = 24
_NUMBER_MASK: Final = 0xFFFF
_RETIRED_BYTES: Final = 12  # of 16, for cells of a block that was given up may be stuck
_GROUP: Final = 16


class BlockKind(IntEnum):
    """What a valid header says."""

    PAGE = 0x50
    LOG = 0x4C


class BlockSurvey(NamedTuple):
    """All blocks of a memory.

    Attributes:
        pages: block by logical page, the newest of each.
        born: its sequence by logical page.
        log: (sequence, block), ascending.
        free: blank blocks, ascending.
        garbage: blocks that a cut left, and predecessors of newer pages.
        retired: blocks that were given up.
    """

    pages: dict[int, int]
    born: dict[int, int]
    log: list[tuple[int, int]]
    free: deque[int]
    garbage: list[int]
    retired: set[int]


def block_bytes_of(nvm: Nvm) -> int:
    """Bytes of a block of that memory."""
    return max(BLOCK_BYTES, nvm.page_size)


def block_header(kind: BlockKind, number: int, sequence: int) -> bytes:
    """The header of a block."""
    first = kind << _KIND_SHIFT | number
    return _HEADER.pack(first, sequence, first ^ _MASK, sequence ^ _MASK)


def survey_blocks(cells: memoryview, block_bytes: int, erased: int) -> BlockSurvey:
    """Sort the blocks of a memory; nothing is changed."""
    blank = bytes((erased,)) * block_bytes
    survey = BlockSurvey({}, {}, [], deque(), [], set())
    pages, born, log, free, garbage, retired = survey
    nothing = _HEADER.unpack_from(blank)
    heads = struct.Struct(f">IIII{block_bytes - HEADER_BYTES}x")
    for block, head in enumerate(heads.iter_unpack(cells)):
        if head == nothing:
            free.append(block)
            continue
        first, sequence, not_first, not_sequence = head
        if first ^ not_first != _MASK or sequence ^ not_sequence != _MASK:
            start = block * block_bytes
            given_up = cells[start : start + HEADER_BYTES].tobytes().count(erased ^ 0xFF) >= _RETIRED_BYTES
            (retired.add if given_up else garbage.append)(block)
        elif first >> _KIND_SHIFT == BlockKind.LOG:
            log.append((sequence, block))
        else:
            page = first & _NUMBER_MASK
            if born.get(page, 0) < sequence:
                if page in pages:
                    garbage.append(pages[page])
                pages[page] = block
                born[page] = sequence
            else:
                garbage.append(block)
    log.sort()
    _doubt(cells, survey, blank)
    return survey


def _doubt(cells: memoryview, survey: BlockSurvey, blank: bytes) -> None:
    """Blocks without header are free only when all of them is blank, not when a cut came before their header."""
    size, free = len(blank), survey.free
    group_bytes, blanks = size * _GROUP, blank * _GROUP
    groups = sorted({block // _GROUP for block in free})
    doubtful = {number for number in groups if cells[number * group_bytes :][:group_bytes].tobytes() != blanks}
    for block in [block for block in free if block // _GROUP in doubtful]:
        if cells[block * size : (block + 1) * size].tobytes() != blank:
            free.remove(block)
            survey.garbage.append(block)
