"""``permitcard gp`` in this process, where starting another would only cost time."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from permitcard.commands.application import run


@dataclass(frozen=True, slots=True)
class Said:
    """What one command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def error(self) -> str:
        """Code of the error; its text has every parameter filled in."""
        error = json.loads(self.err)["error"]
        assert "{" not in error["text"], "a parameter is missing"
        assert error["text"] != error["code"], "the code has no words"
        return str(error["code"])


@dataclass(frozen=True, slots=True)
class GpLine:
    """Runs command lines."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> Said:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        self.capsys.readouterr()
        try:
            code = run([*map(str, arguments)])
        finally:
            for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
                signal.signal(number, handler)
        written = self.capsys.readouterr()
        assert "Traceback" not in written.out + written.err
        return Said(int(code), written.out, written.err)
