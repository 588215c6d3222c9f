"""Papers of a batch that go from hand to hand: the customer's receipt and the work order, as documents to be signed.

They hold counts, codes and days, and nothing personal, so that they outlive the batch's erasure.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import select

from personalization.formula_guard import without_formula
from personalization.permit.calendars import after_working_days
from personalization.production.journal.batches import BatchStatus, batch_status
from personalization.production.journal.database import Journal
from personalization.production.journal.erasure import source_hash
from personalization.production.journal.events import What
from personalization.production.journal.tables import Event, Row
from personalization.production.states import BlankState, RowState

RECEIPT_KIND: Final = "permitcard delivery receipt"
ORDER_KIND: Final = "permitcard work order"
VERSION: Final = 1
WORKING_DAYS: Final = 15
"""Working days from acceptance to the cards, where a contract says nothing else.

Source: practice of card centres; a holder is to have the permit 15 days after the application was accepted.
"""

_CHINA: Final = dt.timezone(dt.timedelta(hours=8))
_MICROSECONDS: Final = 1_000_000


def receipt_document(
    journal: Journal, identifier: str, *, rehearsal: bool, working_days: int = WORKING_DAYS
) -> dict[str, object]:
    """What the deliverer gets: that the file came, what of it was accepted, and when the cards are due.

    Args:
        journal: the open journal.
        identifier: the batch.
        rehearsal: whether the centre's keys are for rehearsal.
        working_days: from the day of receipt, which is not counted.

    Raises:
        PersonalizationError: "batch-unknown", exit 2.
    """
    status = batch_status(journal, identifier)
    with journal.reading() as connection:
        loaded = select(Event.who).where(Event.batch_id == status.batch.id, Event.what == What.BATCH_LOADED.value)
        received_by = connection.execute(loaded.order_by(Event.id).limit(1)).scalar() or ""
        refused = select(Row.reason).where(Row.batch_id == status.batch.id, Row.state == RowState.REJECTED.value)
        reasons = Counter(connection.execute(refused).scalars())
    return {
        "kind": RECEIPT_KIND,
        "version": VERSION,
        "batch": identifier,
        "rehearsal": rehearsal,
        "area": status.batch.area,
        "file_sha256": source_hash(journal, status.batch.id).hex(),
        "received_at": _china(status).isoformat(timespec="seconds"),
        "received_by": received_by,
        "delivered": status.batch.delivered,
        "accepted": status.accepted,
        "refused": status.rows[RowState.REJECTED],
        "refused_by_rule": {str(reason): reasons[reason] for reason in sorted(reasons, key=str)},
        **_due(status, working_days),
    }


def order_document(
    journal: Journal,
    identifier: str,
    *,
    rehearsal: bool,
    keys: Mapping[str, str],
    profile: str,
    by: str,
    working_days: int = WORKING_DAYS,
) -> dict[str, object]:
    """What the centre has to do: cards, blanks, keys, and the day by which it has to be done.

    Args:
        journal: the open journal.
        identifier: the batch.
        rehearsal: whether the centre's keys are for rehearsal.
        keys: check values of the keys to be used, by name.
        profile: name and version of the card profile.
        by: who orders it.
        working_days: from the day of receipt, which is not counted.

    Raises:
        PersonalizationError: "batch-unknown", exit 2.
    """
    status = batch_status(journal, identifier)
    in_stock = status.stock[BlankState.IN_STOCK]
    return {
        "kind": ORDER_KIND,
        "version": VERSION,
        "batch": identifier,
        "rehearsal": rehearsal,
        "area": status.batch.area,
        "profile": profile,
        "by": by,
        "received_at": _china(status).isoformat(timespec="seconds"),
        "to_make": status.accepted - status.rows[RowState.CANCELLED],
        "left": status.left + status.rows[RowState.FAILED],
        "in_stock": in_stock,
        "missing_blanks": max(0, status.left + status.rows[RowState.FAILED] - in_stock),
        "keys": dict(keys),
        **_due(status, working_days),
    }


def paper_table(document: Mapping[str, object]) -> bytes:
    """A paper as CSV: name and value, UTF-8 with byte order mark."""
    stream = io.StringIO(newline="")
    table = csv.writer(stream)
    table.writerow(("name", "value"))
    table.writerows((name, without_formula(value)) for name, value in _flat(document, ""))
    return stream.getvalue().encode("utf-8-sig")


def _flat(document: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _china(status: BatchStatus) -> dt.datetime:
    return dt.datetime.fromtimestamp(status.batch.received_at / _MICROSECONDS, _CHINA)


def _due(status: BatchStatus, working_days: int) -> dict[str, object]:
    deadline = after_working_days(_china(status).date(), working_days)
    return {
        "working_days": working_days,
        "due": deadline.day.isoformat(),
        "due_provisional": deadline.provisional,
    }
