"""A memory that notes what was programmed, so that a run can be cut afterwards wherever one likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from card_os.hardware.nvm import Nvm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from card_os.hardware.chip import Chip
    from card_os.hardware.clock import VirtualClock
    from card_os.hardware.power import PowerSupply


class RecordingNvm(Nvm):
    """An `Nvm` that keeps every completed write; made by `NvmImage.nvm_as`.

    Attributes:
        writes: (offset, data) in the order in which they were programmed; no data is the erase of the page there.
    """

    __slots__ = ("writes",)

    def __init__(
        self, cells: memoryview, wear: memoryview[int], chip: Chip, clock: VirtualClock, power: PowerSupply
    ) -> None:
        super().__init__(cells, wear, chip, clock, power)
        self.writes: list[tuple[int, bytes]] = []

    def write(self, offset: int, data: bytes) -> None:
        """Program ``data`` at ``offset`` and note it; a torn write is not noted.

        Raises:
            ValueError: outside the memory; nothing is written.
            CardTorn: the power went at one of the units.
        """
        super().write(offset, data)
        if data:
            self.writes.append((offset, bytes(data)))

    def write_unit(self, offset: int, data: bytes) -> None:
        """Program one unit and note it."""
        self.write(offset, data)

    def write_each(self, writes: Sequence[tuple[int, bytes]]) -> None:
        """Program and note one piece after the other.

        Raises:
            ValueError: outside the memory.
            CardTorn: the power went at one of the units.
        """
        for offset, data in writes:
            self.write(offset, data)

    def erase(self, page: int) -> None:
        """Erase a page and note it; a torn erase is not noted.

        Raises:
            ValueError: no such page, or pages of this chip have no erase.
            CardTorn: the power went.
        """
        super().erase(page)
        self.writes.append((page * self.page_size, b""))


def repeat_write(nvm: Nvm, offset: int, data: bytes) -> None:
    """Do what a `RecordingNvm` noted.

    Raises:
        CardTorn: the power went.
    """
    if data:
        nvm.write(offset, data)
    else:
        nvm.erase(offset // nvm.page_size)
