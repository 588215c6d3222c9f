"""The audit trail: entries commit in the transaction of what they tell of, each linked to all before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection

from personalization.production.journal.database import AUDIT_ENTRIES, now_us


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


def record(connection: Connection, who: str, entries: Sequence[Entry]) -> None:
    """Have entries of ``who`` (an operator or a station) written as this transaction commits, and not without it.

    Args:
        connection: of `Journal.transaction`.
        who: operator or station.
        entries: what happened, in order.
    """
    at = now_us()
    waiting: list[dict[str, object]] = connection.info[AUDIT_ENTRIES]
    waiting.extend(
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
        for entry in entries
    )
