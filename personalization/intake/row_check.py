"""Checking rows: cells, texts and rules in turn, all findings of a row at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from personalization.intake.applicant import (
    RESIDENCE_COLUMNS,
    SHEET_COLUMNS,
    Applicant,
    Column,
    Finding,
    Residence,
    Severity,
)
from personalization.intake.cells import FlawedCell, SheetRow, shown
from personalization.intake.code_tables import CodeTables
from personalization.intake.limits import FieldLimits
from personalization.intake.masking import mask
from personalization.intake.row_rules import RESIDENCE_RULES, ROW_RULES, RowRule, RowView, Test
from personalization.intake.text_rules import TEXT_RULES, Facts, are_plain

_PLACES: Final = max(Column) + 1

_C = Column
_SHEET: Final = slice(SHEET_COLUMNS[0], SHEET_COLUMNS[-1] + 1)


@dataclass(slots=True)
class CheckedRow:
    """A row after its rules: what was read, what is wrong.

    Args:
        source: the row as delivered.
        view: texts and dates that were read.
        findings: in the order of the rules.
        faulty: bit `1 << column` for each column at fault.
    """

    source: SheetRow
    view: RowView
    findings: list[Finding]
    faulty: int

    def sound(self, column: Column) -> str | None:
        """The text of a column that is filled and not at fault."""
        return None if self.faulty >> column & 1 else self.view.text[column] or None

    def add(self, rule: str, column: Column, facts: Facts | None = None, severity: Severity = Severity.ERROR) -> None:
        """Record that ``column`` breaks ``rule``."""
        if severity is Severity.ERROR:
            self.faulty |= 1 << column
        value = mask(column, self.view.text[column])
        self.findings.append(Finding(rule, self.source.number, column, value, severity, facts or {}))


class RowChecker:
    """Runs one table of rules over rows of one sheet.

    Args:
        area_code: the area in the file's name.
        tables: code tables.
        limits: bounds of fields.
        columns: columns of the sheet, one after the other.
        rules: rules in the order in which they run.
    """

    def __init__(
        self,
        area_code: str,
        tables: CodeTables,
        limits: FieldLimits,
        columns: tuple[Column, ...] = SHEET_COLUMNS,
        rules: tuple[RowRule, ...] = ROW_RULES,
    ) -> None:
        self._area_code = area_code
        self._tables = tables
        self._limits = limits
        self._columns = columns
        # Needed columns as one mask: a rule is ready when all are filled and none is at fault.
        self._rules = [
            (rule, sum(1 << needed for needed in rule.needs) | (0 if rule.on_empty else 1 << rule.column))
            for rule in rules
        ]
        # Which rules run on a row that is in order depends on which cells are filled, and of that there are few kinds.
        self._tests: dict[tuple[bool, ...], list[tuple[Test, Column]]] = {}
        self._width = len(columns)
        self._place = slice(columns[0], columns[-1] + 1)

    @classmethod
    def for_residences(cls, area_code: str, tables: CodeTables, limits: FieldLimits) -> RowChecker:
        """The checker of the second sheet."""
        return cls(area_code, tables, limits, RESIDENCE_COLUMNS, RESIDENCE_RULES)

    def check(self, source: SheetRow) -> CheckedRow:
        """All findings about the cells of one row."""
        text = [""] * _PLACES
        row = CheckedRow(source, RowView(text, {}, self._area_code, self._tables, self._limits), [], 0)
        cells = source.cells
        if len(cells) > self._width and not any(cells[self._width :]):
            cells = cells[: self._width]
        if len(cells) == self._width and are_plain(cells):
            text[self._place] = cells
            if not self._is_in_order(row.view, cells):
                self._run_rules(row)
            return row
        for column, cell in zip(self._columns, cells, strict=False):
            text[column] = shown(cell)
        if len(cells) != self._width:
            facts = {"expected": self._width, "found": len(cells)}
            row.findings.append(Finding("row-columns", source.number, Column.ROW, parameters=facts))
            row.faulty = -1
            return row
        for column, cell in zip(self._columns, cells, strict=False):
            if isinstance(cell, FlawedCell):
                row.add(cell.flaw.value, column)
            elif cell:
                _check_text(row, column, cell)
        self._run_rules(row)
        return row

    def _is_in_order(self, view: RowView, cells: tuple[str, ...]) -> bool:
        """Whether no rule is broken: the same tests in the same order, without a look at what is at fault."""
        kind = tuple(map(bool, cells))
        tests = self._tests.get(kind)
        if tests is None:
            tests = self._tests[kind] = self._tests_of(_filled(view.text, self._columns))
        for test, column in tests:  # noqa: SIM110 - a generator would cost more than the tests
            if test(view, column) is not None:
                return False
        return True

    def _tests_of(self, filled: int) -> list[tuple[Test, Column]]:
        # A rule about an empty cell has nothing to say of a filled one.
        return [
            (rule.test, rule.column)
            for rule, needed in self._rules
            if not needed & ~filled and not (rule.on_empty and filled >> rule.column & 1)
        ]

    def _run_rules(self, row: CheckedRow) -> None:
        view = row.view
        filled = _filled(view.text, self._columns)
        for rule, needed in self._rules:
            at_fault = row.faulty
            if needed & (~filled | at_fault) or at_fault >> rule.column & 1:
                continue
            facts = rule.test(view, rule.column)
            if facts is not None:
                row.add(rule.code, rule.column, facts, rule.severity)


def _filled(text: Sequence[str], columns: Sequence[Column]) -> int:
    """Bit `1 << column` for each column that is not empty."""
    return sum([1 << column for column in columns if text[column]])


def _check_text(row: CheckedRow, column: Column, text: str) -> None:
    for rule in TEXT_RULES:
        facts = rule.broken_by(text)
        if facts is not None:
            row.add(rule.code, column, facts)
            return


def applicant_of(row: CheckedRow, portrait: bytes, residence: Residence | None) -> Applicant:
    """The record of a row without errors."""
    days = row.view.days
    (
        permit_number, name, _, sex, ethnic_group, citizen_number, registered_address, _, issuing_authority,
        service_hotline, bank_account, _, area_code, _, citizen_card_number, citizen_card_account,
    ) = row.view.text[_SHEET]  # fmt: skip
    return Applicant(
        row_number=row.source.number,
        permit_number=permit_number,
        name=name,
        birth_date=days[_C.BIRTH_DATE],
        sex=sex[-1],
        ethnic_group=ethnic_group,
        citizen_number=citizen_number,
        registered_address=registered_address,
        issue_date=days[_C.ISSUE_DATE],
        issuing_authority=issuing_authority,
        service_hotline=service_hotline,
        bank_account=bank_account or None,
        endorsement_due=days[_C.ENDORSEMENT_DUE],
        area_code=area_code,
        production_date=days[_C.PRODUCTION_DATE],
        citizen_card_number=citizen_card_number or None,
        citizen_card_account=citizen_card_account or None,
        portrait=portrait,
        residence=residence,
    )


def residence_of(row: CheckedRow) -> Residence:
    """The residence of a row of the second sheet without errors."""
    text = row.view.text
    return Residence(
        current_address=text[_C.CURRENT_ADDRESS],
        registration_number=text[_C.REGISTRATION_NUMBER],
        registration_date=row.view.days[_C.REGISTRATION_DATE],
        registering_station=text[_C.REGISTERING_STATION],
    )
