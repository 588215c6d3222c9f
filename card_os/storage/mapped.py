"""Logical memory over physical blocks, for cells with a page erase: nothing is changed where it stands.

A block is one page, or as many small pages as make 512 bytes. Blocks hold a logical page each, or a piece of the log,
or are free and blank. A change is one record at the end of the log: it is made once its checksum stands. A copy of the
logical memory is kept in RAM, built at boot from pages and log, so that a read touches no map. When the log is full,
or secrets must go, the pages that it changed are written to free blocks, read back, made valid by their headers, and
only then are the old blocks and the log erased. Free blocks are used in turn, so that no block is the journal's own.

Layouts, sequences, and why a cut at any unit leaves the old or the new state: docs/decisions/0002.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.block_pool import BlockPool
from card_os.storage.blocks import HEADER_BYTES, BlockKind, survey_blocks
from card_os.storage.counter_cells import CounterCells
from card_os.storage.layout import JOURNAL_CAPACITY, ROW_BYTES, words
from card_os.storage.log_records import CHECKSUM, ENTRY, RECORD, SECRET, WIPE, LogReplay

_BYTES_A_SLOT: Final = 512
_MAGIC: Final = b"OBJ2"
_SUPERBLOCK: Final = struct.Struct(">4sIIIIII")
_LOG_BLOCKS: Final = 8
_SPARES_SHARE: Final = 32
_MIN_SPARES: Final = 2
_LEVELLING_GAP: Final = 32


class MappedMemory:
    """See the module and `card_os.storage.memory.Memory`.

    Args:
        nvm: the memory; it alone is the truth.

    Raises:
        MemoryFailure: neither blank nor sound, or worn out while it booted.
    """

    __slots__ = (
        "_at",
        "_blank",
        "_block_bytes",
        "_blocks",
        "_broken",
        "_cleansing_due",
        "_dirty",
        "_log",
        "_log_blocks",
        "_map",
        "_nvm",
        "_page_bytes",
        "_pool",
        "_ram",
        "_room",
        "_sequence",
        "_view",
        "capacity",
        "counter_room",
        "end",
        "erased",
        "heap",
        "slots",
        "table",
        "word_size",
    )

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self.word_size = nvm.word_size
        self.erased = nvm.erased
        self._pool = pool = BlockPool(nvm)
        self._block_bytes = pool.block_bytes
        self._page_bytes = self._block_bytes - HEADER_BYTES
        self._blocks = nvm.size // self._block_bytes
        self._blank = pool.blank
        self._map: dict[int, int] = {}
        self._log: list[int] = []
        self._dirty: set[int] = set()
        self._cleansing_due = False
        self._broken = False
        self._at = self._room = 0
        self._sequence = 0
        self.counter_room = 0  # a counter that is written through is one record of the log, wherever it stands
        self._boot()

    # ------------------------------------------------------------------ boot

    def _boot(self) -> None:
        raw = self._nvm.cells[: self._blocks * self._block_bytes]
        survey = survey_blocks(raw, self._block_bytes, self.erased)
        born, log, garbage = survey.born, survey.log, survey.garbage
        pool = self._pool
        self._map, pool.free, pool.retired = survey.pages, survey.free, survey.retired
        self._sequence = max(max(born.values(), default=0), log[-1][0] if log else 0)
        self._lay_out(raw, bool(born or log), len(garbage))
        self._ram = ram = bytearray((self.erased,)) * self.end
        self._view = memoryview(ram)
        size, block_bytes = self._page_bytes, self._block_bytes
        for page, block in self._map.items():
            start = block * block_bytes + HEADER_BYTES
            ram[page * size : (page + 1) * size] = raw[start : start + size]
        sound = self._replay(raw, born, log)
        for block in garbage:
            self._pool.release(block)
        if not sound:
            self._broken = True
            self._room = 0
            self.flush()
        free = pool.free
        if free:
            free.rotate(-(self._sequence % len(free)))
        if not born:
            self._format()
        elif self._cleansing_due:
            self.flush()

    def _lay_out(self, raw: memoryview, made: bool, garbage: int) -> None:
        """Addresses and sizes: of the superblock, or of a memory that is to be formatted."""
        if made:
            block = self._map.get(0)
            if block is None:
                raise MemoryFailure("the page of the superblock is gone")
            start = block * self._block_bytes + HEADER_BYTES
            fields = raw[start : start + _SUPERBLOCK.size].tobytes()
            magic, slots, capacity, pages, log_blocks, block_bytes, checksum = _SUPERBLOCK.unpack(fields)
            if magic != _MAGIC or checksum != zlib.crc32(fields[: -CHECKSUM.size]) or block_bytes != self._block_bytes:
                raise MemoryFailure("the superblock is damaged")
            if max(self._map) >= pages:
                raise MemoryFailure("a page is outside the memory")
        else:
            if garbage > 1:
                raise MemoryFailure("the memory is neither blank nor formatted")
            spares = max(_MIN_SPARES, self._blocks // _SPARES_SHARE)
            slots, capacity, log_blocks = self._nvm.size // _BYTES_A_SLOT, JOURNAL_CAPACITY, _LOG_BLOCKS
            pages = self._blocks - log_blocks - spares
            if pages <= 0:
                raise MemoryFailure("the memory is too small")
        self.slots: int = slots
        self.capacity: int = capacity
        self.end: int = pages * self._page_bytes
        self._log_blocks: int = log_blocks
        self.table = words(_SUPERBLOCK.size, max(self.word_size, ROW_BYTES))
        self.heap = words(self.table + slots * ROW_BYTES, self.word_size)

    def _format(self) -> None:
        """Write the superblock; its page's header, the last unit, makes the memory a store."""
        fields = _SUPERBLOCK.pack(
            _MAGIC, self.slots, self.capacity, self.end // self._page_bytes, self._log_blocks, self._block_bytes, 0
        )[: -CHECKSUM.size]
        self._ram[: _SUPERBLOCK.size] = fields + CHECKSUM.pack(zlib.crc32(fields))
        self._write_page(0)

    def _replay(self, raw: memoryview, born: dict[int, int], log: list[tuple[int, int]]) -> bool:
        """Do the records of the log that their pages do not have yet; False when a cut left a piece of a record."""
        if not log:
            return True
        size = self._block_bytes
        self._log = [block for _, block in log]
        stream = b"".join([raw[block * size + HEADER_BYTES : (block + 1) * size] for block in self._log])
        replay = LogReplay(self._ram, self._page_bytes, self._blank[0], born)
        at, end = replay.run(stream, self.word_size), len(stream)
        self._dirty |= replay.pages
        self._cleansing_due = replay.secret
        self._sequence = max(self._sequence, replay.sequence)
        self._at = self._log[-1] * size + size - (end - at)
        self._room = end - at
        return self._room <= self._page_bytes and stream[at:] == self._blank[:1] * (end - at)

    def clean(self, gaps: Iterable[tuple[int, int]]) -> None:
        """Wipe what uncommitted creations left in free memory, and what wipes left in blocks."""
        top = max((*self._map, *self._dirty)) + 1
        used = top * self._page_bytes  # above it nothing was ever written
        ram, blank = self._ram, self._blank[:1] * used
        left = False
        for start, stop in gaps:
            end = min(stop, used)
            if start < end and self._view[start:end].tobytes() != blank[: end - start]:
                ram[start:end] = blank[: end - start]
                self._mark(start, end - start)
                left = True
        if left:
            self.flush()

    # ------------------------------------------------------------------ changing

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, as committed."""
        return self._view[offset : offset + length].tobytes()

    def _mark(self, address: int, length: int) -> None:
        """Note that RAM and blocks differ there."""
        size = self._page_bytes
        page, last = address // size, (address + length - 1) // size
        self._dirty.add(page)
        while page < last:
            page += 1
            self._dirty.add(page)

    def commit(self, writes: Sequence[tuple[int, bytes]], wipes: Sequence[tuple[int, int]], secret: bool) -> None:
        """Append a record, then change the copy in RAM.

        Raises:
            MemoryFailure: no sound block is left for it; nothing is changed.
            CardTorn: the power went.
        """
        parts: list[bytes] = []
        for address, data in writes:
            parts.append(ENTRY.pack(address, len(data)))
            parts.append(data)
        for address, length in wipes:
            parts.append(ENTRY.pack(address, length | WIPE))
        secret = secret or bool(wipes)
        self._append(b"".join(parts), SECRET if secret else 0)
        ram = self._ram
        for address, data in writes:
            ram[address : address + len(data)] = data
            self._mark(address, len(data))
        for address, length in wipes:
            ram[address : address + length] = self._blank[:1] * length
            self._mark(address, length)
        if secret or self._cleansing_due:
            self._cleansing_due = True
            self.flush()

    def write_word(self, address: int, word: bytes) -> None:
        """Append a record of one word, then change the copy in RAM."""
        length = len(word)
        self._append(ENTRY.pack(address, length) + word, 0)
        self._ram[address : address + length] = word
        self._dirty.add(address // self._page_bytes)

    def counter_cells(self, address: int) -> CounterCells:
        """Counters have no cells here."""
        raise MemoryFailure(f"a counter in cells at {address:06X}")

    def _append(self, body: bytes, flags: int) -> None:
        """Program a record; it is verified when this returns.

        Raises:
            MemoryFailure: no sound block is left for it.
        """
        record = self._record(body, flags)
        length = len(record)
        if length <= self._room:
            at = self._at
            self._nvm.write(at, record)
            if self._nvm.read(at, length) == record:
                self._at = at + length
                self._room -= length
                return
            self._replace_log()
        self._append_in_pieces(body, flags)

    def _record(self, body: bytes, flags: int) -> bytes:
        """The next record, as whole words; its sequence is later than that of every page."""
        record = RECORD.pack(self._next(), len(body) | flags) + body
        record += CHECKSUM.pack(zlib.crc32(record))
        if len(record) % self.word_size:
            record += self._blank[: -len(record) % self.word_size]
        return record

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _append_in_pieces(self, body: bytes, flags: int) -> None:
        """A record that the open block has no room for, or that follows a failure."""
        length = words(RECORD.size + len(body) + CHECKSUM.size, self.word_size)
        while True:
            if not self._has_room(length) and not (self.flush() and self._has_room(length)):
                raise MemoryFailure("no sound memory is left for the log")
            if self._write_pieces(self._record(body, flags)):  # pages that a flush wrote are earlier than it
                return
            self._replace_log()

    def _has_room(self, length: int) -> bool:
        """True when the log can take that many bytes and a free block is left to write pages with."""
        more = -(-(length - self._room) // self._page_bytes)
        return not self._broken and len(self._log) + more <= self._log_blocks and more < len(self._pool.free)

    def _write_pieces(self, record: bytes) -> bool:
        done, length, nvm = 0, len(record), self._nvm
        while done < length:
            if not self._room and not self._open_log_block():
                return False
            piece = record[done : done + self._room]
            nvm.write(self._at, piece)
            if nvm.read(self._at, len(piece)) != piece:
                return False
            self._at += len(piece)
            self._room -= len(piece)
            done += len(piece)
        return True

    def _replace_log(self) -> None:
        """A block of the log failed: bring all committed changes to pages, and go on with a new log."""
        failed = self._log[-1]
        self._broken = True
        self._room = 0
        if not self.flush():
            raise MemoryFailure("a block of the log is worn, and no sound memory is left")
        if failed in self._pool.free:
            self._pool.free.remove(failed)
        self._pool.retire(failed)

    def _open_log_block(self) -> bool:
        block = self._pool.take()
        self._log.append(block)
        self._at = block * self._block_bytes + HEADER_BYTES
        self._room = self._page_bytes
        return self._pool.mark(block, BlockKind.LOG, 0, self._next())

    # ------------------------------------------------------------------ free memory

    def announce(self) -> None:
        """Nothing to note: boot compares free memory with blank."""

    def settle(self) -> None:
        """Erase what was taken back."""
        if self._cleansing_due:
            self.flush()

    def program(self, address: int, data: bytes) -> None:
        """Program the words where they stand when these are blank, else write the page anew.

        Raises:
            MemoryFailure: no sound block is left.
        """
        size, word = self._page_bytes, self.word_size
        end = address + len(data)
        self._ram[address:end] = data
        for page in range(address // size, (end - 1) // size + 1):
            first, last = max(address, page * size), min(end, (page + 1) * size)
            last = words(last, word)
            if not self._program_in_place(page, first, last):
                if page not in self._map and self.spares < 0:
                    raise MemoryFailure("the spare blocks are used up")
                self._write_page(page)
                self._dirty.discard(page)

    def _program_in_place(self, page: int, first: int, last: int) -> bool:
        block = self._map.get(page)
        if block is None:
            return False
        nvm, length = self._nvm, last - first
        at = block * self._block_bytes + HEADER_BYTES + first - page * self._page_bytes
        if nvm.read(at, length) != self._blank[:length]:
            return False
        data = self._view[first:last].tobytes()
        nvm.write(at, data)
        return nvm.read(at, length) == data

    def take_back(self, address: int, length: int) -> None:
        """Wipe in RAM; the pages are written anew when the transaction ends."""
        self._ram[address : address + length] = self._blank[:1] * length
        self._mark(address, length)
        self._cleansing_due = True

    # ------------------------------------------------------------------ blocks

    def flush(self) -> bool:
        """Write the changed pages to free blocks, then erase the log; False when sound blocks run out.

        The state is the same before and after; when it fails, log and pages stand as they did.
        """
        try:
            for page in sorted(self._dirty):
                self._write_page(page)
                self._dirty.discard(page)
        except MemoryFailure:
            return False
        log, self._log = self._log, []
        self._at = self._room = 0
        self._broken = False
        for block in log:
            self._pool.release(block)
        self._cleansing_due = False
        with contextlib.suppress(MemoryFailure):  # to level is a gain, not a need
            self._level()
        return True

    def _write_page(self, page: int) -> None:
        """Write a page to a free block, verify it, make it valid, and only then erase its predecessor."""
        nvm, size = self._nvm, self._page_bytes
        content = self._view[page * size : (page + 1) * size].tobytes()
        used = words(len(content.rstrip(self._blank[:1])), self.word_size)
        while True:
            block = self._pool.take()
            at = block * self._block_bytes + HEADER_BYTES
            nvm.write(at, content[:used])
            if nvm.read(at, size) == content and self._pool.mark(block, BlockKind.PAGE, page, self._next()):
                break
            self._pool.retire(block)
        old = self._map.get(page)
        self._map[page] = block
        if old is not None:
            self._pool.release(old)

    def _level(self) -> None:
        """Move one page that stands still when its block is much less worn than the one that is next to be used."""
        if not self._pool.free:
            return
        page = self._sequence % (self.end // self._page_bytes)
        block = self._map.get(page)
        wear = self._pool.wear
        if block is not None and wear(block) + _LEVELLING_GAP < wear(self._pool.free[0]):
            self._write_page(page)

    # ------------------------------------------------------------------ for reports

    @property
    def spares(self) -> int:
        """Free blocks beyond those that the log may take and the pages not yet written."""
        pages = self.end // self._page_bytes
        return len(self._pool.free) + len(self._log) + len(self._map) - self._log_blocks - pages

    @property
    def retired(self) -> int:
        """Blocks that were given up."""
        return len(self._pool.retired)

    def places_of(self, address: int, length: int) -> list[tuple[int, int]]:
        """Physical (start, end) of logical bytes in their pages now; what the log holds of them is not counted."""
        found: list[tuple[int, int]] = []
        end = address + length
        while address < end:
            page, inside = divmod(address, self._page_bytes)
            step = min(end - address, self._page_bytes - inside)
            block = self._map.get(page)
            if block is not None:
                start = block * self._block_bytes + HEADER_BYTES + inside
                found.append((start, start + step))
            address += step
        return found

    def pages_of(self, address: int, length: int) -> list[int]:
        """Physical pages of the same, ascending."""
        size = self._nvm.page_size
        return sorted(
            {
                page
                for start, end in self.places_of(address, length)
                for page in range(start // size, (end - 1) // size + 1)
            }
        )

    @property
    def log_pages(self) -> list[int]:
        """Physical pages of the log now."""
        pages = self._pool.pages_a_block
        return [block * pages + page for block in self._log for page in range(pages)]
