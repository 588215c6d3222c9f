"""Chips of one's own: what a file says is the chip, and what it cannot mean is refused where it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from card_os.hardware.chip import CellKind, load_chips
from card_os.hardware.chip_file import ChipFileError, read_chip
from card_os.hardware.image import ImageError, NvmImage, find_chip
from card_os.hardware.work import Work, processor_names, work_times

PAGE = Path(__file__).parents[4] / "docs" / "writing-a-chip.md"
TEXT = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]


def written(folder: Path, text: str) -> Path:
    path = folder / "chip.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_chip_of_the_page(tmp_path: Path) -> None:
    chip = read_chip(written(tmp_path, TEXT))
    assert (chip.name, chip.kind, chip.size, chip.page_size) == ("acme-256k", CellKind.EEPROM, 262144, 128)
    assert (chip.word_size, chip.word_program_ns, chip.page_erase_ns) == (8, 150_000, 1_200_000)


@pytest.mark.parametrize("processor", processor_names())
def test_the_header_keeps_geometry_and_processor(tmp_path: Path, processor: str) -> None:
    path = written(tmp_path, TEXT.replace("secure-33mhz", processor))
    with NvmImage.create(None, str(path)) as image:
        path.unlink()
        assert NvmImage.from_snapshot(image.snapshot()).chip == image.chip
        assert image.chip.processor == processor
        times = image.nvm().clock.times
    assert times[Work.P256_SIGN] == work_times("", processor)[Work.P256_SIGN]


def test_chips_of_the_product_have_the_headers_that_they_had() -> None:
    """Offsets 21 and 22 stay 00, as in card files of before."""
    for name in load_chips():
        assert NvmImage.create(None, name).snapshot()[21:23] == b"\x00\x00"


def test_an_unknown_processor_in_a_header_is_damage(tmp_path: Path) -> None:
    raw = bytearray(NvmImage.create(None, str(written(tmp_path, TEXT))).snapshot())
    raw[21] = len(processor_names()) + 1
    raw[60:64] = __import__("zlib").crc32(raw[:60]).to_bytes(4, "big")
    with pytest.raises(ImageError, match="image-damaged"):
        NvmImage.from_snapshot(bytes(raw))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("[acme-256k]", "[acme-256k", "file"),
        ("[acme-256k]", "", "file"),
        ("[acme-256k]", "[other]\n[acme-256k]", "file"),
        ("[acme-256k]", "[flash-144k]", "flash-144k"),
        ("[acme-256k]", "[acme-of-a-name-that-is-too-long]", "acme-of-a-name-that-is-too-long"),
        ('"eeprom"', '"rom"', "acme-256k.kind"),
        ('"eeprom"', "1", "acme-256k.kind"),
        ('"eeprom"', '"words"', "acme-256k.page_erase_ns"),
        ("page_erase_ns", "page_eraze_ns", "acme-256k.page_erase_ns"),
        ("endurance = 300000", "", "acme-256k.endurance"),
        ("endurance = 300000", "endurance = 0", "acme-256k"),
        ("endurance = 300000", "endurance = true", "acme-256k.endurance"),
        ("endurance = 300000", "endurance = 1e5", "acme-256k.endurance"),
        ("word_program_ns = 150000", "word_program_ns = -1", "acme-256k.word_program_ns"),
        ("word_program_ns = 150000", "word_program_ns = 4294967296", "acme-256k.word_program_ns"),
        ("page_size = 128", "page_size = 100", "acme-256k"),
        ("word_size = 8", "word_size = 2", "acme-256k"),
        ("word_size = 8", "word_size = 32", "acme-256k"),
        ("size = 262144", "size = 262145", "acme-256k"),
        ("size = 262144", "size = 33554432", "acme-256k.size"),
        ("erased = 0x00", "erased = 1", "acme-256k"),
        ('"secure-33mhz"', '"z80"', "acme-256k.processor"),
        ("processor", "colour", "acme-256k.processor"),
        ("erased =", "colour = 1\nerased =", "acme-256k.colour"),
    ],
)
def test_a_wrong_chip_says_where(tmp_path: Path, old: str, new: str, where: str) -> None:
    path = written(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises(ChipFileError) as refused:
        read_chip(path)
    assert refused.value.where == where
    with pytest.raises(ImageError, match="chip-wrong"):
        find_chip(str(path))


def test_what_is_no_text_is_no_chip(tmp_path: Path) -> None:
    path = tmp_path / "chip.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ChipFileError, match="file"):
        read_chip(path)
