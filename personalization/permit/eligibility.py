"""Whether an applicant may have a permit, with every rule: met, not met, or not proven.

The answer is complete, because an office has to tell an applicant everything that is missing at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from personalization.permit.evidence import Application
from personalization.permit.findings import Outcome, Reason, ReasonCode, RuleFinding, best, worst
from personalization.permit.policy.model import ExemptionRule, Ground, MinorRule, Policy, ResidenceRule, Waived
from personalization.permit.residence import is_long_enough, registered_residence
from personalization.permit.ways import insurance_reason, judge_way

_CANCELLED: Final = "cancelled"


class Verdict(StrEnum):
    """What an office does with an application."""

    ELIGIBLE = "eligible"
    INCOMPLETE = "incomplete"
    INELIGIBLE = "ineligible"


_VERDICTS: Final = {
    Outcome.MET: Verdict.ELIGIBLE,
    Outcome.PROOF_MISSING: Verdict.INCOMPLETE,
    Outcome.NOT_MET: Verdict.INELIGIBLE,
}


@dataclass(frozen=True, slots=True)
class GroundFinding:
    """What one ground came to: the best of its ways, with what is asked of minors."""

    ground: Ground
    outcome: Outcome
    ways: tuple[RuleFinding, ...]
    minors: tuple[RuleFinding, ...]


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The answer to one application under one policy.

    Attributes:
        exemption: the exemption that applies, None when everything has to be met.
    """

    policy: Policy
    verdict: Verdict
    residence: RuleFinding
    grounds: tuple[GroundFinding, ...]
    exemptions: tuple[RuleFinding, ...]
    exemption: RuleFinding | None

    def findings(self) -> Iterator[RuleFinding]:
        """Every rule's finding, in the order of the policy."""
        yield self.residence
        for ground in self.grounds:
            yield from ground.ways
            yield from ground.minors
        yield from self.exemptions


def decide(policy: Policy, application: Application) -> Eligibility:
    """Judge an application under every rule of a policy."""
    residence = _residence(policy.residence, application)
    area = policy.residence.area_group(application.area)
    grounds = tuple(_ground(policy, ground, application, area) for ground in Ground)
    exemptions = tuple(_exemption(rule, application) for rule in policy.exemptions)
    applies = {rule.id: rule for rule in policy.exemptions}
    exemption = next((finding for finding in exemptions if finding.outcome is Outcome.MET), None)
    waived = applies[exemption.rule].waives if exemption else ()
    outcome = worst(
        (
            Outcome.MET if Waived.RESIDENCE in waived else residence.outcome,
            Outcome.MET if Waived.GROUNDS in waived else best(ground.outcome for ground in grounds),
        )
    )
    return Eligibility(policy, _VERDICTS[outcome], residence, grounds, exemptions, exemption)


def _residence(rule: ResidenceRule, application: Application) -> RuleFinding:
    day = application.applied
    found = registered_residence(rule, application.area, application.registrations, day)
    facts = MappingProxyType(
        {
            "days": found.days,
            "months": found.months,
            "since": found.since.isoformat() if found.since else "",
            "needed": rule.days or rule.months,
            "unit": "days" if rule.days else "months",
        }
    )
    if not application.registrations:
        return RuleFinding.of(rule.id, rule.source, (Reason(Outcome.PROOF_MISSING, ReasonCode.REGISTRATION_MISSING),))
    reasons = [
        Reason(Outcome.MET if found.registered else Outcome.NOT_MET, ReasonCode.REGISTERED_NOW, facts),
        Reason(Outcome.MET if is_long_enough(rule, found, day) else Outcome.NOT_MET, ReasonCode.REGISTERED_LONG, facts),
    ]
    if found.broken_by is not None and reasons[1].outcome is Outcome.NOT_MET:
        gap = found.broken_by
        broken = MappingProxyType({"first": gap.first.isoformat(), "last": gap.last.isoformat() if gap.last else ""})
        reasons.append(Reason(Outcome.NOT_MET, ReasonCode.REGISTRATION_BROKEN, broken))
    return RuleFinding.of(rule.id, rule.source, reasons)


def _ground(policy: Policy, ground: Ground, application: Application, area: frozenset[str]) -> GroundFinding:
    ways = tuple(judge_way(rule, application, area) for rule in policy.ways if rule.ground is ground)
    minors = tuple(
        _minor(rule, application, area)
        for rule in policy.minors
        if rule.ground is ground and application.is_under(rule.under_age)
    )
    outcome = worst((best(way.outcome for way in ways), *(minor.outcome for minor in minors)))
    return GroundFinding(ground, outcome, ways, minors)


def _minor(rule: MinorRule, application: Application, area: frozenset[str]) -> RuleFinding:
    """What guardians have to show: valid permits of all of them, insurance of one."""
    if not application.guardians:
        return RuleFinding.of(rule.id, rule.source, (Reason(Outcome.PROOF_MISSING, ReasonCode.GUARDIANS_MISSING),))
    reasons: list[Reason] = []
    if rule.guardians_permits:
        for number, guardian in enumerate(application.guardians, 1):
            valid = guardian.permit_valid
            outcome = Outcome.PROOF_MISSING if valid is None else Outcome.MET if valid else Outcome.NOT_MET
            reasons.append(Reason(outcome, ReasonCode.GUARDIAN_PERMIT, MappingProxyType({"guardian": number})))
    if rule.insurance_months is not None:
        paid = [
            insurance_reason(
                guardian.insurance,
                area,
                application.applied,
                rule.insurance_months,
                rule.longest_break_months,
                back_payment=rule.back_payment,
            )
            for guardian in application.guardians
        ]
        shown = [reason for reason in paid if reason is not None]
        missing = Reason(Outcome.PROOF_MISSING, ReasonCode.GUARDIAN_INSURANCE_MISSING)
        reasons.append(min(shown, key=lambda reason: reason.outcome) if shown else missing)
    return RuleFinding.of(rule.id, rule.source, reasons)


def _exemption(rule: ExemptionRule, application: Application) -> RuleFinding:
    """Whether an exemption applies; that it does not is no fault."""
    if rule.talent_permit:
        permit = application.talent_permit
        if permit is None:
            reason = Reason(Outcome.PROOF_MISSING, ReasonCode.TALENT_PERMIT_MISSING)
        else:
            valid = application.applied <= permit.valid_until
            facts = MappingProxyType({"until": permit.valid_until.isoformat()})
            reason = Reason(Outcome.MET if valid else Outcome.NOT_MET, ReasonCode.TALENT_PERMIT, facts)
    elif rule.permit_of_the_province:
        held = application.permit
        if held is None:
            reason = Reason(Outcome.PROOF_MISSING, ReasonCode.PERMIT_MISSING)
        else:
            outcome = Outcome.NOT_MET if held.status == _CANCELLED else Outcome.MET
            reason = Reason(outcome, ReasonCode.PERMIT, MappingProxyType({"area": held.area, "status": held.status}))
    elif application.designation is None:
        reason = Reason(Outcome.PROOF_MISSING, ReasonCode.DESIGNATION_MISSING)
    else:
        outcome = Outcome.MET if application.designation in rule.designations else Outcome.NOT_MET
        reason = Reason(
            outcome, ReasonCode.DESIGNATION, MappingProxyType({"designation": application.designation.value})
        )
    return RuleFinding.of(rule.id, rule.source, (reason,))
