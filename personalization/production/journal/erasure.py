"""What the journal forgets of a batch that is erased, and what it keeps.

It keeps states, counts, times and recognition values (HMAC under a key that is in the key store only), by which an
earlier issue is known again. It forgets the masked values that inspection showed, and nothing of them stays in free
pages or in the write-ahead log of SQLite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import select, update

from personalization.errors import PersonalizationError
from personalization.production.journal.batches import find_batch
from personalization.production.journal.database import Journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Batch, Blank, Event, Evidence, Run
from personalization.production.states import ACTIVE_RUNS, BatchState

_AT_REST: Final = frozenset({BatchState.LOADED, BatchState.STOPPED, BatchState.COMPLETE})


def require_erasable(journal: Journal, identifier: str) -> int:
    """Key of a batch that may be erased now.

    Raises:
        PersonalizationError: exit 2: "batch-unknown", "batch-at-work" (its coordinator runs, or cards are in
            somebody's hands), "batch-erased".
    """
    batch = find_batch(journal, identifier)
    active = [state.value for state in ACTIVE_RUNS]
    with journal.reading() as connection:
        in_hands = connection.execute(
            select(Run.id).where(Run.batch_id == batch.id, Run.state.in_(active)).limit(1)
        ).first()
    if batch.state not in _AT_REST or in_hands is not None:
        raise PersonalizationError("batch-at-work", exit_code=2, batch=identifier)
    if is_erased(journal, batch.id):
        raise PersonalizationError("batch-erased", exit_code=2, batch=identifier)
    return batch.id


def is_erased(journal: Journal, batch_id: int) -> bool:
    """Whether a batch was erased."""
    statement = select(Event.id).where(Event.batch_id == batch_id, Event.what == What.BATCH_ERASED.value).limit(1)
    with journal.reading() as connection:
        return connection.execute(statement).first() is not None


def source_hash(journal: Journal, batch_id: int) -> bytes:
    """SHA-256 of the file that the batch came in."""
    with journal.reading() as connection:
        return bytes(connection.execute(select(Batch.source_hash).where(Batch.id == batch_id)).scalar_one())


def card_locations(journal: Journal, batch_id: int) -> list[str]:
    """Where the cards are that rows of the batch were made on, spoiled ones included."""
    statement = (
        select(Blank.location)
        .join(Run, Run.blank_id == Blank.id)
        .where(Run.batch_id == batch_id)
        .distinct()
        .order_by(Blank.location)
    )
    with journal.reading() as connection:
        return list(connection.execute(statement).scalars())


def forget(journal: Journal, batch_id: int, who: str, facts: Mapping[str, object]) -> None:
    """Take what inspection showed out of the journal and record that the batch was erased.

    Args:
        journal: the open journal.
        batch_id: the batch.
        who: operator.
        facts: what was erased, in numbers.
    """
    runs = select(Run.id).where(Run.batch_id == batch_id)
    with journal.transaction() as connection:
        connection.execute(update(Evidence).where(Evidence.run_id.in_(runs)).values(checks=None))
        record(connection, who, [Entry(What.BATCH_ERASED, batch_id, facts=facts)])
    journal.compact()
