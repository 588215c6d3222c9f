"""Claims by the barcode of a pre-printed card: the code names the permit, and so the row that the body belongs to."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, select

from personalization.errors import PersonalizationError
from personalization.production.journal import statements
from personalization.production.journal.articles import room_to_make
from personalization.production.journal.claims import Claim, open_runs
from personalization.production.journal.tables import Batch, Blank, Row, Run
from personalization.production.states import CHIP_RUNS, BlankState, RowState

_USAGE: Final = 2
_READ_BEFORE: Final = (RowState.IN_PRODUCTION, RowState.GOOD)
_CHIP_RUNS: Final = tuple(state.value for state in CHIP_RUNS)


def claim_scanned(
    connection: Connection, batch_id: int, station: str, permit: bytes, card_number: str, *, seat: int
) -> Claim:
    """Claim the row whose permit a code names, on the blank that was named with it or the next one of the stock.

    Args:
        connection: open transaction.
        batch_id: batch.
        station: name of who claims.
        permit: recognition value of the permit number that was read.
        card_number: chip serial as hex; empty for the next blank.
        seat: key of the station's row.

    Raises:
        PersonalizationError: exit 2: "barcode-unknown", "barcode-other-batch", "barcode-read-before",
            "barcode-not-wanted", "barcode-mismatch" (that chip belongs to another row), "card-unknown", "card-not-so";
            "stock-empty"; "barcode-held", the batch waits for its first article to be approved.
    """
    row = _row(connection, batch_id, permit)
    blank = _blank(connection, card_number, row.number)
    if not room_to_make(connection, batch_id, 1):
        raise PersonalizationError("barcode-held", exit_code=_USAGE, row=row.number)
    return open_runs(connection, batch_id, station, [(row, blank)], seat=seat)[0]


def rows_of_permit(connection: Connection, permit: bytes) -> dict[int, int]:
    """Keys of the rows that carry a permit, by batch.

    Asked for batch and permit at once, SQLite reads all rows of the batch.
    """
    found = connection.execute(select(Row.batch_id, Row.id).where(Row.permit == permit))
    return {row.batch_id: row.id for row in found}


def _row(connection: Connection, batch_id: int, permit: bytes) -> Any:
    keys = rows_of_permit(connection, permit)
    if not keys:
        raise PersonalizationError("barcode-unknown", exit_code=_USAGE)
    if batch_id not in keys:
        other = select(Batch.identifier).where(Batch.id == min(keys))
        batch = connection.execute(other).scalar()
        raise PersonalizationError("barcode-other-batch", exit_code=_USAGE, batch=batch)
    columns = (Row.id, Row.number, Row.prepared_index, Row.permit, Row.attempts, Row.state)
    found = connection.execute(select(*columns).where(Row.id == keys[batch_id]).with_for_update()).one()
    state = RowState(found.state)
    if state in _READ_BEFORE:
        raise PersonalizationError("barcode-read-before", exit_code=_USAGE, row=found.number, state=state.value)
    if state is not RowState.WAITING:
        raise PersonalizationError("barcode-not-wanted", exit_code=_USAGE, row=found.number, state=state.value)
    return found


def _blank(connection: Connection, card_number: str, row_number: int) -> Any:
    if not card_number:
        free = connection.execute(statements.FREE_BLANKS, {"most": 1}).one_or_none()
        if free is None:
            raise PersonalizationError("stock-empty", batch="")
        return free
    columns = (Blank.id, Blank.card_number, Blank.location, Blank.state)
    found = connection.execute(select(*columns).where(Blank.card_number == card_number).with_for_update()).one_or_none()
    card_id = card_number.upper()
    if found is None:
        raise PersonalizationError("card-unknown", exit_code=_USAGE, card_id=card_id)
    if found.state != BlankState.IN_STOCK.value:
        owner = select(Row.number).join(Run, Run.row_id == Row.id)
        used = connection.execute(owner.where(Run.blank_id == found.id, Run.state.in_(_CHIP_RUNS)).limit(1)).scalar()
        if used is not None:
            raise PersonalizationError(
                "barcode-mismatch", exit_code=_USAGE, row=row_number, card_id=card_id, other_row=used
            )
        raise PersonalizationError(
            "card-not-so", exit_code=_USAGE, card_id=card_id, state=found.state, wanted=BlankState.IN_USE.value
        )
    return found
