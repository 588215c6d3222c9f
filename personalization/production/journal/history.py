"""What earlier batches held: asked by intake before a batch is accepted."""

from __future__ import annotations

from sqlalchemy import exists, select

from personalization.production.journal.database import Journal
from personalization.production.journal.tables import Batch, Row
from personalization.production.states import LIVE_ROWS, RowState

_SEEN = tuple(state.value for state in (*LIVE_ROWS, RowState.CANCELLED))


class JournalHistory:
    """Files, permits and citizens of all batches in a journal, known again by their hash or HMAC.

    Args:
        journal: the open journal.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def file_seen(self, source_hash: bytes) -> bool:
        """Whether a batch was made from that very file."""
        with self._journal.reading() as connection:
            return bool(connection.execute(select(exists().where(Batch.source_hash == source_hash))).scalar())

    def permit_seen(self, permit: bytes) -> bool:
        """Whether the permit with that recognition value was accepted before, made or not, cancelled or not."""
        with self._journal.reading() as connection:
            found = exists().where(Row.permit == permit, Row.state.in_(_SEEN))
            return bool(connection.execute(select(found)).scalar())

    def citizen_seen(self, citizen: bytes) -> bool:
        """Whether the citizen with that recognition value has a permit already, which a new one would cancel."""
        with self._journal.reading() as connection:
            found = exists().where(Row.citizen == citizen, Row.state.in_([state.value for state in LIVE_ROWS]))
            return bool(connection.execute(select(found)).scalar())
