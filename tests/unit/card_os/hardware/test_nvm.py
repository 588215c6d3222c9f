from __future__ import annotations

import contextlib

import pytest

from card_os.hardware.chip import Chip, load_chips
from card_os.hardware.image import NvmImage
from card_os.hardware.nvm import Nvm
from card_os.hardware.power import CutMoment
from card_os.iso7816.errors import CardTorn

CHIP = Chip("test", 1024, 64, 4, 0xFF, 1_000, 10)


@pytest.fixture
def image() -> NvmImage:
    return NvmImage.create(chip=CHIP)


def test_a_blank_memory_is_erased_and_unworn(image: NvmImage) -> None:
    nvm = image.nvm()
    assert nvm.read(0, 1024) == b"\xff" * 1024
    assert list(nvm.wear) == [0] * 16


def test_a_write_is_read_back_and_costs_words_and_cycles(image: NvmImage) -> None:
    nvm = image.nvm()
    nvm.write(62, b"abcdef")
    assert nvm.read(60, 10) == b"\xff\xffabcdef\xff\xff"
    assert nvm.power.count == 2
    assert list(nvm.wear[:3]) == [1, 1, 0]
    assert nvm.clock.now_ns == 2_000


def test_an_empty_write_costs_nothing(image: NvmImage) -> None:
    nvm = image.nvm()
    nvm.power.arm(1)
    nvm.write(0, b"")
    assert nvm.power.count == 0


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (1024, 1), (0, 1025), (1023, 2)])
def test_outside_the_memory_is_refused(image: NvmImage, offset: int, length: int) -> None:
    nvm = image.nvm()
    with pytest.raises(ValueError, match="outside"):
        nvm.read(offset, length)
    with pytest.raises(ValueError, match="outside"):
        nvm.write(offset, bytes(length))
    assert nvm.power.count == 0


@pytest.mark.parametrize("chip", load_chips().values(), ids=lambda chip: chip.name)
@pytest.mark.parametrize("moment", [None, *CutMoment])
def test_a_unit_is_programmed_as_any_write_is(chip: Chip, moment: CutMoment | None) -> None:
    """Cells, wear, units and time are the same, with the power cut at any moment of it and without."""
    seen = []
    for how in (Nvm.write, Nvm.write_unit):
        image = NvmImage.create(chip=chip)
        nvm = image.nvm()
        nvm.write(0, bytes(chip.page_size))
        address = 2 * chip.page_size
        if moment is not None:
            nvm.power.arm(2, moment)
        with contextlib.suppress(CardTorn):
            how(nvm, address, b"\x0f" * chip.word_size)
            how(nvm, address + chip.word_size, b"\x01")
            nvm.power.cut()
            how(nvm, address, b"\x01")
        seen.append((image.snapshot(), list(nvm.wear), nvm.power.count, nvm.clock.now_ns))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("offset", [-4, -1, 1023, 1024])
def test_a_unit_outside_the_memory_is_refused(image: NvmImage, offset: int) -> None:
    nvm = image.nvm()
    before = image.snapshot()
    with pytest.raises(ValueError, match=r"outside|structures"):
        nvm.write_unit(offset, b"12")
    assert nvm.power.count == 0
    assert image.snapshot() == before


def test_a_negative_length_is_refused(image: NvmImage) -> None:
    with pytest.raises(ValueError, match="outside"):
        image.nvm().read(4, -1)


@pytest.mark.parametrize(
    ("moment", "expected", "count"),
    [
        (CutMoment.BEFORE, b"\xff\xff12" + b"\xff" * 8, 1),
        (CutMoment.AFTER, b"\xff\xff123456" + b"\xff" * 4, 2),
        (CutMoment.ERASING, b"\xff\xff12" + b"\xff" * 8, 2),
        (CutMoment.PROGRAMMING, b"\xff\xff12" + bytes(b & 0xA5 | 0x5A for b in b"3456") + b"\xff" * 4, 2),
    ],
)
def test_a_cut_inside_a_write(image: NvmImage, moment: CutMoment, expected: bytes, count: int) -> None:
    nvm = image.nvm()
    nvm.power.arm(2, moment)
    with pytest.raises(CardTorn):
        nvm.write(2, b"12345678")
    assert nvm.read(0, 12) == expected
    assert nvm.power.count == count
    assert nvm.clock.now_ns == 1_000 * count
    assert nvm.wear[0] == 1


def test_a_torn_unit_damages_its_neighbours_in_the_word(image: NvmImage) -> None:
    nvm = image.nvm()
    nvm.write(0, b"\x00\x00\x00\x00")
    nvm.power.arm(1, CutMoment.ERASING)
    with pytest.raises(CardTorn):
        nvm.write(1, b"\x00")
    assert nvm.read(0, 4) == b"\x5a" * 4


def test_a_cut_before_the_first_unit_wears_nothing(image: NvmImage) -> None:
    nvm = image.nvm()
    nvm.power.arm(1)
    with pytest.raises(CardTorn):
        nvm.write(0, b"1")
    assert not any(nvm.wear)
    assert nvm.power.count == 0


def test_without_power_nothing_is_written_until_it_is_restored(image: NvmImage) -> None:
    nvm = image.nvm()
    nvm.power.arm(1, CutMoment.AFTER)
    with pytest.raises(CardTorn):
        nvm.write(0, b"1")
    with pytest.raises(CardTorn):
        nvm.write(0, b"2")
    assert not nvm.power.on
    assert nvm.read(0, 1) == b"1"
    nvm.power.restore()
    nvm.write(0, b"3")
    assert nvm.read(0, 1) == b"3"


def test_a_cut_that_is_not_reached_stays_armed(image: NvmImage) -> None:
    nvm = image.nvm()
    nvm.power.arm(3)
    nvm.write(0, bytes(8))
    assert nvm.power.armed
    with pytest.raises(CardTorn):
        nvm.write(8, b"1")


def test_units_are_counted_from_one(image: NvmImage) -> None:
    with pytest.raises(ValueError, match="from 1"):
        image.nvm().power.arm(0)


def test_the_chips_of_the_product_are_sound() -> None:
    chips = load_chips()
    assert {"flash-144k", "eeprom-80k"} <= set(chips)
    assert {chip.size for chip in chips.values()} >= {144 * 1024, 80 * 1024}


@pytest.mark.parametrize(
    ("size", "page", "word", "erased"),
    [
        (1000, 64, 4, 0),
        (1024, 60, 4, 0),
        (1024, 64, 3, 0),
        (1024, 64, 2, 0),
        (1024, 4, 8, 0),
        (0, 64, 4, 0),
        (1024, 64, 4, 1),
    ],
)
def test_an_impossible_geometry_is_refused(size: int, page: int, word: int, erased: int) -> None:
    with pytest.raises(ValueError, match="geometry"):
        Chip("bad", size, page, word, erased, 1, 1)


@pytest.mark.parametrize("chip", sorted(load_chips()))
def test_pieces_are_programmed_as_by_single_writes(chip: str) -> None:
    """Cells, units, wear and time are the same; a piece across a page, and one without bytes."""
    one, each = NvmImage.create(chip=chip), NvmImage.create(chip=chip)
    pieces = [(0, b"\x01\x02"), (6, b"across a word"), (500, b"across a page" * 3), (9, b""), (1_024, bytes(1_200))]
    singly, together = one.nvm(), each.nvm()
    for offset, data in pieces:
        singly.write(offset, data)
    together.write_each(pieces)
    assert one.snapshot() == each.snapshot()
    assert singly.power.count == together.power.count
    assert list(singly.wear) == list(together.wear)
    assert singly.clock.now_ns == together.clock.now_ns


def test_a_piece_outside_ends_the_others_where_single_writes_would() -> None:
    image = NvmImage.create()
    nvm = image.nvm()
    with pytest.raises(ValueError, match="outside"):
        nvm.write_each([(0, b"first"), (nvm.size - 1, b"no"), (8, b"never")])
    assert nvm.read(0, 5) == b"first"
    assert nvm.read(8, 5) == bytes((nvm.erased,)) * 5
    assert nvm.power.count == 2


def test_pieces_stop_at_the_unit_that_is_cut() -> None:
    image = NvmImage.create()
    nvm = image.nvm()
    nvm.power.arm(2)
    with pytest.raises(CardTorn):
        nvm.write_each([(0, b"1111"), (4, b"2222"), (8, b"3333")])
    assert nvm.read(0, 12) == b"1111" + bytes((nvm.erased,)) * 8
