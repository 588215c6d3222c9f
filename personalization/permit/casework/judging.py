"""What an office tells an applicant: a receipt, or everything that is missing at once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Finding, Severity
from personalization.permit.calendars import Deadline
from personalization.permit.casework.case import Case
from personalization.permit.casework.delivery import IssuingOffice, check_row, sheet_row
from personalization.permit.casework.states import CaseKind, CaseState
from personalization.permit.eligibility import Eligibility, Verdict, decide
from personalization.permit.policy.library import PolicyLibrary
from personalization.permit.policy.model import EndorsementRule, Policy
from personalization.permit.recognition import deadline

_PLACEHOLDER: Final = IssuingOffice("—", "—")
"""The office is no fault of the applicant's."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to what was handed in.

    Attributes:
        eligibility: every rule with its finding.
        verdict: that of the rules for the kind of case.
        faults: what intake would refuse in the person's data, home or picture.
        due: the last day that the office has, counted from today.
    """

    eligibility: Eligibility
    verdict: Verdict
    faults: tuple[Finding, ...]
    due: Deadline

    @property
    def state(self) -> CaseState:
        """Where the case goes: accepted with a receipt, incomplete with a list, or refused."""
        if self.verdict is Verdict.INELIGIBLE:
            return CaseState.REFUSED
        complete = self.verdict is Verdict.ELIGIBLE and not self.faults
        return CaseState.ACCEPTED if complete else CaseState.INCOMPLETE


def policy_for(library: PolicyLibrary, case: Case) -> Policy:
    """The policy of a case, with the province's deadlines: the one it asks for, else that of area and day.

    Raises:
        PersonalizationError: "policy-none", "recognition-none" (exit 1), "policy-unknown" (exit 2).
    """
    day = case.file.application.applied
    found = library.named(case.policy) if case.policy else library.for_area(case.area, day)
    policy = library.complete(found, day)
    if case.kind is CaseKind.RECOGNITION and policy.recognition is None:
        raise PersonalizationError("recognition-none", policy=policy.name)
    return policy


def endorsement_rule(library: PolicyLibrary, case: Case) -> EndorsementRule:
    """The rule by which the permit of a case is endorsed.

    Raises:
        PersonalizationError: "policy-none" (exit 1).
    """
    rule = policy_for(library, case).endorsement
    if rule is None:
        raise PersonalizationError("policy-none", area=case.area, day=case.file.application.applied)
    return rule


def last_day(policy: Policy, kind: CaseKind, accepted: dt.date) -> Deadline:
    """The last day for a case that was accepted on ``accepted``.

    Raises:
        PersonalizationError: "policy-none" (exit 1), no deadline is known.
    """
    recognition = policy.recognition
    rule = recognition.decision if kind is CaseKind.RECOGNITION and recognition is not None else policy.issue
    if rule is None:
        raise PersonalizationError("policy-none", area=policy.areas[0], day=accepted)
    return deadline(rule, accepted)


def judge(policy: Policy, case: Case, today: dt.date) -> Judgement:
    """Judge what was handed in under every rule, and check the data as intake will."""
    eligibility = decide(policy, case.file.application)
    rule = policy.endorsement
    if rule is None:
        raise PersonalizationError("policy-none", area=case.area, day=today)
    row = sheet_row(case, 0, today, _PLACEHOLDER, rule)
    faults = tuple(item for item in check_row(case, 0, row) if item.severity is Severity.ERROR)
    return Judgement(eligibility, _verdict(policy, case, eligibility), faults, last_day(policy, case.kind, today))


def _verdict(policy: Policy, case: Case, eligibility: Eligibility) -> Verdict:
    """An exchange stands on the permit of introduced talent alone."""
    if case.kind is not CaseKind.EXCHANGE:
        return eligibility.verdict
    talent = {rule.id for rule in policy.exemptions if rule.talent_permit}
    found = eligibility.exemption
    return Verdict.ELIGIBLE if found is not None and found.rule in talent else Verdict.INELIGIBLE
