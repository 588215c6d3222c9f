"""The centre's casework: what has to be given in before a card is handed over, and what replacing asks for."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from permitcard.case_office import ROLES, CasesAtWork, replacement_file
from permitcard.specimen import specimen_applicant
from personalization.errors import PersonalizationError
from personalization.permit.casework.case import Case, Taken
from personalization.permit.casework.delivery import check_row, sheet_row
from personalization.permit.casework.states import CaseKind, CaseState, Step, Worker
from personalization.permit.policy.library import policies
from personalization.production.acts import Role
from tests.unit.personalization.casework.case_bench import APPLIED, ISSUER, MemoryCases, application, handed, office


class Untouched:
    """Stands where nothing may be asked: a case that is refused before its card is looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked")


def exchange(cases: MemoryCases, state: CaseState) -> int:
    content = application("330105", talent_permit={"valid_until": "2027-01-01"})
    given = handed(kind="exchange", application=content, talent_permit_number="ZJ-R-1")
    step = Taken(Step.OPEN, "li", APPLIED)
    return cases.open(Case(CaseKind.EXCHANGE, given.file, given.portrait, state, (step,), permit_number="1" * 18))


@pytest.mark.parametrize(
    ("state", "given_in", "code"),
    [
        (CaseState.MADE, "", "talent-permit-kept"),
        (CaseState.MADE, "ZJ-R-2", "talent-permit-kept"),
        (CaseState.IN_BATCH, "ZJ-R-1", "case-state"),
    ],
    ids=["kept", "another-one", "not-made-yet"],
)
def test_a_permit_of_introduced_talent_is_given_in_exchange(state: CaseState, given_in: str, code: str) -> None:
    cases = MemoryCases()
    number = exchange(cases, state)
    kept = cases.kept[number]
    untouched: Any = Untouched()
    work = CasesAtWork(office(cases, "li"), untouched, policies())
    with pytest.raises(PersonalizationError, match=code):
        work.hand_over(number, APPLIED, untouched, "sim:none", given_in)
    assert cases.kept[number] == kept


def test_every_worker_has_a_role_of_the_roster() -> None:
    assert set(ROLES) == set(Worker)
    assert ROLES[Worker.REVIEWER] is not ROLES[Worker.APPROVER]
    assert set(ROLES.values()) <= set(Role)


def test_a_replacement_says_the_same_person_and_intake_takes_it() -> None:
    person = specimen_applicant()
    file = replacement_file(person, dt.date(2026, 5, 25))
    case = Case(CaseKind.REPLACEMENT, file, person.portrait, CaseState.APPROVED, endorsement_due=person.endorsement_due)
    rule = policies().named("zhejiang-2016").endorsement
    assert rule is not None
    row = sheet_row(case, 2, dt.date(2026, 5, 25), ISSUER, rule)
    assert [item.rule for item in check_row(case, 2, row)] == ["bank-account-check-digit"], (
        "a warning of the specimen's"
    )
    assert (row[0], row[11], row[14]) == ("330381263500000002", "20270101", "Z00000001")
