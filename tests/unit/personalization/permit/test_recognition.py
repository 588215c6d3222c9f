"""Mutual recognition, deadlines and working days."""

from __future__ import annotations

from datetime import date

import pytest

from personalization.errors import PersonalizationError
from personalization.permit.calendars import (
    after_days,
    after_working_days,
    lunar_new_year,
    touches_spring_festival,
)
from personalization.permit.eligibility import Verdict
from personalization.permit.evidence import Application, OwnHome, Registration, ResidencePermit
from personalization.permit.policy.library import policies
from personalization.permit.recognition import Opinion, Route, deadline, next_opinion, recognise

SUICHANG = policies().named("suichang-2023")
DAY = date(2024, 3, 4)


def application(*, registered: date, permit: str | None, home: bool = True) -> Application:
    return Application(
        area="331123",
        applied=DAY,
        birth_date=date(1990, 9, 30),
        registrations=(Registration(area="331123", first=registered),),
        own_home=OwnHome(area="331123") if home else None,
        permit=ResidencePermit(area="330381", issued=date(2022, 1, 10), status=permit) if permit else None,
    )


@pytest.mark.parametrize(
    ("registered", "permit", "route", "cancels"),
    [
        (date(2024, 2, 20), "valid", Route.PERMIT, ("330381",)),
        (date(2024, 2, 20), "suspended", Route.PERMIT, ("330381",)),
        (date(2023, 8, 1), None, Route.REGISTRATION, ()),
        (date(2023, 8, 1), "valid", Route.PERMIT, ("330381",)),
        (date(2023, 8, 1), "cancelled", Route.REGISTRATION, ("330381",)),
        (date(2024, 2, 20), "cancelled", None, ()),
        (date(2024, 2, 20), None, None, ()),
    ],
)
def test_both_routes_end_earlier_permits(
    registered: date, permit: str | None, route: Route | None, cancels: tuple[str, ...]
) -> None:
    """Suichang, 三.1, 三.2 and the note of annex 1: the earlier permit is cancelled by itself."""
    answer = recognise(SUICHANG, application(registered=registered, permit=permit), DAY)
    assert (answer.route, answer.cancels) == (route, cancels)
    assert (answer.eligibility.verdict is Verdict.ELIGIBLE) == (route is not None)


def test_a_permit_without_any_ground_is_not_recognised() -> None:
    answer = recognise(SUICHANG, application(registered=date(2023, 8, 1), permit="valid", home=False), DAY)
    assert (answer.route, answer.cancels) == (None, ())
    assert answer.eligibility.verdict is Verdict.INCOMPLETE


def test_a_county_without_the_plan_recognises_nothing() -> None:
    with pytest.raises(PersonalizationError, match="recognition-none"):
        recognise(policies().named("ruian-2016"), application(registered=date(2023, 8, 1), permit="valid"), DAY)


@pytest.mark.parametrize(
    ("start", "days", "last", "provisional"),
    [
        (date(2024, 3, 4), 2, date(2024, 3, 6), False),
        (date(2024, 3, 7), 2, date(2024, 3, 11), False),  # over a weekend
        (date(2024, 4, 3), 2, date(2024, 4, 8), False),  # 4 to 6 April is a holiday, Sunday the 7th is worked
        (date(2024, 4, 3), 1, date(2024, 4, 7), False),
        (date(2024, 2, 8), 2, date(2024, 2, 18), False),  # lunar new year, 10 to 17 February; Sunday the 18th is worked
        (date(2098, 10, 1), 2, date(2098, 10, 3), True),  # a Wednesday of a year without announcements
    ],
)
def test_working_days_are_those_of_the_state_council(start: date, days: int, last: date, provisional: bool) -> None:
    assert after_working_days(start, days) == (last, provisional)


def test_fifteen_days_from_acceptance() -> None:
    """Rui'an: within fifteen days from acceptance; the day itself is not counted."""
    rule = policies().complete(policies().named("ruian-2016"), date(2016, 12, 22)).issue
    assert rule is not None
    assert deadline(rule, date(2016, 12, 22)) == (date(2017, 1, 6), False)
    assert after_days(date(2016, 2, 28), 1).day == date(2016, 2, 29)


def test_two_working_days_for_recognition() -> None:
    """Suichang, 四.2."""
    assert SUICHANG.recognition is not None
    assert deadline(SUICHANG.recognition.decision, date(2024, 3, 8)) == (date(2024, 3, 12), False)


@pytest.mark.parametrize(
    ("year", "day"),
    [(2016, date(2016, 2, 8)), (2017, date(2017, 1, 28)), (2023, date(2023, 1, 22)), (2033, date(2033, 1, 31))],
)
def test_lunar_new_years(year: int, day: date) -> None:
    assert lunar_new_year(year) == day


@pytest.mark.parametrize(
    ("first", "last", "touches"),
    [
        (date(2016, 12, 1), date(2017, 1, 12), False),
        (date(2016, 12, 1), date(2017, 1, 13), True),
        (date(2017, 2, 22), date(2017, 3, 30), True),
        (date(2017, 2, 23), date(2017, 3, 30), False),
        (date(2016, 12, 1), date(2017, 4, 1), True),
    ],
)
def test_forty_days_around_the_lunar_new_year(first: date, last: date, touches: bool) -> None:
    assert touches_spring_festival(first, last, 15, 25) is touches


def test_three_opinions_in_their_order() -> None:
    """Suichang, annex 1: 受理人, 审核人, 审批人."""
    assert next_opinion([]) is Opinion.ACCEPTING
    assert next_opinion([Opinion.ACCEPTING]) is Opinion.REVIEWING
    assert next_opinion([Opinion.ACCEPTING, Opinion.REVIEWING]) is Opinion.APPROVING
    assert next_opinion(list(Opinion)) is None
    with pytest.raises(PersonalizationError, match="opinions-out-of-order"):
        next_opinion([Opinion.APPROVING])
