"""Code tables of the national standards: divisions with their dates, ethnic groups, sexes.

Source: GB/T 2260, GB/T 3304, GB/T 2261.1; `tables/SOURCES.md` names the lists that were used.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import Final

NEWEST_LIST: Final = 202306
ZHEJIANG: Final = "33"
_MONTHS_A_YEAR: Final = 12
_PREFECTURE_DIGITS: Final = 4
_URBAN_DISTRICTS: Final = "01"


@dataclass(frozen=True, slots=True)
class Division:
    """One row of the dated table of GB/T 2260.

    Args:
        code: six digits.
        name: newest name in Chinese.
        first_list: month YYYYMM of the first list that holds the code.
        last_list: month YYYYMM of the last list that holds it; `NEWEST_LIST` when it is still listed.
    """

    code: str
    name: str
    first_list: int
    last_list: int

    @property
    def is_listed(self) -> bool:
        """Whether the newest list holds the code."""
        return self.last_list >= NEWEST_LIST

    def months_since_last_list(self, day: date) -> int:
        """Months from the last list that holds the code to ``day``, 0 when it is listed still or was then."""
        if self.is_listed:
            return 0
        year, month = divmod(self.last_list, 100)
        return max(0, (day.year - year) * _MONTHS_A_YEAR + day.month - month)


class Divisions:
    """Every division code that was ever listed.

    A citizen number keeps for life the code of the county in which it was given, also when that code is abolished.
    County-level codes can stand in a citizen number, and the codes of prefectures that have no counties (东莞, 中山).
    """

    def __init__(self, rows: Mapping[str, Division]) -> None:
        self._rows = rows
        # xx01 is "districts of the city", listed also where a prefecture has no county-level division.
        self._divided = frozenset(
            code[:_PREFECTURE_DIGITS]
            for code in rows
            if code[_PREFECTURE_DIGITS:] not in {"00", _URBAN_DISTRICTS} and code[2:_PREFECTURE_DIGITS] != "00"
        )

    def __iter__(self) -> Iterator[Division]:
        return iter(self._rows.values())

    def find(self, code: str) -> Division | None:
        """The row of ``code`` at any level, or None when no list ever held it."""
        return self._rows.get(code)

    def county(self, code: str) -> Division | None:
        """The row of ``code`` when it can stand in a citizen number, else None."""
        if code.endswith("00") and (code.endswith("0000") or code[:_PREFECTURE_DIGITS] in self._divided):
            return None
        return self._rows.get(code)

    def issuing_area(self, code: str) -> Division | None:
        """The row of ``code`` when a batch of it can come in: a prefecture or county of Zhejiang that is listed."""
        row = self._rows.get(code)
        if row is None or not code.startswith(ZHEJIANG) or code.endswith("0000") or not row.is_listed:
            return None
        return row


@dataclass(frozen=True, slots=True)
class CodeTables:
    """The tables that rules look into."""

    divisions: Divisions
    ethnic_groups: Mapping[str, str]
    sexes: Mapping[str, str]


def _lines(name: str) -> list[str]:
    return resources.files("personalization.intake").joinpath("tables", name).read_text("utf-8").splitlines()[1:]


def _names(table: str) -> dict[str, str]:
    return {code: name for code, _, name in (line.partition("\t") for line in _lines(table))}


def _divisions() -> dict[str, Division]:
    rows = (line.split("\t") for line in _lines("divisions.tsv"))
    return {code: Division(code, name, int(first), int(last)) for code, name, first, last in rows}


@functools.cache
def code_tables() -> CodeTables:
    """The tables that come with the product, read once."""
    return CodeTables(Divisions(_divisions()), _names("ethnic_groups.tsv"), _names("sexes.tsv"))
