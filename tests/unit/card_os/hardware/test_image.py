from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from card_os.hardware.chip import Chip
from card_os.hardware.image import ImageError, NvmImage

CHIP = Chip("test", 1024, 64, 4, 0xFF, 1_000, 10)


def test_each_write_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "card.nvm"
    with NvmImage.create(path, CHIP) as image:
        image.nvm().write(8, b"lasting")
        assert path.read_bytes()[64 + 8 : 64 + 15] == b"lasting"
    with NvmImage.open(path) as image:
        nvm = image.nvm()
        assert image.chip == CHIP
        assert nvm.read(8, 7) == b"lasting"
        assert nvm.wear[0] == 1


def test_a_killed_owner_leaves_its_writes_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "card.nvm"
    NvmImage.create(path, CHIP).close()
    script = (
        "import os, sys\n"
        "from card_os.hardware.image import NvmImage\n"
        "NvmImage.open(sys.argv[1]).nvm().write(0, b'killed')\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    with NvmImage.open(path) as image:
        assert image.nvm().read(0, 6) == b"killed"


def test_a_second_opener_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    path = tmp_path / "card.nvm"
    first = NvmImage.create(path, CHIP)
    with pytest.raises(ImageError, match="image-in-use"):
        NvmImage.open(path)
    first.close()
    first.close()
    NvmImage.open(path).close()


def test_a_closed_image_is_not_written(tmp_path: Path) -> None:
    image = NvmImage.create(tmp_path / "card.nvm", CHIP)
    nvm = image.nvm()
    image.close()
    with pytest.raises(ValueError, match="released"):
        nvm.write(0, b"1")


def test_a_fork_goes_its_own_way() -> None:
    image = NvmImage.create(chip=CHIP)
    image.nvm().write(0, b"both")
    fork = image.fork()
    fork.nvm().write(0, b"fork")
    assert image.nvm().read(0, 4) == b"both"
    assert fork.nvm().wear[0] == 2


def test_a_snapshot_is_a_card_file(tmp_path: Path) -> None:
    image = NvmImage.create(chip="eeprom-80k")
    image.nvm().write(100, b"snap")
    path = tmp_path / "clone.nvm"
    path.write_bytes(image.snapshot())
    with NvmImage.open(path) as clone:
        assert clone.nvm().read(100, 4) == b"snap"
    assert NvmImage.from_snapshot(image.snapshot()).snapshot() == image.snapshot()


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "card.nvm"
    path.write_bytes(b"precious")
    with pytest.raises(ImageError, match="image-exists"):
        NvmImage.create(path, CHIP)
    assert path.read_bytes() == b"precious"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"image-missing: path=.*nowhere"):
        NvmImage.open(tmp_path / "nowhere")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="image-unwritable"):
        NvmImage.create(tmp_path / "none" / "card.nvm", CHIP)


def test_an_unknown_chip_is_named() -> None:
    with pytest.raises(ImageError, match=r"chip-unknown: chip=z80, known=eeprom-80k, flash-144k"):
        NvmImage.create(chip="z80")


@pytest.mark.parametrize("damage", ["empty", "short", "magic", "crc", "tail"])
def test_a_damaged_file_is_refused_and_left_unlocked(tmp_path: Path, damage: str) -> None:
    raw = NvmImage.create(chip=CHIP).snapshot()
    path = tmp_path / "card.nvm"
    path.write_bytes(
        {
            "empty": b"",
            "short": raw[:60],
            "magic": b"X" + raw[1:],
            "crc": raw[:16] + b"\1" + raw[17:],
            "tail": raw[:-1],
        }[damage]
    )
    with pytest.raises(ImageError, match="image-damaged"):
        NvmImage.open(path)
    path.write_bytes(raw)
    NvmImage.open(path).close()


def test_nothing_is_left_beside_a_file_that_is_no_card(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"Dear reader")
    with pytest.raises(ImageError, match="image-damaged"):
        NvmImage.open(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_later_version_is_refused_by_its_number() -> None:
    raw = NvmImage.create(chip=CHIP).snapshot()
    with pytest.raises(ImageError, match=r"image-version: .*version=4"):
        NvmImage.from_snapshot(raw[:8] + b"\x00\x04" + raw[10:])


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_a_card_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "card.nvm"
    NvmImage.create(path, CHIP).close()
    assert path.stat().st_mode & 0o777 == 0o600
