"""The audit trail: entries commit in the transaction of what they tell of, each linked to all before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from personalization.errors import PersonalizationError
from personalization.production.journal.database import AUDIT_ENTRIES, now_us
from personalization.production.journal.tables import Event

_USAGE: Final = 2


class What(StrEnum):
    """What can happen."""

    BLANKS_RECEIVED = "blanks-received"
    BLANK_SAMPLED = "blank-sampled"
    BLANK_DISCARDED = "blank-discarded"
    BLANK_RESTORED = "blank-restored"
    CARDS_DESTROYED = "cards-destroyed"
    DESTROYED = "destroyed"
    BATCH_LOADED = "batch-loaded"
    BATCH_RUNNING = "batch-running"
    BATCH_STOPPED = "batch-stopped"
    BATCH_COMPLETE = "batch-complete"
    CLAIMED = "claimed"
    MADE = "made"
    RELEASED = "released"
    SPOILED = "spoiled"
    GOOD = "good"
    REJECTED = "rejected"
    FIRST_ARTICLE = "first-article"
    ARTICLE_APPROVED = "article-approved"
    ROW_FAILED = "row-failed"
    ROW_RETRIED = "row-retried"
    CANCELLED = "cancelled"
    KEYS_REFUSED = "keys-refused"
    TAKEN_OVER = "taken-over"
    STATION_MANNED = "station-manned"
    STATION_JOINED = "station-joined"
    STATION_ENDED = "station-ended"
    STATION_LOST = "station-lost"
    COORDINATOR_LOST = "coordinator-lost"
    ORDERED = "ordered"
    RECOVERED = "recovered"
    DISPOSED = "disposed"
    CHECKPOINT = "checkpoint"
    APPROVED = "approved"
    REFUSED = "refused"
    BATCH_RELEASED = "batch-released"
    PRINT_BEGUN = "print-begun"
    PRINT_WITHDRAWN = "print-withdrawn"
    RETURN_WRITTEN = "return-written"
    RETURN_OPENED = "return-opened"
    LETTERS_WRITTEN = "letters-written"
    FACES_WRITTEN = "faces-written"
    REJECTS_OPENED = "rejects-opened"
    ELECTRONIC_PERMIT_ISSUED = "electronic-permit-issued"
    STATUS_PUBLISHED = "status-published"
    BATCH_ERASED = "batch-erased"
    KEYS_CHANGED = "keys-changed"
    SAM_BEGUN = "sam-begun"
    SAM_MADE = "sam-made"
    SAM_RETIRED = "sam-retired"
    SAM_TERMINATED = "sam-terminated"
    DOSSIER_SAVED = "dossier-saved"
    CASE_CHANGED = "case-changed"


class Entry(NamedTuple):
    """One entry.

    Attributes:
        what: what happened.
        batch_id: batch it happened to.
        row_id: row.
        blank_id: blank.
        run_id: run.
        facts: codes and numbers; never personal data, keys or PINs.
    """

    what: What
    batch_id: int | None = None
    row_id: int | None = None
    blank_id: int | None = None
    run_id: int | None = None
    facts: Mapping[str, object] | None = None


APPROVAL: Final = "approval"
"""Fact of an act that took two: number of the entry in which the second one approved."""

_TOLD_IN_ANY_CASE: Final = frozenset({What.KEYS_CHANGED})
"""Acts outside the database: they have happened when they are told of."""


def record(connection: Connection, who: str, entries: Sequence[Entry]) -> None:
    """Have entries of ``who`` (an operator or a station) written as this transaction commits, and not without it.

    Args:
        connection: of `Journal.transaction`.
        who: operator or station.
        entries: what happened, in order.

    Raises:
        PersonalizationError: "approval-used", exit 2: an entry names an approval that another act has used.
    """
    at = now_us()
    waiting: list[dict[str, object]] = connection.info[AUDIT_ENTRIES]
    for entry in entries:
        approval = (entry.facts or {}).get(APPROVAL)
        if approval is not None and entry.what not in _TOLD_IN_ANY_CASE:
            _spend(connection, waiting, int(str(approval)))
        waiting.append(
            {
                "at": at,
                "who": who,
                "what": entry.what.value,
                "batch_id": entry.batch_id,
                "row_id": entry.row_id,
                "blank_id": entry.blank_id,
                "run_id": entry.run_id,
                "facts": json.dumps(entry.facts, sort_keys=True) if entry.facts else None,
            }
        )


def is_spent(connection: Connection, approval: int) -> bool:
    """Whether an entry of the trail names that approval.

    Args:
        connection: that reads.
        approval: number of its entry.
    """
    named = f'"{APPROVAL}": {approval}'
    later = select(Event.facts).where(Event.id > approval, Event.facts.contains(named, autoescape=True))
    return any(json.loads(facts or "{}").get(APPROVAL) == approval for facts in connection.execute(later).scalars())


def _spend(connection: Connection, waiting: Sequence[Mapping[str, object]], approval: int) -> None:
    """Let one act use an approval, also when two try at the same moment: the second one waits for the first."""
    connection.execute(select(Event.id).where(Event.id == approval).with_for_update())
    told = (json.loads(str(entry["facts"] or "{}")) for entry in waiting)
    if any(facts.get(APPROVAL) == approval for facts in told) or is_spent(connection, approval):
        raise PersonalizationError("approval-used", exit_code=_USAGE, entry=approval)
