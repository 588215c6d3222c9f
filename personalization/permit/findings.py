"""What a rule came to for one applicant: met, not met, or not proven, with the facts that decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType

from personalization.permit.policy.model import Source


class Outcome(IntEnum):
    """What a rule came to, the better the lower."""

    MET = 0
    PROOF_MISSING = 1
    NOT_MET = 2

    @property
    def code(self) -> str:
        """Name in words, reports and JSON."""
        return self.name.lower().replace("_", "-")


def best(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of alternatives: one that is met is enough."""
    return min(outcomes, default=Outcome.NOT_MET)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of what has to hold together."""
    return max(outcomes, default=Outcome.MET)


class ReasonCode(StrEnum):
    """What a reason is about; words of the same name say it."""

    NOTHING_SHOWN = "nothing-shown"
    INSURANCE = "insurance"
    INSURANCE_CONTINUOUS = "insurance-continuous"
    PLACE = "place"
    TERM_OPEN = "term-open"
    TERM = "term"
    IN_FORCE = "in-force"
    SINCE_UNKNOWN = "since-unknown"
    HELD = "held"
    FACT = "fact"
    DECIDED = "decided"
    LEASE_MISSING = "lease-missing"
    USED_AS = "used-as"
    REGISTRATION_MISSING = "registration-missing"
    REGISTERED_NOW = "registered-now"
    REGISTERED_LONG = "registered-long"
    REGISTRATION_BROKEN = "registration-broken"
    GUARDIANS_MISSING = "guardians-missing"
    GUARDIAN_PERMIT = "guardian-permit"
    GUARDIAN_INSURANCE_MISSING = "guardian-insurance-missing"
    TALENT_PERMIT_MISSING = "talent-permit-missing"
    TALENT_PERMIT = "talent-permit"
    PERMIT_MISSING = "permit-missing"
    PERMIT = "permit"
    DESIGNATION_MISSING = "designation-missing"
    DESIGNATION = "designation"


@dataclass(frozen=True, slots=True)
class Reason:
    """One fact that decided, as a code with parameters that the front door puts into words."""

    outcome: Outcome
    code: ReasonCode
    parameters: Mapping[str, object] = field(default_factory=lambda: MappingProxyType[str, object]({}))


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """What one rule came to.

    Attributes:
        rule: identifier of the rule in its policy.
        outcome: the worst of its reasons.
        reasons: each fact that the rule looked at.
        source: the clause.
    """

    rule: str
    outcome: Outcome
    reasons: tuple[Reason, ...]
    source: Source

    @classmethod
    def of(cls, rule: str, source: Source, reasons: Iterable[Reason]) -> RuleFinding:
        """The finding of a rule all of whose facts have to hold."""
        listed = tuple(reasons)
        return cls(rule, worst(reason.outcome for reason in listed), listed, source)
