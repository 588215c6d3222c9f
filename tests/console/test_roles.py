"""What takes a role at a centre with a roster, whoever can open its keys."""

from __future__ import annotations

import json

import pytest

from permitcard.operator_login import system_user
from personalization.production.acts import Role
from tests.console.command_line import CommandLine

PERMIT = "330381263000000001"
ON = ("--centre", "centre")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    run = CommandLine(tmp_path_factory.mktemp("roles"))
    run("keys", "init", "--try-out", *ON)
    run("card", "new", "a.card")
    (run.folder / "holder.txt").write_text("00A4040000\n", encoding="ascii")
    run("trace", "record", "--card", "sim:a.card", "--commands", "holder.txt", "--out", "a.trace")
    return run


def trust(run: CommandLine, *roles: Role) -> None:
    """The roster: who runs the tests, with these roles alone."""
    listed = json.dumps([role.value for role in roles])
    roster = f"[operators.li]\nsystem_user = {json.dumps(system_user())}\nroles = {listed}\n"
    (run.folder / "centre/operators.toml").write_text(roster, encoding="utf-8")


def published(run: CommandLine) -> dict[str, bytes]:
    """What stands of electronic permits for everybody to read."""
    return {path.name: path.read_bytes() for path in (run.folder / "centre/status").glob("*")}


ACTS = [
    (("batch", "rejects", "x.rejects", "opened"), Role.PREPARE),
    (("pass", "issue", PERMIT, "pass.txt"), Role.DESK),
    (("pass", "revoke", "lost", "--permit", PERMIT), Role.DESK),
    (("card", "read", "--card", "sim:a.card"), Role.INSPECT),
    (("card", "show", "a.card"), Role.INSPECT),
    (("test", "--card", "sim:a.card"), Role.INSPECT),
    (("gp", "list", "--card", "sim:a.card"), Role.KEYS),
    (("trace", "decode", "a.trace"), Role.KEYS),
]


@pytest.mark.parametrize(("line", "role"), ACTS)
def test_who_has_every_role_but_one_is_refused(run: CommandLine, line: tuple[str, ...], role: Role) -> None:
    trust(run, *(one for one in Role if one is not role))
    before = published(run)
    refused = run("--json", *line, *ON, code=2).error
    assert (refused["code"], refused["parameters"]) == ("role-missing", {"operator": "li", "role": role.value})
    assert published(run) == before
    assert not (run.folder / "opened").exists()


def test_what_was_published_stands_in_the_trail_without_a_number(run: CommandLine) -> None:
    trust(run, Role.DESK)
    told = run("--json", "pass", "revoke", "lost", "--permit", PERMIT, *ON).document
    run("audit", "export", "export.json", *ON)
    text = (run.folder / "export.json").read_text("utf-8")
    found = [entry for entry in json.loads(text)["entries"] if entry["what"] == "status-published"]
    assert [(entry["who"], json.loads(entry["facts"])) for entry in found] == [
        ("li", {"sequence": told["sequence"], "added": 1, "standings": ["lost"]})
    ]
    assert PERMIT not in text
