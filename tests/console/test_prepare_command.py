"""``permitcard batch prepare`` as an operator uses it: a delivery in chunks becomes cards, and is gone once erased."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from permitcard.centre import Centre
from permitcard.job import Job
from personalization.intake.sample.unpacked import write_unpacked_sample
from personalization.preparation.bulk.delivered import DeliveredFiles
from personalization.production.acts import Act, Role
from personalization.production.audit import read_trail
from personalization.production.journal import open_journal
from personalization.production.operators import Operator, Roster, require_two
from tests.console.command_line import CommandLine

RESIDENTS = 4


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    CommandLine(tmp_path)("keys", "init", "--try-out", "--centre", "centre")
    return Centre(tmp_path / "centre")


def test_a_prepared_delivery_becomes_cards_and_can_be_erased(tmp_path: Path, centre: Centre) -> None:
    """Stations, inspection, report and erasure work on chunks as on one file."""
    run, delivered = CommandLine(tmp_path), tmp_path / "delivered"
    file = write_unpacked_sample(delivered, RESIDENTS, 3)
    prepared = run("batch", "prepare", file, "--centre", centre.root, "--json").document
    assert (prepared["prepared"], prepared["errors"]) == (RESIDENTS, 0)
    assert run("batch", "prepare", file, "--centre", centre.root, "--json", code=1).error["code"] == "batch-file-seen"
    batch = str(prepared["batch"])
    run("stock", "receive", str(RESIDENTS + 1), "--centre", centre.root)
    made = run("batch", "resume", batch, "--centre", centre.root, "--stations", "1", "--json").document
    assert (made["state"], made["good"], made["left"]) == ("complete", RESIDENTS, 0)
    run("batch", "erase", batch, "--centre", centre.root, "--input", delivered)
    assert list(delivered.iterdir()) == []
    assert not centre.batch(batch).exists()


def test_a_bad_row_is_named_and_leaves_nothing_until_the_good_ones_may_go_on(tmp_path: Path, centre: Centre) -> None:
    run = CommandLine(tmp_path)
    file = write_unpacked_sample(tmp_path / "delivered", RESIDENTS, 4)
    rows = list(csv.reader(file.read_text("utf-8").splitlines()))
    rows[2][12] = "330101"
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    prepare = ("batch", "prepare", file, "--centre", centre.root)
    told = run(*prepare, "--findings", "all.jsonl", code=1).out
    assert "area-mismatch" in told
    assert (tmp_path / "all.jsonl").read_text("utf-8").count("area-mismatch") == 1
    assert not list(centre.root.glob("batches/RCO*"))
    nothing = run(*prepare, "--discard", "--json").document
    assert nothing == {"discarded": None}
    found = run(*prepare, "--accept-good", "--json").document
    assert (found["prepared"], found["good_rows"]) == (RESIDENTS - 1, RESIDENTS - 1)
    rejects = found["rejects"]
    assert isinstance(rejects, list)
    opened = run("batch", "rejects", str(rejects[0]), "opened", "--centre", centre.root, "--json").document
    assert Path(str(opened["file"])).suffix == ".zip"
    with open_journal(centre.journal_place()) as journal:
        assert [entry["what"] for entry in read_trail(journal)[0]].count("rejects-opened") == 1


def test_what_is_approved_is_the_whole_delivery_however_many_files_it_has(tmp_path: Path, centre: Centre) -> None:
    """The pictures may be changed after the table was approved; what `batch prepare` asks for is a hash over both."""
    file = write_unpacked_sample(tmp_path / "delivered", RESIDENTS, 4)
    digest, each = DeliveredFiles.of(file).digests()
    assert len(each) > 1
    with Job.open(centre) as job:
        assert job.approve(Act.ACCEPT_GOOD, str(file)) == digest.hex()
        roster = Roster({name: Operator(name, frozenset(Role), name) for name in (job.operator.name, "zhao")})
        assert require_two(job.journal, roster, roster.operators["zhao"], Act.ACCEPT_GOOD, digest.hex()) is not None


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (("nowhere/resAppData-330381(1-4)-4.csv",), "batch-file-missing", 2),
        (("centre/keys.json",), "batch-file-kind", 2),
        (("FILE", "--scheduler", "nonsense://x"), "scheduler-address", 2),
    ],
)
def test_mistakes_are_told_in_words(
    tmp_path: Path, centre: Centre, arguments: tuple[str, ...], code: str, exit_code: int
) -> None:
    file = str(write_unpacked_sample(tmp_path / "delivered", RESIDENTS, 5))
    line = [file if word == "FILE" else word for word in arguments]
    run = CommandLine(tmp_path)
    assert run("batch", "prepare", *line, "--centre", centre.root, "--json", code=exit_code).error["code"] == code
