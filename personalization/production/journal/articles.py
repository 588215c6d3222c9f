"""The first article of a batch: one card is made and looked at before the others are begun.

Whether a batch is held stands in the audit trail, so that stations of all machines keep to it, also after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, func, select

from personalization.production.journal.corrections import GoodCard, good_card
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Batch, Event, Row, Run
from personalization.production.states import LIVE_RUNS, RunState

_ARTICLES: Final = 1
"""Cards that may be live before somebody has approved."""

_TOLD: Final = (What.FIRST_ARTICLE.value, What.ARTICLE_APPROVED.value)
_LIVE: Final = tuple(state.value for state in LIVE_RUNS)


def hold_for_article(connection: Connection, who: str, batch_id: int) -> None:
    """From now on one card of the batch is made, and no other before it is approved."""
    record(connection, who, [Entry(What.FIRST_ARTICLE, batch_id)])


def approve_article(connection: Connection, who: str, batch_id: int, facts: Mapping[str, object]) -> None:
    """The first article is approved: the others may be made."""
    record(connection, who, [Entry(What.ARTICLE_APPROVED, batch_id, facts=facts)])


def is_held(connection: Connection, batch_id: int) -> bool:
    """Whether a batch waits for its first article to be made or approved."""
    told = (
        select(Event.what).where(Event.batch_id == batch_id, Event.what.in_(_TOLD)).order_by(Event.id.desc()).limit(1)
    )
    return connection.execute(told).scalar() == What.FIRST_ARTICLE.value


def room_to_make(connection: Connection, batch_id: int, most: int) -> int:
    """How many cards, ``most`` at most, may be begun now; stations take turns at a batch that is held."""
    if not is_held(connection, batch_id):
        return most
    connection.execute(select(Batch.id).where(Batch.id == batch_id).with_for_update()).one()
    live = select(func.count()).select_from(Run).where(Run.batch_id == batch_id, Run.state.in_(_LIVE))
    return max(0, min(most, _ARTICLES - connection.execute(live).scalar_one()))


def find_article(connection: Connection, batch_id: int) -> GoodCard | None:
    """The first article when it is made and inspected, else None."""
    row = select(Row.number).join(Run, Run.row_id == Row.id).where(Run.batch_id == batch_id)
    number = connection.execute(row.where(Run.state == RunState.GOOD.value).order_by(Row.number).limit(1)).scalar()
    return None if number is None else good_card(connection, batch_id, number)
