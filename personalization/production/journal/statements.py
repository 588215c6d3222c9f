"""The statements of the hot path, built once: building one costs several times what running it does."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import aliased

from personalization.production.journal.stations import held_by_the_living
from personalization.production.journal.tables import Blank, Evidence, Row, Run
from personalization.production.states import BlankState, RowState, RunState

_REPLACEABLE: Final = tuple(state.value for state in (RowState.GOOD, RowState.WAITING, RowState.FAILED))

WAITING_ROWS: Final = (
    select(Row.id, Row.number, Row.prepared_index, Row.permit, Row.attempts)
    .where(Row.batch_id == bindparam("batch"), Row.state == RowState.WAITING.value)
    .order_by(Row.number)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
FREE_BLANKS: Final = (
    select(Blank.id, Blank.card_number, Blank.location)
    .where(Blank.state == BlankState.IN_STOCK.value)
    .order_by(Blank.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
NEW_RUNS: Final = insert(Run).returning(Run.id, sort_by_parameter_order=True)

_CLAIMS: Final = (
    select(
        Run.id, Run.fence, Run.state, Run.batch_id, Run.row_id, Row.number, Row.prepared_index, Row.attempts,
        Run.blank_id, Blank.card_number, Blank.location, Run.station, Run.inspected_by,
    )
    .join(Row, Row.id == Run.row_id)
    .join(Blank, Blank.id == Run.blank_id)
    .where(Run.batch_id == bindparam("batch"))
)  # fmt: skip
TO_INSPECT: Final = (
    _CLAIMS.where(Run.state == RunState.MADE.value, Run.id.not_in(bindparam("without", expanding=True)))
    .order_by(Run.station == bindparam("station"), Run.id)
    .limit(bindparam("most"))
    .with_for_update(of=Run, skip_locked=True)
)
_LEFT: Final = _CLAIMS.where(
    Run.state.in_((RunState.OPEN.value, RunState.INSPECTING.value)), ~held_by_the_living()
).order_by(Run.id)
OPEN_CLAIMS: Final = _LEFT
DOUBTFUL_CLAIMS: Final = (
    _LEFT.where(Run.id.not_in(bindparam("without", expanding=True)))
    .limit(bindparam("most"))
    .with_for_update(of=Run, skip_locked=True)
)
"""Runs that nobody alive has in hand: cards to look at, and inspections that were not finished."""

MOVE_RUN: Final = (
    update(Run)
    .where(Run.id == bindparam("key"), Run.fence == bindparam("held"), Run.state == bindparam("source"))
    .values(state=bindparam("target"))
)
MOVE_RUN_AND_SET: Final = {
    column: MOVE_RUN.values({column: bindparam("new")})
    for column in ("made_at", "inspected_at", "inspected_by", "reason")
}
INSPECT_RUN: Final = MOVE_RUN.values(inspected_by=bindparam("new"), holder=bindparam("seat"))
BEGIN_RUN: Final = (
    update(Run)
    .where(Run.id == bindparam("key"), Run.fence == bindparam("held"), Run.state == RunState.OPEN.value)
    .values(begun_at=bindparam("at"))
)
MOVE_ROW: Final = (
    update(Row)
    .where(Row.id == bindparam("key"), Row.state == bindparam("source"))
    .values(state=bindparam("target"), attempts=Row.attempts + bindparam("spent"), reason=bindparam("why"))
)
MOVE_BLANK: Final = (
    update(Blank)
    .where(Blank.id == bindparam("key"), Blank.state == bindparam("source"))
    .values(state=bindparam("target"), reason=bindparam("why"))
)
KEEP_EVIDENCE: Final = insert(Evidence)

_OLDER: Final = aliased(Row)
_NEWER: Final = aliased(Row)
REPLACED: Final = (
    select(_OLDER.id, _NEWER.id, _OLDER.state, _OLDER.batch_id)
    .join(_NEWER, (_NEWER.citizen == _OLDER.citizen) & (_NEWER.id > _OLDER.id))
    .where(
        _NEWER.state == RowState.GOOD.value,
        _OLDER.state.in_(_REPLACEABLE),
        _OLDER.id.in_(bindparam("rows", expanding=True)) | _NEWER.id.in_(bindparam("rows", expanding=True)),
    )
    .order_by(_NEWER.id)
)
"""Older row, newer good row of the same citizen, where one of the two is among ``rows``."""
