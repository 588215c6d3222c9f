"""The records of a mapped memory's log, and how a boot does them again.

```
record  sequence 4 ‖ bytes of its entries 4 (bit 31: a secret was replaced) ‖ entries ‖ CRC-32 of all before it 4
entry   address 4 ‖ length 4 (bit 31: wipe, no data follows) ‖ data
```

Numbers are big-endian, addresses are logical. Records begin at programming units and follow each other through the
blocks of the log. A page has all records that are earlier than the sequence in its header.

Source: docs/decisions/0002-mapped-memory.md.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Final

from card_os.iso7816.errors import MemoryFailure
from card_os.storage.layout import words

RECORD: Final = struct.Struct(">II")
"""Head of a record."""
ENTRY: Final = struct.Struct(">II")
"""Head of an entry."""
CHECKSUM: Final = struct.Struct(">I")
SECRET: Final = 1 << 31
WIPE: Final = 1 << 31


class LogReplay:
    """Does the records of a log in the copy of the pages.

    Args:
        ram: the logical memory as its pages have it.
        page_bytes: bytes of a logical page.
        blank: value of a byte that was never written.
        born: by page the sequence from which on the log tells more than the page.

    Attributes:
        pages: pages that differ from their blocks now.
        secret: a record has replaced a secret, which is still somewhere.
        sequence: the latest that was found.
    """

    __slots__ = ("_blank", "_born", "_page_bytes", "_ram", "pages", "secret", "sequence")

    def __init__(self, ram: bytearray, page_bytes: int, blank: int, born: Mapping[int, int]) -> None:
        self._ram = ram
        self._page_bytes = page_bytes
        self._blank = bytes((blank,))
        self._born = born
        self.pages: set[int] = set()
        self.secret = False
        self.sequence = 0

    def run(self, stream: bytes, word_size: int) -> int:
        """Do all records; returns the offset after the last whole one, where the next may be written.

        Raises:
            MemoryFailure: what a record with a right checksum says is not possible.
        """
        at, end, length_mask = 0, len(stream), ~SECRET
        while at + RECORD.size <= end:
            sequence, marked = RECORD.unpack_from(stream, at)
            stop = at + RECORD.size + (marked & length_mask)
            if stop + CHECKSUM.size > end or CHECKSUM.unpack_from(stream, stop)[0] != zlib.crc32(stream[at:stop]):
                break
            self._do(stream, at + RECORD.size, stop, sequence)
            if marked & SECRET:
                self.secret = True
            self.sequence = max(self.sequence, sequence)
            at = words(stop + CHECKSUM.size, word_size)
        return at

    def _do(self, stream: bytes, at: int, stop: int, sequence: int) -> None:
        """The entries of one record."""
        size, ram, born = self._page_bytes, self._ram, self._born
        pages = len(ram) // size
        try:
            while at < stop:
                address, length = ENTRY.unpack_from(stream, at)
                at += ENTRY.size
                page = address // size
                if (address + length - 1) // size == page < pages:
                    if born.get(page, 0) < sequence:
                        ram[address : address + length] = stream[at : at + length]
                        self.pages.add(page)
                    at += length
                    continue
                if length & WIPE:
                    data = self._blank * (length & ~WIPE)
                else:
                    data = stream[at : at + length]
                    at += length
                self._do_long(address, data, sequence)
        except struct.error as error:
            raise MemoryFailure("the log is damaged") from error

    def _do_long(self, address: int, data: bytes, sequence: int) -> None:
        """An entry that touches more than one page, or wipes."""
        end = address + len(data)
        if end > len(self._ram):
            raise MemoryFailure("the log leaves the memory")
        size = self._page_bytes
        for page in range(address // size, (end - 1) // size + 1):
            if self._born.get(page, 0) < sequence:
                first, last = max(address, page * size), min(end, (page + 1) * size)
                self._ram[first:last] = data[first - address : last - address]
                self.pages.add(page)
