"""The journal: what was received, claimed, made, inspected and spoiled, durable before it is acted upon."""

from personalization.production.journal.database import HEAD_REVISION, Journal, open_journal

__all__ = ["HEAD_REVISION", "Journal", "open_journal"]
