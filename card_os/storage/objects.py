"""Objects of the store: kinds, names, places, and which of them begin with a counter."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from card_os.storage.counter_cells import CounterCells

_TRIES_BYTES: Final = 1
_LARGEST_REFERENCE: Final = 0xFF


class ObjectKind(IntEnum):
    """What an object is to the card; the numbers are in the image."""

    APPLICATION = 1
    FILE = 2
    KEY = 3
    PIN = 4
    DATA = 5
    COUNTER = 6
    PACKAGE = 7
    CARD = 8


_KEY: Final = ObjectKind.KEY
_PIN: Final = ObjectKind.PIN
_COUNTER: Final = ObjectKind.COUNTER


def counter_bytes(kind: ObjectKind, identifier: int, size: int) -> int:
    """How many bytes at the start of an object are a counter that is written through.

    | kind | counter |
    |---|---|
    | PIN | tries left, 1 byte |
    | KEY with a reference of one byte | tries left, 1 byte |
    | COUNTER | all of it |
    """
    if kind is _COUNTER:
        return size
    has_tries = kind is _PIN or (kind is _KEY and identifier <= _LARGEST_REFERENCE)
    return min(_TRIES_BYTES, size) if has_tries else 0


class StoredObject:
    """One object of the store; the same Python object until it is deleted or the card boots again.

    Attributes:
        slot: row of the object table, -1 once deleted.
        owner: number of the application that owns it, 0..65,535.
        kind: what it is.
        identifier: name within owner and kind, 0..2^32-1.
        size: content in bytes.
        address: where the content stands in the memory.
        cells: the first byte, where it is a counter that stands before the content.
    """

    __slots__ = ("address", "cells", "identifier", "kind", "owner", "size", "slot")

    def __init__(
        self,
        slot: int,
        owner: int,
        kind: ObjectKind,
        identifier: int,
        size: int,
        address: int,
        cells: CounterCells | None = None,
    ) -> None:
        self.slot = slot
        self.owner = owner
        self.kind = kind
        self.identifier = identifier
        self.size = size
        self.address = address
        self.cells = cells

    @property
    def exists(self) -> bool:
        """False once it was deleted, or its creation was undone."""
        return self.slot >= 0

    @property
    def extent(self) -> tuple[int, int]:
        """Address and bytes of all that it has in the memory."""
        if self.cells is None:
            return self.address, self.size
        start = self.cells.address
        return start, self.address + self.size - start

    def __repr__(self) -> str:
        return f"StoredObject({self.kind.name} {self.identifier:04X} of {self.owner}, {self.size} bytes)"
