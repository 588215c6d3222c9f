"""The non-volatile memory: the one place where lasting bytes are written.

Programming goes page by page and word by word, erasing page by page. Every unit counts, takes virtual time and is a
point where the power can fail; a torn unit damages its whole word, also the bytes of it that were not written.

A page that has been erased more often than its endurance has a worn cell: one byte of it stays erased whatever is
programmed. The memory does not tell; who writes reads back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Never

from card_os.hardware.chip import CellKind
from card_os.hardware.clock import VirtualClock
from card_os.hardware.power import NEVER, CutMoment, PowerSupply
from card_os.iso7816.errors import CardTorn

if TYPE_CHECKING:
    from card_os.hardware.chip import Chip

_HALF: Final = 0xA5  # the bits of a byte that have moved when a unit is torn
_LONG_WRITE: Final = 512
_WORN_STRIDE: Final = 41  # which byte of a page wears first: stride x page + start, spread over the page
_WORN_START: Final = 29


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
        wear: cycles by page: erasures, and writes to words that were not erased; where pages have no erase, a write
            is one cycle of each page it touches.
        kind: how cells take new values.
        clock: virtual time.
        power: the supply.
    """

    __slots__ = (
        "_blank",
        "_cells",
        "_cycles",
        "_endurance",
        "_erase_ns",
        "_page_shift",
        "_word_ns",
        "_word_shift",
        "clock",
        "erased",
        "kind",
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
        self.kind = chip.kind
        self._erase_ns = chip.page_erase_ns
        self._endurance = chip.endurance
        self._blank = b"" if chip.kind is CellKind.WORDS else bytes((chip.erased,)) * max(chip.page_size, _LONG_WRITE)

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``.

        Raises:
            ValueError: outside the memory.
        """
        end = offset + length
        if 0 <= offset <= end <= self.size:
            return self._cells[offset:end].tobytes()
        raise ValueError("read outside the memory")

    @property
    def cells(self) -> memoryview:
        """All cells, to be looked at without a copy; they cannot be changed by it."""
        return self._cells.toreadonly()

    def write(self, offset: int, data: bytes) -> None:
        """Program ``data`` at ``offset``, in ascending order of words.

        Raises:
            ValueError: outside the memory, or flash that is not erased; nothing is written.
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
        shift = self._page_shift
        page, last = offset >> shift, (end - 1) >> shift
        if self._blank:
            self._program(offset, data, page, last)
            power.count = count
            self.clock.now_ns += units * self._word_ns
            return
        power.count = count
        self.clock.now_ns += units * self._word_ns
        wear = self._cycles
        self._cells[offset:end] = data
        wear[page] += 1
        while page < last:
            page += 1
            wear[page] += 1

    def write_unit(self, offset: int, data: bytes) -> None:
        """Program ``data``, at least one byte, which does not leave the programming unit that ``offset`` is in.

        Raises:
            ValueError: outside the memory, or flash that is not erased; nothing is written.
            CardTorn: the power went at this unit.
        """
        power = self.power
        count = power.count + 1
        if self._blank or count >= power.cut_at or offset < 0:
            self.write(offset, data)
            return
        self._cells[offset : offset + len(data)] = data  # refuses what is not all inside
        self._cycles[offset >> self._page_shift] += 1
        power.count = count
        self.clock.now_ns += self._word_ns

    def write_each(self, writes: Sequence[tuple[int, bytes]]) -> None:
        """Program one piece (offset, data) after the other, each as by `write`; a journal's steps in one call.

        Raises:
            ValueError: a piece is outside the memory, or flash that is not erased; what was before it is written.
            CardTorn: the power went at one of the units.
        """
        power = self.power
        if self._blank or power.cut_at != NEVER:
            for offset, data in writes:
                self.write(offset, data)
            return
        cells, wear, size = self._cells, self._cycles, self.size
        word, page = self._word_shift, self._page_shift
        count = power.count
        try:
            for offset, data in writes:
                end = offset + len(data)
                if offset < 0 or end > size:
                    raise ValueError("write outside the memory")
                if end == offset:
                    continue
                last = end - 1
                count += (last >> word) - (offset >> word) + 1
                cells[offset:end] = data
                at, last = offset >> page, last >> page
                wear[at] += 1
                while at < last:
                    at += 1
                    wear[at] += 1
        finally:
            self.clock.now_ns += (count - power.count) * self._word_ns
            power.count = count

    def _program(self, offset: int, data: bytes, page: int, last: int) -> None:
        """Program cells of pages that have an erase; worn cells stay erased."""
        end = offset + len(data)
        cells = self._cells
        old = cells[offset:end].tobytes()
        if old != self._blank[: end - offset] and old != data:
            self._overwrite(old, data, page, last)
        cells[offset:end] = data
        wear, endurance = self._cycles, self._endurance
        while page <= last:
            if wear[page] > endurance:
                worn = self._worn_cell(page)
                if offset <= worn < end:
                    cells[worn] = self.erased
            page += 1

    def _overwrite(self, old: bytes, data: bytes, page: int, last: int) -> None:
        """Program words that are not erased: flash can only move bits further, EEPROM erases the words first.

        Raises:
            ValueError: flash would have to move bits back.
        """
        if old.count(self.erased) == len(old):  # longer than the blank that the caller compared with
            return
        if self.kind is CellKind.EEPROM:
            for number in range(page, last + 1):
                self._cycles[number] += 1
            return
        before, after = int.from_bytes(old), int.from_bytes(data)
        moved_back = before & ~after if self.erased == 0 else after & ~before
        if moved_back:
            raise ValueError("flash is programmed without an erase")

    def _worn_cell(self, page: int) -> int:
        return (page << self._page_shift) + (page * _WORN_STRIDE + _WORN_START) % self.page_size

    def erase(self, page: int) -> None:
        """Erase a page: one unit, one cycle.

        Raises:
            ValueError: no such page, or pages of this chip have no erase; nothing is changed.
            CardTorn: the power went before, in the middle or after.
        """
        if not self._blank or not 0 <= page < self.size >> self._page_shift:
            raise ValueError("no page that can be erased")
        power = self.power
        count = power.count + 1
        start = page << self._page_shift
        if count >= power.cut_at:
            self._erase_with_a_cut(page, start)
        power.count = count
        self._cells[start : start + self.page_size] = self._blank[: self.page_size]
        self._cycles[page] += 1
        self.clock.now_ns += self._erase_ns

    def _erase_with_a_cut(self, page: int, start: int) -> Never:
        """ERASING leaves all bytes of the page half erased, PROGRAMMING its first half erased."""
        power = self.power
        if not power.on:
            raise CardTorn("no power")
        moment = power.moment
        power.cut()
        if moment is not CutMoment.BEFORE:
            power.count += 1
            self._cycles[page] += 1
            self.clock.now_ns += self._erase_ns
            old = self._cells[start : start + self.page_size].tobytes()
            half = self.page_size // 2
            match moment:
                case CutMoment.ERASING:
                    new = _half_erased(old, self.erased)
                case CutMoment.PROGRAMMING:
                    new = self._blank[:half] + old[half:]
                case _:
                    new = self._blank[: self.page_size]
            self._cells[start : start + self.page_size] = new
        raise CardTorn("power was cut while erasing")

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
        if begun and not self._blank:
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
    return _half_erased(half, erased)


def _half_erased(cells: bytes, erased: int) -> bytes:
    filler = erased & ~_HALF & 0xFF
    return bytes(byte & _HALF | filler for byte in cells)
