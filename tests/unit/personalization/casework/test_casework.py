"""Casework: every transition and no other, who may not follow whom, deadlines, and deliveries that intake takes."""

from __future__ import annotations

import datetime as dt
from itertools import product
from pathlib import Path

import pytest

from personalization.errors import PersonalizationError
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.permit.calendars import Deadline
from personalization.permit.casework.case import Case, Numbered, Taken
from personalization.permit.casework.case_file import read_case_file
from personalization.permit.casework.states import (
    OPEN_STATES,
    RUNNING,
    TRANSITIONS,
    CaseKind,
    CaseState,
    Step,
    Worker,
    transition,
)
from personalization.permit.eligibility import Verdict
from personalization.permit.recognition import Opinion
from tests.unit.personalization.casework.case_bench import (
    APPLIED,
    AREA,
    ISSUER,
    RECOGNISING,
    MemoryCases,
    application,
    handed,
    office,
    person,
)

ACCOUNT = "9999900000000000017"
SISTER = "110105194912310046"
"""The next woman's number of that place and day, with its check digit (GB 11643-1999)."""


@pytest.fixture
def cases() -> MemoryCases:
    return MemoryCases()


def accepted(cases: MemoryCases, by: str = "li", citizen: str = "11010519491231002X", account: str = ACCOUNT) -> int:
    who = person(citizen_number=citizen, bank_account=account)
    answered = office(cases, by).open(handed(person=who), APPLIED)
    assert answered.case.state is CaseState.ACCEPTED
    return answered.number


def approved(cases: MemoryCases, citizen: str = "11010519491231002X", account: str = ACCOUNT) -> int:
    number = accepted(cases, citizen=citizen, account=account)
    office(cases, "wang").step(number, Step.REVIEW, APPLIED)
    office(cases, "zhao").step(number, Step.APPROVE, APPLIED)
    return number


# ---------------------------------------------------------------- receipt, or the list of what is missing


@pytest.mark.clause("瑞安（2016）: 自受理之日起十五日内发放")
def test_a_complete_application_gets_a_receipt_with_its_last_day(cases: MemoryCases) -> None:
    answered = office(cases, "li").open(handed(), APPLIED)
    assert (answered.case.state, answered.judgement.faults) == (CaseState.ACCEPTED, ())
    assert answered.case.due == Deadline(dt.date(2026, 6, 16), provisional=False)
    assert answered.case.steps == (Taken(Step.OPEN, "li", APPLIED, Opinion.ACCEPTING),)


def test_everything_that_is_missing_is_told_at_once(cases: MemoryCases) -> None:
    """Proofs with their clauses, and what intake would refuse in the data: one answer."""
    lacking = handed(
        b"no picture",
        application=application(registrations=(), contracts=()),
        person=person(citizen_number="110105194912310021", ethnic_group="99", bank_account="12"),
    )
    answered = office(cases, "li").open(lacking, APPLIED)
    assert answered.case.state is CaseState.INCOMPLETE
    assert answered.judgement.verdict is Verdict.INCOMPLETE
    assert answered.case.due is None
    found = {item.rule for item in answered.judgement.faults}
    assert found >= {"citizen-number-check-digit", "ethnic-group-code", "bank-account-format", "portrait-unreadable"}
    clauses = {item.source.clause for item in answered.judgement.eligibility.findings() if item.outcome}
    assert len(clauses) > 1


def test_what_was_missing_is_brought_later(cases: MemoryCases) -> None:
    clerk = office(cases, "li")
    number = clerk.open(handed(b"", application=application(contracts=())), APPLIED).number
    later = APPLIED + dt.timedelta(days=9)
    answered = clerk.supplement(number, handed(), later)
    assert (answered.case.state, answered.case.due) == (
        CaseState.ACCEPTED,
        Deadline(dt.date(2026, 6, 25), provisional=False),
    ), "the days count from acceptance, not from the first visit"
    with pytest.raises(PersonalizationError, match="case-state"):
        clerk.supplement(number, handed(), later)


def test_a_supplement_to_another_kind_of_case_is_refused(cases: MemoryCases) -> None:
    clerk = office(cases, "li")
    number = clerk.open(handed(b""), APPLIED).number
    other = handed(application=application(RECOGNISING))
    with pytest.raises(PersonalizationError, match="case-other"):
        clerk.supplement(number, other, APPLIED)


def test_who_does_not_meet_the_rules_is_refused_with_all_of_them(cases: MemoryCases) -> None:
    young = handed(application=application(registrations=[{"area": AREA, "first": "2026-03-01"}]))
    answered = office(cases, "li").open(young, APPLIED)
    assert (answered.case.state, answered.judgement.verdict) == (CaseState.REFUSED, Verdict.INELIGIBLE)


@pytest.mark.clause("拱墅（2022）: 持有效《浙江省引进人才居住证》的，可直接换领")
@pytest.mark.parametrize(
    ("until", "state"),
    [("2026-06-01", CaseState.ACCEPTED), ("2026-05-31", CaseState.REFUSED)],
    ids=["valid", "expired"],
)
def test_an_exchange_stands_on_the_talent_permit_alone(cases: MemoryCases, until: str, state: CaseState) -> None:
    area = "330105"
    content = application(area, registrations=(), contracts=(), talent_permit={"valid_until": until})
    exchange = handed(kind="exchange", application=content, talent_permit_number="ZJ-R-1")
    answered = office(cases, "li").open(exchange, APPLIED, "gongshu-2022-draft")
    assert answered.case.state is state


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize(("step", "state", "kind"), list(product(Step, CaseState, CaseKind)))
def test_every_step_from_every_state(step: Step, state: CaseState, kind: CaseKind) -> None:
    """What the table lists is done by who it says; everything else is refused."""
    rows = [
        row for row in TRANSITIONS if row.step is step and row.before is state and (not row.kinds or kind in row.kinds)
    ]
    assert len(rows) <= 1, "one step leads to one state"
    if rows:
        assert transition(step, state, kind) == rows[0]
        return
    with pytest.raises(PersonalizationError, match="case-state"):
        transition(step, state, kind)


def test_the_table_reaches_every_state_and_ends() -> None:
    for kind in CaseKind:
        reached = {CaseState.APPROVED if kind is CaseKind.REPLACEMENT else CaseState.INCOMPLETE, CaseState.ACCEPTED}
        rows = [row for row in TRANSITIONS if not row.kinds or kind in row.kinds]
        while new := {row.after for row in rows if row.before in reached} - reached:
            reached |= new
        assert CaseState.HANDED_OVER in reached
        assert RUNNING[kind] <= OPEN_STATES
    assert not {row.before for row in TRANSITIONS} & (frozenset(CaseState) - OPEN_STATES), "what is finished stays"


@pytest.mark.parametrize(
    ("step", "worker"),
    [(Step.REVIEW, Worker.REVIEWER), (Step.APPROVE, Worker.APPROVER), (Step.WITHDRAW, Worker.DESK)],
)
def test_each_step_needs_its_role(cases: MemoryCases, step: Step, worker: Worker) -> None:
    number = accepted(cases)
    if step is Step.APPROVE:
        office(cases, "wang").step(number, Step.REVIEW, APPLIED)
    kept = cases.kept[number]
    without = office(cases, "zhao", set(Worker) - {worker})
    with pytest.raises(PersonalizationError, match=f"role-missing: operator=zhao, role={worker.value}"):
        without.step(number, step, APPLIED)
    assert cases.kept[number] == kept
    office(cases, "zhao", {worker}).step(number, step, APPLIED)


# ---------------------------------------------------------------- opinions


def test_who_reviews_does_not_approve(cases: MemoryCases) -> None:
    number = accepted(cases)
    wang = office(cases, "wang")
    wang.step(number, Step.REVIEW, APPLIED)
    kept = cases.kept[number]
    with pytest.raises(PersonalizationError) as caught:
        wang.step(number, Step.APPROVE, APPLIED)
    assert (caught.value.code, caught.value.exit_code) == ("case-own-opinion", 2)
    assert cases.kept[number] == kept
    assert office(cases, "zhao").step(number, Step.APPROVE, APPLIED).state is CaseState.APPROVED


def test_in_a_rehearsal_one_person_does_everything(cases: MemoryCases) -> None:
    number = accepted(cases)
    alone = office(cases, "li", alone=True)
    alone.step(number, Step.REVIEW, APPLIED)
    assert alone.step(number, Step.APPROVE, APPLIED).state is CaseState.APPROVED


def recognition(cases: MemoryCases, by: str) -> int:
    content = application(
        RECOGNISING, registrations=(), permit={"area": AREA, "issued": "2025-01-01", "status": "valid"}
    )
    asked = handed(kind="recognition", application=content, held=["330381253000000001"])
    answered = office(cases, by).open(asked, APPLIED)
    assert answered.case.state is CaseState.ACCEPTED
    return answered.number


@pytest.mark.clause("遂昌（2023）: 受理人、审核人、审批人")
def test_mutual_recognition_takes_three_people(cases: MemoryCases) -> None:
    number = recognition(cases, "li")
    with pytest.raises(PersonalizationError, match="case-own-opinion: operator=li, given=accepting"):
        office(cases, "li").step(number, Step.REVIEW, APPLIED)
    office(cases, "wang").step(number, Step.REVIEW, APPLIED)
    for name, given in (("li", "accepting"), ("wang", "reviewing")):
        with pytest.raises(PersonalizationError, match=f"case-own-opinion: operator={name}, given={given}"):
            office(cases, name).step(number, Step.APPROVE, APPLIED)
    case = office(cases, "zhao").step(number, Step.APPROVE, APPLIED)
    assert [case.by(opinion) for opinion in Opinion] == ["li", "wang", "zhao"]
    delivery = office(cases, "zhao").deliver(RECOGNISING, APPLIED, ISSUER)
    assert delivery == (None, ()), "it becomes no card"


# ---------------------------------------------------------------- deadlines


@pytest.mark.clause("遂昌（2023）: 两个工作日")
def test_two_working_days_pass_over_a_weekend(cases: MemoryCases) -> None:
    friday = dt.date(2026, 6, 5)
    content = application(
        RECOGNISING, registrations=(), permit={"area": AREA, "issued": "2025-01-01", "status": "valid"}
    )
    asked = handed(kind="recognition", application=content, held=["330381253000000001"])
    answered = office(cases, "li").open(asked, friday)
    assert answered.case.due == Deadline(dt.date(2026, 6, 9), provisional=False)


def test_deadlines_are_watched_until_the_permit_is_handed_over(cases: MemoryCases) -> None:
    first, second = approved(cases), recognition(cases, "li")
    done = accepted(cases)
    office(cases, "li").step(done, Step.WITHDRAW, APPLIED)
    watched = office(cases, "li").deadlines(dt.date(2026, 6, 17))
    assert [(one.number, one.left) for one in watched] == [(second, -14), (first, -1)], "the most urgent first"
    office(cases, "wang").step(second, Step.REVIEW, APPLIED)
    office(cases, "zhao").step(second, Step.APPROVE, APPLIED)
    assert [one.number for one in office(cases, "li").deadlines(APPLIED)] == [first], "its decision was made"
    office(cases, "li").deliver(AREA, APPLIED, ISSUER)
    assert [one.state for one in office(cases, "li").deadlines(APPLIED)] == [CaseState.IN_BATCH]
    office(cases, "li").follow(lambda _: True, APPLIED)
    office(cases, "li").step(first, Step.HAND_OVER, APPLIED)
    assert office(cases, "li").deadlines(APPLIED) == []


def test_a_provisional_last_day_is_counted_anew(cases: MemoryCases) -> None:
    """Holidays that were not announced when a case was accepted are known later."""
    number = recognition(cases, "li")
    found = cases.find(number)
    far = Deadline(dt.date(2026, 7, 1), provisional=True)
    cases.save([Numbered(number, Case.decode(found.case.encode()), found.version)], Step.REVIEW)
    again = cases.find(number)
    from dataclasses import replace

    cases.save([again._replace(case=replace(again.case, due=far))], Step.REVIEW)
    assert office(cases, "li").deadlines(APPLIED)[0].due == Deadline(dt.date(2026, 6, 3), provisional=False)


# ---------------------------------------------------------------- deliveries


def test_a_delivery_is_what_intake_takes(cases: MemoryCases, tmp_path: Path) -> None:
    number = approved(cases)
    waiting = accepted(cases)
    found = office(cases, "li").deliver(AREA, APPLIED, ISSUER)
    assert found.delivered is not None
    assert (found.delivered.numbers, found.left_out) == ((number,), ())
    path = tmp_path / f"{found.delivered.name}.zip"
    path.write_bytes(found.delivered.content)
    receipt = receive_batch(path, RememberedBatches(), dt.datetime(2026, 6, 2, tzinfo=dt.UTC))
    assert receipt.error_count == 0
    applicant = receipt.applicants[0]
    assert (applicant.name, applicant.permit_number) == ("样𠮷卡", f"330381261500000{number:03}")
    assert (applicant.issue_date, applicant.endorsement_due) == (APPLIED, dt.date(2027, 6, 1))
    assert applicant.residence is not None
    assert applicant.residence.current_address == "浙江省瑞安市样本街道样本路9号"
    assert cases.find(waiting).case.state is CaseState.ACCEPTED
    assert office(cases, "li").again(found.delivered.name) == found.delivered, "the same bytes once more"
    with pytest.raises(PersonalizationError, match="case-delivery-unknown"):
        office(cases, "li").again("resAppData-330381(9-9)-1")


def test_what_intake_would_refuse_stays_out_and_is_told(cases: MemoryCases) -> None:
    number = approved(cases)
    found = office(cases, "li").deliver(AREA, APPLIED, ISSUER.__class__("局" * 101, "0577"))
    assert found.delivered is None
    assert [(one.number, next(item.rule for item in one.findings)) for one in found.left_out] == [
        (number, "text-too-long")
    ]
    assert cases.find(number).case.state is CaseState.APPROVED


def test_two_cases_of_one_person_go_into_two_deliveries(cases: MemoryCases) -> None:
    first, second = approved(cases), approved(cases)
    clerk = office(cases, "li")
    found = clerk.deliver(AREA, APPLIED, ISSUER)
    assert found.delivered is not None
    assert found.delivered.numbers == (first,)
    assert [one.number for one in found.left_out] == [second]
    after = clerk.deliver(AREA, APPLIED, ISSUER).delivered
    assert after is not None
    assert after.numbers == (second,)


def test_a_case_that_was_taken_back_keeps_its_permit_number(cases: MemoryCases) -> None:
    number = approved(cases)
    clerk = office(cases, "li")
    clerk.deliver(AREA, APPLIED, ISSUER)
    before = clerk.find(number).permit_number
    clerk.step(number, Step.RETURN, APPLIED)
    clerk.deliver(AREA, APPLIED + dt.timedelta(days=200), ISSUER)
    assert clerk.find(number).permit_number == before != ""


def test_a_delivery_is_the_same_again_while_its_cases_are_in_it(cases: MemoryCases) -> None:
    first = approved(cases)
    approved(cases, SISTER, "9999900000000000025")
    clerk = office(cases, "li")
    found = clerk.deliver(AREA, APPLIED, ISSUER).delivered
    assert found is not None
    clerk.follow(lambda number: number == clerk.find(first).permit_number, APPLIED)
    clerk.step(first, Step.HAND_OVER, APPLIED)
    assert clerk.again(found.name) == found, "cards were made from it since"
    clerk.step(first + 1, Step.RETURN, APPLIED)
    assert clerk.find(first + 1).delivery == ""
    with pytest.raises(PersonalizationError, match="case-delivery-changed"):
        clerk.again(found.name)


def test_only_permits_with_a_finished_card_are_made(cases: MemoryCases) -> None:
    first, second = approved(cases), approved(cases, SISTER, "9999900000000000025")
    clerk = office(cases, "li")
    clerk.deliver(AREA, APPLIED, ISSUER)
    good = clerk.find(first).permit_number
    assert clerk.follow(lambda number: number == good, APPLIED) == (first,)
    assert clerk.find(second).state is CaseState.IN_BATCH
    assert clerk.follow(lambda number: number == good, APPLIED) == ()


def test_two_clerks_at_once_lose_nothing(cases: MemoryCases) -> None:
    number = accepted(cases)
    found = cases.find(number)
    office(cases, "wang").step(number, Step.REVIEW, APPLIED)
    with pytest.raises(PersonalizationError, match="case-changed"):
        cases.save([found], Step.WITHDRAW)


# ---------------------------------------------------------------- what is kept and read


def test_a_case_comes_back_as_it_was_and_shows_nobody(cases: MemoryCases) -> None:
    number = approved(cases)
    office(cases, "li").deliver(AREA, APPLIED, ISSUER)
    case = cases.find(number).case
    assert Case.decode(case.encode()) == case
    for personal in ("样𠮷卡", "11010519491231002X", case.permit_number):
        assert personal not in repr(case)
    for raw in (b"", b"{}", b"[]", case.encode()[:-1], case.encode().replace(b"2026", b"20x6")):
        with pytest.raises(PersonalizationError, match="case-malformed") as caught:
            Case.decode(raw)
        assert "11010519491231002X" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "application-unreadable"),
        ("kind = ", "application-unreadable"),
        ('kind = "first"', "application-invalid"),
        ('kind = "exchange"\n[application]\n{base}\n[person]\n', "application-invalid"),
        ('[application]\n{base}\n[person]\nname = "x"\nage = 3\n', "application-invalid"),
        ('kind = "replacement"\n[application]\n{base}\n[person]\n', "case-ordered"),
        ('[application]\n{base}\n[person]\nportrait = "none.jpg"\n', "application-unreadable"),
    ],
)
def test_files_that_are_no_cases(tmp_path: Path, text: str | None, code: str) -> None:
    path = tmp_path / "case.toml"
    base = 'area = "330381"\napplied = 2026-06-01\nbirth_date = 1990-01-01'
    if text is not None:
        path.write_text(text.replace("{base}", base), "utf-8")
    with pytest.raises(PersonalizationError) as caught:
        read_case_file(path)
    assert caught.value.code == code
