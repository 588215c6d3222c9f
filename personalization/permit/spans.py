"""Days, months and spans of days, counted as the Civil Code counts them.

A period of months ends on the day of the same number; where the month has no such day, on its last one. The day on
which a period begins is not counted.

Source: Civil Code of the People's Republic of China (2020), articles 201 and 202.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

_MONTHS_A_YEAR: Final = 12
_ONE_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Days from ``first`` to ``last``, both included; ``last`` is None while it goes on."""

    first: date
    last: date | None = None

    def __post_init__(self) -> None:
        if self.last is not None and self.last < self.first:
            raise ValueError("a span ends before it begins")

    def covers(self, day: date) -> bool:
        """Whether ``day`` is one of its days."""
        return self.first <= day and (self.last is None or day <= self.last)

    def until(self, day: date) -> Span | None:
        """What of it lies up to and on ``day``, None when it begins later."""
        if self.first > day:
            return None
        return Span(self.first, day if self.last is None or self.last > day else self.last)


def add_months(day: date, months: int) -> date:
    """The day ``months`` later (or earlier, when negative), the month's last one where there is no such day."""
    year, month = divmod(day.year * _MONTHS_A_YEAR + day.month - 1 + months, _MONTHS_A_YEAR)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def days_between(first: date, last: date) -> int:
    """Days from one day to another, the first not counted."""
    return (last - first).days


def whole_months(first: date, last: date) -> int:
    """Full months from one day to another, the first not counted; 0 when ``last`` comes before ``first``."""
    if last < first:
        return 0
    months = (last.year - first.year) * _MONTHS_A_YEAR + last.month - first.month
    return months if add_months(first, months) <= last else months - 1


def merged(spans: Iterable[Span], day: date) -> list[Span]:
    """Spans up to ``day``, in order, those that touch or overlap made one; each has a last day."""
    result: list[Span] = []
    for span in sorted(cut for span in spans if (cut := span.until(day)) is not None):
        end = _end(span)
        if result and span.first <= _end(result[-1]) + _ONE_DAY:
            previous = result.pop()
            result.append(Span(previous.first, max(_end(previous), end)))
        else:
            result.append(span)
    return result


def gap_between(earlier: Span, later: Span) -> Span:
    """The days between two merged spans, of which there is at least one."""
    return Span(_end(earlier) + _ONE_DAY, later.first - _ONE_DAY)


def length_in_days(span: Span) -> int:
    """Days of a span that has ended, both ends counted."""
    return (_end(span) - span.first).days + 1


def lasts_months(span: Span, months: int) -> bool:
    """Whether a span that has ended has ``months`` full months: 1 January to 31 March has three."""
    return add_months(span.first, months) <= _end(span) + _ONE_DAY


def _end(span: Span) -> date:
    if span.last is None:
        raise ValueError("the span has not ended")
    return span.last
