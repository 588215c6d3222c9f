"""A key ceremony from the command line: component files, typed components, transcript, changes of single keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.console.command_line import CommandLine
from tests.console.gp_line import GpLine, Said

PASSPHRASE = "a passphrase for the ceremony"


@pytest.fixture
def run(command: CommandLine) -> CommandLine:
    return replace(command, variables={"PERMITCARD_PASSPHRASE": PASSPHRASE})


def draw(run: CommandLine, tmp_path: Path, key: str, *custodians: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for custodian in custodians:
        file = tmp_path / "parts" / f"{key}.{custodian}.txt"
        file.parent.mkdir(exist_ok=True)
        values[custodian] = str(run("keys", "component", key, custodian, file, "--json").document["check_value"])
    return values


def ceremony(*more: str) -> tuple[str, ...]:
    return ("keys", "ceremony", "--centre", "centre", "--custodian", "li", "--custodian", "wang", *more)


def test_a_store_is_made_of_components_and_the_transcript_proves_it(run: CommandLine, tmp_path: Path) -> None:
    values = {key: draw(run, tmp_path, key, "li", "wang") for key in ("card", "factory")}
    made = run(
        *ceremony("--key", "card", "--key", "factory", "--components", "parts", "--witness", "chen", "--json")
    ).document
    transcript = Path(str(made["transcript"]))
    verified: Any = run("keys", "transcript", "verify", tmp_path / transcript, "--json").document
    assert verified["genuine"] is True
    assert verified["trusted"] is False
    document = verified["document"]
    assert document["components"] == values
    assert document["witnesses"][0] == "chen"
    assert "transport" in document["generated"]
    shown: Any = run("keys", "show", "--centre", "centre", "--json").document
    assert document["check_values"] == shown["check_values"]
    assert "Transcript of a key ceremony" in (tmp_path / transcript).with_suffix(".html").read_text("utf-8")
    everything = "".join(path.read_text("utf-8") for path in (tmp_path / "centre").rglob("*") if path.is_file())
    for part in (tmp_path / "parts").iterdir():
        component = part.read_text("utf-8").splitlines()[3].removeprefix("component: ")
        assert len(component) == 32
        assert component.lower() not in everything.lower()
    changed = json.loads((tmp_path / transcript).read_bytes())
    changed["document"]["witnesses"] = ["nobody"]
    (tmp_path / "changed.json").write_text(json.dumps(changed), "utf-8")
    refused = run("keys", "transcript", "verify", "changed.json", "--json", code=1)
    assert refused.error["code"] == "document-not-genuine"
    assert run(*ceremony("--key", "card", "--components", "parts", "--json"), code=2).error["code"] == (
        "key-store-exists"
    )


def test_a_ceremony_lacks_nobody(run: CommandLine, tmp_path: Path) -> None:
    draw(run, tmp_path, "card", "li")
    lacking = run(*ceremony("--key", "card", "--components", "parts", "--json"), code=2)
    assert lacking.error["code"] == "component-file-missing"
    alone = ("keys", "ceremony", "--centre", "centre", "--custodian", "li", "--key", "card", "--components", "parts")
    assert run(*alone, "--json", code=2).error["code"] == "custodians-too-few"
    pair = run(*ceremony("--key", "audit", "--rehearsal", "--json"), code=2)
    assert pair.error["code"] == "component-of-a-pair"
    assert not (tmp_path / "centre").exists()


def test_components_are_typed_in_without_being_shown(run: CommandLine, tmp_path: Path) -> None:
    values = draw(run, tmp_path, "card", "li", "wang")
    typed: list[str] = []
    components: list[str] = []
    for custodian, check_value in values.items():
        text = (tmp_path / "parts" / f"card.{custodian}.txt").read_text("utf-8")
        components.append(text.splitlines()[3].removeprefix("component: "))
        typed += [components[-1], check_value]
    wrong = ["00" * 16, values["li"]]
    ended = subprocess.run(
        [sys.executable, "-m", "permitcard", *ceremony("--key", "card")],
        cwd=tmp_path,
        env=run.environment(),
        input="\n".join([*wrong, *typed, ""]),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "check value" in ended.stderr, "the slip was told, and could be mended"
    for component in components:
        assert component not in ended.stdout + ended.stderr


def test_a_rehearsal_draws_its_own_components(run: CommandLine, tmp_path: Path) -> None:
    made = run(*ceremony("--key", "card", "--key", "recognition", "--rehearsal", "--json")).document
    document = json.loads((tmp_path / str(made["transcript"])).read_bytes())["document"]
    assert document["rehearsal"] is True
    assert set(document["components"]) == {"card", "recognition"}
    refused = run(*ceremony("--key", "card", "--rehearsal", "--hsm", "--production", "--json"), code=2)
    assert refused.error["code"] == "key-store-exists"


def test_single_keys_are_changed_with_a_record_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fourteen command lines, in this process: starting others would only cost time."""
    for name in [name for name in os.environ if name.startswith(("PERMITCARD_", "LC_", "LANG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PERMITCARD_PASSPHRASE", PASSPHRASE)
    monkeypatch.chdir(tmp_path)
    line = GpLine(capsys)

    def run(*arguments: str | Path, code: int = 0) -> Said:
        said = line(*arguments)
        assert said.code == code, said.err
        return said

    run("keys", "init", "--centre", "centre")
    before: Any = run("keys", "show", "--centre", "centre", "--json").document["check_values"]
    rotated = run("keys", "rotate", "issuer", "--centre", "centre", "--json").document
    assert rotated["before"] == before["issuer"]
    run("keys", "export", "issuer", "issuer.json", "--centre", "centre", "--json")
    there = run("keys", "export", "issuer", "issuer.json", "--centre", "centre", "--json", code=2)
    assert there.error == "wrapped-key-exists"
    again = run("keys", "rotate", "issuer", "--centre", "centre", "--json").document
    taken = run("keys", "import", "issuer.json", "--centre", "centre", "--json").document
    assert taken["after"] == rotated["after"]
    twice = run("keys", "import", "issuer.json", "--centre", "centre", "--json", code=2)
    assert twice.error == "key-in-use"
    destroyed = run("keys", "destroy", "issuer", str(again["after"]), "--centre", "centre", "--json").document
    record: Any = run("keys", "transcript", "verify", tmp_path / str(destroyed["record"]), "--json").document[
        "document"
    ]
    assert (record["key"], record["change"]) == ("issuer", "destroyed")
    told = run("keys", "destroy", "issuer", str(again["after"]), "--centre", "centre", "--json", code=2)
    assert told.error == "former-key-missing"
    verdict = run("audit", "verify", "--centre", "centre", "--json").document
    assert (verdict["genuine"], verdict["uncovered"]) == (True, 0)
    run("audit", "export", "trail.json", "--centre", "centre")
    assert run("audit", "verify", "--export", "trail.json", "--json").document["genuine"] is True
    trail = json.loads((tmp_path / "trail.json").read_bytes())
    assert {"keys-changed", "checkpoint"} <= {entry["what"] for entry in trail["entries"]}
    trail["entries"][0]["who"] = "somebody"
    (tmp_path / "trail.json").write_text(json.dumps(trail), "utf-8")
    found = run("audit", "verify", "--export", "trail.json", "--json", code=1).document
    assert found["findings"] == [{"fault": "changed", "entry": 1}]
