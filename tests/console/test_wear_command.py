"""``permitcard card wear`` as a user runs it."""

from __future__ import annotations

from pathlib import Path

from tests.console.command_line import CommandLine


def test_wear_of_a_card_and_its_life(command: CommandLine, tmp_path: Path) -> None:
    command("card", "new", "a.card")
    assert "flash-144k" in command("--lang", "en", "card", "wear", "a.card").out
    day = tmp_path / "day.apdu"
    day.write_text("00A4 0400 07 F05A4A4A5A0101 00\n0020 0081 08 26246802FFFFFFFF  # the holder's PIN\n")
    assert "天" in command("--lang", "zh", "card", "wear", "a.card", "--day", str(day)).out
    document = command("--json", "card", "wear", "a.card", "--day", str(day)).document
    assert isinstance(document["life"], dict)
    assert document["endurance"] == 100_000


def test_mistakes_of_usage(command: CommandLine) -> None:
    command("card", "new", "a.card", "--blank")
    assert command("--json", "card", "wear", "a.card", "--day", "none.apdu", code=2).error["code"] == "wear-day"
    command("card", "wear", "none.card", code=2)
