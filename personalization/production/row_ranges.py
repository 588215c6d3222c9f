"""Rows of a batch as people write them: ``2-250,252``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from personalization.errors import PersonalizationError

_PART: Final = re.compile(r"([1-9][0-9]{0,7})(?:-([1-9][0-9]{0,7}))?", re.ASCII)


def parse_rows(text: str) -> frozenset[int]:
    """Read numbers and ranges, parted by commas.

    Raises:
        PersonalizationError: "rows-malformed", exit 2.
    """
    rows: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise PersonalizationError("rows-malformed", exit_code=2, rows=text)
        rows.update(range(first, last + 1))
    return frozenset(rows)


def write_rows(rows: Iterable[int]) -> str:
    """The shortest text that `parse_rows` reads as these rows."""
    ranges: list[list[int]] = []
    for row in sorted(set(rows)):
        if ranges and row == ranges[-1][1] + 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
