"""One small issuing centre that has made its batch, for all tests that only look at it."""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass
from pathlib import Path

import pytest

from permitcard.centre import Centre
from personalization.intake.applicant import Applicant
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from tests.console.command_line import CommandLine, Outcome

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
