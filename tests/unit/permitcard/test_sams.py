"""A station takes a SAM that is whole and that nobody else has."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from permitcard.sams import make_sam, open_sam, require_sams, take_sam
from permitcard.specimen import specimen_keys
from personalization.errors import PersonalizationError


def take_one(folder: Path) -> str:
    """In a process of its own: take a SAM, use it, tell its name."""
    keys = specimen_keys()
    card = take_sam(folder, keys)
    with open_sam(card, keys) as session:
        session.uses_left()
        return card.name


def test_stations_that_start_together_all_get_a_whole_sam(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        names = pool.map(take_one, [tmp_path / "sams"] * 8)
    assert len(names) == 8


def test_a_sam_in_use_is_left_to_its_owner(tmp_path: Path) -> None:
    keys = specimen_keys()
    with take_sam(tmp_path, keys) as first, take_sam(tmp_path, keys) as second:
        assert first.name != second.name


def test_a_sam_is_taken_again_when_it_is_free(tmp_path: Path) -> None:
    keys = specimen_keys()
    with take_sam(tmp_path, keys) as first:
        name = first.name
    with take_sam(tmp_path, keys) as again:
        assert again.name == name


def test_a_sam_appears_whole(tmp_path: Path) -> None:
    keys = specimen_keys()
    make_sam(tmp_path / "sam-01.card", keys, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["sam-01.card"]
    with take_sam(tmp_path, keys) as card:
        assert card.name.endswith("sam-01.card")


def test_production_keys_name_no_card_file() -> None:
    require_sams(("sim:a.card",), 1, production=False)
    with pytest.raises(PersonalizationError, match="production-keys-simulated-card"):
        require_sams(("pcsc:A", "sim:a.card"), 1, production=True)
    require_sams(("pcsc:A", "serial:/dev/ttyS0"), 2, production=True)
