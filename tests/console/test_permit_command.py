"""``permitcard permit`` as a desk uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.console.command_line import ROOT, CommandLine

EXAMPLES = ROOT / "examples" / "permit"


def test_an_applicant_is_told_everything_at_once(command: CommandLine) -> None:
    worker = EXAMPLES / "worker.toml"
    document: dict[str, Any] = command("--json", "permit", "check", worker).document
    outcomes = {rule["rule"]: rule["outcome"] for rule in document["rules"]}
    assert (document["verdict"], document["policy"]) == ("eligible", "ruian-2016")
    assert (outcomes["employment.contract"], outcomes["dwelling.rental"]) == ("met", "proof-missing")
    assert all(rule["clause"] and rule["quote"] for rule in document["rules"])
    assert "符合条件" in command("--lang", "zh", "permit", "check", worker).out
    assert "Eligible" in command("--lang", "en", "permit", "check", worker).out


def test_what_is_not_met_gives_exit_code_1(command: CommandLine, tmp_path: Path) -> None:
    late = tmp_path / "late.toml"
    late.write_text((EXAMPLES / "worker.toml").read_text("utf-8").replace("first = 2017-01-01", "first = 2017-01-02"))
    assert command("--json", "permit", "check", late, code=1).document["verdict"] == "ineligible"


def test_mutual_recognition_with_its_deadline(command: CommandLine) -> None:
    document = command("--json", "permit", "recognise", EXAMPLES / "recognition.toml").document
    assert (document["route"], document["cancels"]) == ("permit", ["330381"])
    assert (document["decided_by"], document["provisional"]) == ("2024-03-06", False)
    assert "330381" in command("--lang", "en", "permit", "recognise", EXAMPLES / "recognition.toml").out


def test_the_term_of_a_permit(command: CommandLine) -> None:
    line = ("permit", "term", "--area", "330381", "--issued", "2016-02-29")
    assert command("--json", *line, "--on", "2017-02-28").document["status"] == "valid"
    document = command("--json", *line, "--on", "2017-03-01", code=1).document
    assert (document["status"], document["due"]) == ("suspended", "2017-02-28")
    later = command("--json", *line, "--on", "2017-03-01", "--endorsed", "2017-02-01").document
    assert (later["due"], later["residence_years"]) == ("2018-02-28", 1)
    error = command("--json", *line, "--on", "2017-03-01", "--endorsed", "2016-12-01", code=1).error
    assert error["code"] == "endorsement-too-early"


def test_points_are_explained(command: CommandLine) -> None:
    document = command("--json", "permit", "points", "zhoushan-example", "age=30", "residence_years=3").document
    assert (document["total"], document["example"]) == (19, True)
    assert "19" in command("--lang", "zh", "permit", "points", "zhoushan-example", "age=30", "residence_years=3").out


def test_policies_are_listed_and_reviewed(command: CommandLine, tmp_path: Path) -> None:
    names = [policy["name"] for policy in json.loads(command("--json", "permit", "policies").out)["policies"]]
    assert "ruian-2016" in names
    (tmp_path / "bad.toml").write_text('name = "bad-2016"\n')
    assert command("--json", "permit", "policies", "--policies", tmp_path, code=1).error["code"] == "policy-invalid"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("permit", "check", "none.toml"), "application-unreadable"),
        (("permit", "check", EXAMPLES / "worker.toml", "--policy", "atlantis"), "policy-unknown"),
        (("permit", "points", "nowhere"), "points-table-unknown"),
        (("permit", "points", "none.toml"), "points-table-unreadable"),
        (("permit", "points", "zhoushan-example", "shoe_size=42"), "points-facts-unknown"),
        (("permit", "points", "zhoushan-example", "age"), "points-fact-malformed"),
        (("permit", "term", "--area", "330381", "--issued", "2016-02-30", "--on", "2017-01-01"), "usage"),
    ],
)
def test_mistakes_of_usage(command: CommandLine, line: tuple[str | Path, ...], code: str) -> None:
    assert command("--json", *line, code=2).error["code"] == code
