"""Each rule about one row: what breaks it, and what comes near and does not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from personalization.intake.applicant import RESIDENCE_COLUMNS, SHEET_COLUMNS, Column, Severity
from personalization.intake.cells import Cell, CellFlaw, FlawedCell, SheetRow
from personalization.intake.check_digits import citizen_check_character, luhn_check_digit
from personalization.intake.code_tables import code_tables
from personalization.intake.limits import FieldLimits
from personalization.intake.row_check import CheckedRow, RowChecker, applicant_of, residence_of
from personalization.intake.row_rules import RESIDENCE_RULES, ROW_RULES, object_size
from personalization.intake.text_rules import TEXT_RULES, are_plain

C = Column


def citizen(body: str) -> str:
    return body + citizen_check_character(body)


PLAIN: dict[Column, Cell] = {
    C.PERMIT_NUMBER: "330381261000000017",
    C.NAME: "阿依古丽·买买提",
    C.BIRTH_DATE: "19900228",
    C.SEX: "02",
    C.ETHNIC_GROUP: "05",
    C.CITIZEN_NUMBER: citizen("33032519900228122"),
    C.REGISTERED_ADDRESS: "浙江省温州市瑞安市𠮷村1号",
    C.ISSUE_DATE: "20260901",
    C.ISSUING_AUTHORITY: "瑞安市公安局",
    C.SERVICE_HOTLINE: "0577-00012345",
    C.BANK_ACCOUNT: "9999330381000001601",
    C.ENDORSEMENT_DUE: "20270901",
    C.AREA_CODE: "330381",
    C.PRODUCTION_DATE: "20260901",
    C.CITIZEN_CARD_NUMBER: "",
    C.CITIZEN_CARD_ACCOUNT: "",
}
CHILD: dict[Column, Cell] = {C.PERMIT_NUMBER: "330381265000000017", C.BANK_ACCOUNT: ""}
CITIZEN_CARD: dict[Column, Cell] = {
    C.PERMIT_NUMBER: "330381263000000017",
    C.CITIZEN_CARD_NUMBER: "Z00000001",
    C.CITIZEN_CARD_ACCOUNT: "9999000000000001",
}


def born(day: str, division: str = "330327") -> dict[Column, Cell]:
    return {C.BIRTH_DATE: day, C.CITIZEN_NUMBER: citizen(f"{division}{day}122")}


def check(changes: Mapping[Column, Cell]) -> CheckedRow:
    row = SheetRow(7, tuple({**PLAIN, **changes}[column] for column in SHEET_COLUMNS))
    return RowChecker("330381", code_tables(), FieldLimits()).check(row)


def found(row: CheckedRow) -> list[tuple[str, Column]]:
    return [(finding.rule, finding.column) for finding in row.findings]


BROKEN: list[tuple[str, Column, Mapping[Column, Cell]]] = [
    *[("cell-formula", column, {column: FlawedCell(CellFlaw.FORMULA, "x")}) for column in SHEET_COLUMNS[:14]],
    *[("cell-number", column, {column: FlawedCell(CellFlaw.NUMBER, "1")}) for column in SHEET_COLUMNS[:14]],
    ("cell-not-text", C.NAME, {C.NAME: FlawedCell(CellFlaw.OTHER, "True")}),
    *[("cell-empty", column, {column: ""}) for column in SHEET_COLUMNS[:10] + SHEET_COLUMNS[11:14]],
    ("text-surrogate", C.NAME, {C.NAME: "王\ud842"}),
    ("text-noncharacter", C.NAME, {C.NAME: "王\ufffd"}),
    ("text-noncharacter", C.NAME, {C.NAME: "王\ufdd0"}),
    ("text-noncharacter", C.NAME, {C.NAME: "王\U0002ffff"}),
    ("text-control", C.NAME, {C.NAME: "王\u0007明"}),
    ("text-control", C.NAME, {C.NAME: "王\n明"}),
    ("text-control", C.NAME, {C.NAME: "王\u0085明"}),
    ("text-control", C.NAME, {C.NAME: "\ufeff王明"}),
    ("text-control", C.NAME, {C.NAME: "王\u202e明"}),
    ("text-control", C.REGISTERED_ADDRESS, {C.REGISTERED_ADDRESS: "浙江\u2028省"}),
    ("text-private-use", C.NAME, {C.NAME: "王\ue863"}),
    ("text-private-use", C.NAME, {C.NAME: "王\U000f0001"}),
    ("text-spaces", C.NAME, {C.NAME: " 王明"}),
    ("text-spaces", C.NAME, {C.NAME: "王明\u3000"}),
    ("text-spaces", C.BANK_ACCOUNT, {C.BANK_ACCOUNT: "9999330381000001601 "}),
    ("text-not-composed", C.NAME, {C.NAME: "王\uf9dd"}),
    ("text-not-composed", C.REGISTERED_ADDRESS, {C.REGISTERED_ADDRESS: "e\u0301"}),
    ("text-too-long", C.NAME, {C.NAME: "𠮷" * 51}),
    ("text-too-long", C.REGISTERED_ADDRESS, {C.REGISTERED_ADDRESS: "村" * 101}),
    ("text-too-long", C.ISSUING_AUTHORITY, {C.ISSUING_AUTHORITY: "局" * 101}),
    ("text-too-long", C.SERVICE_HOTLINE, {C.SERVICE_HOTLINE: "1" * 31}),
    (
        "identity-too-long",
        C.REGISTERED_ADDRESS,
        {C.NAME: "𠮷" * 50, C.REGISTERED_ADDRESS: "𠮷" * 100, C.ISSUING_AUTHORITY: "局" * 100},
    ),
    ("permit-number-format", C.PERMIT_NUMBER, {C.PERMIT_NUMBER: "33038126100000001X"}),
    ("permit-number-format", C.PERMIT_NUMBER, {C.PERMIT_NUMBER: "33038126100000001"}),
    ("permit-number-format", C.PERMIT_NUMBER, {C.PERMIT_NUMBER: "３３0381261000000017"}),
    ("permit-type-two-digits", C.PERMIT_NUMBER, {C.PERMIT_NUMBER: "330381260500000017"}),
    ("citizen-number-format", C.CITIZEN_NUMBER, {C.CITIZEN_NUMBER: "330325900228122"}),
    ("citizen-number-format", C.CITIZEN_NUMBER, {C.CITIZEN_NUMBER: "11010519491231002x"}),
    ("citizen-number-check-digit", C.CITIZEN_NUMBER, {C.CITIZEN_NUMBER: "110105194912310021"}),
    ("citizen-number-birth-date", C.CITIZEN_NUMBER, {C.CITIZEN_NUMBER: citizen("33032519900229122")}),
    ("division-unknown", C.CITIZEN_NUMBER, born("19900228", "330300")),
    ("division-unknown", C.CITIZEN_NUMBER, born("19900228", "339999")),
    ("division-abolished", C.CITIZEN_NUMBER, born("20020101", "330325")),
    *[("date-format", column, {column: "2026-9-1"}) for column in (C.BIRTH_DATE, C.ISSUE_DATE, C.PRODUCTION_DATE)],
    *[("date-not-real", column, {column: "20260931"}) for column in (C.BIRTH_DATE, C.ISSUE_DATE, C.ENDORSEMENT_DUE)],
    ("date-not-real", C.ISSUE_DATE, {C.ISSUE_DATE: "00000101"}),
    ("birth-date-implausible", C.BIRTH_DATE, born("18991231")),
    ("birth-date-mismatch", C.BIRTH_DATE, {C.BIRTH_DATE: "19900227"}),
    ("sex-code", C.SEX, {C.SEX: "2"}),
    ("sex-code", C.SEX, {C.SEX: "03"}),
    ("sex-mismatch", C.SEX, {C.SEX: "01"}),
    ("sex-mismatch", C.SEX, {C.SEX: "00"}),
    ("sex-mismatch", C.SEX, {C.SEX: "09"}),
    ("ethnic-group-code", C.ETHNIC_GROUP, {C.ETHNIC_GROUP: "57"}),
    ("ethnic-group-code", C.ETHNIC_GROUP, {C.ETHNIC_GROUP: "1"}),
    ("issue-date-implausible", C.ISSUE_DATE, {C.ISSUE_DATE: "20151231"}),
    ("issue-before-birth", C.ISSUE_DATE, born("20260901")),
    ("endorsement-before-issue", C.ENDORSEMENT_DUE, {C.ENDORSEMENT_DUE: "20260901"}),
    ("production-before-issue", C.PRODUCTION_DATE, {C.PRODUCTION_DATE: "20260831"}),
    ("production-after-endorsement", C.ENDORSEMENT_DUE, {C.PRODUCTION_DATE: "20270901"}),
    ("area-mismatch", C.AREA_CODE, {C.AREA_CODE: "330105"}),
    ("bank-account-missing", C.BANK_ACCOUNT, {C.BANK_ACCOUNT: ""}),
    ("bank-account-missing", C.BANK_ACCOUNT, CITIZEN_CARD | {C.BANK_ACCOUNT: ""}),
    ("bank-account-on-child", C.BANK_ACCOUNT, CHILD | {C.BANK_ACCOUNT: "9999330381000001601"}),
    ("bank-account-format", C.BANK_ACCOUNT, {C.BANK_ACCOUNT: "9" * 14}),
    ("bank-account-format", C.BANK_ACCOUNT, {C.BANK_ACCOUNT: "9" * 21}),
    ("bank-account-format", C.BANK_ACCOUNT, {C.BANK_ACCOUNT: "9999 3303 8100 0001"}),
    ("bank-account-check-digit", C.BANK_ACCOUNT, {C.BANK_ACCOUNT: "9999330381000001602"}),
    ("citizen-card-missing", C.CITIZEN_CARD_NUMBER, CITIZEN_CARD | {C.CITIZEN_CARD_NUMBER: ""}),
    ("citizen-card-missing", C.CITIZEN_CARD_ACCOUNT, CITIZEN_CARD | {C.CITIZEN_CARD_ACCOUNT: ""}),
    ("citizen-card-not-allowed", C.CITIZEN_CARD_NUMBER, {C.CITIZEN_CARD_NUMBER: "Z00000001"}),
    ("citizen-card-not-allowed", C.CITIZEN_CARD_ACCOUNT, CHILD | {C.CITIZEN_CARD_ACCOUNT: "9999000000000001"}),
    ("citizen-card-number-format", C.CITIZEN_CARD_NUMBER, CITIZEN_CARD | {C.CITIZEN_CARD_NUMBER: "A00000001"}),
    ("citizen-card-number-format", C.CITIZEN_CARD_NUMBER, CITIZEN_CARD | {C.CITIZEN_CARD_NUMBER: "Z0000001"}),
    ("citizen-card-account-format", C.CITIZEN_CARD_ACCOUNT, CITIZEN_CARD | {C.CITIZEN_CARD_ACCOUNT: "9" * 15}),
]
ACCEPTED: list[Mapping[Column, Cell]] = [
    {},
    CHILD,
    CITIZEN_CARD,
    CITIZEN_CARD | {C.CITIZEN_CARD_NUMBER: "z00000001", C.CITIZEN_CARD_ACCOUNT: "9" * 20},
    {C.NAME: "𠮷" * 50, C.REGISTERED_ADDRESS: "村" * 100},
    {C.NAME: "王\U0002ebf0"},  # Extension I: newer than many Unicode tables
    {C.NAME: "Anna Müller"},
    {C.NAME: "王\ufa11"},  # one of the twelve unified characters among the compatibility ideographs
    born("20011231", "330325"),  # the grace of 180 months after December 1986
    born("19550101", "330114"),  # a code first listed after the birth
    born("19900228", "441900"),
    born("19000101"),
    {C.ISSUE_DATE: "20160101", C.PRODUCTION_DATE: "20160101", C.ENDORSEMENT_DUE: "20160102"},
    {C.ISSUE_DATE: "20240229", C.PRODUCTION_DATE: "20240301", C.ENDORSEMENT_DUE: "20250228"},
    {C.ETHNIC_GROUP: "97"},
    {C.BANK_ACCOUNT: "99993303810000" + luhn_check_digit("99993303810000")},
    {C.SERVICE_HOTLINE: "(0577) 110"},
]


@pytest.mark.parametrize(("rule", "column", "changes"), BROKEN)
def test_a_broken_rule_is_the_only_finding(rule: str, column: Column, changes: Mapping[Column, Cell]) -> None:
    assert found(check(changes)) == [(rule, column)]


@pytest.mark.parametrize("changes", ACCEPTED)
def test_what_comes_near_passes(changes: Mapping[Column, Cell]) -> None:
    assert found(check(changes)) == []


def test_every_rule_has_a_negative_case() -> None:
    tested = {rule for rule, _, _ in BROKEN}
    assert tested >= {rule.code for rule in ROW_RULES} | {rule.code for rule in TEXT_RULES}
    assert tested >= {flaw.value for flaw in CellFlaw}


@pytest.mark.parametrize("rule", ["permit-type-two-digits", "bank-account-check-digit"])
def test_warnings_do_not_keep_a_row_back(rule: str) -> None:
    changes = next(changes for code, _, changes in BROKEN if code == rule)
    row = check(changes)
    assert [finding.severity for finding in row.findings] == [Severity.WARNING]
    assert row.faulty == 0


def test_all_faults_of_a_row_come_at_once() -> None:
    row = check({C.SEX: "", C.ETHNIC_GROUP: "99", C.AREA_CODE: "330105", C.BANK_ACCOUNT: "1"})
    assert {rule for rule, _ in found(row)} == {
        "cell-empty",
        "ethnic-group-code",
        "area-mismatch",
        "bank-account-format",
    }


@pytest.mark.parametrize("count", [15, 17])
def test_a_row_of_another_width_is_not_read(count: int) -> None:
    cells = [*(PLAIN[column] for column in SHEET_COLUMNS), "备注"][:count]
    row = RowChecker("330381", code_tables(), FieldLimits()).check(SheetRow(2, tuple(cells)))
    assert found(row) == [("row-columns", C.ROW)]


def test_empty_cells_beyond_the_last_column_are_no_fault() -> None:
    cells = [*(PLAIN[column] for column in SHEET_COLUMNS), "", ""]
    assert found(RowChecker("330381", code_tables(), FieldLimits()).check(SheetRow(2, tuple(cells)))) == []


def test_the_record_of_a_sound_row() -> None:
    person = applicant_of(check(CITIZEN_CARD), b"picture", None)
    assert person.row_number == 7
    assert person.sex == "2"
    assert person.birth_date == date(1990, 2, 28)
    assert person.citizen_card_number == "Z00000001"
    assert applicant_of(check(CHILD), b"", None).bank_account is None


RESIDENCE: Mapping[Column, str] = {
    C.RESIDENCE_CITIZEN_NUMBER: "11010519491231002X",
    C.CURRENT_ADDRESS: "浙江省瑞安市安阳街道1号",
    C.REGISTRATION_NUMBER: "JD00000001",
    C.REGISTRATION_DATE: "20260105",
    C.REGISTERING_STATION: "安阳派出所",
}


@pytest.mark.parametrize(
    ("rule", "column", "text"),
    [
        *[("cell-empty", column, "") for column in RESIDENCE_COLUMNS],
        ("citizen-number-format", C.RESIDENCE_CITIZEN_NUMBER, "1"),
        ("date-format", C.REGISTRATION_DATE, "2026"),
        ("date-not-real", C.REGISTRATION_DATE, "20250229"),
        ("text-too-long", C.CURRENT_ADDRESS, "村" * 101),
        ("text-too-long", C.REGISTRATION_NUMBER, "1" * 41),
        ("text-too-long", C.REGISTERING_STATION, "所" * 101),
        ("residence-too-long", C.CURRENT_ADDRESS, "𠮷" * 100),
        ("text-control", C.REGISTERING_STATION, "所\u200b"),
    ],
)
def test_rules_of_the_second_sheet(rule: str, column: Column, text: str) -> None:
    changes = {column: text}
    if rule == "residence-too-long":
        changes[C.REGISTERING_STATION] = "所" * 40
    cells = tuple((dict(RESIDENCE) | changes)[place] for place in RESIDENCE_COLUMNS)
    checker = RowChecker.for_residences("330381", code_tables(), FieldLimits())
    assert found(checker.check(SheetRow(2, cells))) == [(rule, column)]


def test_a_sound_residence() -> None:
    checker = RowChecker.for_residences("330381", code_tables(), FieldLimits())
    row = checker.check(SheetRow(2, tuple(RESIDENCE[column] for column in RESIDENCE_COLUMNS)))
    assert found(row) == []
    assert residence_of(row).registration_date == date(2026, 1, 5)
    assert {rule.column for rule in RESIDENCE_RULES} == set(RESIDENCE_COLUMNS)


@pytest.mark.parametrize(("length", "size"), [(0, 3), (127, 130), (128, 132), (255, 259), (256, 261)])
def test_size_of_an_object(length: int, size: int) -> None:
    """ISO/IEC 7816-4:2020 clause 6.3: lengths of one, two and three bytes."""
    assert object_size(length) == size


@given(st.lists(st.text(max_size=60), min_size=16, max_size=16))
def test_any_text_gets_findings_and_no_exception(texts: list[str]) -> None:
    row = RowChecker("330381", code_tables(), FieldLimits()).check(SheetRow(2, tuple(texts)))
    for finding in row.findings:
        assert finding.masked.isprintable()


# ------------------------------------------------------------ the short way for rows in order

ODD_CHARACTERS = " |\u00a0\u3000\u0301\u0338\u3099\u1161\u11a8e\u00e9\u212b\ufffd\ufffe\u200b\ue000\ud800\n名가か=<>"
"""Spaces of two kinds, marks that compose with what is before them, jamo, composed and not, and what stands nowhere."""


@given(st.lists(st.text(st.sampled_from(ODD_CHARACTERS), max_size=4), min_size=1, max_size=5).map(tuple))
def test_no_cell_of_a_plain_row_breaks_a_rule_of_texts(cells: tuple[str, ...]) -> None:
    assume(are_plain(cells))
    assert [rule.code for cell in cells if cell for rule in TEXT_RULES if rule.broken_by(cell) is not None] == []


def test_a_row_with_a_cell_that_is_no_text_is_not_plain() -> None:
    assert are_plain(tuple(PLAIN.values()))
    assert not are_plain((*PLAIN.values(), FlawedCell(CellFlaw.FORMULA, "=1")))


@pytest.mark.parametrize("column", [C.NAME, C.REGISTERED_ADDRESS])
def test_a_bar_in_a_text_is_no_fault(column: Column) -> None:
    assert not check({column: "甲 | 乙"}).findings
