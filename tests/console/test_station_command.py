"""Stations of another machine, and orders to them, from the command line; the journal is on a server."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from permitcard.centre import JOURNAL_PASSWORD_VARIABLE, Centre
from permitcard.commands.keys import make_keys
from permitcard.job import Job
from personalization.intake.sample import write_sample
from personalization.production.journal.batches import find_batch
from personalization.production.journal.claims import claim_to_make
from personalization.production.journal.shifts import open_shift
from personalization.production.journal.stations import living, order_batch
from personalization.production.states import Order, StationState
from tests.console.command_line import CommandLine
from tests.doubles import postgres
from tests.doubles.postgres import PASSWORD

ROWS = 4


@pytest.fixture
def shared(command: CommandLine) -> CommandLine:
    """The command line of whoever may open the journal on the server."""
    return replace(command, variables={**command.variables, JOURNAL_PASSWORD_VARIABLE: PASSWORD})


@pytest.fixture
def job(shared: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A centre with a batch that nobody has begun, and its journal on the server."""
    monkeypatch.setenv(JOURNAL_PASSWORD_VARIABLE, PASSWORD)
    place = postgres.empty_journal()
    make_keys(tmp_path / "centre", try_out=True)
    used = shared("journal", "use", place.url, "--centre", "centre", "--json").document
    assert used["journal"] == place.url
    job = Job.open(Centre(tmp_path / "centre"))
    job.load(job.check(write_sample(tmp_path / "delivered", ROWS)))
    job.receive_simulated(ROWS + 2)
    return job


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_station_of_another_machine_makes_the_batch(shared: CommandLine, job: Job, tmp_path: Path) -> None:
    batch = find_batch(job.journal, job.latest())
    there = tmp_path / "there"
    shutil.copytree(tmp_path / "centre", there, ignore=shutil.ignore_patterns("cards", "sams", "locks"))
    (there / "cards").symlink_to(tmp_path / "centre" / "cards")  # as a shared feeder would be
    with shared.start("batch", "resume", "--stations", "0", "--centre", "centre", "--json") as coordinator:
        until(lambda: job.journal.read(lambda connection: open_shift(connection, batch.id)) is not None)
        with job.journal.transaction() as connection:
            order_batch(connection, "li", batch.id, Order.PAUSE)
        with shared.start("station", "run", "--centre", "there", "--name", "there", "--json") as station:
            until(lambda: paused(job, batch.id))
            steps = shared("batch", "status", "--centre", "centre", "--json").document["next"]
            listed = shared("station", "list", "--centre", "centre", "--json").document["stations"]
            told = shared("batch", "resume", "--centre", "centre", "--json").document
            out, err = station.communicate(timeout=120)
        assert station.returncode == 0, err
        made, err = coordinator.communicate(timeout=120)
    assert coordinator.returncode == 0, err
    assert steps == ["paused"]
    assert isinstance(listed, list)
    assert [(one["name"], one["state"], one["good"]) for one in listed] == [("there", "paused", 0)]
    assert told == {"batch": batch.identifier, "order": None}
    done = json.loads(out)
    assert (done["station"], done["ending"], done["made"], done["good"]) == ("there", "done", ROWS, ROWS)
    assert json.loads(made)["good"] == ROWS
    assert PASSWORD not in out + err + made
    job.journal.close()


def paused(job: Job, batch_id: int) -> bool:
    stations = job.journal.read(lambda connection: living(connection, batch_id))
    return [one.state for one in stations] == [StationState.PAUSED]


def test_a_card_in_doubt_is_listed_and_given_up(shared: CommandLine, job: Job) -> None:
    batch = find_batch(job.journal, job.latest())
    with job.journal.transaction() as connection:
        (claim,) = claim_to_make(connection, batch.id, "gone", 1)
    job.journal.close()
    here = ("--centre", "centre", "--json")
    doubtful = shared("batch", "doubt", *here).document["in_doubt"]
    assert isinstance(doubtful, list)
    assert [(one["row"], one["card_id"], one["station"]) for one in doubtful] == [
        (claim.row_number, claim.card_number, "gone")
    ]
    assert shared("batch", "spoil", "--row", "99", *here, code=2).error["code"] == "row-not-in-doubt"
    assert shared("batch", "spoil", "--row", str(claim.row_number), *here).document["card_id"] == claim.card_number
    assert shared("batch", "doubt", *here).document["in_doubt"] == []
    assert shared("batch", "pause", *here, code=2).error["code"] == "batch-not-running"
    assert shared("station", "run", *here, code=2).error["code"] == "batch-not-running"
    assert shared("station", "drain", "nobody", *here, code=2).error["code"] == "station-unknown"
