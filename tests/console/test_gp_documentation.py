"""The example session of docs/globalplatform.md, as a reader would type it."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.console.gp_line import GpLine

PAGE = Path(__file__).resolve().parents[2] / "docs" / "globalplatform.md"


def sessions() -> list[tuple[str, str]]:
    """Commands of the page and what it says that they print."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    found: list[tuple[str, str]] = []
    for line in "".join(blocks).splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].strip(), ""))
        else:
            command, printed = found[-1]
            found[-1] = command, printed + line
    return found


def test_the_example_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith(("PERMITCARD_", "LC_", "LANG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PERMITCARD_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "master.key").write_text("00112233445566778899AABBCCDDEEFF")
    line = GpLine(capsys)
    session = sessions()
    assert len(session) > 8
    for command, printed in session:
        program, *arguments = shlex.split(command)
        assert program == "permitcard"
        said = line(*arguments)
        assert (said.code, said.out) == (0, printed), said.err
