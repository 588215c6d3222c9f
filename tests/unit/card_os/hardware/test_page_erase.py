"""Cells with a page erase: what flash refuses, what EEPROM allows, what wears, and what a cut leaves."""

from __future__ import annotations

import pytest

from card_os.hardware.chip import CellKind, Chip
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment
from card_os.iso7816.errors import CardTorn

FLASH = Chip("flash", 2_048, 512, 4, 0xFF, 1_000, 3, CellKind.FLASH, 50_000)
EEPROM = Chip("eeprom", 1_024, 64, 4, 0x00, 1_000, 3, CellKind.EEPROM, 50_000)
BOTH = pytest.mark.parametrize("chip", [FLASH, EEPROM], ids=lambda chip: chip.name)


@BOTH
def test_programming_erased_words_takes_time_and_no_cycle(chip: Chip) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    nvm.write(4, b"\x11" * 8)
    assert nvm.read(4, 8) == b"\x11" * 8
    assert (nvm.clock.now_ns, nvm.power.count, sum(nvm.wear)) == (2_000, 2, 0)


@BOTH
def test_an_erase_is_one_unit_and_one_cycle_of_its_page_alone(chip: Chip) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    nvm.write(0, b"\x11" * 2 * chip.page_size)
    before, count = nvm.clock.now_ns, nvm.power.count
    nvm.erase(1)
    assert nvm.read(chip.page_size, chip.page_size) == bytes((chip.erased,)) * chip.page_size
    assert nvm.read(0, chip.page_size) == b"\x11" * chip.page_size
    assert nvm.clock.now_ns - before == 50_000
    assert nvm.power.count - count == 1
    assert list(nvm.wear[:3]) == [0, 1, 0]


def test_flash_does_not_move_bits_back_without_an_erase() -> None:
    nvm = NvmImage.create(chip=FLASH).nvm()
    nvm.write(0, b"\x0f\x0f\x0f\x0f")
    nvm.write(0, b"\x0e\x0d\x00\x0f")
    count = nvm.power.count
    with pytest.raises(ValueError, match="without an erase"):
        nvm.write(0, b"\x1e\x0d\x00\x0f")
    assert nvm.read(0, 4) == b"\x0e\x0d\x00\x0f"
    assert nvm.power.count == count


def test_eeprom_writes_over_words_for_a_cycle() -> None:
    nvm = NvmImage.create(chip=EEPROM).nvm()
    nvm.write(0, b"\x0f\x0f\x0f\x0f")
    nvm.write(0, b"\xf0\xf0\xf0\xf0")
    assert nvm.read(0, 4) == b"\xf0\xf0\xf0\xf0"
    assert nvm.wear[0] == 1


def test_a_long_write_to_erased_cells_wears_nothing() -> None:
    nvm = NvmImage.create(chip=EEPROM).nvm()
    nvm.write(0, b"\x01" * 1_024)
    assert not any(nvm.wear)


@BOTH
@pytest.mark.parametrize(
    ("moment", "first", "last", "cycles"),
    [
        (CutMoment.BEFORE, "old", "old", 0),
        (CutMoment.ERASING, "half", "half", 1),
        (CutMoment.PROGRAMMING, "erased", "old", 1),
        (CutMoment.AFTER, "erased", "erased", 1),
    ],
)
def test_a_cut_in_an_erase(chip: Chip, moment: CutMoment, first: str, last: str, cycles: int) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    nvm.write(0, b"\x33" * chip.page_size)
    count = nvm.power.count
    nvm.power.arm(1, moment)
    with pytest.raises(CardTorn):
        nvm.erase(0)
    values = {"old": 0x33, "half": 0x33 & 0xA5 | chip.erased & 0x5A, "erased": chip.erased}
    assert nvm.read(0, 1)[0] == values[first]
    assert nvm.read(chip.page_size - 1, 1)[0] == values[last]
    assert nvm.wear[0] == nvm.power.count - count == cycles
    with pytest.raises(CardTorn):
        nvm.erase(0)


@BOTH
def test_a_page_past_its_endurance_has_a_cell_that_stays_erased(chip: Chip) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    data = b"\x55" * chip.page_size
    for _ in range(chip.endurance):
        nvm.erase(0)
        nvm.write(0, data)
        assert nvm.read(0, chip.page_size) == data
    nvm.erase(0)
    nvm.write(0, data)
    assert nvm.read(0, chip.page_size).count(bytes((chip.erased,))) == 1
    nvm.write(chip.page_size, data)
    assert nvm.read(chip.page_size, chip.page_size) == data


@BOTH
@pytest.mark.parametrize("page", [-1, 1_000])
def test_a_page_that_is_not_there_is_not_erased(chip: Chip, page: int) -> None:
    nvm = NvmImage.create(chip=chip).nvm()
    with pytest.raises(ValueError, match="no page"):
        nvm.erase(page)


def test_cells_without_page_erase_refuse_it() -> None:
    nvm = NvmImage.create(chip=Chip("words", 1_024, 64, 4, 0, 1, 1)).nvm()
    with pytest.raises(ValueError, match="no page"):
        nvm.erase(0)


@BOTH
def test_the_header_keeps_kind_and_erase_time(chip: Chip) -> None:
    image = NvmImage.create(chip=chip)
    assert NvmImage.from_snapshot(image.snapshot()).chip == chip


def test_a_chip_of_words_gives_an_image_of_the_third_version_without_an_erase_time() -> None:
    raw = NvmImage.create(chip=Chip("words", 1_024, 64, 4, 0, 1, 1)).snapshot()
    assert raw[8:10] == b"\x00\x03"
    assert raw[56:60] == bytes(4)


@pytest.mark.parametrize(
    ("kind", "erase_ns", "word"), [(CellKind.WORDS, 5, 4), (CellKind.FLASH, 0, 4), (CellKind.FLASH, 5, 32)]
)
def test_kinds_and_times_that_do_not_go_together_are_refused(kind: CellKind, erase_ns: int, word: int) -> None:
    with pytest.raises(ValueError, match="geometry"):
        Chip("odd", 1_024, 64, word, 0, 1, 1, kind, erase_ns)


def test_a_view_of_the_cells_cannot_change_them() -> None:
    cells = NvmImage.create(chip=FLASH).nvm().cells
    with pytest.raises(TypeError):
        cells[0] = 0
