"""Sealed records by recognition value, with a version against lost updates: what an office knows of a permit.

The journal sees neither the permit nor the content: the key is an HMAC, the content is sealed by who hands it in. Each
save is an entry of the audit trail in the same transaction.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal, now_us
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import SealedDossier


class SealedEntry(NamedTuple):
    """A sealed record and its version."""

    sealed: bytes
    version: int


def find_dossier(journal: Journal, recognised: bytes) -> SealedEntry | None:
    """The record of a recognition value (32 bytes), None when there is none."""
    with journal.reading() as connection:
        found = connection.execute(
            select(SealedDossier.sealed, SealedDossier.version).where(SealedDossier.recognised == recognised)
        ).one_or_none()
    return SealedEntry(found[0], found[1]) if found is not None else None


def list_dossiers(journal: Journal) -> list[tuple[bytes, bytes]]:
    """All records: recognition value and sealed content."""
    with journal.reading() as connection:
        found = connection.execute(select(SealedDossier.recognised, SealedDossier.sealed))
        return [(row[0], row[1]) for row in found]


def save_dossier(journal: Journal, recognised: bytes, entry: SealedEntry, who: str, operation: str) -> int:
    """Keep a record in place of the version that was found; 0 for a new one. Returns the new version.

    Args:
        journal: the open journal.
        recognised: recognition value, 32 bytes.
        entry: the new content, and the version that it replaces.
        who: operator, for the audit trail.
        operation: what was done, for the audit trail.

    Raises:
        PersonalizationError: "dossier-changed" (exit 1), somebody else saved it since.
    """
    values = {"sealed": entry.sealed, "version": entry.version + 1, "changed_at": now_us()}
    with journal.transaction() as connection:
        if entry.version == 0:
            try:
                connection.execute(insert(SealedDossier).values(recognised=recognised, **values))
            except IntegrityError as error:
                raise PersonalizationError("dossier-changed") from error
        else:
            done = connection.execute(
                update(SealedDossier)
                .where(SealedDossier.recognised == recognised, SealedDossier.version == entry.version)
                .values(**values)
            )
            if done.rowcount != 1:
                raise PersonalizationError("dossier-changed")
        record(
            connection, who, [Entry(What.DOSSIER_SAVED, facts={"operation": operation, "version": entry.version + 1})]
        )
    return entry.version + 1
