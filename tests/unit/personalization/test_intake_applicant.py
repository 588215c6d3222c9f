"""The record that intake hands on: sixteen columns, a portrait, and nothing personal in a repr."""

from __future__ import annotations

from datetime import date

import pytest

from personalization.intake.applicant import (
    RESIDENCE_COLUMNS,
    SHEET_COLUMNS,
    Applicant,
    Batch,
    PermitType,
    Residence,
)

RESIDENCE = Residence("浙江省瑞安市安阳街道1号", "RA000001", date(2026, 1, 5), "安阳派出所")


def applicant(permit_number: str = "330381203000000017") -> Applicant:
    return Applicant(
        row_number=2,
        permit_number=permit_number,
        name="王小明",
        birth_date=date(1949, 12, 31),
        sex="2",
        ethnic_group="01",
        citizen_number="11010519491231002X",
        registered_address="北京市朝阳区",
        issue_date=date(2026, 1, 10),
        issuing_authority="瑞安市公安局",
        service_hotline="0577-110",
        bank_account="6217990000000000000",
        endorsement_due=date(2027, 1, 10),
        area_code="330381",
        production_date=date(2026, 1, 12),
        citizen_card_number=None,
        citizen_card_account=None,
        portrait=b"picture",
        residence=RESIDENCE,
    )


def test_a_delivery_has_sixteen_columns_and_a_second_sheet_of_five() -> None:
    assert [column.value for column in SHEET_COLUMNS] == list(range(1, 17))
    assert len(RESIDENCE_COLUMNS) == 5


@pytest.mark.parametrize(("digit", "child"), [("3", False), ("5", True), ("0", False), ("1", False)])
def test_the_type_is_the_ninth_digit(digit: str, child: bool) -> None:
    person = applicant(f"33038120{digit}000000017")
    assert person.permit_type == digit
    assert person.is_child is child
    assert (PermitType(digit) is PermitType.CHILD) is child if digit in list(PermitType) else not child


def test_no_repr_shows_personal_data() -> None:
    person = applicant()
    batch = Batch("RCO20260112080000000", "330381", 1, bytes(32), (person,))
    shown = f"{person!r} {person} {RESIDENCE!r} {batch!r}"
    for value in (person.name, person.citizen_number, person.permit_number, person.bank_account, "安阳"):
        assert str(value) not in shown
