"""One small issuing centre that has made its batch, for all tests that only look at it."""

from __future__ import annotations

import datetime as dt
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from permitcard.centre import Centre
from permitcard.examples import first_issue
from personalization.intake.applicant import Applicant
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.intake.sample import write_sample
from personalization.keys.file_store import FileKeyStore
from personalization.permit.electronic.claims import CHINA
from tests.console.command_line import CommandLine, Outcome, Prompt

CARDS = 14


@dataclass(frozen=True, slots=True)
class MadeCentre:
    """A centre after ``permitcard demo``.

    Attributes:
        command: runs further commands; its temporary files go to ``temporary``.
        centre: the folder's paths.
        made: what the demo printed.
        delivered: the batch file.
        temporary: the commands' own TMPDIR.
    """

    command: CommandLine
    centre: Centre
    made: Outcome
    delivered: Path
    temporary: Path

    @property
    def batch(self) -> str:
        """Identifier of the batch."""
        return next((self.centre.root / "batches").iterdir()).name

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.centre.report(self.batch)

    @property
    def applicants(self) -> tuple[Applicant, ...]:
        """Everybody in the batch file, as intake reads it."""
        return _applicants(self.delivered)


@functools.cache
def _applicants(delivered: Path) -> tuple[Applicant, ...]:
    return receive_batch(delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants


@pytest.fixture
def command(tmp_path: Path) -> CommandLine:
    """The command line in an empty folder."""
    return CommandLine(tmp_path)


@pytest.fixture
def prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prompt:
    """The command line in an empty folder, in this process."""
    for variable in [name for name in os.environ if name.startswith("PERMITCARD_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return Prompt(tmp_path)


@dataclass(frozen=True, slots=True)
class SmallCentre:
    """A rehearsal centre whose keys open fast, with a delivery that nobody has taken in.

    Attributes:
        prompt: the command line in its parent folder, in this process.
        centre: its paths; the folder is called ``centre``.
        delivered: the batch file.
    """

    prompt: Prompt
    centre: Centre
    delivered: Path

    def __call__(self, *arguments: str | Path, code: int = 0) -> Outcome:
        """Run a command on this centre, with ``--json``."""
        return self.prompt(*arguments, "--centre", "centre", "--json", code=code)

    def make(self, *options: str) -> Any:
        """Make the delivered batch on simulated cards; returns what was printed."""
        return self("batch", "run", self.delivered, "--simulate", "--stations", "1", *options).document


@pytest.fixture
def small_centre(prompt: Prompt) -> SmallCentre:
    """See `SmallCentre`."""
    centre = Centre(prompt.folder / "centre")
    FileKeyStore.create(centre.keys, centre.make_test_passphrase().read(), scrypt_n=1024)
    issued = first_issue(dt.datetime.now(CHINA).date())
    return SmallCentre(prompt, centre, write_sample(prompt.folder / "delivered", 4, 7, issued=issued))


@pytest.fixture(scope="session")
def made_centre(tmp_path_factory: pytest.TempPathFactory) -> MadeCentre:
    """Fourteen cards made from a batch file by the command line; tests must leave it as it is."""
    folder = tmp_path_factory.mktemp("demo")
    temporary = folder / "tmp"
    temporary.mkdir()
    command = CommandLine(folder, {"TMPDIR": str(temporary)})
    made = command("demo", "--cards", str(CARDS), "--centre", folder / "centre")
    delivered = next((folder / "centre" / "delivered").glob("*.zip"))
    return MadeCentre(command, Centre(folder / "centre"), made, delivered, temporary)
