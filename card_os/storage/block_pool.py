"""The blocks of a mapped memory that hold nothing: taken in turn, erased when released, given up when they fail."""

from __future__ import annotations

from collections import deque

from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.blocks import HEADER_BYTES, BlockKind, block_bytes_of, block_header


class BlockPool:
    """Free and retired blocks, and what is done to a block as a whole.

    Args:
        nvm: the memory.

    Attributes:
        block_bytes: bytes of a block.
        pages_a_block: pages that are erased with it.
        blank: the bytes of a blank block.
        free: blank blocks; the next one to be taken first.
        retired: blocks that were given up.
    """

    __slots__ = ("_nvm", "blank", "block_bytes", "free", "pages_a_block", "retired")

    def __init__(self, nvm: Nvm) -> None:
        self._nvm = nvm
        self.block_bytes = block_bytes_of(nvm)
        self.pages_a_block = self.block_bytes // nvm.page_size
        self.blank = bytes((nvm.erased,)) * self.block_bytes
        self.free: deque[int] = deque()
        self.retired: set[int] = set()

    def take(self) -> int:
        """The block whose turn it is.

        Raises:
            MemoryFailure: none is left.
        """
        if not self.free:
            raise MemoryFailure("no sound block is left")
        return self.free.popleft()

    def release(self, block: int) -> None:
        """Erase a block; it is free again when it is blank then."""
        self._erase(block)
        if self._nvm.read(block * self.block_bytes, self.block_bytes) == self.blank:
            self.free.append(block)
        else:
            self.retire(block)

    def retire(self, block: int) -> None:
        """Give a failed block up, with a header that says so when its cells still take it."""
        self.retired.add(block)
        self._erase(block)
        self._nvm.write(block * self.block_bytes, bytes((self.blank[0] ^ 0xFF,)) * HEADER_BYTES)

    def _erase(self, block: int) -> None:
        first = block * self.pages_a_block
        for page in range(first, first + self.pages_a_block):
            self._nvm.erase(page)

    def mark(self, block: int, kind: BlockKind, number: int, sequence: int) -> bool:
        """Write the header of a block, the last unit of which makes it valid; False when it does not read back."""
        header = block_header(kind, number, sequence)
        at = block * self.block_bytes
        self._nvm.write(at, header)
        return self._nvm.read(at, HEADER_BYTES) == header

    def wear(self, block: int) -> int:
        """Cycles of a block's first page."""
        return self._nvm.wear[block * self.pages_a_block]
