"""First-fit allocation of memory extents; volatile, built again at every boot from the object table."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator


class FirstFitHeap:
    """The free gaps of an area, in ascending order.

    Args:
        start: first address of the area, a multiple of ``word``.
        end: address after the area.
        word: extents are rounded up to multiples of this, so that no two objects share a programming unit.
    """

    __slots__ = ("_ends", "_starts", "_word")

    def __init__(self, start: int, end: int, word: int) -> None:
        self._word = word
        self._starts = [start]
        self._ends = [end // word * word]

    def _rounded(self, size: int) -> int:
        return -(-size // self._word) * self._word

    def occupy(self, extents: Iterable[tuple[int, int]]) -> None:
        """Take out the extents (address, size) of living objects, at boot.

        Raises:
            ValueError: extents overlap or leave the area.
        """
        at, end, word = self._starts[0], self._ends[-1], self._word
        starts: list[int] = []
        ends: list[int] = []
        for address, size in sorted(extents):
            if address < at:
                raise ValueError("objects overlap")
            if address > at:
                starts.append(at)
                ends.append(address)
            at = address + -(-size // word) * word
        if at > end:
            raise ValueError("an object leaves the heap")
        if at < end:
            starts.append(at)
            ends.append(end)
        self._starts, self._ends = starts, ends

    def allocate(self, size: int) -> int | None:
        """Address of the first gap with ``size`` bytes, or None."""
        size = self._rounded(size)
        for index, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            if end - start >= size:
                if end - start == size:
                    del self._starts[index], self._ends[index]
                else:
                    self._starts[index] = start + size
                return start
        return None

    def release(self, address: int, size: int) -> None:
        """Give an allocated extent back."""
        end = address + self._rounded(size)
        if end == address:
            return
        starts, ends = self._starts, self._ends
        index = bisect_left(starts, address)
        joins_left = index > 0 and ends[index - 1] == address
        joins_right = index < len(starts) and starts[index] == end
        if joins_left and joins_right:
            ends[index - 1] = ends[index]
            del starts[index], ends[index]
        elif joins_left:
            ends[index - 1] = end
        elif joins_right:
            starts[index] = address
        else:
            starts.insert(index, address)
            ends.insert(index, end)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """The free gaps as (start, end)."""
        return zip(self._starts, self._ends, strict=True)

    @property
    def largest(self) -> int:
        """Bytes of the largest gap."""
        return max((end - start for start, end in self.gaps()), default=0)

    @property
    def total(self) -> int:
        """Bytes of all gaps."""
        return sum(end - start for start, end in self.gaps())
