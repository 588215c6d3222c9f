"""``permitcard matrix`` and ``permitcard relay`` as a user runs them."""

from __future__ import annotations

import json

from tests.console.command_line import CommandLine


def test_a_matrix_of_a_blank_card_writes_its_page_and_its_results(command: CommandLine) -> None:
    command("card", "new", "blank.card", "--blank")
    simulated = ("matrix", "--image", "blank.card", "--not-connected", "--reader-model", "winbond")
    assert "0 failed" in command(*simulated, "--html", "m.html", "--results", "m.json").out
    assert "<table>" in (command.folder / "m.html").read_text("utf-8")
    results = json.loads((command.folder / "m.json").read_text("utf-8"))
    assert results["failed"] == 0
    assert [row["reader"] for row in results["rows"]][5:] == ["Winbond: character level, messages of 138 bytes"]


def test_a_reader_model_that_nobody_knows_is_said(command: CommandLine) -> None:
    error = command("--json", "matrix", "--not-connected", "--reader-model", "crystal ball", code=2).error
    assert error["code"] == "reader-model-unknown"


def test_a_card_that_is_missing_is_a_failure(command: CommandLine) -> None:
    document = command("--json", "matrix", "--card", "sim:none.card", "--not-connected", code=1).document
    assert document["passed"] == 0


def test_mistakes_of_a_relay_are_told(command: CommandLine) -> None:
    (command.folder / "rules.toml").write_text('[[rule]]\naction = "eat"\n', encoding="utf-8")
    command("card", "new", "blank.card", "--blank")
    error = command("--json", "relay", "--card", "sim:blank.card", "--rules", "rules.toml", code=2).error
    assert error["code"] == "relay-rules-invalid"
    missing = command("--json", "relay", "--card", "sim:none.card", "--as", "tcp", code=2).error
    assert missing["code"] == "image-missing"
