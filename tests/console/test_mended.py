"""What breaks under a batch: token and disk, while it is prepared and while it is made.

Each time a clear word and exit code 3, nothing lost, and on it goes when it is mended.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import exceptions

from permitcard.centre import Centre
from personalization.intake.sample.unpacked import write_unpacked_sample
from personalization.keys.hsm.store import HsmKeyStore
from tests.console.command_line import ROOT, CommandLine, Outcome, Prompt
from tests.doubles.softhsm import fresh_token

ROWS = 4
ANSWERS = "PERMITCARD_PKCS11_"
ENDS = ("MODULE", "TOKEN", "PIN")
HERE = ("--centre", "centre", "--json")


def told(found: Outcome) -> tuple[Any, int]:
    return found.error["code"], found.code


# ------------------------------------------------------------ the token


@pytest.fixture
def in_token(prompt: Prompt, monkeypatch: pytest.MonkeyPatch) -> Prompt:
    """A centre whose keys are in a token of this process."""
    hsm, label = fresh_token()
    for name, value in hsm.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(f"{ANSWERS}TOKEN", label)
    prompt("keys", "init", "--hsm", *HERE)
    return prompt


class Full:
    """A session of a token that is full: CKR_DEVICE_MEMORY for every new object; SoftHSM has no such bound."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def generate_key(self, *_: object, **__: object) -> None:
        raise exceptions.DeviceMemory


def fill_up(change: pytest.MonkeyPatch) -> None:
    writing = HsmKeyStore._writing

    @contextmanager
    def full(store: HsmKeyStore) -> Generator[Any]:
        with writing(store) as session:
            yield Full(session)

    change.setattr(HsmKeyStore, "_writing", full)


def test_a_token_that_cannot_be_used_keeps_a_delivery_waiting(
    in_token: Prompt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered = write_unpacked_sample(tmp_path / "delivered", ROWS, 3)
    prepare, make = ("batch", "prepare", delivered), ("batch", "resume", "--stations", "1")
    faults = {f"{ANSWERS}PIN": ("not the PIN", "hsm-pin-wrong"), f"{ANSWERS}MODULE": ("/no.so", "hsm-module-unusable")}

    def each_is_told(*command: str | Path) -> None:
        for variable, (value, code) in faults.items():
            with monkeypatch.context() as change:
                change.setenv(variable, value)
                found = in_token(*command, *HERE, code=3)
                assert told(found) == (code, 3)
                assert "not the PIN" not in found.out + found.err
                assert str(found.error["text"]) != code

    each_is_told(*prepare)
    with monkeypatch.context() as change:
        fill_up(change)
        assert told(in_token(*prepare, *HERE, code=3)) == ("hsm-token-full", 3)
    assert list((tmp_path / "centre" / "batches").glob("*/chunks/*")) == []
    assert in_token(*prepare, *HERE).document["prepared"] == ROWS
    in_token("stock", "receive", str(ROWS), *HERE)
    each_is_told(*make)
    status: Any = in_token("batch", "status", *HERE).document
    assert (status["left"], status["stock"]["in-stock"], status["stock"]["spoiled"]) == (ROWS, ROWS, 0)
    assert in_token("stock", "account", *HERE).document["adds_up"] is True


FEEDER = """
import os, pathlib, sys
count, moment, before, after = sys.argv[1:]
taken = pathlib.Path(count)
taken.write_text(taken.read_text() + "." if taken.exists() else ".")
if len(taken.read_text()) == int(moment):
    os.rename(before, after)
"""
"""Takes the token away, or the room in it, when it puts the second card in its place."""


@pytest.mark.parametrize("fault", ["gone", pytest.param("full", marks=pytest.mark.long)])
def test_a_token_that_fails_between_two_cards_stops_the_station_in_order(
    in_token: Prompt, tmp_path: Path, fault: str
) -> None:
    """The station is a process of its own, with a session of its own."""
    delivered = write_unpacked_sample(tmp_path / "delivered", ROWS, 3)
    assert in_token("batch", "prepare", delivered, *HERE).document["prepared"] == ROWS
    in_token("stock", "receive", str(ROWS), *HERE)
    no_room, room = tmp_path / "no-room", tmp_path / "room"
    room.touch()
    tokens = Path(os.environ["SOFTHSM2_CONF"]).with_name("tokens")
    there = (tokens, tokens.with_name("away")) if fault == "gone" else (room, no_room)
    (tmp_path / "feeder.py").write_text(FEEDER, "utf-8")
    arguments = [sys.executable, str(tmp_path / "feeder.py"), str(tmp_path / "count"), "2", *map(str, there)]
    hooks = Centre(tmp_path / "centre").hooks
    hooks.write_text(f"[position]\nbefore = {json.dumps(arguments)}\n", "utf-8")
    variables = {name: os.environ[name] for name in ("SOFTHSM2_CONF", *(ANSWERS + end for end in ENDS))}
    doubled = os.pathsep.join((str(ROOT / "tests" / "doubles" / "full_token"), str(ROOT)))
    run = CommandLine(tmp_path, {**variables, "TEST_TOKEN_FULL": str(no_room), "PYTHONPATH": doubled})
    try:
        stopped = run("batch", "resume", "--stations", "1", *HERE, code=3)
    finally:
        if there[1].exists():
            there[1].rename(there[0])
    codes = {"gone": {"hsm-unavailable", "hsm-token-missing"}, "full": {"hsm-token-full"}}
    assert stopped.error["code"] in codes[fault]
    hooks.unlink()
    status: Any = in_token("batch", "status", *HERE).document
    assert (status["state"], status["rows"]["failed"], status["stock"]["spoiled"]) == ("stopped", 0, 0)
    assert status["left"] >= ROWS - 1
    finished: Any = in_token("batch", "resume", "--stations", "1", *HERE).document
    assert (finished["good"], finished["stock"]["spoiled"]) == (ROWS, 0)
    assert in_token("stock", "account", *HERE).document["adds_up"] is True
    in_token("audit", "verify", *HERE)


# ------------------------------------------------------------ the disk


@pytest.mark.parametrize("moments", ["few", pytest.param("many", marks=pytest.mark.long)])
def test_a_disk_that_is_full_is_told_and_what_was_begun_goes_on(tmp_path: Path, moments: str) -> None:
    """A file system of its own, of some megabytes, in a mount namespace: the kernel itself says ENOSPC."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    delivered = write_unpacked_sample(tmp_path / "delivered", ROWS, 3)
    (tmp_path / "disk").mkdir()
    script = 'mount -t tmpfs -o size=64m tmpfs "$1" && exec "$2" -m tests.console.full_disk "$1" "$3" "$4"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", tmp_path / "disk", sys.executable, delivered, moments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PERMITCARD_", "COVERAGE_"))},
        check=False,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    story: Any = json.loads(done.stdout)
    assert {step["code"] for step in story["prepared"][:-1]} <= {"disk-full", "journal-unavailable"}
    assert "disk-full" in {step["code"] for step in story["prepared"]}
    assert story["prepared"][-1] == {"exit": 0, "code": None}
    assert {step["exit"] for step in story["prepared"][:-1]} == {3}
    assert {step["exit"] for step in story["made"][:-1]} == {3}
    assert story["made"][-1] == {"exit": 0, "code": None}
    assert (story["good"], story["adds_up"]) == (ROWS, True)
