"""``--chip`` as a user gives it."""

from __future__ import annotations

import pytest

from tests.console.command_line import CommandLine

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
    error = command("--json", "card", "new", "a.card", "--chip", "z80", code=3).error
    assert error["code"] == "chip-unknown"
