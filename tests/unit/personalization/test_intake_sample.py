"""Synthetic deliveries: reproducible, valid, and as varied as real ones."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Column, Severity
from personalization.intake.code_tables import code_tables
from personalization.intake.delivery import Delivery, open_delivery
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.intake.row_rules import ROW_RULES
from personalization.intake.sample import write_sample
from personalization.intake.sample.defects import DEFECTS
from personalization.intake.text_rules import TEXT_RULES

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def example() -> Delivery:
    return open_delivery(next((EXAMPLES / "ruian").glob("*.zip")))


def column(delivery: Delivery, which: Column) -> list[str]:
    return [str(row.cells[which - 1]) for row in delivery.table.applicants]


def test_the_examples_are_what_the_seed_gives(tmp_path: Path) -> None:
    good = write_sample(tmp_path, 200, 1)
    assert good.read_bytes() == (EXAMPLES / "ruian" / good.name).read_bytes()
    bad = write_sample(tmp_path, 120, 2, damaged=True)
    assert bad.read_bytes() == (EXAMPLES / "damaged" / bad.name).read_bytes()
    assert (tmp_path / "planted.json").read_text("utf-8") == (EXAMPLES / "damaged/planted.json").read_text("utf-8")


def test_the_examples_are_small() -> None:
    assert sum(path.stat().st_size for path in EXAMPLES.rglob("*.zip")) < 4 << 20
    for path in EXAMPLES.rglob("*.zip"):
        assert path.stat().st_size < 2 << 20


def test_another_seed_gives_other_people_and_more_people_change_nobody(tmp_path: Path) -> None:
    few, more, others = (
        column(open_delivery(write_sample(tmp_path / name, count, seed, format="csv")), Column.CITIZEN_NUMBER)
        for name, count, seed in (("a", 20, 3), ("b", 30, 3), ("c", 20, 4))
    )
    assert more[:20] == few
    assert not set(few) & set(others)


@pytest.mark.parametrize("first", [dt.date(2027, 12, 31), dt.date(2028, 2, 29)])
def test_permits_are_issued_when_it_is_asked_for(tmp_path: Path, first: dt.date) -> None:
    """Of the leap day a year later there is none."""
    delivery = write_sample(tmp_path, 60, 5, issued=first)
    receipt = receive_batch(delivery, RememberedBatches(), dt.datetime(2028, 5, 1, tzinfo=dt.UTC))
    assert [finding for finding in receipt.findings if finding.severity is Severity.ERROR] == []
    assert len(receipt.applicants) == 60
    for applicant in receipt.applicants:
        assert 0 <= (applicant.issue_date - first).days < 60
        assert 365 <= (applicant.endorsement_due - applicant.issue_date).days <= 366


def test_all_ethnic_groups_occur(example: Delivery) -> None:
    assert len(set(column(example, Column.ETHNIC_GROUP))) == 56


def test_citizen_numbers_come_from_everywhere_and_from_abolished_codes(example: Delivery) -> None:
    codes = [number[:6] for number in column(example, Column.CITIZEN_NUMBER)]
    listed = {row.code for row in code_tables().divisions if row.is_listed}
    assert all(code_tables().divisions.county(code) for code in codes)
    assert len({code[:2] for code in codes}) > 20
    assert sum(code not in listed for code in codes) >= 10


def test_names_are_of_every_kind(example: Delivery) -> None:
    names = column(example, Column.NAME)
    assert any(ord(character) > 0xFFFF for name in names for character in name)
    assert any("·" in name for name in names)
    assert {2, 3, 4} <= {len(name) for name in names}
    assert max(map(len, names)) >= 44
    assert max(map(len, column(example, Column.REGISTERED_ADDRESS))) >= 96


def test_children_have_no_account_and_accounts_belong_to_no_bank(example: Delivery) -> None:
    types = [number[8] for number in column(example, Column.PERMIT_NUMBER)]
    accounts = column(example, Column.BANK_ACCOUNT)
    assert set(types) == {"1", "3", "5"}
    assert all((kind == "5") == (not account) for kind, account in zip(types, accounts, strict=True))
    assert all(account.startswith("9999") for account in accounts if account)


def test_portraits_are_pictures_of_twice_the_production_size(example: Delivery) -> None:
    contents = {example.pictures.read(example.pictures.names(stem)[0]) for stem in example.pictures.stems}
    assert len(contents) == 200
    for content in contents:
        assert 3000 < len(content) < 8000
        assert Image.open(io.BytesIO(content)).size == (142, 198)


def test_every_rule_that_a_workbook_can_break_is_planted() -> None:
    planted = {defect.rule for defect in DEFECTS}
    not_in_a_workbook = {"text-surrogate"}
    assert {*(rule.code for rule in ROW_RULES), *(rule.code for rule in TEXT_RULES)} - planted == not_in_a_workbook


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_any_seed_has_room_for_every_defect(tmp_path: Path, seed: int) -> None:
    write_sample(tmp_path, 150, seed, damaged=True)
    listing = json.loads((tmp_path / "planted.json").read_text("utf-8"))
    assert {entry["rule"] for entry in listing["planted"]} == {defect.rule for defect in DEFECTS} | {"row-count"}


@pytest.mark.parametrize(
    ("count", "damaged", "form", "code"),
    [
        (0, False, "xlsx", "sample-too-small"),
        (20, True, "xlsx", "sample-too-small"),
        (120, True, "csv", "sample-format"),
        (5, False, "ods", "sample-format"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, count: int, damaged: bool, form: str, code: str) -> None:
    with pytest.raises(PersonalizationError, match=code):
        write_sample(tmp_path, count, 1, damaged=damaged, format=form)
