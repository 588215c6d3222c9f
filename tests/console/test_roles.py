"""What takes a role at a centre with a roster, whoever can open its keys."""

from __future__ import annotations

import json

import pytest

from permitcard.system_accounts import system_user
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


def trust(run: CommandLine, *roles: Role, name: str = "li", others: str = "") -> None:
    """The roster: who runs the tests, with these roles alone."""
    listed = json.dumps([role.value for role in roles])
    roster = f"[operators.{name}]\nsystem_user = {json.dumps(system_user())}\nroles = {listed}\n{others}"
    (run.folder / "centre/operators.toml").write_text(roster, encoding="utf-8")


def published(run: CommandLine) -> dict[str, bytes]:
    """What stands of electronic permits for everybody to read."""
    return {path.name: path.read_bytes() for path in (run.folder / "centre/status").glob("*")}


ACTS = [
    (("batch", "rejects", "x.rejects", "opened"), Role.PREPARE),
    (("batch", "faces", "faces.zip", "B"), Role.RUN),
    (("batch", "letters", "letters.pdf", "B"), Role.RELEASE),
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


def test_an_approval_lets_one_change_of_one_key_through_and_no_other(run: CommandLine) -> None:
    trust(run, Role.RELEASE, name="wang")
    assert run("--json", "approve", "keys", "issuer", *ON, code=2).error["code"] == "key-act-malformed"
    told = run("--json", "approve", "keys", "rotate/issuer", *ON).document
    assert told == {"approved": "keys", "subject": "rotate/issuer", "by": "wang"}
    trust(run, Role.KEYS, others='[operators.wang]\nsystem_user = "somebody-else"\nroles = ["release"]\n')
    shown = run("--json", "keys", "show", *ON).document
    for line, subject in (
        (("export", "issuer", "issuer.wrapped"), "export/issuer"),
        (("rotate", "inspection"), "rotate/inspection"),
        (("destroy", "issuer", "A1B2C3"), "destroy/issuer/A1B2C3"),
    ):
        refused = run("--json", "keys", *line, *ON, code=2).error
        assert (refused["code"], subject in str(refused["parameters"])) == ("approval-missing", True)
    assert not (run.folder / "issuer.wrapped").exists()
    assert run("--json", "keys", "show", *ON).document == shown
    assert run("--json", "keys", "rotate", "issuer", *ON).document["key"] == "issuer"
    again = run("--json", "keys", "rotate", "issuer", *ON, code=2).error
    assert again["code"] == "approval-missing"


def test_a_key_that_is_not_what_its_file_says_is_not_put_in_use(run: CommandLine) -> None:
    (run.folder / "centre/operators.toml").unlink(missing_ok=True)
    value = str(run("--json", "keys", "export", "bank_branch", "sent.json", *ON).document["check_value"])
    document = json.loads((run.folder / "sent.json").read_bytes())
    assert document["check_value"] == value
    other = f"{int(value, 16) ^ 1:06X}"
    (run.folder / "other.json").write_text(json.dumps(document | {"check_value": other}), encoding="utf-8")
    (run.folder / "short.json").write_text(json.dumps(document | {"check_value": other[2:]}), encoding="utf-8")
    shown = run("--json", "keys", "show", *ON).document
    refused = run("--json", "keys", "import", "other.json", *ON, code=1).error
    assert (refused["code"], refused["parameters"]) == (
        "imported-check-value",
        {"key": "bank_branch", "found": value, "expected": other},
    )
    assert run("--json", "keys", "import", "short.json", *ON, code=2).error["code"] == "document-malformed"
    assert run("--json", "keys", "show", *ON).document == shown, "nor is concealment replaced"
    run("keys", "rotate", "bank_branch", *ON)
    assert run("--json", "keys", "import", "sent.json", *ON).document["after"] == value
