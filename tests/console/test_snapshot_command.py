"""``permitcard card snapshot`` as a user runs it."""

from __future__ import annotations

from tests.console.command_line import CommandLine


def test_save_compare_and_step_back(command: CommandLine) -> None:
    command("card", "new", "a.card")
    command("card", "new", "b.card", "--blank")
    command("card", "snapshot", "a.card", "save", "made")
    assert "Nothing differs." in command("--lang", "en", "card", "snapshot", "a.card", "compare", "made").out
    document = command("--json", "card", "snapshot", "a.card", "compare", "b.card", code=1).document
    assert isinstance(document["differences"], list)
    assert "生命周期" in command("--lang", "zh", "card", "snapshot", "a.card", "compare", "b.card", code=1).out
    assert command("--json", "card", "snapshot", "a.card", "list").document["snapshots"]
    assert command("--json", "card", "snapshot", "a.card", "step-back", code=1).error["code"] == "snapshot-none"


def test_mistakes_of_usage(command: CommandLine) -> None:
    command("card", "new", "a.card", "--blank")
    for arguments in (["load"], ["load", "nix"], ["fork", "made"], ["save", "made", "b.card"], ["save", "../x"]):
        command("card", "snapshot", "a.card", *arguments, code=2)
    command("card", "snapshot", "none.card", "save", code=2)
