"""A run killed at any moment goes on where it was: no row twice, no blank unaccounted, no permit on two cards."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.products import open_simulated, permit_profile
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.card_view import view_card
from personalization.production.journal.batches import batch_status, list_batches
from personalization.production.journal.database import Journal, open_journal
from personalization.production.states import BlankState
from personalization.production.stock import blank_locations, count_stock
from personalization.production.work import HALF_MADE
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface

CARDS = 200
SPARE = 40
BLANKS = CARDS + SPARE
LONGEST_WAIT_S = 0.04
"""A station makes several cards in this time."""


class Line:
    """The command line of one centre, in process groups that can be killed whole."""

    def __init__(self, folder: Path) -> None:
        self.centre = folder / "centre"
        self.folder = folder

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "permitcard", *arguments, "--centre", str(self.centre), "--json"]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=self.folder
        )

    def run(self, *arguments: str) -> dict[str, object]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
        document = json.loads(out) if out.strip() else {}
        assert isinstance(document, dict)
        return document

    def kill(self, process: subprocess.Popen[str]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    line = Line(tmp_path)
    line.run("keys", "init", "--try-out")
    line.run("stock", "receive", str(BLANKS))
    return line


def kill_and_resume(line: Line, kills: int, seed: int) -> Counter[str]:
    """Run a batch of CARDS rows through ``kills`` deaths; returns what recovery saw."""
    chance = random.Random(seed)
    subprocess.run(
        [sys.executable, "-m", "permitcard", "sample", str(CARDS), str(line.folder / "delivered")],
        check=True,
        capture_output=True,
    )
    (delivered,) = (line.folder / "delivered").glob("*.zip")
    process = line.start("batch", "run", str(delivered))
    seen: Counter[str] = Counter()
    # The journal is read without the keys: opening those takes longer than making several cards.
    with open_journal(Centre(line.centre).journal) as journal:
        while not list_batches(journal):
            time.sleep(0.02)
        for _ in range(kills):
            before = cards_begun(journal)
            while process.poll() is None and cards_begun(journal) == before:
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, LONGEST_WAIT_S))
            if process.poll() is not None:
                break
            line.kill(process)
            seen["kills"] += 1
            process = line.start("batch", "resume")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    seen.update({name: int(count) for name, count in json.loads(out)["recovered"].items()})
    return seen


def cards_begun(journal: Journal) -> int:
    """Claims that the journal holds, finished or not: a new one means that a station has begun with its cards."""
    return sum(batch_status(journal, list_batches(journal)[-1]).runs.values())


def permit_on(line: Line, location: str) -> str:
    """The permit number on a finished card."""
    keys = Centre(line.centre).key_store().open()
    with (
        open_simulated(line.centre / location.removeprefix("sim:")) as card,
        card.connect(Interface.CONTACT) as contact,
    ):
        session = TerminalSession.open(contact, LaboratorySam(keys), permit_profile(), "inspection")
        (values,) = view_card(permit_profile(), session, "inspection").file("EF.IDENTITY").records
        return next(value.value for value in values if value.name == "permit_number")


def check_everything(line: Line) -> None:
    with Job.open(Centre(line.centre)) as job:
        status = batch_status(job.journal, job.latest())
        stock = count_stock(job.journal)
        finished = list(blank_locations(job.journal, BlankState.GOOD))
    assert (status.good, status.left) == (CARDS, 0)
    assert stock.received == BLANKS == sum(stock.by_state.values())
    assert stock.by_state[BlankState.IN_USE] == 0
    permits = Counter(permit_on(line, location) for _, location in finished)
    assert len(permits) == CARDS
    assert set(permits.values()) == {1}


@pytest.mark.long
def test_twenty_kills(line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    seen = kill_and_resume(line, kills=20, seed=2)
    check_everything(line)
    with capsys.disabled():
        sys.stdout.write(f"\n{dict(seen)}\n")
    assert seen["kills"] == 20
    assert sum(count for condition, count in seen.items() if condition in HALF_MADE) > 0
