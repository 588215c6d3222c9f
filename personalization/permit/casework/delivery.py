"""From approved cases to a delivery that intake takes: the rows, their numbers, and the check that intake will make.

A permit number is area (6) ‖ year (2) ‖ type (1) ‖ 5 ‖ number of the case (8): numbers of cases do not meet those that
bureaus deliver, which count from 1.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from personalization.intake.applicant import Applicant, Column, Finding, PermitType
from personalization.intake.cells import SheetRow
from personalization.intake.code_tables import code_tables
from personalization.intake.delivery import DeliveryName
from personalization.intake.delivery_writer import pack_delivery
from personalization.intake.limits import FieldLimits
from personalization.intake.portrait import check_portrait
from personalization.intake.row_check import RowChecker, applicant_of, residence_of
from personalization.permit.casework.case import Case, Numbered
from personalization.permit.endorsement import PermitTerm
from personalization.permit.policy.model import EndorsementRule

_CHILD_UNTIL: Final = 16
_PLAIN_TYPE: Final = "1"
_OF_CASES: Final = "5"
_PICTURE: Final = ".jpg"


@dataclass(frozen=True, slots=True)
class IssuingOffice:
    """What stands on every permit of an office."""

    authority: str
    hotline: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """A delivery.

    Attributes:
        name: its name without the ending.
        content: the zip.
        numbers: the cases in it.
    """

    name: str
    content: bytes = field(repr=False)
    numbers: tuple[int, ...]


def permit_number(case: Case, number: int, day: dt.date) -> str:
    """The number of a case's permit; the one that it has already stays."""
    return case.permit_number or f"{case.area}{day:%y}{_type_of(case)}{_OF_CASES}{number:08}"


def _type_of(case: Case) -> str:
    person = case.file.person
    if person.permit_type:
        return person.permit_type
    if case.file.application.is_under(_CHILD_UNTIL):
        return PermitType.CHILD
    return PermitType.CITIZEN_CARD if person.citizen_card_number else _PLAIN_TYPE


def due_of(case: Case, day: dt.date, rule: EndorsementRule) -> dt.date:
    """When the permit is first endorsed: a year after its issue, or when the one before it would have been."""
    return case.endorsement_due or PermitTerm.of_issue(day, case.area, rule).due


def sheet_row(case: Case, number: int, day: dt.date, office: IssuingOffice, rule: EndorsementRule) -> tuple[str, ...]:
    """The sixteen columns of a case, issued and made on ``day``."""
    person, today = case.file.person, f"{day:%Y%m%d}"
    return (
        permit_number(case, number, day),
        person.name,
        f"{case.file.application.birth_date:%Y%m%d}",
        person.sex.rjust(2, "0") if person.sex else "",
        person.ethnic_group,
        person.citizen_number,
        person.registered_address,
        today,
        office.authority,
        office.hotline,
        person.bank_account,
        f"{due_of(case, day, rule):%Y%m%d}",
        case.area,
        today,
        person.citizen_card_number,
        person.citizen_card_account,
    )


def home_row(case: Case) -> tuple[str, ...] | None:
    """The columns of the second sheet, None where no home is registered."""
    home = case.file.home
    if home is None:
        return None
    return (
        case.file.person.citizen_number,
        home.address,
        home.number,
        f"{home.registered:%Y%m%d}",
        home.station,
    )


def check_row(case: Case, number: int, row: Sequence[str]) -> tuple[Finding, ...]:
    """What intake would find wrong with a case's row, home and picture, all at once."""
    limits, tables = FieldLimits(), code_tables()
    findings = RowChecker(case.area, tables, limits).check(SheetRow(number, tuple(row))).findings
    home = home_row(case)
    if home is not None:
        findings += RowChecker.for_residences(case.area, tables, limits).check(SheetRow(number, home)).findings
    if not case.portrait:
        return (*findings, Finding("portrait-missing", number, Column.PORTRAIT))
    broken = check_portrait(case.portrait, limits)
    return (*findings, Finding(broken[0], number, Column.PORTRAIT, parameters=broken[1])) if broken else (*findings,)


def applicant(case: Case, number: int, row: Sequence[str]) -> Applicant:
    """The applicant of a row that was found good."""
    limits, tables = FieldLimits(), code_tables()
    checked = RowChecker(case.area, tables, limits).check(SheetRow(number, tuple(row)))
    home = home_row(case)
    found = RowChecker.for_residences(case.area, tables, limits).check(SheetRow(number, home)) if home else None
    return applicant_of(checked, case.portrait, residence_of(found) if found else None)


def delivery_name(area: str, numbers: Sequence[int]) -> str:
    """Name of the delivery of some cases: area, first and last of their numbers, how many."""
    return str(DeliveryName(area, min(numbers), max(numbers), len(numbers)))


def pack(name: str, cases: Iterable[Numbered]) -> Delivered:
    """The delivery of cases that are in it; the same cases give the same bytes."""
    listed = sorted(cases)
    homes = [home for one in listed if (home := home_row(one.case)) is not None]
    pictures = [(one.case.file.person.citizen_number + _PICTURE, one.case.portrait) for one in listed]
    content = pack_delivery(DeliveryName.parse(name), [one.case.row for one in listed], homes, pictures)
    return Delivered(name, content, tuple(one.number for one in listed))
