"""The writes of an open transaction: what its objects hold now, and what the memory will hold when it is committed."""

from __future__ import annotations


class _Write:
    """A pending write of whole words."""

    __slots__ = ("address", "data", "slot")

    def __init__(self, slot: int, address: int, data: bytes) -> None:
        self.slot = slot
        self.address = address
        self.data = data


class PendingWrites:
    """Writes in the order in which they will be done.

    Attributes:
        slots: rows of the object table whose objects they change; always the same set.
    """

    __slots__ = ("_writes", "slots")

    def __init__(self) -> None:
        self._writes: list[_Write] = []
        self.slots: set[int] = set()

    def __len__(self) -> int:
        return len(self._writes)

    def add(self, slot: int, address: int, data: bytes) -> None:
        """Write whole words of an object."""
        self._writes.append(_Write(slot, address, data))
        self.slots.add(slot)

    def over(self, address: int, committed: bytes) -> bytes:
        """What ``committed``, which stands from ``address`` on, is with the writes done."""
        content = bytearray(committed)
        end = address + len(content)
        for write in self._writes:
            first = max(address, write.address)
            last = min(end, write.address + len(write.data))
            if first < last:
                content[first - address : last - address] = write.data[first - write.address : last - write.address]
        return bytes(content)

    def amend(self, address: int, data: bytes) -> None:
        """Let the writes that touch those bytes bring ``data`` there: it is in the memory already, and is to stay."""
        end = address + len(data)
        for write in self._writes:
            start = write.address
            first, last = max(address, start), min(end, start + len(write.data))
            if first < last:
                part = data[first - address : last - address]
                write.data = write.data[: first - start] + part + write.data[last - start :]

    def steps(self) -> list[tuple[int, bytes]]:
        """Address and data of each write."""
        return [(write.address, write.data) for write in self._writes]

    def undo(self, count: int) -> None:
        """Forget all but the first ``count``."""
        del self._writes[count:]
        self.slots.clear()
        self.slots.update(write.slot for write in self._writes)

    def clear(self) -> None:
        """Forget all."""
        self._writes.clear()
        self.slots.clear()


class Savepoint:
    """How far a transaction had come when a scope of it began.

    Attributes:
        writes: pending writes.
        created: objects made.
        deleted: objects deleted.
        used: bytes of the commit buffer.
    """

    __slots__ = ("created", "deleted", "used", "writes")

    def __init__(self, writes: int, created: int, deleted: int, used: int) -> None:
        self.writes = writes
        self.created = created
        self.deleted = deleted
        self.used = used
