"""Whose keys a journal is of: with others, permits that were made would not be known again, and be made once more."""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal
from personalization.production.journal.events import What
from personalization.production.journal.tables import Event, JournalKeys

_ROW: Final = 1


def require_keys_of(journal: Journal, recognition: bytes, audit: bytes) -> None:
    """Refuse a journal that was begun with other keys; one that says nothing yet is this store's from now on.

    One of before, the last checkpoint of which was signed with another key than the store's, stays as it is.

    Args:
        journal: the open journal.
        recognition: check value of the store's recognition key.
        audit: check value of its audit key.

    Raises:
        PersonalizationError: "journal-of-other-keys", exit 3.
    """
    with journal.reading() as connection:
        found = connection.execute(select(JournalKeys.recognition).where(JournalKeys.id == _ROW)).scalar()
        ours = found is None and _is_ours(connection, audit)
    if found is None and ours:
        try:
            with journal.transaction() as connection:
                connection.execute(insert(JournalKeys).values(id=_ROW, recognition=recognition))
        except IntegrityError:  # somebody else has just said it
            require_keys_of(journal, recognition, audit)
    elif found is not None and found != recognition:
        raise PersonalizationError(
            "journal-of-other-keys",
            exit_code=3,
            path=journal.place.shown,
            found=found.hex().upper(),
            ours=recognition.hex().upper(),
        )


def _is_ours(connection: Connection, audit: bytes) -> bool:
    """Whether nothing was signed yet, or the last checkpoint with this key."""
    last = select(Event.facts).where(Event.what == What.CHECKPOINT.value).order_by(Event.id.desc()).limit(1)
    facts = connection.execute(last).scalar()
    return facts is None or json.loads(facts).get("key") == audit.hex()
