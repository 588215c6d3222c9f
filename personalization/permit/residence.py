"""How long residence has been registered, under the rule of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from personalization.permit.calendars import touches_spring_festival
from personalization.permit.evidence import Registration
from personalization.permit.policy.model import Counting, ResidenceRule, Scope
from personalization.permit.spans import (
    Span,
    add_months,
    days_between,
    gap_between,
    length_in_days,
    merged,
    whole_months,
)

DAYS_A_MONTH: Final = 30
"""A month where days are added up (Civil Code, article 202, and the earlier judicial opinion on it)."""


@dataclass(frozen=True, slots=True)
class RegisteredResidence:
    """What the registrations come to.

    Attributes:
        registered: whether residence is registered on the day itself.
        since: where the time that counts begins; None when there is none.
        days: days that count, the first not counted when they are continuous.
        months: full months that count.
        broken_by: the gap that was too long, the latest one.
    """

    registered: bool
    since: date | None
    days: int
    months: int
    broken_by: Span | None = None


def registered_residence(
    rule: ResidenceRule, area: str, registrations: Sequence[Registration], day: date
) -> RegisteredResidence:
    """Count the registrations that matter for ``area`` up to ``day``."""
    group = rule.area_group(area)
    spans = merged(
        (item.span for item in registrations if rule.scope is Scope.PROVINCE or item.area in group),
        day,
    )
    registered = any(item.area in group and item.span.covers(day) for item in registrations)
    if not spans:
        return RegisteredResidence(registered, None, 0, 0)
    if rule.counting is Counting.CUMULATED:
        days = sum(length_in_days(span) for span in spans)
        return RegisteredResidence(registered, spans[0].first, days, days // DAYS_A_MONTH)
    since, broken_by = spans[-1].first, None
    for earlier, later in zip(reversed(spans[:-1]), reversed(spans), strict=False):
        gap = gap_between(earlier, later)
        if length_in_days(gap) > _allowed(rule, gap):
            broken_by = gap
            break
        since = earlier.first
    return RegisteredResidence(registered, since, days_between(since, day), whole_months(since, day), broken_by)


def is_long_enough(rule: ResidenceRule, residence: RegisteredResidence, day: date) -> bool:
    """Whether the time that counts reaches what the rule asks; a number is included in "or more" (Civil Code, 1259)."""
    if residence.since is None:
        return False
    if rule.days is not None:
        return residence.days >= rule.days
    months = rule.months or 0
    if rule.counting is Counting.CUMULATED:
        return residence.days >= months * DAYS_A_MONTH
    return add_months(residence.since, months) <= day


def _allowed(rule: ResidenceRule, gap: Span) -> int:
    """Days that this gap may have."""
    festival = rule.spring_festival
    if festival is None or gap.last is None:
        return rule.longest_gap_days
    if touches_spring_festival(gap.first, gap.last, festival.days_before, festival.days_after):
        return festival.longest_gap_days
    return rule.longest_gap_days
