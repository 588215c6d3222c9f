"""The non-volatile memory: the one place where lasting bytes are written.

Programming goes page by page and word by word. Every unit counts, takes virtual time and is a point where the power
can fail; a torn unit damages its whole word, also the bytes of it that were not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from card_os.hardware.clock import VirtualClock
from card_os.hardware.power import CutMoment, PowerSupply
from card_os.iso7816.errors import CardTorn

if TYPE_CHECKING:
    from card_os.hardware.chip import Chip

_HALF: Final = 0xA5  # the bits of a byte that have moved when a unit is torn


class Nvm:
    """Cells of one chip with their wear, time and power; made by `NvmImage.nvm`.

    Args:
        cells: the image's cells.
        wear: programming cycles by page, counted in place.
        chip: geometry and times.
        clock: is told what programming costs.
        power: is told of every unit and may cut.

    Attributes:
        size: bytes.
        page_size: bytes of a page, a power of two.
        word_size: bytes of a programming unit, a power of two.
        erased: value of an erased byte.
        wear: programming cycles by page: a write is one cycle of each page it touches.
        clock: virtual time.
        power: the supply.
    """

    __slots__ = (
        "_cells",
        "_cycles",
        "_page_shift",
        "_word_ns",
        "_word_shift",
        "clock",
        "erased",
        "page_size",
        "power",
        "size",
        "wear",
        "word_size",
    )

    def __init__(
        self, cells: memoryview, wear: memoryview[int], chip: Chip, clock: VirtualClock, power: PowerSupply
    ) -> None:
        self._cells = cells
        self.wear: Sequence[int] = wear
        self.size = chip.size
        self.page_size = chip.page_size
        self.word_size = chip.word_size
        self.erased = chip.erased
        self.clock = clock
        self.power = power
        self._page_shift = chip.page_size.bit_length() - 1
        self._word_shift = chip.word_size.bit_length() - 1
        self._word_ns = chip.word_program_ns
        self._cycles = wear

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``.

        Raises:
            ValueError: outside the memory.
        """
        end = offset + length
        if offset < 0 or length < 0 or end > self.size:
            raise ValueError("read outside the memory")
        return self._cells[offset:end].tobytes()

    def write(self, offset: int, data: bytes) -> None:
        """Program ``data`` at ``offset``, in ascending order of words.

        Raises:
            ValueError: outside the memory; nothing is written.
            CardTorn: the power went at one of the units.
        """
        end = offset + len(data)
        if offset < 0 or end > self.size:
            raise ValueError("write outside the memory")
        if end == offset:
            return
        shift = self._word_shift
        units = ((end - 1) >> shift) - (offset >> shift) + 1
        power = self.power
        count = power.count + units
        if count >= power.cut_at:
            self._write_until_cut(offset, data)
            return
        power.count = count
        self._cells[offset:end] = data
        shift = self._page_shift
        page, last = offset >> shift, (end - 1) >> shift
        wear = self._cycles
        wear[page] += 1
        while page < last:
            page += 1
            wear[page] += 1
        self.clock.now_ns += units * self._word_ns

    def _write_until_cut(self, offset: int, data: bytes) -> None:
        """Program up to the unit at which the power goes, tear that one, and stop."""
        power = self.power
        if not power.on:
            raise CardTorn("no power")
        whole = power.cut_at - power.count - 1
        moment = power.moment
        size = self.word_size
        word = (offset >> self._word_shift << self._word_shift) + whole * size
        done = min(max(word - offset, 0), len(data))
        self._cells[offset : offset + done] = data[:done]
        old = self._cells[word : word + size].tobytes()
        start = max(offset, word)
        part = data[start - offset : word + size - offset]
        new = old[: start - word] + part + old[start - word + len(part) :]
        self._cells[word : word + size] = _torn(old, new, self.erased, moment)
        begun = whole + (moment is not CutMoment.BEFORE)
        if begun:
            stop = min(word + size * (begun - whole), offset + len(data))
            for page in range(offset >> self._page_shift, ((stop - 1) >> self._page_shift) + 1):
                self._cycles[page] += 1
        power.count += begun
        self.clock.now_ns += begun * self._word_ns
        power.cut()
        raise CardTorn("power was cut while programming")


def _torn(old: bytes, new: bytes, erased: int, moment: CutMoment) -> bytes:
    """What the cut leaves in the word."""
    match moment:
        case CutMoment.BEFORE:
            return old
        case CutMoment.AFTER:
            return new
        case CutMoment.ERASING:
            half = old
        case CutMoment.PROGRAMMING:
            half = new
    return bytes(byte & _HALF | erased & ~_HALF & 0xFF for byte in half)
