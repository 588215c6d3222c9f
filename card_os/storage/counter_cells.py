"""A counter of one byte in two cells that check themselves: one programming unit changes it.

Each cell is a programming unit, of which the first bytes are used:

```
offset 0  1  value
offset 1  1  sequence; its lowest bit says in which of the two cells it stands
offset 2  2  complement of offsets 0 and 1
```

The counter is the valid cell, of two the one with the later sequence, which is one more than the other's modulo 256.
The next value goes to the other cell, so that the present one stands until the next is there: a cut leaves old or new.

No torn unit is taken for a cell. What a cut moves it moves towards erased, so that of some bit and its complement, one
of which a cell has programmed, neither is. Erasing it goes on in that direction: a torn cell stays none.

Source: docs/decisions/0090-counters-in-two-cells.md.
"""

from __future__ import annotations

import struct
from typing import Final

from card_os.hardware.nvm import Nvm
from card_os.iso7816.errors import MemoryFailure

CELL_BYTES: Final = 4
_CELL: Final = struct.Struct(">HH")
_MASK: Final = 0xFFFF
_SEQUENCES: Final = 0x100
_LAST_SEQUENCE: Final = _SEQUENCES - 1


def cell_width(word: int) -> int:
    """Bytes from one cell to the next: whole programming units."""
    return max(CELL_BYTES, word)


def encode_cell(value: int, sequence: int) -> bytes:
    """A cell: value 0..255, sequence modulo 256."""
    number = value << 8 | sequence % _SEQUENCES
    return _CELL.pack(number, number ^ _MASK)


def decode_cells(raw: bytes, width: int) -> tuple[int, int]:
    """Value and sequence of the counter in two cells.

    Raises:
        MemoryFailure: neither is valid, or they do not follow each other.
    """
    found = _decode(raw, 0), _decode(raw, width)
    even, odd = found
    if even is None or odd is None:
        only = even or odd
        if only is None:
            raise MemoryFailure("no cell of a counter is valid")
        return only
    match (odd[1] - even[1]) % _SEQUENCES:
        case 1:
            return odd
        case 0xFF:
            return even
        case _:
            raise MemoryFailure("the cells of a counter do not follow each other")


def _decode(raw: bytes, at: int) -> tuple[int, int] | None:
    number, complement = _CELL.unpack_from(raw, at)
    if number ^ complement != _MASK or bool(at) != bool(number & 1):
        return None
    return number >> 8, number & 0xFF


class CounterCells:
    """The counter of one object.

    Args:
        address: of the even cell.
        nvm: the memory, which changes words where they stand.
        width: bytes of a cell, see `cell_width`.

    Attributes:
        address: of the even cell.
        size: bytes of both cells.
        known: the counter, one byte; empty as long as nobody has looked.
    """

    __slots__ = ("_nvm", "_odd", "_sequence", "_width", "address", "known", "size")

    def __init__(self, address: int, nvm: Nvm, width: int) -> None:
        self._nvm = nvm
        self._width = width
        self._odd = address + width
        self._sequence = 0
        self.address = address
        self.size = 2 * width
        self.known = b""

    def look(self) -> bytes:
        """Read both cells; the one that does not hold is made blank when a cut has torn it.

        Returns:
            The counter, one byte.

        Raises:
            MemoryFailure: the cells are damaged.
        """
        nvm, width = self._nvm, self._width
        raw = nvm.read(self.address, self.size)
        value, self._sequence = decode_cells(raw, width)
        at = 0 if self._sequence & 1 else width
        other = raw[at : at + width]
        if _decode(raw, at) is None and other.count(nvm.erased) != width:
            nvm.write(self.address + at, bytes((nvm.erased,)) * width)
        self.known = bytes((value,))
        return self.known

    @property
    def value(self) -> bytes:
        """The counter, one byte.

        Raises:
            MemoryFailure: the cells are damaged.
        """
        return self.known or self.look()

    def value_in(self, raw: bytes) -> bytes:
        """The counter, one byte, in what both cells would be."""
        return bytes((decode_cells(raw, self._width)[0],))

    def first(self, value: int) -> bytes:
        """Both cells of a new counter."""
        return encode_cell(value, 0) + bytes((self._nvm.erased,)) * (self.size - CELL_BYTES)

    def following(self, value: bytes) -> tuple[int, bytes]:
        """The cell that makes the counter ``value``, one byte: its address and its content.

        Raises:
            MemoryFailure: the cells are damaged.
        """
        if not self.known:
            self.look()
        sequence = self._sequence + 1 & _LAST_SEQUENCE
        number = value[0] << 8 | sequence
        return self._odd if sequence & 1 else self.address, _CELL.pack(number, number ^ _MASK)

    def write(self, value: bytes) -> None:
        """Make the counter ``value``, one byte, at once.

        Raises:
            MemoryFailure: the cells are damaged.
            CardTorn: the power went.
        """
        if not self.known:
            self.look()
        sequence = self._sequence + 1 & _LAST_SEQUENCE
        number = value[0] << 8 | sequence
        self._nvm.write_unit(self._odd if sequence & 1 else self.address, _CELL.pack(number, number ^ _MASK))
        self._sequence = sequence
        self.known = value

    def forget(self) -> None:
        """Look at the cells again when they are asked for: a transaction has changed them."""
        self.known = b""
