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

import re
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
    """Sort the blocks of a memory, whole blocks, by their first bytes; nothing is changed.

    Most blocks are free: a run of them is compared with blank at once, so that booting costs little.
    """
    survey = BlockSurvey({}, {}, [], deque(), [], set())
    blank = bytes((erased,))
    firsts = cells[::block_bytes].tobytes()
    at = 0
    for run in re.finditer(re.escape(blank) + b"+", firsts):
        start, end = run.span()
        for block in range(at, start):
            _sort(cells, block, block_bytes, erased, survey)
        whole = blank * ((end - start) * block_bytes)
        if whole.startswith(cells[start * block_bytes : end * block_bytes]):
            survey.free.extend(range(start, end))
        else:
            _doubt(cells, range(start, end), whole[:block_bytes], survey)
        at = end
    for block in range(at, len(firsts)):
        _sort(cells, block, block_bytes, erased, survey)
    survey.log.sort()
    return survey


def _sort(cells: memoryview, block: int, block_bytes: int, erased: int, survey: BlockSurvey) -> None:
    """Enter a block that does not begin blank."""
    pages, born, log, _, garbage, retired = survey
    first, sequence, not_first, not_sequence = _HEADER.unpack_from(cells, block * block_bytes)
    if first ^ not_first != _MASK or sequence ^ not_sequence != _MASK:
        if _given_up(cells, block * block_bytes, erased):
            retired.add(block)
        else:
            garbage.append(block)
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


def _given_up(cells: memoryview, start: int, erased: int) -> bool:
    """True when a header is the complement of blank, as far as its cells still take it."""
    return cells[start : start + HEADER_BYTES].tobytes().count(erased ^ 0xFF) >= _RETIRED_BYTES


def _doubt(cells: memoryview, blocks: range, blank: bytes, survey: BlockSurvey) -> None:
    """Blocks that begin blank are free only when all of them is blank, not when a cut came before their header."""
    size = len(blank)
    for block in blocks:
        start = block * size
        if blank.startswith(cells[start : start + size]):
            survey.free.append(block)
        elif _given_up(cells, start, blank[0]):
            survey.retired.add(block)
        else:
            survey.garbage.append(block)
