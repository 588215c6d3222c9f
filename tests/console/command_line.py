"""The ``permitcard`` command as a user runs it: a process of its own, its words, its exit code."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.console.ready_interpreter import ReadyInterpreter

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 600
"""No command takes that long on a machine that is busy; a hang is longer."""
_OWN_VARIABLES = ("PERMITCARD_", "LC_", "LANG", "PYTHON", "PCSCLITE_", "COVERAGE_")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        """The one JSON document on standard output."""
        found: dict[str, object] = json.loads(self.out)
        return found

    @property
    def error(self) -> dict[str, object]:
        """The JSON error on standard error."""
        found: dict[str, object] = json.loads(self.err)["error"]
        return found


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs commands; nothing of the tester's own environment reaches them."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict[str, str])

    def environment(self) -> dict[str, str]:
        """The tester's environment without what would change the command, with the package's folder."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
        return {**inherited, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", **self.variables}

    @contextlib.contextmanager
    def start(self, *arguments: str | Path, descriptors: Sequence[int] = ()) -> Iterator[subprocess.Popen[str]]:
        """Start a command in a process group of its own; whatever of it still runs at the end is killed."""
        process = subprocess.Popen(
            [sys.executable, "-m", "permitcard", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
            pass_fds=descriptors,
        )
        with process:
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def __call__(self, *arguments: str | Path, code: int = 0) -> Outcome:
        """Run a command to its end; it must end with ``code`` and never with a traceback."""
        words = [str(argument) for argument in arguments]
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            found = ready_interpreter().run(words, self.folder, self.environment(), (output, errors), _SECONDS)
            out, err = (_content(file) for file in (output, errors))
        assert "Traceback" not in out + err, err
        assert found == code, f"exit code {found}, not {code}\n{out[-2000:]}\n{err}"
        return Outcome(found, out, err)


@functools.cache
def ready_interpreter() -> ReadyInterpreter:
    return ReadyInterpreter(CommandLine(ROOT).environment())


def _content(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode()


@dataclass(frozen=True, slots=True)
class Prompt:
    """The same words as `CommandLine` takes, in this process: for long dialogues, of which each word is looked at."""

    folder: Path

    def __call__(self, *arguments: str | Path, code: int = 0) -> Outcome:
        """Run a command to its end; it must end with ``code``."""
        from permitcard.commands.application import run

        out, err = io.StringIO(), io.StringIO()
        before, on_stop = Path.cwd(), signal.getsignal(signal.SIGTERM)
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                found = run([str(argument) for argument in arguments])
        finally:
            os.chdir(before)
            signal.signal(signal.SIGTERM, on_stop)
        assert found == code, f"exit code {found}, not {code}\n{out.getvalue()[-2000:]}\n{err.getvalue()}"
        return Outcome(found, out.getvalue(), err.getvalue())
