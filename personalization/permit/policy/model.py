"""The form of a policy: who may have a permit, when it is endorsed, and which deadlines an office has.

Each rule carries the clause that it comes from. What the documents leave open is a parameter with a default that the
field's description states.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from personalization.permit.evidence import Area, Designation, Record, School, Use

PROVINCE: Final = "330000"
Months = Annotated[int, Field(ge=1, le=120)]
Days = Annotated[int, Field(ge=1, le=3660)]
RuleName = Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z_]+)+$")]


class Source(Record):
    """Where a rule stands."""

    clause: str = Field(min_length=1)
    quote: str = Field(min_length=2)


class Counting(StrEnum):
    """How days of registration add up."""

    CONTINUOUS = "continuous"
    CUMULATED = "cumulated"


class Scope(StrEnum):
    """Within which boundaries registrations count together."""

    COUNTY = "county"
    PROVINCE = "province"


class SpringFestival(Record):
    """A longer gap that is allowed around the lunar new year.

    The documents do not say which days that is; by default the forty days of spring travel (春运): from 15 days before
    to 25 days after the lunar new year. One day in common is enough.
    """

    longest_gap_days: Days
    days_before: int = Field(default=15, ge=0, le=60)
    days_after: int = Field(default=25, ge=0, le=60)


class ResidenceRule(Record):
    """How long residence has to be registered, in days or in months.

    Days of a gap that is allowed count, for residence is then continuous; when registrations are only added up, they do
    not, and a month is 30 days. Residence has to be registered on the day of the application.
    """

    id: RuleName
    days: Days | None = None
    months: Months | None = None
    counting: Counting = Counting.CONTINUOUS
    scope: Scope = Scope.COUNTY
    same_area: tuple[tuple[Area, ...], ...] = ()
    longest_gap_days: int = Field(default=0, ge=0, le=366)
    spring_festival: SpringFestival | None = None
    source: Source

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.days is None) == (self.months is None):
            raise ValueError("either days or months")
        if self.spring_festival and self.spring_festival.longest_gap_days <= self.longest_gap_days:
            raise ValueError("the gap around the lunar new year is not longer")
        if self.counting is Counting.CUMULATED and (self.longest_gap_days or self.spring_festival):
            raise ValueError("registrations that are added up have no gap")
        return self

    def area_group(self, area: str) -> frozenset[str]:
        """The areas that count as one with ``area``."""
        return next((frozenset(group) for group in self.same_area if area in group), frozenset({area}))


class Ground(StrEnum):
    """The three grounds; one of them is enough."""

    EMPLOYMENT = "employment"
    DWELLING = "dwelling"
    STUDY = "study"


class Evidence(StrEnum):
    """What a rule looks at: a field of the application."""

    INSURANCE = "insurance"
    CONTRACT = "contracts"
    BUSINESS = "businesses"
    FARM_LEASE = "farm_leases"
    OTHER_EMPLOYMENT = "other_employment"
    OWN_HOME = "own_home"
    DORMITORY = "dormitory"
    RENTAL = "rental"
    OTHER_DWELLING = "other_dwelling"
    ENROLMENT = "enrolments"


GROUNDS: Final = {
    Evidence.INSURANCE: Ground.EMPLOYMENT,
    Evidence.CONTRACT: Ground.EMPLOYMENT,
    Evidence.BUSINESS: Ground.EMPLOYMENT,
    Evidence.FARM_LEASE: Ground.EMPLOYMENT,
    Evidence.OTHER_EMPLOYMENT: Ground.EMPLOYMENT,
    Evidence.OWN_HOME: Ground.DWELLING,
    Evidence.DORMITORY: Ground.DWELLING,
    Evidence.RENTAL: Ground.DWELLING,
    Evidence.OTHER_DWELLING: Ground.DWELLING,
    Evidence.ENROLMENT: Ground.STUDY,
}
"""The ground that each kind of evidence belongs to."""


class Fact(StrEnum):
    """Yes-or-no facts that a rule can ask to be shown."""

    TITLE = "title"
    SAFE = "safe"
    APPROVED = "approved"
    REGISTERED = "registered"
    FILED = "filed"
    ON_THE_ROLL = "on_the_roll"
    ATTENDANCE_CERTIFIED = "attendance_certified"


class WayRule(Record):
    """One way to have a ground.

    Attributes:
        term_months: least length of a contract or lease.
        held_months: least time up to the application for which it has been so: paid, worked, run, held, attended.
        longest_break_months: insurance with a break of this many months or more begins anew; None: breaks do not matter
            and the time that was paid is added up.
        back_payment: whether insurance that was paid later counts.
        shown: facts that have to be shown.
        shown_for_commodity_housing: further ones for a home that was built for sale.
        not_used_as: what a rented place must not be.
        schools: kinds of schools it is about; all when empty.
    """

    id: RuleName
    evidence: Evidence
    term_months: Months | None = None
    held_months: Months | None = None
    longest_break_months: Months | None = None
    back_payment: bool = True
    shown: tuple[Fact, ...] = ()
    shown_for_commodity_housing: tuple[Fact, ...] = ()
    not_used_as: tuple[Use, ...] = ()
    schools: tuple[School, ...] = ()
    source: Source

    @property
    def ground(self) -> Ground:
        """The ground it gives."""
        return GROUNDS[self.evidence]


class MinorRule(Record):
    """What else is needed when the applicant is younger than ``under_age`` and relies on ``ground``."""

    id: RuleName
    ground: Ground
    under_age: int = Field(ge=1, le=18)
    guardians_permits: bool = False
    insurance_months: Months | None = None
    longest_break_months: Months | None = None
    back_payment: bool = True
    source: Source


class Waived(StrEnum):
    """What an exemption sets aside."""

    RESIDENCE = "residence"
    GROUNDS = "grounds"


class ExemptionRule(Record):
    """Somebody who need not meet everything: by designation, by a talent permit, or by a permit of another area."""

    id: RuleName
    designations: tuple[Designation, ...] = ()
    talent_permit: bool = False
    permit_of_the_province: bool = False
    waives: tuple[Waived, ...] = Field(min_length=1)
    source: Source

    @model_validator(mode="after")
    def _one_reason(self) -> Self:
        if bool(self.designations) + self.talent_permit + self.permit_of_the_province != 1:
            raise ValueError("one of designations, talent_permit, permit_of_the_province")
        return self


class LeapDay(StrEnum):
    """The anniversary of 29 February in other years; by default the month's last day (Civil Code, article 202)."""

    LAST_OF_FEBRUARY = "last-of-february"
    FIRST_OF_MARCH = "first-of-march"


class DueAfterLate(StrEnum):
    """What the next due date after a late endorsement counts from.

    The documents do not say. By default the anniversaries of the issue date go on, for the window is defined by them.
    """

    ISSUE = "issue"
    ENDORSEMENT = "endorsement"


class EndorsementRule(Record):
    """The yearly endorsement."""

    id: RuleName
    window_months: Months = 1
    leap_day: LeapDay = LeapDay.LAST_OF_FEBRUARY
    due_after_late: DueAfterLate = DueAfterLate.ISSUE
    other_area: bool = True
    residence_years_restart: bool = True
    source: Source


class DeadlineRule(Record):
    """How long an office or a person may take, in calendar days or in working days."""

    id: RuleName
    days: Days | None = None
    working_days: Days | None = None
    source: Source

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.days is None) == (self.working_days is None):
            raise ValueError("either days or working_days")
        return self


class RecognitionRule(Record):
    """Mutual recognition within the province: what it gives and what becomes of earlier permits."""

    id: RuleName
    electronic_only: bool
    cancels_earlier: bool
    opinions: int = Field(ge=1, le=5)
    decision: DeadlineRule
    source: Source


class Title(Record):
    """A name in both languages."""

    zh: str
    en: str


class Policy(Record):
    """The rules of some areas from a day on.

    ``areas`` are codes of GB/T 2260; 330000 stands for every area that has no policy of its own. A section that is
    absent (endorsement, deadlines) is that of the province. A draft is used only when it is asked for by name.
    """

    name: Annotated[str, Field(pattern=r"^[a-z]+-\d{4}(-draft)?$")]
    title: Title
    document: str
    valid_from: date
    valid_until: date | None = None
    draft: bool = False
    areas: tuple[Area, ...] = Field(min_length=1)
    residence: ResidenceRule
    ways: tuple[WayRule, ...] = Field(min_length=1)
    minors: tuple[MinorRule, ...] = ()
    exemptions: tuple[ExemptionRule, ...] = ()
    endorsement: EndorsementRule | None = None
    issue: DeadlineRule | None = None
    changes: DeadlineRule | None = None
    recognition: RecognitionRule | None = None

    def holds_on(self, day: date) -> bool:
        """Whether it is in force on ``day``."""
        return self.valid_from <= day and (self.valid_until is None or day <= self.valid_until)
