"""Citizen numbers, division codes with their dates, and Luhn digits."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.intake.check_digits import citizen_check_character, luhn_check_digit, luhn_sum
from personalization.intake.code_tables import NEWEST_LIST, code_tables

DIVISIONS = code_tables().divisions
bodies = st.from_regex(r"[1-9][0-9]{16}", fullmatch=True)


def test_the_example_of_the_standard() -> None:
    """GB 11643-1999: 11010519491231002X."""
    assert citizen_check_character("11010519491231002") == "X"


@pytest.mark.parametrize("number", ["4111111111111111", "79927398713"])
def test_published_luhn_numbers(number: str) -> None:
    """ISO/IEC 7812-1 annex B."""
    assert luhn_sum(number) == 0
    assert luhn_check_digit(number[:-1]) == number[-1]


@given(bodies, st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_is_always_seen(body: str, place: int, step: int) -> None:
    """ISO 7064 MOD 11-2 finds every single error."""
    other = body[:place] + str((int(body[place]) + step) % 10) + body[place + 1 :]
    assert citizen_check_character(other) != citizen_check_character(body)


@given(bodies, st.integers(0, 15))
def test_two_neighbours_exchanged_are_always_seen(body: str, place: int) -> None:
    """ISO 7064 MOD 11-2 finds every exchange of neighbours that differ."""
    other = body[:place] + body[place + 1] + body[place] + body[place + 2 :]
    assert (citizen_check_character(other) == citizen_check_character(body)) is (other == body)


@given(st.from_regex(r"[0-9]{14,19}", fullmatch=True))
def test_luhn_digit_makes_the_sum_zero(body: str) -> None:
    assert luhn_sum(body + luhn_check_digit(body)) == 0


@pytest.mark.parametrize(
    ("code", "name", "listed"),
    [
        ("330381", "瑞安市", True),
        ("330325", "瑞安县", False),
        ("339004", "瑞安市", False),
        ("330105", "拱墅区", True),
        ("330103", "下城区", False),
        ("330114", "钱塘区", True),
        ("331123", "遂昌县", True),
        ("330283", "奉化市", False),
    ],
)
def test_codes_keep_their_dates(code: str, name: str, listed: bool) -> None:
    """GB/T 2260, lists of 1980 to 2023."""
    row = DIVISIONS.county(code)
    assert row is not None
    assert (row.name, row.is_listed) == (name, listed)


def test_zhejiang_has_ninety_counties_now() -> None:
    counties = [row for row in DIVISIONS if row.code.startswith("33") and row.is_listed and DIVISIONS.county(row.code)]
    assert len([row for row in counties if not row.code.endswith("01")]) == 90


@pytest.mark.parametrize("code", ["330000", "330300", "339999", "990101", "810000", "000000"])
def test_codes_that_stand_in_no_citizen_number(code: str) -> None:
    assert DIVISIONS.county(code) is None


@pytest.mark.parametrize("code", ["441900", "442000", "620200"])
def test_prefectures_without_counties_stand_in_citizen_numbers(code: str) -> None:
    assert DIVISIONS.county(code) is not None


@pytest.mark.parametrize(("code", "area"), [("330381", True), ("330300", True), ("330103", False), ("110101", False)])
def test_areas_that_issue(code: str, area: bool) -> None:
    assert (DIVISIONS.issuing_area(code) is not None) is area


def test_months_since_the_last_list() -> None:
    row = DIVISIONS.find("330325")
    assert row is not None
    assert row.last_list == 198612
    assert row.months_since_last_list(date(1980, 1, 1)) == 0
    assert row.months_since_last_list(date(1987, 1, 1)) == 1
    assert row.months_since_last_list(date(2001, 12, 31)) == 180


def test_the_table_is_sound() -> None:
    rows = list(DIVISIONS)
    assert len(rows) == 7111
    for row in rows:
        assert row.code.isdigit()
        assert len(row.code) == 6
        assert 198012 <= row.first_list <= row.last_list <= NEWEST_LIST
    assert len(code_tables().ethnic_groups) == 58
    assert sorted(code_tables().sexes) == ["0", "1", "2", "9"]
