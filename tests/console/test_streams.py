"""Standard streams that are closed, full or read by nobody, a stop on request: work and exit codes are as ever."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from permitcard.commands.application import run
from permitcard.console import Console
from permitcard.translation import Language, Translator
from personalization.intake import sample
from tests.console.command_line import CommandLine, Prompt

CONSOLE = Console(Translator.load(Language.ENGLISH))


def test_work_goes_on_when_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with io.TextIOWrapper(os.fdopen(write, "wb"), encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        CONSOLE.write("x" * 100_000)
        CONSOLE.write("and more")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full device is of Linux")
def test_an_error_that_cannot_be_written_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert run(["nonsense"]) == 2


@pytest.mark.skipif(os.name != "posix", reason="a shell closes streams with >&-")
def test_closed_streams_are_no_bug(command: CommandLine) -> None:
    line = f"exec {sys.executable} -m permitcard sample 2 delivered >&- 2>&- <&-"
    done = subprocess.run(["sh", "-c", line], cwd=command.folder, env=command.environment(), check=False)
    assert done.returncode == 0
    assert [path.suffix for path in (command.folder / "delivered").iterdir()] == [".zip"]


def test_a_stop_on_request_is_told(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, "write_sample", stopped)
    assert run(["sample", "2", str(prompt.folder / "out"), "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "interrupted"


def test_a_try_out_under_a_passphrase_of_its_own_has_no_other_beside_it(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERMITCARD_PASSPHRASE", "correct horse battery")
    prompt("keys", "init", "--try-out")
    assert [path.name for path in (prompt.folder / "centre").iterdir()] == ["keys.json"]
    monkeypatch.delenv("PERMITCARD_PASSPHRASE")
    assert prompt("keys", "show", "--json", code=2).error["code"] == "passphrase-nowhere"
