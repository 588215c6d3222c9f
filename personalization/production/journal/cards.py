"""Which row a finished card, or a permit, belongs to."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal
from personalization.production.journal.tables import Batch, Blank, Cancellation, Row, Run
from personalization.production.states import RowState, RunState


class CardPlace(NamedTuple):
    """Where a card stands in the journal.

    Attributes:
        batch: batch identifier.
        row: row in the delivered sheet.
    """

    batch: str
    row: int


def find_permit(journal: Journal, recognised: bytes) -> CardPlace:
    """The row that carries a permit and has a good card.

    Args:
        journal: the open journal.
        recognised: the permit number, as the key store recognises it.

    Raises:
        PersonalizationError: "permit-unknown", exit 2.
    """
    with journal.reading() as connection:
        found = connection.execute(
            select(Batch.identifier, Row.number)
            .join(Row, Row.batch_id == Batch.id)
            .where(Row.permit == recognised, Row.state == RowState.GOOD)
            .limit(1)
        ).one_or_none()
    if found is None:
        raise PersonalizationError("permit-unknown", exit_code=2)
    return CardPlace(found[0], found[1])


class MadePermit(NamedTuple):
    """A permit with a good card.

    Attributes:
        batch: batch identifier.
        source: path of the batch's sealed source data.
        row: row in the delivered sheet.
        recognised: the permit number, as the key store recognises it.
        replaced_at: when a newer permit of the citizen took its place, microseconds since 1970; None while none did.
    """

    batch: str
    source: str
    row: int
    recognised: bytes
    replaced_at: int | None


def made_permits(journal: Journal) -> list[MadePermit]:
    """All permits with a good card, also those that a newer one has replaced since, batch by batch."""
    with journal.reading() as connection:
        found = connection.execute(
            select(Batch.identifier, Batch.source, Row.number, Row.permit, Cancellation.at)
            .join(Row, Row.batch_id == Batch.id)
            .join(Run, Run.row_id == Row.id)
            .outerjoin(Cancellation, Cancellation.old_row_id == Row.id)
            .where(Row.permit.is_not(None), Run.state.in_([RunState.GOOD, RunState.CANCELLED]))
            .order_by(Batch.id, Row.number)
        )
        return [MadePermit(row[0], row[1], row[2], row[3] or b"", row[4]) for row in found]


def knows_permit(journal: Journal, recognised: bytes) -> bool:
    """Whether any row, in whatever state, carries a permit."""
    with journal.reading() as connection:
        return connection.execute(select(Row.id).where(Row.permit == recognised).limit(1)).first() is not None


def find_card(journal: Journal, card_number: bytes) -> CardPlace:
    """The row that was last made on a chip.

    Args:
        journal: the open journal.
        card_number: chip serial, 10 bytes.

    Raises:
        PersonalizationError: "card-unknown", exit 2.
    """
    with journal.reading() as connection:
        found = connection.execute(
            select(Batch.identifier, Row.number)
            .join(Run, Run.batch_id == Batch.id)
            .join(Row, Row.id == Run.row_id)
            .join(Blank, Blank.id == Run.blank_id)
            .where(Blank.card_number == card_number.hex())
            .order_by(Run.id.desc())
            .limit(1)
        ).one_or_none()
    if found is None:
        raise PersonalizationError("card-unknown", exit_code=2, card_id=card_number.hex().upper())
    return CardPlace(found[0], found[1])
