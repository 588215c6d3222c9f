"""Cells as they were delivered: text, or something that is not text and says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class CellFlaw(Enum):
    """What a cell holds in place of text; the value is the code of the rule that it breaks."""

    FORMULA = "cell-formula"
    NUMBER = "cell-number"
    OTHER = "cell-not-text"


@dataclass(frozen=True, slots=True, repr=False)
class FlawedCell:
    """A cell whose content cannot be taken: a formula, a number or date, a truth value or an error.

    Args:
        flaw: what it is.
        shown: what a spreadsheet program shows; may be personal data.
    """

    flaw: CellFlaw
    shown: str

    def __repr__(self) -> str:
        return f"FlawedCell({self.flaw.name})"


Cell = str | FlawedCell


class SheetRow(NamedTuple):
    """One row that holds anything at all.

    Args:
        number: row as a spreadsheet program counts, 1 is the topmost.
        cells: as many as the row has, at least as many as the sheet has columns; an empty cell is "".
    """

    number: int
    cells: tuple[Cell, ...]

    def __repr__(self) -> str:
        return f"SheetRow({self.number}, {len(self.cells)} cells)"


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """The sheets of a delivery, header rows taken off.

    Args:
        applicants: rows of the first sheet.
        residences: rows of the second sheet, none when there is no such sheet.
    """

    applicants: tuple[SheetRow, ...]
    residences: tuple[SheetRow, ...]


def shown(cell: Cell) -> str:
    """What a spreadsheet program shows in the cell."""
    return cell if isinstance(cell, str) else cell.shown
