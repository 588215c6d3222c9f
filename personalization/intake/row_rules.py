"""Rules for one row: a table of code, column at fault, columns that must be sound, and the test.

A rule runs only where the columns it looks at are filled and no earlier rule found them at fault, so that one mistake
is reported once. Rules stand in the order in which they run.

Source: GB 11643-1999 (citizen number), GB/T 2260, GB/T 2261.1, GB/T 3304, GB/T 7408 (dates); the production record of
the Zhejiang residence permit service (columns, lengths, type digit).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final

from personalization.intake.applicant import RESIDENCE_COLUMNS, Column, PermitType, Severity
from personalization.intake.check_digits import citizen_check_character, luhn_sum
from personalization.intake.code_tables import CodeTables
from personalization.intake.limits import FieldLimits
from personalization.intake.text_rules import Facts

_BROKEN: Final[Facts] = MappingProxyType({})
_PERMIT_NUMBER: Final = re.compile(r"\d{18}", re.ASCII)
_CITIZEN_NUMBER: Final = re.compile(r"\d{17}[\dX]", re.ASCII)
_DATE: Final = re.compile(r"\d{8}", re.ASCII)
_DIGITS: Final = re.compile(r"\d+", re.ASCII)
_CITIZEN_CARD_NUMBER: Final = re.compile(r"[zZ]\d{8}", re.ASCII)
_TYPE_PLACE: Final = 8
_DAYS: Final = 1 << 16  # every day of a person's life, and of a permit's
_BIRTH: Final = slice(6, 14)
_SEX_PLACE: Final = 16
_TLV_SHORT: Final = 0x7F
_TLV_BYTE: Final = 0xFF

_C = Column
# Plain values for what is asked of every row: a member that is named by its class takes as long as ten plain names.
_PERMIT: Final = int(Column.PERMIT_NUMBER)
_CITIZEN: Final = int(Column.CITIZEN_NUMBER)
_TWO_DIGIT: Final = PermitType.TWO_DIGIT.value
_WITH_CITIZEN_CARD: Final = PermitType.CITIZEN_CARD.value
_CHILD: Final = PermitType.CHILD.value


@dataclass(slots=True)
class RowView:
    """One row while rules look at it.

    Args:
        text: cell texts by column number; "" for an empty cell, index 0 unused.
        days: dates that were read so far, by column number.
        area_code: the area in the file's name.
        tables: code tables.
        limits: bounds of fields.
    """

    text: list[str] = field(repr=False)
    days: dict[int, date] = field(repr=False)
    area_code: str
    tables: CodeTables
    limits: FieldLimits

    @property
    def permit_type(self) -> str:
        """The ninth digit of a sound permit number."""
        return self.text[_PERMIT][_TYPE_PLACE]


Test = Callable[[RowView, Column], Facts | None]


@dataclass(frozen=True, slots=True)
class RowRule:
    """One row of the table.

    Args:
        code: of the rule; the catalogues hold its words.
        column: the column at fault when the rule is broken.
        test: returns facts for the message when the rule is broken, else None.
        needs: further columns that must be filled and sound.
        on_empty: the rule is about a cell that is empty, and holds for every filled one.
        severity: what a broken rule does to the row.
    """

    code: str
    column: Column
    test: Test
    needs: tuple[Column, ...] = ()
    on_empty: bool = False
    severity: Severity = Severity.ERROR


def _required(row: RowView, column: Column) -> Facts | None:
    return None if row.text[column] else _BROKEN


def _matches(pattern: re.Pattern[str]) -> Test:
    return lambda row, column: None if pattern.fullmatch(row.text[column]) else _BROKEN


def _digit_count(bounds: Callable[[FieldLimits], tuple[int, int]]) -> Test:
    def test(row: RowView, column: Column) -> Facts | None:
        text, (shortest, longest) = row.text[column], bounds(row.limits)
        if _DIGITS.fullmatch(text) and shortest <= len(text) <= longest:
            return None
        return {"shortest": shortest, "longest": longest, "length": len(text)}

    return test


def _length(longest: Callable[[FieldLimits], int]) -> Test:
    def test(row: RowView, column: Column) -> Facts | None:
        length, limit = len(row.text[column]), longest(row.limits)
        return {"length": length, "limit": limit} if length > limit else None

    return test


@functools.lru_cache(_DAYS)
def read_day(text: str) -> date | None:
    """The day written YYYYMMDD, or None when there is no such day."""
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _real_day(row: RowView, column: Column) -> Facts | None:
    day = read_day(row.text[column])
    if day is None:
        return _BROKEN
    row.days[column] = day
    return None


def _order(earlier: Column, *, strictly: bool) -> Test:
    def test(row: RowView, column: Column) -> Facts | None:
        first, second = row.days[earlier], row.days[column]
        return None if first < second or (first == second and not strictly) else _BROKEN

    return test


def _birth_plausible(row: RowView, column: Column) -> Facts | None:
    return (
        None if row.days[column] >= row.limits.earliest_birth else {"earliest": row.limits.earliest_birth.isoformat()}
    )


def _issue_plausible(row: RowView, column: Column) -> Facts | None:
    return (
        None if row.days[column] >= row.limits.earliest_issue else {"earliest": row.limits.earliest_issue.isoformat()}
    )


def _sex_listed(row: RowView, column: Column) -> Facts | None:
    text = row.text[column]
    return None if len(text) == len("01") and text[0] == "0" and text[1] in row.tables.sexes else _BROKEN


def _ethnic_group_listed(row: RowView, column: Column) -> Facts | None:
    return None if row.text[column] in row.tables.ethnic_groups else _BROKEN


def _check_character(row: RowView, column: Column) -> Facts | None:
    number = row.text[column]
    return None if citizen_check_character(number[:-1]) == number[-1] else _BROKEN


def _birth_in_number(row: RowView, column: Column) -> Facts | None:
    return _BROKEN if read_day(row.text[column][_BIRTH]) is None else None


def _birth_agrees(row: RowView, column: Column) -> Facts | None:
    return None if row.text[_CITIZEN][_BIRTH] == row.text[column] else _BROKEN


def _sex_agrees(row: RowView, column: Column) -> Facts | None:
    # The 17th digit is odd for men, even for women; 0 and 9 of GB/T 2261.1 say neither and agree with none.
    expected = "2" if int(row.text[_CITIZEN][_SEX_PLACE]) % 2 == 0 else "1"
    return None if row.text[column][-1] == expected else _BROKEN


def _division_known(row: RowView, column: Column) -> Facts | None:
    code = row.text[column][:6]
    return None if row.tables.divisions.county(code) else {"division": code}


def _division_in_time(row: RowView, column: Column) -> Facts | None:
    """A number is given after birth, so under a code that was in use then or later.

    Police stations went on under a code for years after it was abolished, hence the grace. A code first listed after
    the birth is no fault: many numbers were given late in life.
    """
    number = row.text[column]
    division, born = row.tables.divisions.county(number[:6]), read_day(number[_BIRTH])
    if division is None or born is None or division.months_since_last_list(born) <= row.limits.code_grace_months:
        return None
    return {"division": division.code, "last_list": division.last_list}


def _area_agrees(row: RowView, column: Column) -> Facts | None:
    return None if row.text[column] == row.area_code else {"expected": row.area_code}


def _type_read(row: RowView, _: Column) -> Facts | None:
    return _BROKEN if row.permit_type == _TWO_DIGIT else None


def _luhn(row: RowView, column: Column) -> Facts | None:
    return _BROKEN if luhn_sum(row.text[column]) else None


def _bank_account_required(row: RowView, column: Column) -> Facts | None:
    return _BROKEN if not row.text[column] and row.permit_type != _CHILD else None


def _no_bank_account_for_children(row: RowView, column: Column) -> Facts | None:
    return _BROKEN if row.text[column] and row.permit_type == _CHILD else None


def _citizen_card_required(row: RowView, column: Column) -> Facts | None:
    return _BROKEN if not row.text[column] and row.permit_type == _WITH_CITIZEN_CARD else None


def _citizen_card_only(row: RowView, column: Column) -> Facts | None:
    return _BROKEN if row.text[column] and row.permit_type != _WITH_CITIZEN_CARD else None


def object_size(length: int) -> int:
    """Bytes of a TLV object with a two-byte tag and ``length`` bytes of value. Source: ISO/IEC 7816-4:2020, 6.3."""
    return 2 + (1 if length <= _TLV_SHORT else 2 if length <= _TLV_BYTE else 3) + length


# One object each in EF.IDENTITY: columns as delivered, but the sex (one digit) and the permit type (one digit).
_IDENTITY_TEXTS: Final = (
    _C.NAME, _C.BIRTH_DATE, _C.ETHNIC_GROUP, _C.CITIZEN_NUMBER, _C.REGISTERED_ADDRESS, _C.PERMIT_NUMBER,
    _C.ISSUING_AUTHORITY, _C.ISSUE_DATE, _C.SERVICE_HOTLINE, _C.AREA_CODE, _C.PRODUCTION_DATE,
)  # fmt: skip


_LONGEST_CHARACTER: Final = 4  # bytes of UTF-8
_MOST_HEADERS: Final = object_size(0) + len(_IDENTITY_TEXTS) * (object_size(256) - 256) + 2 * object_size(1) + 2


def _identity_fits(row: RowView, _: Column) -> Facts | None:
    text = row.text
    characters = sum([len(text[field]) for field in _IDENTITY_TEXTS])
    if _LONGEST_CHARACTER * characters + _MOST_HEADERS <= row.limits.identity_bytes:
        return None  # whatever the characters are
    content = 2 * object_size(1) + sum(object_size(len(row.text[field].encode())) for field in _IDENTITY_TEXTS)
    size = object_size(content)
    return {"bytes": size, "limit": row.limits.identity_bytes} if size > row.limits.identity_bytes else None


_DATES: Final = (_C.BIRTH_DATE, _C.ISSUE_DATE, _C.ENDORSEMENT_DUE, _C.PRODUCTION_DATE)
_OPTIONAL: Final = frozenset({_C.BANK_ACCOUNT, _C.CITIZEN_CARD_NUMBER, _C.CITIZEN_CARD_ACCOUNT})
_CITIZEN_CARD: Final = (_C.CITIZEN_CARD_NUMBER, _C.CITIZEN_CARD_ACCOUNT)

ROW_RULES: Final[tuple[RowRule, ...]] = (
    *(
        RowRule("cell-empty", column, _required, on_empty=True)
        for column in Column
        if column <= _C.CITIZEN_CARD_ACCOUNT and column not in _OPTIONAL
    ),
    RowRule("permit-number-format", _C.PERMIT_NUMBER, _matches(_PERMIT_NUMBER)),
    RowRule("permit-type-two-digits", _C.PERMIT_NUMBER, _type_read, severity=Severity.WARNING),
    RowRule("citizen-number-format", _C.CITIZEN_NUMBER, _matches(_CITIZEN_NUMBER)),
    RowRule("citizen-number-check-digit", _C.CITIZEN_NUMBER, _check_character),
    RowRule("citizen-number-birth-date", _C.CITIZEN_NUMBER, _birth_in_number),
    RowRule("division-unknown", _C.CITIZEN_NUMBER, _division_known),
    RowRule("division-abolished", _C.CITIZEN_NUMBER, _division_in_time),
    *(RowRule("date-format", column, _matches(_DATE)) for column in _DATES),
    *(RowRule("date-not-real", column, _real_day) for column in _DATES),
    RowRule("birth-date-implausible", _C.BIRTH_DATE, _birth_plausible),
    RowRule("birth-date-mismatch", _C.BIRTH_DATE, _birth_agrees, needs=(_C.CITIZEN_NUMBER,)),
    RowRule("sex-code", _C.SEX, _sex_listed),
    RowRule("sex-mismatch", _C.SEX, _sex_agrees, needs=(_C.CITIZEN_NUMBER,)),
    RowRule("ethnic-group-code", _C.ETHNIC_GROUP, _ethnic_group_listed),
    RowRule("issue-date-implausible", _C.ISSUE_DATE, _issue_plausible),
    RowRule("issue-before-birth", _C.ISSUE_DATE, _order(_C.BIRTH_DATE, strictly=True), needs=(_C.BIRTH_DATE,)),
    RowRule(
        "endorsement-before-issue", _C.ENDORSEMENT_DUE, _order(_C.ISSUE_DATE, strictly=True), needs=(_C.ISSUE_DATE,)
    ),
    RowRule(
        "production-before-issue", _C.PRODUCTION_DATE, _order(_C.ISSUE_DATE, strictly=False), needs=(_C.ISSUE_DATE,)
    ),
    RowRule(
        "production-after-endorsement",
        _C.ENDORSEMENT_DUE,
        _order(_C.PRODUCTION_DATE, strictly=True),
        needs=(_C.PRODUCTION_DATE,),
    ),
    RowRule("text-too-long", _C.NAME, _length(lambda limits: limits.name_characters)),
    RowRule("text-too-long", _C.REGISTERED_ADDRESS, _length(lambda limits: limits.address_characters)),
    RowRule("text-too-long", _C.ISSUING_AUTHORITY, _length(lambda limits: limits.address_characters)),
    RowRule("text-too-long", _C.SERVICE_HOTLINE, _length(lambda limits: limits.hotline_characters)),
    RowRule("area-mismatch", _C.AREA_CODE, _area_agrees),
    RowRule("bank-account-missing", _C.BANK_ACCOUNT, _bank_account_required, needs=(_C.PERMIT_NUMBER,), on_empty=True),
    RowRule("bank-account-on-child", _C.BANK_ACCOUNT, _no_bank_account_for_children, needs=(_C.PERMIT_NUMBER,)),
    RowRule("bank-account-format", _C.BANK_ACCOUNT, _digit_count(lambda limits: limits.bank_digits)),
    # The record's definition asks for digits only, and not every bank's accounts carry a Luhn digit.
    RowRule("bank-account-check-digit", _C.BANK_ACCOUNT, _luhn, severity=Severity.WARNING),
    *(
        RowRule("citizen-card-missing", column, _citizen_card_required, needs=(_C.PERMIT_NUMBER,), on_empty=True)
        for column in _CITIZEN_CARD
    ),
    *(
        RowRule("citizen-card-not-allowed", column, _citizen_card_only, needs=(_C.PERMIT_NUMBER,))
        for column in _CITIZEN_CARD
    ),
    RowRule("citizen-card-number-format", _C.CITIZEN_CARD_NUMBER, _matches(_CITIZEN_CARD_NUMBER)),
    RowRule(
        "citizen-card-account-format",
        _C.CITIZEN_CARD_ACCOUNT,
        _digit_count(lambda limits: limits.citizen_card_account_digits),
    ),
    RowRule("identity-too-long", _C.REGISTERED_ADDRESS, _identity_fits, needs=_IDENTITY_TEXTS),
)

_RESIDENCE_TEXTS: Final = (_C.CURRENT_ADDRESS, _C.REGISTRATION_NUMBER, _C.REGISTRATION_DATE, _C.REGISTERING_STATION)


def _residence_fits(row: RowView, _: Column) -> Facts | None:
    size = object_size(sum(object_size(len(row.text[field].encode())) for field in _RESIDENCE_TEXTS))
    return {"bytes": size, "limit": row.limits.residence_bytes} if size > row.limits.residence_bytes else None


RESIDENCE_RULES: Final[tuple[RowRule, ...]] = (
    *(RowRule("cell-empty", column, _required, on_empty=True) for column in RESIDENCE_COLUMNS),
    RowRule("citizen-number-format", _C.RESIDENCE_CITIZEN_NUMBER, _matches(_CITIZEN_NUMBER)),
    RowRule("date-format", _C.REGISTRATION_DATE, _matches(_DATE)),
    RowRule("date-not-real", _C.REGISTRATION_DATE, _real_day),
    RowRule("text-too-long", _C.CURRENT_ADDRESS, _length(lambda limits: limits.address_characters)),
    RowRule("text-too-long", _C.REGISTRATION_NUMBER, _length(lambda limits: limits.registration_characters)),
    RowRule("text-too-long", _C.REGISTERING_STATION, _length(lambda limits: limits.address_characters)),
    RowRule("residence-too-long", _C.CURRENT_ADDRESS, _residence_fits, needs=_RESIDENCE_TEXTS),
)
