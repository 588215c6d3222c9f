"""The yearly endorsement: window, suspension, restoration, years of residence."""

from __future__ import annotations

import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.errors import PersonalizationError
from personalization.permit.endorsement import PermitStatus, PermitTerm
from personalization.permit.policy.library import policies
from personalization.permit.policy.model import EndorsementRule
from personalization.permit.spans import add_months

TABLE: Final = tomllib.loads(Path(__file__).with_name("endorsement_cases.toml").read_text("utf-8"))
PROVINCE: Final = policies().named("zhejiang-2016").endorsement
AREA: Final = "330381"


def rule_of(row: dict[str, Any]) -> EndorsementRule:
    assert PROVINCE is not None
    return EndorsementRule.model_validate(PROVINCE.model_dump() | row.get("rule", {}))


@pytest.mark.parametrize("row", TABLE["cases"], ids=lambda row: row["name"])
def test_a_permit_is_worth_what_the_documents_say(row: dict[str, Any]) -> None:
    rule = rule_of(row)
    term = PermitTerm.of_issue(row["issued"], AREA, rule)
    area = row.get("by", AREA)
    days: list[date] = row.get("endorsed", [])
    if "refused" in row:
        for day in days[:-1]:
            term = term.endorsed(day, area, rule)
        with pytest.raises(PersonalizationError) as raised:
            term.endorsed(days[-1], area, rule)
        assert raised.value.code == row["refused"]
        return
    for day in days:
        term = term.endorsed(day, area, rule)
    assert (term.status(row["on"]), term.due) == (row["status"], row["due"])
    assert term.residence_years(row["on"]) == row["years"]
    assert term.window(rule).first == row.get("window_opens", term.window(rule).first)
    assert term.area == area


def test_each_parameter_of_the_rule_stands_in_a_case() -> None:
    parameters = {name for row in TABLE["cases"] for name in row.get("rule", {})}
    assert parameters == set(EndorsementRule.model_fields) - {"id", "source"}


def test_a_cancelled_permit_is_worth_nothing_from_its_day_on() -> None:
    rule = rule_of({})
    term = PermitTerm.of_issue(date(2016, 12, 22), AREA, rule).cancelled_on(date(2017, 12, 1))
    assert term.status(date(2017, 11, 30)) is PermitStatus.VALID
    assert term.status(date(2017, 12, 1)) is PermitStatus.CANCELLED
    assert term.status(date(2019, 1, 1)) is PermitStatus.CANCELLED
    with pytest.raises(PersonalizationError, match="permit-cancelled"):
        term.endorsed(date(2017, 12, 2), AREA, rule)


def test_an_earlier_cancellation_stays() -> None:
    term = PermitTerm.of_issue(date(2016, 12, 22), AREA, rule_of({})).cancelled_on(date(2017, 12, 1))
    assert term.cancelled_on(date(2018, 1, 1)) == term
    assert term.cancelled_on(date(2017, 6, 1)).cancelled == date(2017, 6, 1)


@given(
    issued=st.dates(date(2016, 7, 1), date(2030, 12, 31)),
    delays=st.lists(st.integers(0, 900), min_size=1, max_size=8),
)
def test_any_life_keeps_the_rule(issued: date, delays: list[int]) -> None:
    """An endorsement makes a permit valid, for more than a month and for at most thirteen."""
    rule = rule_of({})
    term = PermitTerm.of_issue(issued, AREA, rule)
    for delay in delays:
        day = max(term.window(rule).first, term.due - timedelta(days=20)) + timedelta(days=delay)
        was_late = day > term.due
        before = term
        term = term.endorsed(day, AREA, rule)
        assert term.status(day) is PermitStatus.VALID
        assert day < add_months(term.due, -1)
        assert term.due <= add_months(day, 13) + timedelta(days=3)
        assert term.due > before.due
        assert term.resident_since == (day if was_late else before.resident_since)
        assert term.status(term.due + timedelta(days=1)) is PermitStatus.SUSPENDED
