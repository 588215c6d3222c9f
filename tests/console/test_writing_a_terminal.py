"""docs/writing-a-terminal.md: its commands, its keys, its terminal, and what it says that a wrong terminal is told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from permitcard.specimen import HOLDER_PIN, UNBLOCKING_PIN, make_specimen, specimen_keys
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.terminal import prepare_mutual, terminal
from personalization.keys.keystore import KeyName
from reader_bridge.connection import Interface
from tests.console.command_line import ROOT, CommandLine

PAGE = (ROOT / "docs" / "writing-a-terminal.md").read_text("utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
PRINTED = re.findall(r"```console\n\$ .*?\n(.*?)```", PAGE, re.DOTALL)[0]


def test_the_published_keys_are_those_of_specimens() -> None:
    named = dict(re.findall(r"^\| master `(\w+)` \| `([0-9A-F]{32})` \|$", PAGE, re.MULTILINE))
    assert set(named) >= {"inspection", "service_desk", "bank_branch", "issuer", "concealment", "terminal", "card"}
    for name, value in named.items():
        assert specimen_keys()._symmetric[KeyName(name)].hex().upper() == value
    assert f"`{HOLDER_PIN}`, `{UNBLOCKING_PIN}`" in PAGE
    assert specimen_keys()._symmetric[KeyName.TERMINAL].hex().upper() in CODE


def test_the_terminal_of_the_page_reads_a_permit_on_both_interfaces(tmp_path: Path) -> None:
    """It has no code of ours: neither does it import a module, nor find one."""
    command = CommandLine(tmp_path)
    for line in re.findall(r"^permitcard (card new .*?) *#.*$", PAGE, re.MULTILINE):
        command(*line.split())
    (serving,) = re.findall(r"^permitcard (card serve .*?) *#.*$", PAGE, re.MULTILINE)
    (tmp_path / "terminal.py").write_text(CODE, encoding="utf-8")
    with command.start(*serving.split(), "--json") as server:
        assert server.stdout is not None
        shown = json.loads("".join(iter(server.stdout.readline, "}\n")) + "}")
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        for slot in ("Virtual PCD 00 00", "Virtual PCD 00 01"):
            done = subprocess.run(
                [sys.executable, "terminal.py", slot, "Virtual PCD 1 00 00"],
                check=False,
                capture_output=True,
                encoding="utf-8",
                cwd=tmp_path,
                env={**variables, **shown["environment"], "PYTHONUTF8": "1"},
                timeout=300,
            )
            assert (done.returncode, done.stdout) == (0, PRINTED), done.stderr
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=300)


def test_more_cards_than_a_service_has_room_for_are_refused(tmp_path: Path) -> None:
    error = CommandLine(tmp_path)("--json", "card", "serve", *9 * ["a.card"], "--own-pcscd", code=2).error
    assert error["code"] == "several-cards"


@pytest.mark.parametrize("other", [["--blank"], ["--profile", "test-keys"], ["--applet", "permit"]])
def test_a_sam_is_nothing_else(tmp_path: Path, other: list[str]) -> None:
    error = CommandLine(tmp_path)("--json", "card", "new", "sam.card", "--sam", *other, code=2).error
    assert error["code"] == "sam-alone"
    assert not (tmp_path / "sam.card").exists()


def sw(card: CardUnderTest, header: str, data: bytes = b"", *, ne: int = 0) -> str:
    """The status word of a command."""
    cla, ins, p1, p2 = bytes.fromhex(header)
    return str(card.send(cla, ins, p1, p2, data, ne=ne).sw)


def test_a_wrong_terminal_is_told_what_the_page_says() -> None:
    told = dict(re.findall(r"^\| (.*?) \| ([0-9A-F]{4}|63Cx)\b.*\|$", PAGE.split("## What a wrong")[1], re.MULTILINE))
    card, target = make_specimen()
    with card, card.connect(Interface.CONTACT) as contact, card.connect(Interface.CONTACTLESS) as contactless:
        permit, field = (CardUnderTest(connection, target, b"") for connection in (contact, contactless))
        permit.select(target.permit_aid)
        found = {"reads a file without authentication": sw(permit, "00B08100", ne=16)}
        data = prepare_mutual(permit, 0x81)
        wrong = sw(permit, "00820081", data[:-1] + bytes((data[-1] ^ 1,)), ne=64)
        found["has a wrong key, MAC or challenge"] = wrong[:3] + "x"
        twice = "sends MUTUAL AUTHENTICATE without GET CHALLENGE, or twice"
        found[twice] = sw(permit, "00820081", data, ne=64)
        terminal(permit, 0x81)
        objects = bytes.fromhex("9701108E08") + bytes(8)
        found["sends a wrong secure messaging object"] = sw(permit, "0CB08100", objects, ne=256)
        assert sw(permit, "0CB08100", objects, ne=256) == "6882"
        field.select(target.permit_aid)
        found["sends a PIN in plain over the field"] = sw(field, "00200081", target.holder_pin_block)
    assert found == {key: value for key, value in told.items() if key in found}
    assert len(found) == 5
