"""Look over policies together: gaps in time, contradictions, rules that can never decide anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Final

from personalization.permit.policy.model import PROVINCE, Counting, Evidence, Ground, Policy, Scope, WayRule

_ONE_DAY: Final = timedelta(days=1)
_TERMS: Final = frozenset({Evidence.CONTRACT, Evidence.FARM_LEASE, Evidence.RENTAL})
_TIMES: Final = frozenset(
    {Evidence.INSURANCE, Evidence.CONTRACT, Evidence.BUSINESS, Evidence.FARM_LEASE, Evidence.ENROLMENT}
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a policy, or between several: a code with what it is about."""

    code: str
    policy: str
    detail: str

    def __str__(self) -> str:
        return f"{self.code} ({self.policy}: {self.detail})"


def review(policies: Sequence[Policy]) -> list[Finding]:
    """Everything that is wrong; empty when the policies can be used."""
    return [*_each(policies), *_together(policies)]


def _each(policies: Iterable[Policy]) -> Iterator[Finding]:
    for policy in policies:
        rules = [
            policy.residence.id,
            *(rule.id for rule in policy.ways),
            *(rule.id for rule in policy.minors),
            *(rule.id for rule in policy.exemptions),
        ]
        for name in sorted({name for name in rules if rules.count(name) > 1}):
            yield Finding("rule-twice", policy.name, name)
        for rule in policy.ways:
            yield from _way(policy, rule)
        grounds = {rule.ground for rule in policy.ways}
        for ground in sorted(set(Ground) - grounds):
            yield Finding("ground-without-rule", policy.name, ground)
        for minor in policy.minors:
            if not minor.guardians_permits and minor.insurance_months is None:
                yield Finding("rule-asks-nothing", policy.name, minor.id)
        groups = [area for group in policy.residence.same_area for area in group]
        for area in sorted({area for area in groups if groups.count(area) > 1}):
            yield Finding("area-in-two-groups", policy.name, area)
        if policy.residence.counting is Counting.CUMULATED and policy.residence.scope is Scope.COUNTY:
            yield Finding("cumulated-in-one-county", policy.name, policy.residence.id)
        if policy.valid_until is not None and policy.valid_until < policy.valid_from:
            yield Finding("ends-before-it-begins", policy.name, policy.valid_until.isoformat())


def _way(policy: Policy, rule: WayRule) -> Iterator[Finding]:
    if not rule.id.startswith(rule.ground + "."):
        yield Finding("rule-of-another-ground", policy.name, rule.id)
    if rule.term_months is not None and rule.evidence not in _TERMS:
        yield Finding("nothing-with-a-term", policy.name, rule.id)
    if rule.held_months is not None and rule.evidence not in _TIMES:
        yield Finding("nothing-with-a-time", policy.name, rule.id)
    if rule.longest_break_months is not None and rule.evidence is not Evidence.INSURANCE:
        yield Finding("break-without-insurance", policy.name, rule.id)
    if rule.schools and rule.evidence is not Evidence.ENROLMENT:
        yield Finding("school-without-enrolment", policy.name, rule.id)
    if (rule.not_used_as or rule.shown_for_commodity_housing) and rule.evidence is not Evidence.RENTAL:
        yield Finding("use-without-rental", policy.name, rule.id)


def _together(policies: Sequence[Policy]) -> Iterator[Finding]:
    names = [policy.name for policy in policies]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Finding("policy-twice", name, name)
    in_force = [policy for policy in policies if not policy.draft]
    for area in sorted({area for policy in in_force for area in policy.areas}):
        own = sorted((policy for policy in in_force if area in policy.areas), key=lambda policy: policy.valid_from)
        for earlier, later in pairwise(own):
            if earlier.valid_until is None or earlier.valid_until >= later.valid_from:
                yield Finding("two-policies-at-once", later.name, area)
            elif earlier.valid_until + _ONE_DAY < later.valid_from:
                yield Finding("days-without-policy", later.name, area)
    province = [policy for policy in in_force if PROVINCE in policy.areas]
    if not province:
        yield Finding("no-policy-of-the-province", "", PROVINCE)
    for policy in province:
        if policy.endorsement is None or policy.issue is None or policy.changes is None:
            yield Finding("province-incomplete", policy.name, "endorsement, issue, changes")
