"""Runs every check in every way; a check that fails or a reader that breaks leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from card_os.iso7816.atr import AnswerError
from permitcard.matrix.checks import CHECKS, Check
from permitcard.matrix.subject import CheckFailed, CheckSkipped, Subject
from permitcard.matrix.ways import Way, known_application
from personalization.errors import PersonalizationError
from reader_bridge.connection import ReaderError
from reader_bridge.stack import standard_stack


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Cell:
    """One check in one way.

    Attributes:
        check: its code.
        outcome: how it ended.
        fact: what it saw, such as a time or a length.
        why: code of the reason, empty when it passed.
        parameters: facts for the reason.
    """

    check: str
    outcome: Outcome
    fact: str = ""
    why: str = ""
    parameters: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Row:
    """All checks in one way.

    Attributes:
        card: name of the card.
        reader: name of the reader.
        interface: contact or contactless; empty when the card could not be reached.
        protocol: same.
        answer: ATR or ATS, hexadecimal.
        cells: one a check.
    """

    card: str
    reader: str
    interface: str
    protocol: str
    answer: str
    cells: tuple[Cell, ...] = field(repr=False)

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return sum(cell.outcome is Outcome.FAILED for cell in self.cells)


def run_matrix(
    ways: Sequence[Way],
    checks: Iterable[Check] = CHECKS,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Row]:
    """All checks in all ways.

    Args:
        ways: cards in readers.
        checks: what to do.
        progress: told of how many ways are done.
    """
    table = tuple(checks)
    rows: list[Row] = []
    for number, way in enumerate(ways, start=1):
        rows.append(_run_way(way, table))
        progress(number, len(ways))
    return rows


def _run_way(way: Way, checks: tuple[Check, ...]) -> Row:
    try:
        connection = way.connect()
    except ReaderError as error:
        return _unreachable(way, checks, error)
    try:
        with connection:
            described = connection.description
            aid = way.aid or known_application(standard_stack(connection))
            cells: list[Cell] = []
            for check in checks:
                subject = Subject(connection, standard_stack(connection), described.answer, aid, way.open_file)
                cells.append(_run_check(check, subject))
            return Row(
                way.card,
                way.reader,
                described.interface.value,
                described.protocol.value,
                described.answer.hex().upper(),
                tuple(cells),
            )
    except ReaderError as error:
        return _unreachable(way, checks, error)


def _unreachable(way: Way, checks: tuple[Check, ...], error: ReaderError) -> Row:
    cells = tuple(Cell(check.code, Outcome.FAILED, "", "reader", {"reason": str(error)}) for check in checks)
    return Row(way.card, way.reader, "", "", "", cells)


def _run_check(check: Check, subject: Subject) -> Cell:
    """One check on a freshly reset card."""
    try:
        subject.raw.reset()
        return Cell(check.code, Outcome.PASSED, check.run(subject))
    except CheckSkipped as skipped:
        return Cell(check.code, Outcome.SKIPPED, "", skipped.code, dict(skipped.parameters))
    except CheckFailed as failed:
        return Cell(check.code, Outcome.FAILED, "", failed.code, dict(failed.parameters))
    except AnswerError as error:
        return Cell(check.code, Outcome.FAILED, "", "answer", {"reason": str(error)})
    except (ReaderError, PersonalizationError) as error:
        return Cell(check.code, Outcome.FAILED, "", "reader", {"reason": str(error)})
