"""``permitcard card why``: the card's own reason for each refusal, on a copy."""

from __future__ import annotations

import pytest

from tests.console.command_line import CommandLine

SCRIPT = """# an inspection that forgot to authenticate
00A4040007F05A4A4A5A010100
00B0810010
002000810826135790FFFFFFFF
002000810826246802FFFFFFFF
00B0810010
0CB0810000
00F50000
"""


@pytest.fixture
def line(command: CommandLine) -> CommandLine:
    command("card", "new", "a.card")
    (command.folder / "script.txt").write_text(SCRIPT, encoding="utf-8")
    return command


def test_each_refusal_has_its_reason_and_the_card_is_as_it_was(line: CommandLine) -> None:
    before = (line.folder / "a.card").read_bytes()
    answers = line("--json", "card", "why", "a.card", "script.txt").document["answers"]
    assert isinstance(answers, list)
    assert [row["status"][:4] for row in answers] == ["9000", "6982", "63C2", "9000", "9000", "6882", "6D00"]
    assert answers[1]["command"] == "READ BINARY EF.IDENTITY, offset 0"
    assert "secure messaging and key role 1" in answers[1]["reason"]
    assert "or PIN 1" in answers[1]["reason"]
    assert [row["reason"] is None for row in answers] == [True, False, False, True, True, False, False]
    assert (line.folder / "a.card").read_bytes() == before


def test_over_the_field_the_interface_is_what_is_missing(line: CommandLine) -> None:
    told = line("--lang", "en", "card", "why", "a.card", "script.txt", "--field").out
    assert "missing the contact interface, or secure messaging" in told
    assert "246802" not in told


def test_a_trace_of_another_card_can_be_asked_about(line: CommandLine) -> None:
    record = ("trace", "record", "--card", "sim:a.card", "--commands", "script.txt")
    line(*record, "--out", "one.trace")
    asked = line("--json", "card", "why", "a.card", "one.trace").document
    assert asked["left_out"] == 2
    error = line("--json", "card", "why", "a.card", "nowhere.txt", code=2).error
    assert error["code"] == "commands-unreadable"
    assert line("--json", "card", "why", "b.card", "script.txt", code=2).error["code"] == "image-missing"
