"""Which row a finished card belongs to."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal
from personalization.production.journal.tables import Batch, Blank, Row, Run


class CardPlace(NamedTuple):
    """Where a card stands in the journal.

    Attributes:
        batch: batch identifier.
        row: row in the delivered sheet.
    """

    batch: str
    row: int


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
