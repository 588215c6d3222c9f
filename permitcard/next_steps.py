"""What may be done with a batch now: the last of the three questions at 3 a.m."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from personalization.production.journal.articles import find_article, is_held
from personalization.production.journal.batches import is_released
from personalization.production.journal.claims import in_doubt
from personalization.production.journal.corrections import rejected_and_alive
from personalization.production.journal.erasure import is_erased
from personalization.production.journal.stations import living
from personalization.production.states import BatchState, BlankState, StationState
from personalization.returns.facts import rows_without_letter

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from personalization.production.journal.batches import BatchStatus
    from personalization.production.journal.database import Journal


class Step(NamedTuple):
    """One thing that may be done.

    Attributes:
        code: of its words, ``next.CODE``.
        facts: for the words.
    """

    code: str
    facts: dict[str, object]


def next_steps(journal: Journal, status: BatchStatus) -> list[Step]:
    """What may be done with a batch, what comes first in front."""
    batch = status.batch
    facts: dict[str, object] = {"batch": batch.identifier}
    if is_erased(journal, batch.id):
        return [Step("erased", facts)]
    with journal.reading() as connection:
        held, article = is_held(connection, batch.id), find_article(connection, batch.id)
        complete = _when_complete(connection, batch.id, facts)
        paused = {station.state for station in living(connection, batch.id)} == {StationState.PAUSED}
        alive, doubtful = rejected_and_alive(connection, batch.id), in_doubt(connection, batch.id)
    steps: list[Step] = []
    if alive:
        steps.append(Step("old-card", {**facts, "count": len(alive)}))
    if doubtful and batch.state is not BatchState.RUNNING:
        steps.append(Step("doubt", {**facts, "count": len(doubtful)}))
    if batch.state is BatchState.COMPLETE:
        steps += complete
    elif batch.state is BatchState.RUNNING:
        steps.append(Step("paused" if paused else "running", facts))
    elif held and article is not None:
        steps.append(Step("article", {**facts, "row": article.row_number}))
    elif status.left and not status.stock[BlankState.IN_STOCK]:
        steps.append(Step("stock", {**facts, "count": status.left}))
    else:
        steps.append(Step("resume", {**facts, "count": status.accepted - status.good}))
    if spoiled := status.stock[BlankState.SPOILED]:
        steps.append(Step("destroy", {**facts, "count": spoiled}))
    if barred := status.stock[BlankState.BARRED]:
        steps.append(Step("barred", {**facts, "count": barred}))
    return steps


def _when_complete(connection: Connection, batch_id: int, facts: dict[str, object]) -> list[Step]:
    if not is_released(connection, batch_id):
        return [Step("release", facts)]
    without_letter = rows_without_letter(connection, batch_id)
    letters = [Step("letters", {**facts, "count": without_letter})] if without_letter else []
    return [Step("return", facts), *letters]
