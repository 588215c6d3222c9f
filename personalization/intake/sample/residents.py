"""Synthetic residents: rows of a delivery in which every number is valid and nobody exists."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from personalization.intake.applicant import Column, PermitType
from personalization.intake.cells import Cell
from personalization.intake.check_digits import citizen_check_character, luhn_check_digit
from personalization.intake.code_tables import Division, code_tables
from personalization.intake.sample.faces import draw_portrait
from personalization.intake.sample.names import draw_long_name, draw_name, draw_rare_name

RUIAN: Final = "330381"
_AUTHORITY: Final = "瑞安市公安局"
_HOTLINE: Final = "0577-00012345"
# No bank: 9 is for national bodies, and 999 is no country's number (ISO/IEC 7812-1, ISO 3166-1).
_ACCOUNT_PREFIX: Final = "9999"
_PLAIN_TYPE: Final = "1"
_ETHNIC_GROUPS: Final = 56
_HAN: Final = "01"
_HAN_SHARE: Final = 0.8
_ABOLISHED_SHARE: Final = 0.15
_CHILD_AGE: Final = 14
_CHILD_SHARE: Final = 0.12
_CITIZEN_CARD_SHARE: Final = 0.4
_RESIDENCE_SHARE: Final = 0.5
_LONG_NAME_EVERY: Final = 40
_RARE_NAME_EVERY: Final = 13
_LONG_ADDRESS_EVERY: Final = 25
_LONGEST_ADDRESS: Final = 100
FIRST_ISSUE: Final = date(2026, 9, 1)
"""First day on which permits are issued, where nobody asks for another."""
_ISSUE_DAYS: Final = 60
_FIRST_NUMBERS: Final = 1985  # citizen numbers were first given about then
_TOWNS: Final = ("城关", "新河", "石桥", "柳林", "太平", "双龙", "清水", "大坪", "白沙", "马鞍", "永兴", "东山")
_VILLAGES: Final = ("王家", "李庄", "前进", "红旗", "上坝", "下湾", "老屋", "新建", "胜利", "向阳", "花园", "小河")
_STREETS: Final = ("安阳", "玉海", "锦湖", "东山", "上望", "莘塍", "汀田", "飞云", "仙降", "南滨")


@dataclass(slots=True)
class Draft:
    """What one resident brings: cells, pictures by file name, and the row of the second sheet.

    Drafts are changed by the defects of a damaged batch before they are written.
    """

    cells: list[Cell]
    pictures: list[tuple[str, bytes]]
    residence: list[Cell] | None = field(default=None)

    def text(self, column: Column) -> str:
        """The text of a column of the first sheet."""
        cell = self.cells[column - 1]
        return cell if isinstance(cell, str) else cell.shown

    def put(self, column: Column, cell: Cell) -> None:
        """Change a column of the first sheet."""
        self.cells[column - 1] = cell


class Residents:
    """Draws residents one after the other; the same seed gives the same residents, also in a longer batch.

    Args:
        seed: of all that is drawn.
        area_code: six digits, the area that delivers.
        issued: first of the 60 days on which their permits are issued.
    """

    def __init__(self, seed: int, area_code: str = RUIAN, issued: date = FIRST_ISSUE) -> None:
        self._seed = seed
        self._issued = issued
        self._area_code = area_code
        self._numbers: set[str] = set()
        self._groups = sorted(code_tables().ethnic_groups)[:_ETHNIC_GROUPS]
        self._counties: list[Division] = []
        self._abolished: list[Division] = []
        self._abolished_by_month: dict[int, list[Division]] = {}
        self._addresses: dict[str, list[str]] = defaultdict(list)
        for row in code_tables().divisions:
            if code_tables().divisions.county(row.code) is None or row.code.endswith("01"):
                continue
            (self._counties if row.is_listed else self._abolished).append(row)
            if row.is_listed:
                self._addresses[row.code[:2]].append(_place(row))

    def draw(self, index: int, portrait: bytes | None = None) -> Draft:
        """Resident ``index``, from 0; with a portrait of their own where none is given."""
        chance = random.Random(f"{self._seed}/{index}")
        group = self._groups[index] if index < _ETHNIC_GROUPS else self._ethnic_group(chance)
        is_child = chance.random() < _CHILD_SHARE
        born = self._birth_date(chance, is_child=is_child)
        number = self._citizen_number(chance, born)
        issued = self._issued + timedelta(days=chance.randrange(_ISSUE_DAYS))
        kind = (
            PermitType.CHILD
            if is_child
            else PermitType.CITIZEN_CARD
            if chance.random() < _CITIZEN_CARD_SHARE
            else _PLAIN_TYPE
        )
        cells: list[Cell] = [
            f"{self._area_code}{issued:%y}{kind}{index + 1:09d}",
            self._name(chance, index, group),
            f"{born:%Y%m%d}",
            "01" if int(number[16]) % 2 else "02",
            group,
            number,
            self._address(chance, index, number[:2]),
            f"{issued:%Y%m%d}",
            _AUTHORITY,
            _HOTLINE,
            "" if is_child else self._account(chance, index),
            f"{_next_year(issued):%Y%m%d}",
            self._area_code,
            f"{issued + timedelta(days=chance.randint(1, 10)):%Y%m%d}",
            *(self._citizen_card(chance, index) if kind == PermitType.CITIZEN_CARD else ("", "")),
        ]
        picture = draw_portrait(chance) if portrait is None else portrait
        return Draft(cells, [(f"{number}.jpg", picture)], self._residence(chance, index, number, born, issued))

    def _birth_date(self, chance: random.Random, *, is_child: bool) -> date:
        youngest, oldest = (1, _CHILD_AGE) if is_child else (17, 74)
        return self._issued - timedelta(days=chance.randrange(youngest * 365, oldest * 365))

    def _ethnic_group(self, chance: random.Random) -> str:
        return _HAN if chance.random() < _HAN_SHARE else chance.choice(self._groups)

    @staticmethod
    def _name(chance: random.Random, index: int, group: str) -> str:
        if index % _LONG_NAME_EVERY == _LONG_NAME_EVERY - 1:
            return draw_long_name(chance)
        if index % _RARE_NAME_EVERY == _RARE_NAME_EVERY - 1:
            return draw_rare_name(chance)
        return draw_name(chance, group)

    def _citizen_number(self, chance: random.Random, born: date) -> str:
        given = max(born.year, _FIRST_NUMBERS) * 100 + 1
        # A code of the time: nobody born after the newest list has one that is abolished.
        old = self._abolished_since(given)
        use_old = bool(old) and chance.random() < _ABOLISHED_SHARE
        while True:
            division = chance.choice(old if use_old else self._counties)
            body = f"{division.code}{born:%Y%m%d}{chance.randrange(1, 1000):03d}"
            number = body + citizen_check_character(body)
            if number not in self._numbers:
                self._numbers.add(number)
                return number

    def _abolished_since(self, month: int) -> list[Division]:
        """Counties that were listed in ``month`` (YYYYMM) and are no more."""
        if month not in self._abolished_by_month:
            self._abolished_by_month[month] = [
                row for row in self._abolished if row.first_list <= month <= row.last_list
            ]
        return self._abolished_by_month[month]

    def _address(self, chance: random.Random, index: int, province: str) -> str:
        address = f"{chance.choice(self._addresses[province])}{chance.choice(_TOWNS)}镇{chance.choice(_VILLAGES)}村"
        address += f"{chance.randint(1, 30)}组{chance.randint(1, 400)}号"
        if index % _LONG_ADDRESS_EVERY == _LONG_ADDRESS_EVERY - 1:
            while len(address) < _LONGEST_ADDRESS:
                address += f"{chance.choice(_VILLAGES)}小区{chance.randint(1, 90)}幢{chance.randint(1, 6)}单元"
            address = address[: chance.randint(_LONGEST_ADDRESS - 4, _LONGEST_ADDRESS)]
        return address

    def _account(self, chance: random.Random, index: int) -> str:
        body = f"{_ACCOUNT_PREFIX}{self._area_code}{index + 1:06d}{chance.randrange(100):02d}"
        return body + luhn_check_digit(body)

    def _citizen_card(self, chance: random.Random, index: int) -> Sequence[str]:
        body = f"{_ACCOUNT_PREFIX}{chance.randrange(10**6):06d}{index + 1:08d}"
        return f"Z{index + 1:08d}", body + luhn_check_digit(body)

    def _residence(self, chance: random.Random, index: int, number: str, born: date, issued: date) -> list[Cell] | None:
        if chance.random() >= _RESIDENCE_SHARE:
            return None
        street = chance.choice(_STREETS)
        registered = max(born, issued - timedelta(days=chance.randint(185, 900)))
        return [
            number,
            f"浙江省瑞安市{street}街道{chance.choice(_VILLAGES)}路{chance.randint(1, 300)}弄{chance.randint(1, 60)}号",
            f"JD{self._area_code}{index + 1:08d}",
            f"{registered:%Y%m%d}",
            f"{street}派出所",
        ]


def _next_year(day: date) -> date:
    return day.replace(year=day.year + 1, day=day.day - (day.month == 2 and day.day == 29))  # noqa: PLR2004 - a leap day


def _place(row: Division) -> str:
    """Province, prefecture and county by name; a level without a name of its own is left out."""
    divisions = code_tables().divisions
    levels = [divisions.find(row.code[:2] + "0000"), divisions.find(row.code[:4] + "00"), row]
    names = dict.fromkeys(level.name for level in levels if level and level.name not in _NO_NAMES)
    return "".join(names)


_NO_NAMES: Final = frozenset({"市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划"})
