"""The damaged example: every planted defect is found, none is invented, and nothing is made of it unasked."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from personalization.intake.applicant import Column
from personalization.intake.delivery import open_delivery
from tests.console.command_line import ROOT, CommandLine
from tests.console.needles import search

DAMAGED = next((ROOT / "examples" / "damaged").glob("*.zip"))
PLANTED: list[dict[str, Any]] = json.loads((DAMAGED.parent / "planted.json").read_text("utf-8"))["planted"]


def key(finding: dict[str, Any]) -> tuple[str, int, int, str]:
    return finding["rule"], finding["row"], finding["column"], finding["severity"]


EXPECTED = sorted(map(key, PLANTED))


@pytest.fixture
def centre(command: CommandLine) -> Path:
    """A centre with twenty blanks and no batch."""
    command("keys", "init", "--try-out", "--centre", "centre")
    command("stock", "receive", "20", "--centre", "centre")
    return command.folder / "centre"


def fingerprint(folder: Path) -> dict[str, str]:
    """All files of a folder but locks, with their digests; the journal by what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in {".lock", ".sqlite-shm"}
    }


@pytest.mark.parametrize("verb", ["check", "run"])
def test_every_defect_is_found_none_invented_and_nothing_made(command: CommandLine, centre: Path, verb: str) -> None:
    before = fingerprint(centre)
    outcome = command("batch", verb, DAMAGED, "--centre", centre, "--json", code=1)
    findings: Any = outcome.document["findings"]
    assert sorted(map(key, findings)) == EXPECTED
    assert outcome.document["errors"] == sum(planted["severity"] == "error" for planted in PLANTED)
    assert fingerprint(centre) == before
    assert not (centre / "batches").exists()
    stock = command("stock", "show", "--centre", centre, "--json").document
    assert (stock["received"], stock["in-stock"]) == (20, 20)


def test_the_findings_are_told_in_words_and_as_a_page(command: CommandLine, centre: Path) -> None:
    page = command.folder / "findings.html"
    told = command("batch", "check", DAMAGED, "--centre", centre, "--html", page, code=1).out
    chinese = command("batch", "check", DAMAGED, "--centre", centre, "--lang", "zh", code=1).out
    for rule in {planted["rule"] for planted in PLANTED}:
        assert rule in told
        assert rule in chinese
        assert rule in page.read_text("utf-8")
    (command.folder / "told").write_text(told + chinese, "utf-8")
    values = delivered_values(DAMAGED)
    middles = {f"{label} without its ends": value[2:-2] for label, value in values.items() if len(value) >= 12}
    assert search([page, command.folder / "told"], {**values, **middles}) == []


SHORTEST_VALUE = {
    Column.NAME: 2,
    Column.PERMIT_NUMBER: 12,
    Column.CITIZEN_NUMBER: 12,
    Column.REGISTERED_ADDRESS: 12,
    Column.BANK_ACCOUNT: 12,
    Column.CITIZEN_CARD_ACCOUNT: 12,
}
"""Columns that are personal, and the least length at which nobody else's data hold a value by chance."""


def delivered_values(path: Path) -> dict[str, str]:
    """Names, addresses and numbers of the delivered table."""
    rows = open_delivery(path).table.applicants
    found = {(row.number, column.name): row.cells[column - 1] for row in rows for column in SHORTEST_VALUE}
    return {
        f"row {number} {name}": value
        for (number, name), value in found.items()
        if isinstance(value, str) and len(value) >= SHORTEST_VALUE[Column[name]]
    }


def test_the_good_rows_go_on_and_the_others_wait_sealed(command: CommandLine, centre: Path) -> None:
    made = command("batch", "run", DAMAGED, "--centre", centre, "--accept-good", "--simulate", "--json").document
    rejects = Path(str(made["rejects"]))
    rows: Any = made["rows"]
    assert (made["state"], made["left"], rows["failed"]) == ("complete", 0, 0)
    assert rows["good"] == made["accepted"] == 62
    assert rows["good"] + rows["rejected"] == 120
    assert search([rejects], delivered_values(DAMAGED)) == []

    opened = command("batch", "rejects", rejects, "opened", "--centre", centre, "--json").document
    delivery = Path(str(opened["file"]))
    delivery = delivery if delivery.is_absolute() else command.folder / delivery
    assert zipfile.is_zipfile(delivery)
    again = command("batch", "check", delivery, "--centre", centre, "--json", code=1).document
    assert again["rows"] == rows["rejected"]
    # A formula or number comes back as the text that a spreadsheet shows, for a person to look at.
    of_form = sum(planted["rule"] in {"cell-number", "cell-formula", "cell-not-text"} for planted in PLANTED)
    whole_sheet = sum(planted["rule"] == "duplicate-residence" for planted in PLANTED)
    assert int(str(again["good_rows"])) <= of_form + whole_sheet

    told = json.loads((Path(str(made["report"])).parent / "report.json").read_text("utf-8"))["rejected"]
    reasons = {planted["rule"] for planted in PLANTED}
    assert len(told) == 58
    assert all(row["reason"] in reasons for row in told)

    refused = command("batch", "run", DAMAGED, "--centre", centre, "--accept-good", "--json", code=1)
    assert refused.error["code"] == "batch-file-seen"
