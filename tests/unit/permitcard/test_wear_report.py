"""Wear of a card file: what it says agrees with the memory, and nothing of the card is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from card_os.hardware.chip import CellKind, Chip, load_chips
from card_os.hardware.image import NvmImage
from card_os.storage.store import ObjectKind, ObjectStore
from card_os.storage.wear import PageUse, measure_wear, project_life
from permitcard.specimen import make_specimen
from permitcard.wear_report import examine_wear, read_day
from personalization.errors import PersonalizationError
from reader_bridge.connection import ReaderError

DAY = "00A4 0400 07 F05A4A4A5A0101 00  # select the permit\n0020 0081 08 26246802FFFFFFFF\n"


@pytest.fixture(params=sorted(load_chips()))
def card(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "permit.card"
    make_specimen(path, chip=request.param)[0].close()
    return path


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / "day.apdu"
    path.write_text(DAY)
    return path


def test_pages_and_objects_are_those_of_the_memory(card: Path) -> None:
    wear, life = examine_wear(card)
    assert life is None
    assert len(wear.pages) == wear.chip.pages
    if wear.chip.kind is CellKind.WORDS:
        assert wear.spares == 0
    else:
        assert wear.spares == wear.chip.size // 512 // 32
        assert {page.use for page in wear.pages} >= {PageUse.CONTENT, PageUse.FREE}
    used = {page.page for page in wear.pages if page.use is PageUse.CONTENT}
    assert all(set(item.pages) <= used for item in wear.objects)
    assert wear.hottest(1)[0].cycles == max(page.cycles for page in wear.pages)


def test_a_day_of_verifications_gives_a_life_and_leaves_the_card(card: Path, day: Path) -> None:
    before = card.read_bytes()
    _, life = examine_wear(card, read_day(day))
    assert card.read_bytes() == before
    assert life
    assert life.days
    assert life.days_levelled
    assert 0 < life.cycles_a_day < 20
    assert life.days_levelled >= life.days > 1_000


def test_a_day_that_writes_nothing_wears_nothing(card: Path) -> None:
    image = NvmImage.from_snapshot(card.read_bytes())
    life = project_life(image, lambda nvm: nvm.read(0, 4))
    assert (life.cycles_a_day, life.days, life.days_levelled) == (0.0, None, None)


def test_a_card_of_the_first_release_is_measured_too() -> None:
    image = NvmImage.create(chip=Chip("words", 16_384, 64, 4, 0, 1, 1_000))
    ObjectStore(image.nvm()).create(1, ObjectKind.FILE, 0x0101, 100, b"1")
    wear = measure_wear(image)
    assert wear.spares == 0
    assert len(wear.objects[0].pages) in (2, 3)
    assert wear.objects[0].cycles >= 1


@pytest.mark.parametrize(("text", "line"), [("", 0), ("# nothing\n", 0), ("00A4\n0x\n", 2)])
def test_a_day_that_cannot_be_read_names_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "day"
    path.write_text(text)
    with pytest.raises(PersonalizationError, match=f"line={line}") as caught:
        read_day(path)
    assert caught.value.exit_code == 2


def test_a_missing_day_and_a_missing_card_are_named(tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError, match="wear-day"):
        read_day(tmp_path / "none")
    with pytest.raises(ReaderError, match="image-missing"):
        examine_wear(tmp_path / "none")


def test_a_memory_without_a_store_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "card"
    with NvmImage.create(path) as image:
        image.nvm().write(0, b"\x01" * 4_096)
    with pytest.raises(ReaderError, match="card-damaged"):
        examine_wear(path)
