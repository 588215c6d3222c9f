"""What a report tells, collected from the journal; nothing here is personal but what inspection has masked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from typing import Final

from sqlalchemy import Connection, select
from sqlalchemy.orm import aliased

from personalization.production.journal.batches import BatchStatus, batch_status
from personalization.production.journal.claims import Stage
from personalization.production.journal.database import Journal
from personalization.production.journal.tables import Batch, Blank, Cancellation, Evidence, Row, Run, Shift
from personalization.production.results import Results
from personalization.production.states import RowState, RunState
from personalization.production.tracing import TraceEntry, unpack_trace

_PERCENTILE: Final = 94  # of quantiles(…, n=100): the 95th
_LEAST_FOR_QUANTILES: Final = 2
_RUNS_AT_ONCE: Final = 200
_KEPT: Final = select(Evidence.__table__).order_by(Evidence.run_id, Evidence.stage.desc())  # "make" before "inspect"


@dataclass(frozen=True, slots=True)
class StepSummary:
    """Time of one step over all cards.

    Attributes:
        stage: "make" or "inspect".
        step: name.
        cards: cards that took it.
        mean_us: mean time in microseconds.
        median_us: median.
        p95_us: 95th percentile.
        total_us: sum.
    """

    stage: str
    step: str
    cards: int
    mean_us: float
    median_us: float
    p95_us: float
    total_us: int


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that inspection looked at; ``shown`` and ``expected`` are masked."""

    name: str
    passed: bool
    interface: str
    shown: str
    expected: str


@dataclass(frozen=True, slots=True)
class RowFacts:
    """A row that has no card to tell of, or that a newer permit replaced.

    Attributes:
        number: row in the delivered sheet.
        state: where it is.
        reason: code of why.
        replaced_by: batch and row of the newer permit, empty when there is none.
    """

    number: int
    state: RowState
    reason: str
    replaced_by: str = ""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """One row on one blank.

    Attributes:
        run_id: key in the journal.
        row_number: row in the delivered sheet.
        state: how it ended.
        reason: code of why it is spoiled or was released.
        card_number: chip serial as hex.
        location: where the card is.
        lot: lot of the blank.
        disposal: what became of a spoiled card.
        station: who made it.
        inspected_by: who inspected it.
        claimed_at: microseconds since 1970 UTC; so are the next two, 0 when it did not come so far.
        made_at: made.
        inspected_at: inspected.
    """

    run_id: int
    row_number: int
    state: RunState
    reason: str
    card_number: str
    location: str
    lot: str
    disposal: str
    station: str
    inspected_by: str
    claimed_at: int
    made_at: int
    inspected_at: int

    @property
    def page(self) -> str:
        """Name of its page: row and run."""
        return f"row-{self.row_number:06d}-run-{self.run_id}"


@dataclass(frozen=True, slots=True)
class CardEvidence:
    """What was kept of one card's making and inspection.

    Attributes:
        steps: microseconds by stage and step.
        checks: results of inspection.
        traces: exchanges by stage.
    """

    steps: dict[str, dict[str, int]]
    checks: tuple[CheckResult, ...]
    traces: dict[str, tuple[TraceEntry, ...]]


@dataclass(frozen=True, slots=True)
class ShiftFacts:
    """One run of the coordinator; microseconds since 1970 UTC, ``ended_at`` 0 when it was killed."""

    stations: int
    started_at: int
    last_seen_at: int
    ended_at: int
    outcome: str


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Everything that the batch page tells.

    Attributes:
        status: counts.
        cards: cards in the order of their rows.
        rejected: rows that intake refused.
        unfinished: rows that failed or still wait.
        cancelled: rows whose permit a newer one replaced.
        steps: times by step.
        failures: spoiled cards by cause.
        shifts: runs of the coordinator.
    """

    status: BatchStatus
    cards: Sequence[CardFacts]
    rejected: Sequence[RowFacts]
    unfinished: Sequence[RowFacts]
    cancelled: Sequence[RowFacts]
    steps: Sequence[StepSummary]
    failures: dict[str, int]
    shifts: Sequence[ShiftFacts]


def collect(journal: Journal, identifier: str) -> BatchReport:
    """Collect a batch's report.

    Raises:
        PersonalizationError: "batch-unknown", "journal-unavailable".
    """
    status = batch_status(journal, identifier)
    with journal.reading() as connection:
        batch_id = status.batch.id
        cards = _cards(connection, batch_id)
        rows = _rows(connection, batch_id)
        steps = _steps(connection, batch_id)
        shifts = _shifts(connection, batch_id)
    failures: dict[str, int] = defaultdict(int)
    for card in cards:
        if card.state is RunState.SPOILED:
            failures[card.reason] += 1
    return BatchReport(
        status,
        cards,
        [row for row in rows if row.state is RowState.REJECTED],
        [row for row in rows if row.state in {RowState.FAILED, RowState.WAITING, RowState.IN_PRODUCTION}],
        [row for row in rows if row.state is RowState.CANCELLED],
        steps,
        dict(sorted(failures.items(), key=lambda item: (-item[1], item[0]))),
        shifts,
    )


def evidence(
    journal: Journal, cards: Sequence[CardFacts], results: Results
) -> Iterator[tuple[CardFacts, CardEvidence]]:
    """The cards with what was kept of them; read in groups, so that a long batch needs no more memory.

    Args:
        journal: the open journal.
        cards: of one batch.
        results: opens what inspection showed.
    """
    for at in range(0, len(cards), _RUNS_AT_ONCE):
        group = cards[at : at + _RUNS_AT_ONCE]
        by_run = {card.run_id: card for card in group}
        kept: dict[int, CardEvidence] = {card.run_id: CardEvidence({}, (), {}) for card in group}
        with journal.reading() as connection:
            found = connection.execute(_KEPT.where(Evidence.run_id.in_(list(kept)))).all()
        for row in found:
            before = kept[row.run_id]
            kept[row.run_id] = CardEvidence(
                {**before.steps, row.stage: json.loads(row.steps)},
                before.checks + _checks(results, by_run[row.run_id], row.checks),
                {**before.traces, row.stage: tuple(unpack_trace(row.trace))},
            )
        for card in group:
            yield card, kept[card.run_id]


def _checks(results: Results, card: CardFacts, kept: bytes | None) -> tuple[CheckResult, ...]:
    return tuple(CheckResult(*row) for row in results.open(kept, card.row_number, card.card_number))


def _cards(connection: Connection, batch_id: int) -> list[CardFacts]:
    statement = (
        select(
            Run.id, Row.number, Run.state, Run.reason, Blank.card_number, Blank.location, Blank.lot, Blank.disposal,
            Run.station, Run.inspected_by, Run.claimed_at, Run.made_at, Run.inspected_at,
        )
        .join(Row, Row.id == Run.row_id)
        .join(Blank, Blank.id == Run.blank_id)
        .where(Run.batch_id == batch_id, Run.state != RunState.RELEASED.value)
        .order_by(Row.number, Run.id)
    )  # fmt: skip
    return [
        CardFacts(
            row.id, row.number, RunState(row.state), row.reason or "", row.card_number, row.location, row.lot,
            row.disposal or "", row.station, row.inspected_by or "", row.claimed_at, row.made_at or 0,
            row.inspected_at or 0,
        )
        for row in connection.execute(statement)
    ]  # fmt: skip


def _rows(connection: Connection, batch_id: int) -> list[RowFacts]:
    newer, batch = aliased(Row), aliased(Batch)
    statement = (
        select(Row.number, Row.state, Row.reason, batch.identifier.label("batch"), newer.number.label("newer"))
        .outerjoin(Cancellation, Cancellation.old_row_id == Row.id)
        .outerjoin(newer, newer.id == Cancellation.new_row_id)
        .outerjoin(batch, batch.id == newer.batch_id)
        .where(Row.batch_id == batch_id, Row.state != RowState.GOOD.value)
        .order_by(Row.number)
    )
    return [
        RowFacts(row.number, RowState(row.state), row.reason or "", f"{row.batch} / {row.newer}" if row.batch else "")
        for row in connection.execute(statement)
    ]


def _steps(connection: Connection, batch_id: int) -> list[StepSummary]:
    times: dict[tuple[str, str], list[int]] = defaultdict(list)
    statement = (
        select(Evidence.stage, Evidence.steps).join(Run, Run.id == Evidence.run_id).where(Run.batch_id == batch_id)
    )
    for stage, steps in connection.execute(statement):
        for step, took in json.loads(steps).items():
            times[stage, step].append(took)
    order = {Stage.MAKE.value: 0, Stage.INSPECT.value: 1}
    return [
        StepSummary(stage, step, len(took), fmean(took), median(took), _p95(took), sum(took))
        for (stage, step), took in sorted(times.items(), key=lambda item: order[item[0][0]])
    ]


def _p95(times: list[int]) -> float:
    return quantiles(times, n=100)[_PERCENTILE] if len(times) >= _LEAST_FOR_QUANTILES else float(times[0])


def _shifts(connection: Connection, batch_id: int) -> list[ShiftFacts]:
    statement = select(Shift.__table__).where(Shift.batch_id == batch_id).order_by(Shift.id)
    return [
        ShiftFacts(row.stations, row.started_at, row.last_seen_at, row.ended_at or 0, row.outcome or "")
        for row in connection.execute(statement)
    ]
