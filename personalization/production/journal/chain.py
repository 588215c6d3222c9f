"""The audit chain: every entry carries a hash of itself and of all entries before it.

```
link(0)  32 × 00
link(n)  SHA-256(link(n−1) ‖ JSON array, UTF-8, of: id, at, who, what, batch_id, row_id, blank_id, run_id, facts)
```

``id`` counts from 1 without a gap, ``facts`` is text or null; the array is written without spaces and with all
characters as they are. The one row of ``audit_head`` holds the last number and its link: who writes entries locks it
first, which makes all writers of all machines take turns, and does so at the very end of its transaction, so that
nobody waits for a row while it holds the head.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from personalization.production.journal.tables import AuditHead, Event

FIRST_LINK: Final = bytes(32)
"""Link before the first entry."""

HEAD_ROW: Final = 1

CHAINED_FIELDS: Final = ("id", "at", "who", "what", "batch_id", "row_id", "blank_id", "run_id", "facts")
"""Columns that a link covers, in order."""

_LOCK_HEAD: Final = select(AuditHead.number, AuditHead.link).where(AuditHead.id == HEAD_ROW).with_for_update()
_MOVE_HEAD: Final = (
    update(AuditHead).where(AuditHead.id == HEAD_ROW).values(number=bindparam("new_number"), link=bindparam("new_link"))
)
_INSERT: Final = insert(Event)


def link_of(previous: bytes, entry: Mapping[str, object]) -> bytes:
    """The link of an entry, 32 bytes.

    Args:
        previous: link of the entry before it.
        entry: values of `CHAINED_FIELDS`.
    """
    content = json.dumps([entry[name] for name in CHAINED_FIELDS], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(previous + content.encode()).digest()


class ChainEnd(NamedTuple):
    """The last entry of a transaction.

    Attributes:
        number: its number.
        link: its link, which no other entry has.
    """

    number: int
    link: bytes


def append_entries(connection: Connection, entries: Sequence[dict[str, object]]) -> ChainEnd | None:
    """Number, link and write entries; the last thing that a transaction does. Returns the last one, None without any.

    Args:
        connection: the open transaction.
        entries: values of `CHAINED_FIELDS` but the number.
    """
    if not entries:
        return None
    head = connection.execute(_LOCK_HEAD).one()
    number, link = head.number, head.link
    for entry in entries:
        number += 1
        entry["id"] = number
        link = entry["link"] = link_of(link, entry)
    connection.execute(_INSERT, list(entries))
    connection.execute(_MOVE_HEAD, {"new_number": number, "new_link": link})
    return ChainEnd(number, link)


def is_in_chain(connection: Connection, entry: ChainEnd) -> bool:
    """Whether the trail has that entry, link and all."""
    found = select(Event.id).where(Event.id == entry.number, Event.link == entry.link)
    return connection.execute(found).first() is not None
