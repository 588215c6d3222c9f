"""The yearly endorsement: window, suspension, restoration, and the years of residence that count.

A permit has no end of validity. For each anniversary D of its issue it is endorsed in the month before, from D minus
one month to D. From the day after D its functions are suspended, by themselves; a late endorsement restores them, and
the years of residence count anew from it.

Source: the policies' ``[endorsement]`` sections with their clauses.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from personalization.errors import PersonalizationError
from personalization.permit.policy.model import DueAfterLate, EndorsementRule, LeapDay
from personalization.permit.spans import Span, add_months, whole_months

_MONTHS_A_YEAR: Final = 12
_ONE_DAY: Final = timedelta(days=1)
_LEAP_DAY: Final = (2, 29)


class PermitStatus(StrEnum):
    """What a permit is worth on a day."""

    VALID = "valid"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class PermitTerm:
    """What the record of a permit says of its time; the same stands on its card.

    Attributes:
        counted_from: day whose anniversaries are due: that of issue, or of a late endorsement where a policy says so.
        due: the day D by which the next endorsement has to be made.
        area: where it was issued or last endorsed, GB/T 2260.
        resident_since: where the years of residence that count begin.
        cancelled: the day of cancellation, None while it is not.
    """

    counted_from: date
    due: date
    area: str
    resident_since: date
    cancelled: date | None = None

    @classmethod
    def of_issue(cls, issued: date, area: str, rule: EndorsementRule) -> PermitTerm:
        """The term of a new permit: due a year after its issue."""
        return cls(issued, anniversary(issued, 1, rule), area, issued)

    def status(self, day: date) -> PermitStatus:
        """What the permit is worth on ``day``."""
        if self.cancelled is not None and self.cancelled <= day:
            return PermitStatus.CANCELLED
        return PermitStatus.SUSPENDED if day > self.due else PermitStatus.VALID

    def window(self, rule: EndorsementRule) -> Span:
        """The days on which it can be endorsed in time."""
        return Span(add_months(self.due, -rule.window_months), self.due)

    def residence_years(self, day: date) -> int:
        """Full years of residence that count on ``day``."""
        return whole_months(self.resident_since, day) // _MONTHS_A_YEAR

    def endorsed(self, day: date, area: str, rule: EndorsementRule) -> PermitTerm:
        """The term after an endorsement on ``day`` by an office of ``area``.

        Raises:
            PersonalizationError: "permit-cancelled", "endorsement-too-early" with the first day of the window,
                "endorsement-other-area" where the policy does not let another area endorse.
        """
        if self.status(day) is PermitStatus.CANCELLED:
            raise PersonalizationError("permit-cancelled", day=self.cancelled)
        window = self.window(rule)
        if day < window.first:
            raise PersonalizationError("endorsement-too-early", first=window.first, last=self.due)
        if area != self.area and not rule.other_area:
            raise PersonalizationError("endorsement-other-area", area=self.area)
        late = day > self.due
        origin = day if late and rule.due_after_late is DueAfterLate.ENDORSEMENT else self.counted_from
        return replace(
            self,
            counted_from=origin,
            due=next_due(origin, self.due, day, rule),
            area=area,
            resident_since=day if late and rule.residence_years_restart else self.resident_since,
        )

    def cancelled_on(self, day: date) -> PermitTerm:
        """The term of a permit that is cancelled from ``day`` on; an earlier cancellation stays."""
        return self if self.cancelled is not None and self.cancelled <= day else replace(self, cancelled=day)


def anniversary(origin: date, years: int, rule: EndorsementRule) -> date:
    """The day ``years`` after ``origin``; what 29 February becomes in other years, the rule says."""
    year = origin.year + years
    if (origin.month, origin.day) == _LEAP_DAY and not calendar.isleap(year):
        last = date(year, 2, 28)
        return last + _ONE_DAY if rule.leap_day is LeapDay.FIRST_OF_MARCH else last
    return date(year, origin.month, origin.day)


def next_due(origin: date, due: date, day: date, rule: EndorsementRule) -> date:
    """The first anniversary of ``origin`` after ``due`` whose window has not begun by ``day``.

    An endorsement in the window of an anniversary covers that anniversary: a late one of eleven months and a half is at
    the same time the one in time for the next.
    """
    years = 1
    while True:
        candidate = anniversary(origin, years, rule)
        if candidate > due and add_months(candidate, -rule.window_months) > day:
            return candidate
        years += 1
