"""What an applicant says and shows: the application as a file, in TOML.

A yes-or-no fact has three values: shown to be so, shown not to be so, and not shown (absent). An answer tells what is
not met from what is only not proven, so that an applicant hears everything at once.
"""

from __future__ import annotations

import tomllib
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from personalization.errors import PersonalizationError
from personalization.permit.spans import Span, add_months

AREA_PATTERN: Final = r"^33\d{4}$"
Area = Annotated[str, Field(pattern=AREA_PATTERN, description="GB/T 2260, of Zhejiang")]
_MAX_BYTES: Final = 1_000_000


class Record(BaseModel):
    """A row of the application: nothing that the form does not know, nothing that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatedRecord(Record):
    """A row that holds from a first day to a last one, which is absent while it goes on."""

    first: date
    last: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> DatedRecord:
        if self.last is not None and self.last < self.first:
            raise ValueError("last comes before first")
        return self

    @property
    def span(self) -> Span:
        """Its days."""
        return Span(self.first, self.last)


class Registration(DatedRecord):
    """A registration of residence with a local station."""

    area: Area


class Insurance(DatedRecord):
    """Social insurance paid without a break, from its first day to the last one that is paid for."""

    area: Area
    back_paid: bool = False


class LabourContract(DatedRecord):
    """A labour contract: ``first`` to ``last`` is its term, without ``last`` it is open-ended."""

    area: Area
    working_since: date | None = None


class BusinessKind(StrEnum):
    """What is run."""

    INDIVIDUAL = "individual"
    COMPANY = "company"
    SOCIAL_ORGANISATION = "social_organisation"


class Business(DatedRecord):
    """A business or social organisation of the applicant's own, from its registration on."""

    area: Area
    kind: BusinessKind = BusinessKind.INDIVIDUAL


class FarmLease(DatedRecord):
    """A contract over farm land: its term, and since when the land is really held."""

    area: Area
    held_since: date | None = None


class Recognised(Record):
    """A case that an office took under a "other cases" clause; it names its decision."""

    area: Area
    decision: str = Field(min_length=1)


class OwnHome(Record):
    """A home of one's own."""

    area: Area
    title: bool | None = None


class Dormitory(Record):
    """A dormitory of the employer."""

    area: Area
    safe: bool | None = None
    approved: bool | None = None


class Use(StrEnum):
    """What a rented place is that makes it no home."""

    CYCLE_SHED = "cycle_shed"
    GARAGE = "garage"
    ILLEGAL_BUILDING = "illegal_building"
    FIRE_HAZARD = "fire_hazard"
    THREE_IN_ONE = "three_in_one"


class Rental(Record):
    """A rented home: the lease, and what the landlord and the offices have shown of it."""

    area: Area
    lease: DatedRecord | None = None
    safe: bool | None = None
    title: bool | None = None
    registered: bool | None = None
    commodity_housing: bool = False
    filed: bool | None = None
    used_as: Use | None = None


class School(StrEnum):
    """Kinds of schools that the rules tell apart."""

    PRIMARY = "primary"
    JUNIOR = "junior"
    SENIOR = "senior"
    HIGHER_VOCATIONAL = "higher_vocational"
    UNIVERSITY = "university"


class Enrolment(DatedRecord):
    """School attendance on the roll of one school."""

    area: Area
    school: School
    on_the_roll: bool | None = None
    attendance_certified: bool | None = None


class Guardian(Record):
    """A parent or other legal guardian."""

    permit_valid: bool | None = None
    insurance: tuple[Insurance, ...] = ()


class TalentPermit(Record):
    """A permit of introduced talent of the province (浙江省引进人才居住证)."""

    valid_until: date


class ResidencePermit(Record):
    """A residence permit of the province that the applicant holds."""

    area: Area
    issued: date
    status: Annotated[str, Field(pattern="^(valid|suspended|cancelled)$")]


class Designation(StrEnum):
    """What a county government can designate a person as."""

    INVESTOR = "investor"
    INTRODUCED_TALENT = "introduced_talent"
    SCARCE_TALENT = "scarce_talent"


class Application(Record):
    """One application for a permit, an endorsement or mutual recognition."""

    area: Area
    applied: date
    birth_date: date
    registrations: tuple[Registration, ...] = ()
    insurance: tuple[Insurance, ...] = ()
    contracts: tuple[LabourContract, ...] = ()
    businesses: tuple[Business, ...] = ()
    farm_leases: tuple[FarmLease, ...] = ()
    other_employment: Recognised | None = None
    own_home: OwnHome | None = None
    dormitory: Dormitory | None = None
    rental: Rental | None = None
    other_dwelling: Recognised | None = None
    enrolments: tuple[Enrolment, ...] = ()
    guardians: tuple[Guardian, ...] = ()
    talent_permit: TalentPermit | None = None
    designation: Designation | None = None
    permit: ResidencePermit | None = None

    @model_validator(mode="after")
    def _born_before(self) -> Application:
        if self.birth_date > self.applied:
            raise ValueError("birth_date comes after applied")
        return self

    def is_under(self, age: int) -> bool:
        """Whether the applicant is younger than ``age`` years on the day of the application."""
        return add_months(self.birth_date, 12 * age) > self.applied


def read_application(path: Path) -> Application:
    """Read an application.

    Raises:
        PersonalizationError: "application-unreadable" (exit 2) with the cause, "application-invalid" (exit 1) with the
            places that are wrong; values are not shown, for they are personal.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise PersonalizationError("application-unreadable", exit_code=2, path=path, cause="too large")
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PersonalizationError("application-unreadable", exit_code=2, path=path, cause=error.strerror) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise PersonalizationError("application-unreadable", exit_code=2, path=path, cause="no TOML in UTF-8") from None
    try:
        return Application.model_validate(content)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise PersonalizationError("application-invalid", path=path, places=places) from None
