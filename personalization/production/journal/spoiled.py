"""Spoiled cards: which wait to be put out of service, and what became of their chips.

Every function runs in the caller's transaction.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select, update

from personalization.production.journal.claims import Claim
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.stations import held_by_the_living
from personalization.production.journal.tables import Blank, Run
from personalization.production.states import Disposal, RunState


class SpoiledCard(NamedTuple):
    """A spoiled card that is to be put out of service.

    Attributes:
        blank_id: key of the blank.
        location: where it should be.
        card_number: chip serial as hex.
    """

    blank_id: int
    location: str
    card_number: str

    @classmethod
    def of(cls, claim: Claim) -> SpoiledCard:
        """That of a claim."""
        return cls(claim.blank_id, claim.location, claim.card_number)


def record_disposal(connection: Connection, who: str, blank_id: int, disposal: Disposal) -> None:
    """What became of a spoiled card."""
    connection.execute(update(Blank).where(Blank.id == blank_id).values(disposal=disposal.value))
    record(connection, who, [Entry(What.DISPOSED, blank_id=blank_id, facts={"disposal": disposal.value})])


def undisposed(connection: Connection, batch_id: int) -> list[SpoiledCard]:
    """Spoiled blanks of a batch of which nobody alive will write what became of them."""
    rows = connection.execute(
        select(Blank.id, Blank.location, Blank.card_number)
        .join(Run, Run.blank_id == Blank.id)
        .where(
            Run.batch_id == batch_id,
            Run.state == RunState.SPOILED.value,
            Blank.disposal.is_(None),
            ~held_by_the_living(),
        )
    )
    return [SpoiledCard(row.id, row.location, row.card_number) for row in rows]
