"""``permitcard tear`` as a user runs it."""

from __future__ import annotations

from tests.console.command_line import ROOT, CommandLine

SCRIPT = ROOT / "examples" / "tear" / "pin.tear"


def test_a_sound_card_ends_with_0_and_counts(command: CommandLine) -> None:
    document = command("--json", "tear", SCRIPT).document
    assert document["violations"] == []
    assert isinstance(document["cuts"], int)
    assert document["cuts"] > 400


def test_a_script_that_does_not_fit_the_card_is_told(command: CommandLine) -> None:
    error = command("--json", "tear", SCRIPT, "--card", "blank", code=1).error
    assert error["code"] == "script-failed"


def test_a_wrong_line_is_a_mistake_of_usage(command: CommandLine) -> None:
    (command.folder / "bad.tear").write_text("00A4\n", encoding="utf-8")
    assert "第 1 行" in command("--lang", "zh", "tear", "bad.tear", code=2).err
