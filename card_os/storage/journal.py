"""Redo journals: what makes a change of many words happen at once.

`Journal` carries a transaction, `WordJournal` one word that must not wait for it. Both are blank at rest, so that no
secret stays behind in them; after a cut anything that is not blank is either complete and done again, or wiped.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final

from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import MemoryFailure

_NUMBER: Final = struct.Struct(">I")
_RECORD: Final = struct.Struct(">II")
_WIPE: Final = 1 << 31
RECORD_OVERHEAD: Final = _RECORD.size
MARK_BYTES: Final = _NUMBER.size
"""Of a commit mark, and nothing else is written to the start of a journal in this length."""

Step = tuple[int, bytes]
"""Something to be programmed: address, data."""


class Journal:
    """The journal of transactions.

    ```
    offset 0           4  commit mark: CRC-32 of all that follows, in a programming unit of its own
    offset word size   4  bytes of records
    then               8  record: address, length (bit 31: wipe, no data follows) ‖ data
    ```

    Args:
        nvm: the memory.
        start: address, a multiple of the word size.
        capacity: largest number of record bytes.
    """

    __slots__ = ("_blank", "_body", "_nvm", "_start", "capacity")

    def __init__(self, nvm: Nvm, start: int, capacity: int) -> None:
        self._nvm = nvm
        self._start = start
        self._body = start + nvm.word_size
        self.capacity = capacity
        self._blank = bytes((nvm.erased,)) * self.extent(nvm.word_size, capacity)

    @staticmethod
    def extent(word_size: int, capacity: int) -> int:
        """Bytes of memory that a journal of ``capacity`` takes, whole words."""
        return word_size - (-(_NUMBER.size + capacity) // word_size) * word_size

    def commit(self, writes: Sequence[Step], wipes: Sequence[tuple[int, int]] = ()) -> None:
        """Do all writes (address, data), then wipe all areas (address, length), or nothing of both.

        Raises:
            CardTorn: the power went; `replay` at boot finishes or forgets the transaction.
        """
        parts: list[bytes] = []
        for address, data in writes:
            parts.append(_RECORD.pack(address, len(data)))
            parts.append(data)
        for address, length in wipes:
            parts.append(_RECORD.pack(address, length | _WIPE))
        records = b"".join(parts)
        body = _NUMBER.pack(len(records)) + records
        self._nvm.write_each(
            [self._records(body), self._mark(body), *self._changes(writes, wipes), self._erasure(len(body))]
        )

    def _records(self, body: bytes) -> Step:
        return self._body, body

    def _mark(self, body: bytes) -> Step:
        return self._start, _NUMBER.pack(zlib.crc32(body))

    def _changes(self, writes: Sequence[Step], wipes: Sequence[tuple[int, int]]) -> list[Step]:
        blank = bytes((self._nvm.erased,))
        return [*writes, *[(address, blank * length) for address, length in wipes]] if wipes else [*writes]

    def _erasure(self, length: int) -> Step:
        """Mark and body blank; the mark goes first, so that a half wiped journal is not done again."""
        return self._start, self._blank[: self._nvm.word_size + length]

    def replay(self) -> bool:
        """At boot: finish a committed transaction, forget an uncommitted one; True when one was finished.

        Raises:
            MemoryFailure: what was committed cannot be done.
        """
        nvm = self._nvm
        raw = nvm.read(self._start, len(self._blank))
        if raw == self._blank:
            return False
        parsed = self._parse(raw)
        if parsed is not None:
            nvm.write_each(self._changes(*parsed))
        nvm.write(self._start, self._blank)
        return parsed is not None

    def _parse(self, raw: bytes) -> tuple[list[Step], list[tuple[int, int]]] | None:
        """The records of a marked journal, None when the mark does not hold.

        Raises:
            MemoryFailure: the mark holds, and a record leaves the memory.
        """
        body = raw[self._nvm.word_size :]
        (length,) = _NUMBER.unpack_from(body)
        end = _NUMBER.size + length
        if length > self.capacity or _NUMBER.unpack_from(raw)[0] != zlib.crc32(body[:end]):
            return None
        writes: list[Step] = []
        wipes: list[tuple[int, int]] = []
        at = _NUMBER.size
        while at < end:
            address, size = _RECORD.unpack_from(body, at)
            at += _RECORD.size
            if address + (size & ~_WIPE) > self._nvm.size:
                raise MemoryFailure("a record of the journal leaves the memory")
            if size & _WIPE:
                wipes.append((address, size & ~_WIPE))
            else:
                writes.append((address, body[at : at + size]))
                at += size
        return writes, wipes


class WordJournal:
    """Writes one word so that it is the old or the new one, also when the cut tears it.

    ```
    offset 0               4  address
    offset 4       word size  the new word
    then                   4  CRC-32 of the above
    ```
    """

    __slots__ = ("_blank", "_nvm", "_start")

    def __init__(self, nvm: Nvm, start: int) -> None:
        self._nvm = nvm
        self._start = start
        self._blank = bytes((nvm.erased,)) * self.extent(nvm.word_size)

    @staticmethod
    def extent(word_size: int) -> int:
        """Bytes of memory it takes, whole words."""
        return -(-(2 * _NUMBER.size + word_size) // word_size) * word_size

    def write(self, address: int, word: bytes) -> None:
        """Program the whole word at ``address``.

        Raises:
            CardTorn: the power went; `replay` makes it old or new.
        """
        record = _NUMBER.pack(address) + word
        start = self._start
        self._nvm.write_each(
            ((start, record + _NUMBER.pack(zlib.crc32(record))), (address, word), (start, self._blank))
        )

    def replay(self) -> bool:
        """At boot: finish a recorded write; True when there was one."""
        nvm = self._nvm
        raw = nvm.read(self._start, len(self._blank))
        if raw == self._blank:
            return False
        end = _NUMBER.size + nvm.word_size
        complete = bool(_NUMBER.unpack_from(raw, end)[0] == zlib.crc32(raw[:end]))
        if complete:
            nvm.write(_NUMBER.unpack_from(raw)[0], raw[_NUMBER.size : end])
        nvm.write(self._start, self._blank)
        return complete
