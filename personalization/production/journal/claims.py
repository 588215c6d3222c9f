"""Who works on what: claims, and what became of them, as compare-and-set statements over whole trays.

Commit order is what makes a killed run recoverable. `claim_to_make` commits before the card receives its first byte:
it is the write-ahead entry of everything irreversible that making does to that chip (new keys, SECURED). What came of
it may be committed later and together for a tray, because the card itself tells after a crash how far it is.
`record_spoiled` commits before a spoiled card is terminated. Every function runs in the caller's transaction.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Executable, insert, select, update

from personalization.production.fence import Fence
from personalization.production.journal import statements
from personalization.production.journal.database import now_us
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.stations import SeatLost, held_by_the_living
from personalization.production.journal.tables import Blank, Cancellation, Row, Run
from personalization.production.states import (
    ACTIVE_RUNS,
    BLANK_TRANSITIONS,
    ROW_TRANSITIONS,
    RUN_TRANSITIONS,
    BlankState,
    RowState,
    RunState,
)

_S = TypeVar("_S", bound=StrEnum)

IN_DOUBT: Final = "in-doubt"
"""Why a card is spoiled that an operator gave up."""

NO_TRACE: Final = zlib.compress(b"")
"""Packed trace of nothing."""


class Stage(StrEnum):
    """Stages that leave evidence."""

    MAKE = "make"
    INSPECT = "inspect"


@dataclass(frozen=True, slots=True)
class Claim:
    """One row on one blank, in somebody's hands.

    Attributes:
        run_id: key of the run.
        fence: number that every statement about it must name.
        state: where it was when it was claimed or found.
        batch_id: batch.
        row_id: row.
        row_number: row in the delivered sheet.
        prepared_index: place in the prepared file.
        attempts: blanks that this row has used, this one included.
        blank_id: blank.
        card_number: chip serial as hex.
        location: where the card is.
        station: who has it in hand: its inspector while it is inspected, else its maker.
    """

    run_id: int
    fence: int
    state: RunState
    batch_id: int
    row_id: int
    row_number: int
    prepared_index: int
    attempts: int
    blank_id: int
    card_number: str
    location: str
    station: str

    @property
    def card_fence(self) -> Fence:
        """What is written to the card before anything else."""
        return Fence(self.run_id, self.fence)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one stage of one claim left.

    Attributes:
        claim: the claim.
        trace: packed command trace.
        steps: microseconds by step as a JSON object.
        checks: sealed results of the inspector, None when there was no inspection.
        reason: code of why the card is spoiled, empty when all went well.
    """

    claim: Claim
    trace: bytes
    steps: str
    checks: bytes | None = None
    reason: str = ""


class ClaimLost(SeatLost):
    """Somebody else took the run over: what we know of it must not be written."""


def claim_to_make(
    connection: Connection, batch_id: int, station: str, count: int, *, seat: int | None = None, begin: bool = True
) -> list[Claim]:
    """Claim up to ``count`` waiting rows, each with a blank; fewer when rows or blanks run out.

    Args:
        connection: open transaction.
        batch_id: batch.
        station: name of who claims.
        count: most rows.
        seat: key of the station's row; without it, nobody alive holds the claims.
        begin: True when cards may receive bytes as soon as this has committed, False when `begin_to_make` comes first.
    """
    rows = connection.execute(statements.WAITING_ROWS, {"batch": batch_id, "most": count}).all()
    if not rows:
        return []
    blanks = connection.execute(statements.FREE_BLANKS, {"most": len(rows)}).all()
    pairs = list(zip(rows, blanks, strict=False))
    return open_runs(connection, batch_id, station, pairs, seat=seat, begin=begin) if pairs else []


def open_runs(
    connection: Connection,
    batch_id: int,
    station: str,
    pairs: Sequence[tuple[Any, Any]],
    *,
    seat: int | None,
    begin: bool = True,
) -> list[Claim]:
    """Open a run for each waiting row and free blank, as `statements.WAITING_ROWS` and `FREE_BLANKS` give them."""
    _move_rows(connection, station, [row.id for row, _ in pairs], RowState.WAITING, RowState.IN_PRODUCTION, spent=1)
    _move_blanks(connection, station, [blank.id for _, blank in pairs], BlankState.IN_STOCK, BlankState.IN_USE)
    at = now_us()
    runs = [
        {
            "batch_id": batch_id,
            "row_id": row.id,
            "blank_id": blank.id,
            "permit": row.permit,
            "state": RunState.OPEN.value,
            "station": station,
            "fence": 1,
            "holder": seat,
            "claimed_at": at,
            "begun_at": at if begin else None,
        }
        for row, blank in pairs
    ]
    keys = connection.execute(statements.NEW_RUNS, runs).scalars().all()
    claims = [
        Claim(
            key, 1, RunState.OPEN, batch_id, row.id, row.number, row.prepared_index, row.attempts + 1,
            blank.id, blank.card_number, blank.location, station,
        )
        for key, (row, blank) in zip(keys, pairs, strict=True)
    ]  # fmt: skip
    record(connection, station, [_entry(What.CLAIMED, claim) for claim in claims])
    return claims


def begin_to_make(connection: Connection, claim: Claim) -> None:
    """The claimed card is about to receive its first byte; a claim without this is known to be of an untouched card.

    Raises:
        ClaimLost: somebody else took the run over.
    """
    values = {"key": claim.run_id, "held": claim.fence, "at": now_us()}
    if connection.execute(statements.BEGIN_RUN, values).rowcount != 1:
        raise ClaimLost(claim.station)


def record_made(connection: Connection, station: str, outcomes: Sequence[Outcome]) -> None:
    """The cards are finished and wait for inspection."""
    if outcomes:
        claims = [outcome.claim for outcome in outcomes]
        _move_runs(connection, station, claims, RunState.OPEN, RunState.MADE, made_at=now_us())
        _keep(connection, Stage.MAKE, outcomes)
        record(connection, station, [_entry(What.MADE, claim) for claim in claims])


def claim_to_inspect(
    connection: Connection,
    batch_id: int,
    station: str,
    count: int,
    *,
    seat: int | None = None,
    without: Collection[int] = (),
) -> list[Claim]:
    """Claim up to ``count`` made cards for inspection; those that another station made come first.

    Args:
        connection: open transaction.
        batch_id: batch.
        station: name of who claims.
        count: most cards.
        seat: key of the station's row; without it, nobody alive holds the claims.
        without: runs whose cards could not be reached a moment ago.
    """
    asked = {"batch": batch_id, "station": station, "most": count, "without": _some(without)}
    claims = _claims(connection, statements.TO_INSPECT, **asked)
    if claims:
        _allowed(RUN_TRANSITIONS, RunState.MADE, RunState.INSPECTING)
        fixed = {"source": RunState.MADE.value, "target": RunState.INSPECTING.value, "new": station, "seat": seat}
        keys = [{"key": claim.run_id, "held": claim.fence, **fixed} for claim in claims]
        if connection.execute(statements.INSPECT_RUN, keys).rowcount != len(claims):
            raise ClaimLost(station)
    return claims


def record_uninspected(connection: Connection, station: str, claim: Claim) -> None:
    """The inspection was not begun: the card waits for another one."""
    _move_runs(connection, station, [claim], RunState.INSPECTING, RunState.MADE, inspected_by=None)


def record_good(connection: Connection, station: str, outcomes: Sequence[Outcome]) -> None:
    """The cards passed inspection; older permits of the same citizens are cancelled in the same transaction."""
    if not outcomes:
        return
    claims = [outcome.claim for outcome in outcomes]
    _move_runs(connection, station, claims, RunState.INSPECTING, RunState.GOOD, inspected_at=now_us())
    rows = [claim.row_id for claim in claims]
    _move_rows(connection, station, rows, RowState.IN_PRODUCTION, RowState.GOOD)
    _move_blanks(connection, station, [claim.blank_id for claim in claims], BlankState.IN_USE, BlankState.GOOD)
    _keep(connection, Stage.INSPECT, outcomes)
    record(connection, station, [_entry(What.GOOD, claim) for claim in claims])
    _cancel_older(connection, station, rows)


def record_spoiled(connection: Connection, station: str, outcome: Outcome, stage: Stage, max_attempts: int) -> RowState:
    """The card is lost; its row waits for another blank, or has failed. Commit before the card is terminated.

    Args:
        connection: open transaction.
        station: who says so.
        outcome: the claim with the reason.
        stage: where it happened.
        max_attempts: blanks that one row may use.
    """
    claim = outcome.claim
    source = RunState.OPEN if stage is Stage.MAKE else RunState.INSPECTING
    _move_runs(connection, station, [claim], source, RunState.SPOILED, reason=outcome.reason)
    _move_blanks(connection, station, [claim.blank_id], BlankState.IN_USE, BlankState.SPOILED, reason=outcome.reason)
    target = RowState.WAITING if claim.attempts < max_attempts else RowState.FAILED
    _move_rows(connection, station, [claim.row_id], RowState.IN_PRODUCTION, target, reason=outcome.reason)
    _keep(connection, stage, [outcome])
    entries = [_entry(What.SPOILED, claim, reason=outcome.reason, stage=stage.value)]
    if target is RowState.FAILED:
        entries.append(_entry(What.ROW_FAILED, claim, attempts=claim.attempts))
    record(connection, station, entries)
    return target


def record_released(
    connection: Connection, station: str, claim: Claim, reason: str, blank: BlankState = BlankState.IN_STOCK
) -> None:
    """The card was not touched: the row goes back as it was, the blank to the stock or, as BARRED, out of it."""
    _move_runs(connection, station, [claim], RunState.OPEN, RunState.RELEASED, reason=reason)
    why = reason if blank is BlankState.BARRED else None
    _move_blanks(connection, station, [claim.blank_id], BlankState.IN_USE, blank, reason=why)
    _move_rows(connection, station, [claim.row_id], RowState.IN_PRODUCTION, RowState.WAITING, spent=-1)
    record(connection, station, [_entry(What.RELEASED, claim, reason=reason, blank=blank.value)])


def record_keys_refused(connection: Connection, station: str, claim: Claim, step: str, tries_spent: int) -> None:
    """The card and we hold different keys; the count stays with the blank, whoever meets it next."""
    connection.execute(update(Blank).where(Blank.id == claim.blank_id).values(key_failures=Blank.key_failures + 1))
    record(connection, station, [_entry(What.KEYS_REFUSED, claim, step=step, tries_spent=tries_spent)])


def open_claims(connection: Connection, batch_id: int) -> list[Claim]:
    """Runs that somebody made or inspected who is not alive any more."""
    return _claims(connection, statements.OPEN_CLAIMS, batch=batch_id)


def claim_doubtful(
    connection: Connection, batch_id: int, station: str, count: int, *, seat: int, without: Collection[int] = ()
) -> list[Claim]:
    """Take over up to ``count`` runs that nobody alive has in hand, to look at their cards.

    Args:
        connection: open transaction.
        batch_id: batch.
        station: name of who takes them.
        count: most runs.
        seat: key of the station's row.
        without: runs whose cards could not be reached a moment ago.

    Returns:
        Claims of cards to look at; inspections that nobody finished have gone back to MADE.
    """
    found = _claims(connection, statements.DOUBTFUL_CLAIMS, batch=batch_id, most=count, without=_some(without))
    taken = take_over(connection, station, found, seat=seat)
    return [claim for claim in taken if claim.state is RunState.OPEN]


def record_unreachable(connection: Connection, claim: Claim) -> None:
    """The card of a doubtful run could not be looked at; it stays in doubt until somebody can."""
    statement = update(Run).where(Run.id == claim.run_id, Run.fence == claim.fence).values(holder=None)
    if connection.execute(statement).rowcount != 1:
        raise ClaimLost(claim.station)


def in_doubt(connection: Connection, batch_id: int) -> list[Claim]:
    """Runs whose cards may have been touched, and which nobody alive has in hand."""
    return [claim for claim in open_claims(connection, batch_id) if claim.state is RunState.OPEN]


def spoil_in_doubt(connection: Connection, who: str, claim: Claim, max_attempts: int) -> None:
    """An operator gives a card up that cannot be read back: it is barred for ever, its row gets another blank."""
    (taken,) = take_over(connection, who, [claim])
    record_spoiled(connection, who, Outcome(taken, NO_TRACE, "{}", reason=IN_DOUBT), Stage.MAKE, max_attempts)


def active_count(connection: Connection, batch_id: int) -> int:
    """Runs of the batch that are neither finished nor given up."""
    states = [state.value for state in ACTIVE_RUNS]
    return len(connection.execute(select(Run.id).where(Run.batch_id == batch_id, Run.state.in_(states))).all())


def held_count(connection: Connection, batch_id: int) -> int:
    """Runs of the batch that a living station has in hand, at most 1: whether there are any."""
    states = (RunState.OPEN.value, RunState.INSPECTING.value)
    held = select(Run.id).where(Run.batch_id == batch_id, Run.state.in_(states), held_by_the_living())
    return len(connection.execute(held.limit(1)).all())


def waiting_count(connection: Connection, batch_id: int) -> int:
    """Rows of the batch that wait for a blank, at most 1: whether there are any."""
    waiting = (Row.batch_id == batch_id, Row.state == RowState.WAITING.value)
    return len(connection.execute(select(Row.id).where(*waiting).limit(1)).all())


def free_count(connection: Connection) -> int:
    """Blanks in stock, at most 1: whether there are any."""
    return len(connection.execute(select(Blank.id).where(Blank.state == BlankState.IN_STOCK.value).limit(1)).all())


def retry_failed(connection: Connection, who: str, batch_id: int) -> int:
    """Rows that were given up wait again, with as many blanks as at first; returns how many."""
    failed = (Row.batch_id == batch_id, Row.state == RowState.FAILED.value)
    rows = connection.execute(select(Row.id, Row.attempts).where(*failed)).all()
    for row in rows:
        _move_rows(connection, who, [row.id], RowState.FAILED, RowState.WAITING, spent=-row.attempts)
    record(connection, who, [Entry(What.ROW_RETRIED, batch_id, row.id) for row in rows])
    return len(rows)


def take_over(connection: Connection, who: str, claims: Sequence[Claim], *, seat: int | None = None) -> list[Claim]:
    """Raise the fence of runs whose owners are dead; returns the claims that now hold.

    An inspection that nobody finished goes back to MADE: it changes nothing on the card.
    """
    taken: list[Claim] = []
    for claim in claims:
        target = RunState.MADE if claim.state is RunState.INSPECTING else claim.state
        statement = (
            update(Run)
            .where(Run.id == claim.run_id, Run.fence == claim.fence, Run.state == claim.state.value)
            .values(fence=claim.fence + 1, state=target.value, holder=seat)
        )
        if connection.execute(statement).rowcount != 1:
            raise ClaimLost(who)
        taken.append(replace(claim, fence=claim.fence + 1, state=target, station=who))
    record(connection, who, [_entry(What.TAKEN_OVER, claim, fence=claim.fence) for claim in taken])
    return taken


def _some(keys: Collection[int]) -> list[int]:
    """Keys for ``NOT IN``, never none: no run has the key 0."""
    return list(keys) or [0]


def _claims(connection: Connection, statement: Executable, **values: object) -> list[Claim]:
    rows = connection.execute(statement, values).all()
    return [
        Claim(
            row.id, row.fence, RunState(row.state), row.batch_id, row.row_id, row.number, row.prepared_index,
            row.attempts, row.blank_id, row.card_number, row.location, _owner(row.state, row.station, row.inspected_by),
        )
        for row in rows
    ]  # fmt: skip


def _owner(state: str, maker: str, inspector: str | None) -> str:
    return inspector if state == RunState.INSPECTING.value and inspector else maker


def _entry(what: What, claim: Claim, **facts: object) -> Entry:
    return Entry(what, claim.batch_id, claim.row_id, claim.blank_id, claim.run_id, facts or None)


def _allowed(transitions: Mapping[_S, frozenset[_S]], source: _S, target: _S) -> None:
    if target not in transitions[source]:
        raise ValueError(f"{source} does not lead to {target}")


def _move_runs(
    connection: Connection, station: str, claims: Sequence[Claim], source: RunState, target: RunState, **values: object
) -> None:
    _allowed(RUN_TRANSITIONS, source, target)
    fixed: dict[str, object] = {"source": source.value, "target": target.value}
    statement = statements.MOVE_RUN
    for column, value in values.items():
        statement = statements.MOVE_RUN_AND_SET[column]
        fixed["new"] = value
    found = connection.execute(statement, [{"key": c.run_id, "held": c.fence, **fixed} for c in claims])
    if found.rowcount != len(claims):
        raise ClaimLost(station)


def _move_rows(
    connection: Connection,
    station: str,
    keys: Sequence[int],
    source: RowState,
    target: RowState,
    *,
    spent: int = 0,
    reason: str | None = None,
) -> None:
    _allowed(ROW_TRANSITIONS, source, target)
    fixed = {"source": source.value, "target": target.value, "spent": spent, "why": reason}
    if connection.execute(statements.MOVE_ROW, [{"key": key, **fixed} for key in keys]).rowcount != len(keys):
        raise ClaimLost(station)


def _move_blanks(
    connection: Connection,
    station: str,
    keys: Sequence[int],
    source: BlankState,
    target: BlankState,
    reason: str | None = None,
) -> None:
    _allowed(BLANK_TRANSITIONS, source, target)
    fixed = {"source": source.value, "target": target.value, "why": reason}
    if connection.execute(statements.MOVE_BLANK, [{"key": key, **fixed} for key in keys]).rowcount != len(keys):
        raise ClaimLost(station)


def _keep(connection: Connection, stage: Stage, outcomes: Iterable[Outcome]) -> None:
    connection.execute(
        statements.KEEP_EVIDENCE,
        [
            {
                "run_id": outcome.claim.run_id,
                "stage": stage.value,
                "trace": outcome.trace,
                "checks": outcome.checks,
                "steps": outcome.steps,
            }
            for outcome in outcomes
        ],
    )


def _cancel_older(connection: Connection, station: str, rows: Sequence[int]) -> None:
    """Cancel what newer good cards replace: older rows of these rows' citizens, or these if a newer one was faster."""
    pairs = connection.execute(statements.REPLACED, {"rows": list(rows)}).all()
    for old_id, (new_id, state, batch_id) in {pair[0]: pair[1:] for pair in pairs}.items():
        _move_rows(connection, station, [old_id], RowState(state), RowState.CANCELLED)
        connection.execute(
            update(Run)
            .where(Run.row_id == old_id, Run.state == RunState.GOOD.value)
            .values(state=RunState.CANCELLED.value)
        )
        connection.execute(insert(Cancellation).values(old_row_id=old_id, new_row_id=new_id, at=now_us()))
        record(connection, station, [Entry(What.CANCELLED, batch_id, old_id, facts={"replaced_by_row": new_id})])
