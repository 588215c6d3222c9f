"""``--chip`` as a user gives it."""

from __future__ import annotations

import pytest

from tests.console.command_line import ROOT, CommandLine

MAPPED = ("mapped-flash-144k", "mapped-eeprom-80k")


@pytest.mark.parametrize("chip", MAPPED)
def test_a_card_on_a_chosen_chip_is_shown_and_measured(command: CommandLine, chip: str) -> None:
    command("card", "new", "a.card", "--chip", chip)
    assert "As an inspection terminal sees it" in command("--lang", "en", "card", "show", "a.card").out
    assert chip in command("--lang", "en", "card", "wear", "a.card").out


@pytest.mark.parametrize("chip", MAPPED)
def test_a_batch_is_made_and_inspected_on_a_chosen_chip(command: CommandLine, chip: str) -> None:
    made = command("--lang", "en", "demo", "--cards", "2", "--centre", "centre", "--stations", "1", "--chip", chip)
    assert "2 cards made and inspected, 0 rows left" in made.out
    command("stock", "receive", "1", "--centre", "centre", "--chip", chip)
    assert chip in command("--lang", "en", "card", "wear", "centre/cards/0002-000001.card").out


def test_an_unknown_chip_is_named_with_those_that_are_known(command: CommandLine) -> None:
    error = command("--json", "card", "new", "a.card", "--chip", "z80", code=2).error
    assert error["code"] == "chip-unknown"


def test_a_chip_of_ones_own_makes_cards_that_need_its_file_no_more(command: CommandLine) -> None:
    """The page's own chip, and what the page says that judges it."""
    page = (ROOT / "docs" / "writing-a-chip.md").read_text("utf-8")
    file = command.folder / "acme.toml"
    file.write_text(page.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    made, printed = page.split("```console\n$ permitcard ")[1].split("```")[0].split("\n", 1)
    assert command("--lang", "en", *made.split()).out == printed
    small = file.read_text("utf-8").replace("size = 262144", "size = 16384", 1)
    (command.folder / "small.toml").write_text(small, encoding="utf-8")
    error = command("--json", "card", "new", "small.card", "--chip", "small.toml", code=2).error
    assert error["code"] == "chip-too-small"
    assert not list(command.folder.glob("small.card*"))
    file.write_text(small.replace("16384", "1"), encoding="utf-8")
    assert command("--json", "card", "new", "b.card", "--chip", "acme.toml", code=2).error["code"] == "chip-wrong"
    file.unlink()
    assert "acme-256k" in command("--lang", "en", "card", "wear", "acme.card").out
    judged = ("test", "--card", "sim:acme.card", "-k", "pin and not field", "--destructive")
    command(*judged, "--card-id", "4A5A0144FE0000000001")
    assert command("--json", *judged, code=2).error["code"] == "card-id-missing"
    assert command("--json", *judged, "--card-id", "4A5A", code=2).error["code"] == "card-id-other"
