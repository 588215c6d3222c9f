"""``permitcard pass``: an office issues, a terminal verifies without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.console.command_line import CommandLine
from tests.console.conftest import MadeCentre


@pytest.fixture(scope="module")
def office(made_centre: MadeCentre, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A centre whose status folder tests may write, beside one that others only look at."""
    import shutil

    root = tmp_path_factory.mktemp("office") / "centre"
    shutil.copytree(made_centre.centre.root, root)
    return root


def test_a_pass_from_issue_to_revocation(made_centre: MadeCentre, office: Path, command: CommandLine) -> None:
    applicant = made_centre.applicants[0]
    command("pass", "trust", "trust.pem", "--centre", office)
    issued: dict[str, Any] = command(
        "--json", "pass", "issue", applicant.permit_number, "pass.txt", "--sheet", "sheet.pdf", "--centre", office
    ).document
    assert issued["until"] == applicant.endorsement_due.isoformat()
    assert (command.folder / "sheet.pdf").read_bytes().startswith(b"%PDF")
    day = f"{applicant.endorsement_due}"
    first = command("--json", "pass", "revoke", "lost", "--permit", "330381300000000099", "--centre", office).document
    lists = ("--trust", "trust.pem", "--status", str(first["list"]), "--max-age", "200000")
    found: dict[str, Any] = command("--json", "pass", "verify", "pass.txt", *lists, "--on", day).document
    assert (found["good"], found["permit"]["permit_number"]) == (True, applicant.permit_number)
    revoke = ("pass", "revoke", "cancelled", "--permit", applicant.permit_number, "--centre", office)
    second = command("--json", *revoke).document
    lists = ("--trust", "trust.pem", "--status", str(second["list"]), "--max-age", "200000")
    found = command("--json", "pass", "verify", "pass.txt", *lists, "--on", day, code=1).document
    assert (found["good"], found["faults"]) == (False, ["cancelled"])
    again = ("--json", "pass", "issue", applicant.permit_number, "again.txt", "--centre", office)
    assert command(*again, code=1).error["code"] == "pass-permit-listed"
    updated = command(
        "--json", "pass", "update", str(first["list"]), str(second["delta"]), "--trust", "trust.pem"
    ).document
    assert (updated["sequence"], updated["entries"]) == (second["sequence"], 2)
    assert "330381300000000099" not in str(Path(str(second["list"])).read_bytes())


def test_every_reason_has_words(made_centre: MadeCentre, office: Path, command: CommandLine) -> None:
    command("pass", "trust", "trust.pem", "--centre", office)
    (command.folder / "none.txt").write_text("ZJP1:AAAA")
    line = ("pass", "verify", "none.txt", "--trust", "trust.pem")
    assert "no electronic permit" in command("--lang", "en", *line, code=1).out
    assert "不是电子居住证" in command("--lang", "zh", *line, code=1).out


def test_mistakes_of_usage(made_centre: MadeCentre, office: Path, command: CommandLine) -> None:
    issue = ("pass", "issue", "330381300000000099", "pass.txt", "--centre", office)
    assert command("--json", *issue, code=2).error["code"] == "permit-unknown"
    assert not (command.folder / "pass.txt").exists()
    (command.folder / "pass.txt").write_text("x")
    assert (
        command("--json", "pass", "verify", "pass.txt", "--trust", "none", code=2).error["code"] == "trust-unreadable"
    )
    command("pass", "revoke", "stolen", "--permit", "1", "--centre", office, code=2)
    command("pass", "revoke", "revoked", "--pass", "xyz", "--centre", office, code=2)
