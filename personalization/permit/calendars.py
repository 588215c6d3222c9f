"""Chinese working days and lunar new years, from libraries that are kept up to date.

Holidays and moved working days are announced by the State Council year by year. For a year that the library does not
know yet, weekends are taken as the days off and every answer says that it is provisional.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final, NamedTuple

_ONE_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5


class Deadline(NamedTuple):
    """A last day, and whether it may move because a year's holidays are not announced yet."""

    day: date
    provisional: bool


def is_working_day(day: date) -> tuple[bool, bool]:
    """Whether people work on ``day``, and whether that is provisional."""
    import chinese_calendar

    try:
        return chinese_calendar.is_workday(day), False
    except NotImplementedError:
        return day.weekday() < _SATURDAY, True


def after_working_days(start: date, days: int) -> Deadline:
    """The last of ``days`` working days; the day of ``start`` is not counted (Civil Code, article 201)."""
    day, left, provisional = start, days, False
    while left:
        day += _ONE_DAY
        working, uncertain = is_working_day(day)
        provisional |= uncertain
        left -= working
    return Deadline(day, provisional)


def after_days(start: date, days: int) -> Deadline:
    """The last of ``days`` calendar days; the day of ``start`` is not counted."""
    return Deadline(start + timedelta(days=days), provisional=False)


def lunar_new_year(year: int) -> date:
    """The first day of the lunar year that begins in ``year`` (1901..2099)."""
    from lunardate import LunarDate

    # pyright's bundled stubs are of an older release than the method.
    day: date = LunarDate(year, 1, 1).to_solar_date()  # pyright: ignore[reportAttributeAccessIssue]
    return day


def touches_spring_festival(first: date, last: date, before: int, after: int) -> bool:
    """Whether a span shares a day with ``before`` days before to ``after`` days after a lunar new year."""
    for year in range(first.year - 1, last.year + 2):
        new_year = lunar_new_year(year)
        if first <= new_year + timedelta(days=after) and last >= new_year - timedelta(days=before):
            return True
    return False
