"""Rows as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.errors import PersonalizationError
from personalization.production.row_ranges import parse_rows, write_rows


@given(st.sets(st.integers(1, 300)))
def test_what_is_written_is_read_back(rows: set[int]) -> None:
    text = write_rows(rows)
    assert (parse_rows(text) if rows else frozenset()) == rows
    assert len(text.split(",")) == max(1, sum(row - 1 not in rows for row in rows)), "no range is cut in two"


def test_rows_are_read_as_people_type_them() -> None:
    assert parse_rows("7, 2-4,3") == {2, 3, 4, 7}


@pytest.mark.parametrize("text", ["", "x", "2-", "-2", "4-2", "0", "1,,2", "1-2-3", "٣", "123456789", "2 3"])
def test_what_names_no_rows_is_refused(text: str) -> None:
    with pytest.raises(PersonalizationError, match="rows-malformed"):
        parse_rows(text)
