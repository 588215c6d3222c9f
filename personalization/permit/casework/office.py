"""The work on cases: receive, review, approve, deliver, hand over; every change follows the table of `states`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Column, Finding, Severity
from personalization.permit.calendars import Deadline
from personalization.permit.casework.case import Case, Cases, Numbered, Taken
from personalization.permit.casework.case_file import CaseFile, HandedIn
from personalization.permit.casework.delivery import (
    Delivered,
    IssuingOffice,
    check_row,
    delivery_name,
    pack,
    sheet_row,
)
from personalization.permit.casework.judging import Judgement, endorsement_rule, judge, last_day, policy_for
from personalization.permit.casework.states import (
    DELIVERED,
    OPEN_STATES,
    RUNNING,
    CaseKind,
    CaseState,
    Step,
    Worker,
    transition,
)
from personalization.permit.policy.library import PolicyLibrary
from personalization.permit.recognition import Opinion

_UNIQUE: Final = {
    Column.CITIZEN_NUMBER: "duplicate-citizen-number",
    Column.BANK_ACCOUNT: "duplicate-bank-account",
}
"""What two rows of one delivery may not share, with intake's rule; the second case waits for the next delivery."""

_APART: Final = {
    Opinion.REVIEWING: (Opinion.APPROVING,),
    Opinion.APPROVING: (Opinion.REVIEWING,),
}
"""Whose opinion a person may not give beside their own; in mutual recognition all three are different people."""


@dataclass(frozen=True, slots=True)
class Clerk:
    """Who is at work.

    Attributes:
        name: in the case and the audit trail.
        require: raises "role-missing" for work that this person may not do.
        alone: a rehearsal in which one person does everything.
    """

    name: str
    require: Callable[[Worker], None]
    alone: bool = False


class Answered(NamedTuple):
    """What came of something that was handed in."""

    number: int
    case: Case
    judgement: Judgement


class Watched(NamedTuple):
    """A case whose deadline runs.

    Attributes:
        left: calendar days to its last day; negative when it is past.
    """

    number: int
    kind: CaseKind
    state: CaseState
    due: Deadline
    left: int


class LeftOut(NamedTuple):
    """An approved case that intake would refuse, and why."""

    number: int
    findings: tuple[Finding, ...]


class Delivery(NamedTuple):
    """What came of a delivery: None where nothing was approved and good."""

    delivered: Delivered | None
    left_out: tuple[LeftOut, ...]


class CaseOffice:
    """Work on cases.

    Args:
        cases: where they are kept.
        clerk: who is at work.
        library: policies.
    """

    __slots__ = ("_cases", "_clerk", "_library")

    def __init__(self, cases: Cases, clerk: Clerk, library: PolicyLibrary) -> None:
        self._cases = cases
        self._clerk = clerk
        self._library = library

    # ------------------------------------------------------------ receiving

    def open(self, handed: HandedIn, today: dt.date, policy: str = "") -> Answered:
        """Take an application: a receipt, or everything that is missing.

        Args:
            handed: the application.
            today: the office's date.
            policy: name of the policy to judge by; that of area and day when empty.
        """
        self._clerk.require(Worker.DESK)
        new = Case(handed.file.kind, handed.file, b"", CaseState.INCOMPLETE, policy=policy)
        case, judgement = self._judged(handed, new, today)
        taken = Taken(Step.OPEN, self._clerk.name, today, Opinion.ACCEPTING)
        case = case.moved(judgement.state, taken)
        return Answered(self._cases.open(case), case, judgement)

    def supplement(self, number: int, handed: HandedIn, today: dt.date) -> Answered:
        """Take what was missing; the application is judged anew, as it is now.

        Raises:
            PersonalizationError: "case-state" (exit 2), it is not incomplete; "case-other" (exit 1), it is about
                something else.
        """
        self._clerk.require(Worker.DESK)
        found = self._cases.find(number)
        if found.case.state is not CaseState.INCOMPLETE:
            raise PersonalizationError(
                "case-state",
                exit_code=2,
                step=Step.SUPPLEMENT,
                state=found.case.state.value,
                kind=found.case.kind.value,
            )
        if (handed.file.kind, handed.file.application.area) != (found.case.kind, found.case.area):
            raise PersonalizationError("case-other", number=number)
        case, judgement = self._judged(handed, found.case, today)
        case = case.moved(judgement.state, Taken(Step.SUPPLEMENT, self._clerk.name, today, Opinion.ACCEPTING))
        self._cases.save([found._replace(case=case)], Step.SUPPLEMENT)
        return Answered(number, case, judgement)

    def _judged(self, handed: HandedIn, case: Case, today: dt.date) -> tuple[Case, Judgement]:
        case = replace(case, file=handed.file, portrait=handed.portrait or case.portrait)
        judgement = judge(policy_for(self._library, case), case, today)
        return replace(case, due=judgement.due if judgement.state is CaseState.ACCEPTED else None), judgement

    def order(self, file: CaseFile, portrait: bytes, succeeds: str, due: dt.date, today: dt.date, why: str) -> Numbered:
        """Order a new card in place of one that is lost, damaged or wrong: approved with the old permit's decision."""
        self._clerk.require(Worker.DESK)
        case = Case(
            CaseKind.REPLACEMENT,
            file,
            portrait,
            CaseState.APPROVED,
            (Taken(Step.OPEN, self._clerk.name, today, Opinion.ACCEPTING, why),),
            succeeds=succeeds,
            endorsement_due=due,
        )
        case = replace(case, due=last_day(policy_for(self._library, case), case.kind, today))
        return Numbered(self._cases.open(case), case, 1)

    # ------------------------------------------------------------ opinions

    def step(self, number: int, step: Step, today: dt.date, note: str = "") -> Case:
        """Take a step that needs nothing but the person: review, approve, refuse, withdraw, return, hand over, issue.

        Raises:
            PersonalizationError: exit 2: "case-unknown", "case-state", "role-missing", "case-own-opinion", who gave one
                opinion does not give the next; exit 1: "case-changed".
        """
        found = self._cases.find(number)
        case = self._taken(found.case, step, today, note)
        self._cases.save([found._replace(case=case)], step)
        return case

    def _taken(self, case: Case, step: Step, today: dt.date, note: str = "") -> Case:
        row = transition(step, case.state, case.kind)
        self._clerk.require(row.worker)
        if row.opinion is not None and not self._clerk.alone:
            self._require_apart(case, row.opinion)
        if step is Step.RETURN:
            case = replace(case, delivery="", row=())
        return case.moved(row.after, Taken(step, self._clerk.name, today, row.opinion, note))

    def _require_apart(self, case: Case, opinion: Opinion) -> None:
        others = tuple(Opinion) if case.kind is CaseKind.RECOGNITION else _APART.get(opinion, ())
        for other in others:
            if other is not opinion and case.by(other) == self._clerk.name:
                raise PersonalizationError(
                    "case-own-opinion", exit_code=2, operator=self._clerk.name, given=other.value, wanted=opinion.value
                )

    # ------------------------------------------------------------ into a batch

    def deliver(self, area: str, today: dt.date, office: IssuingOffice) -> Delivery:
        """Put the approved cases of an area into one delivery, as intake takes it; what intake would refuse stays out.

        The cases know the delivery before the file is written: `again` writes the same file once more.
        """
        self._clerk.require(Worker.PRODUCTION)
        good: list[Numbered] = []
        left_out: list[LeftOut] = []
        taken: dict[tuple[Column, str], int] = {}
        for found in self._cases.in_states(frozenset({CaseState.APPROVED})):
            if found.case.area != area or found.case.kind is CaseKind.RECOGNITION:
                continue
            rule = endorsement_rule(self._library, found.case)
            row = sheet_row(found.case, found.number, today, office, rule)
            findings = check_row(found.case, found.number, row)
            findings += tuple(
                Finding(rule, found.number, column, parameters={"rows": taken[column, value]})
                for column, rule in _UNIQUE.items()
                for value in (row[column - 1],)
                if (column, value) in taken
            )
            if any(item.severity is Severity.ERROR for item in findings):
                left_out.append(LeftOut(found.number, findings))
            else:
                taken |= {(column, row[column - 1]): found.number for column in _UNIQUE if row[column - 1]}
                good.append(found._replace(case=replace(found.case, row=row, permit_number=row[0])))
        if not good:
            return Delivery(None, tuple(left_out))
        name = delivery_name(area, [one.number for one in good])
        ready = [
            one._replace(case=self._taken(replace(one.case, delivery=name), Step.DELIVER, today, name)) for one in good
        ]
        self._cases.save(ready, Step.DELIVER)
        return Delivery(pack(name, ready), tuple(left_out))

    def again(self, name: str) -> Delivered:
        """A delivery once more, with the same bytes, also when cards were made from it since.

        Raises:
            PersonalizationError: "case-delivery-unknown" (exit 2); "case-delivery-changed" (exit 1), a case left it.
        """
        self._clerk.require(Worker.PRODUCTION)
        inside = [one for one in self._cases.in_states(DELIVERED) if one.case.delivery == name]
        if not inside:
            raise PersonalizationError("case-delivery-unknown", exit_code=2, name=name)
        if delivery_name(inside[0].case.area, [one.number for one in inside]) != name:
            raise PersonalizationError("case-delivery-changed", name=name)
        return pack(name, inside)

    def follow(self, made: Callable[[str], bool], today: dt.date) -> tuple[int, ...]:
        """Note which permits production has made; returns their cases.

        Args:
            made: whether a permit number has a card that passed inspection.
            today: the office's date.
        """
        self._clerk.require(Worker.PRODUCTION)
        ready = [
            one._replace(case=self._taken(one.case, Step.MAKE, today))
            for one in self._cases.in_states(frozenset({CaseState.IN_BATCH}))
            if made(one.case.permit_number)
        ]
        if ready:
            self._cases.save(ready, Step.MAKE)
        return tuple(one.number for one in ready)

    # ------------------------------------------------------------ looking

    def find(self, number: int) -> Case:
        """A case.

        Raises:
            PersonalizationError: "case-unknown" (exit 2).
        """
        return self._cases.find(number).case

    def listed(self, states: frozenset[CaseState] = OPEN_STATES) -> list[Numbered]:
        """Cases in some states, by default those in which something has to be done."""
        return self._cases.in_states(states)

    def deadlines(self, today: dt.date) -> list[Watched]:
        """Cases whose deadline runs, the most urgent first; a last day that was provisional is counted anew."""
        watched: list[Watched] = []
        for number, case, _ in self._cases.in_states(OPEN_STATES):
            if case.due is None or case.state not in RUNNING[case.kind]:
                continue
            due = self._counted_anew(case) if case.due.provisional else case.due
            watched.append(Watched(number, case.kind, case.state, due, (due.day - today).days))
        return sorted(watched, key=lambda one: (one.due.day, one.number))

    def _counted_anew(self, case: Case) -> Deadline:
        """What the calendar says now of a case's last day: a year's holidays may have been announced since."""
        accepted = next(taken.day for taken in reversed(case.steps) if taken.opinion is Opinion.ACCEPTING)
        return last_day(policy_for(self._library, case), case.kind, accepted)
