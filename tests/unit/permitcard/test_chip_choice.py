"""Every chip that comes with the product carries a whole permit, from the blank to the inspection."""

from __future__ import annotations

from pathlib import Path

import pytest

from card_os.hardware.chip import DEFAULT_CHIP, CellKind, load_chips
from card_os.hardware.image import NvmImage
from permitcard.card_in_hand import read_card
from permitcard.products import open_simulated, permit_profile
from permitcard.specimen import HOLDER_PIN, make_blank_specimen, make_specimen, specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.terminal.holder import HolderSession
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import ReaderError

CHIPS = pytest.mark.parametrize("chip", sorted(load_chips()))
_VERSION_AT = slice(8, 10)


@CHIPS
def test_a_permit_is_made_and_inspected_on_each_chip(tmp_path: Path, chip: str) -> None:
    path = tmp_path / "one.card"
    card, _ = make_specimen(path, chip=chip)
    assert card.image.chip == load_chips()[chip]
    card.close()
    found = read_card(f"sim:{path}", None, "en")
    assert [view.seen_by for view in found.views] == ["holder", "inspection"]
    assert found.portrait


@CHIPS
def test_each_chip_gives_the_same_permit(tmp_path: Path, chip: str) -> None:
    def contents(name: str) -> dict[str, object]:
        profile = permit_profile()
        path = tmp_path / f"{name}.card"
        make_specimen(path, chip=name)[0].close()
        with open_simulated(path) as card, card.connect() as connection:
            terminal = TerminalSession.open(connection, LaboratorySam(specimen_keys()), profile, "inspection")
            return {
                row.name: terminal.read_records(row.name) if row.record_size else terminal.read(row.name)
                for row in profile.files
                if row.name not in {"EF.BANK", "EF.CHIPKEY", "EF.SIGNATURE"}
            }

    if chip != DEFAULT_CHIP:
        assert contents(chip) == contents(DEFAULT_CHIP)


@CHIPS
def test_a_changed_pin_outlives_the_power_on_each_chip(tmp_path: Path, chip: str) -> None:
    path = tmp_path / "one.card"
    card, _ = make_specimen(path, chip=chip)
    with card, card.connect() as connection:
        HolderSession.open(connection, permit_profile()).change(HOLDER_PIN, "975310")
    with open_simulated(path) as again, again.connect() as connection:
        HolderSession.open(connection, permit_profile()).verify("975310")


@CHIPS
def test_the_image_version_says_what_may_stand_in_it(chip: str) -> None:
    """Version 3 has counters in cells, which chips with a page erase have not."""
    raw = make_blank_specimen(chip=chip)[0].image.snapshot()
    words = load_chips()[chip].kind is CellKind.WORDS
    assert int.from_bytes(raw[_VERSION_AT], "big") == (3 if words else 2)
    assert NvmImage.from_snapshot(raw).chip == load_chips()[chip]


def test_the_default_chip_programs_words_in_place() -> None:
    assert load_chips()[DEFAULT_CHIP].kind is CellKind.WORDS


def test_an_unknown_chip_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="chip-unknown"):
        make_specimen(tmp_path / "one.card", chip="z80")
    assert not (tmp_path / "one.card").exists()
