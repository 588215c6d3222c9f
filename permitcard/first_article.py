"""The first article: one card is made, inspected and shown; the rest waits until somebody else has approved it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personalization.errors import PersonalizationError
from personalization.production.acts import Act, Role
from personalization.production.journal.articles import approve_article, find_article, hold_for_article, is_held
from personalization.production.journal.batches import find_batch
from personalization.production.operators import approved, require_two
from personalization.production.states import BatchState
from personalization.production.station import Ending

if TYPE_CHECKING:
    from permitcard.job import Job


def hold(job: Job, identifier: str) -> None:
    """Have one card of a batch made before the others.

    Raises:
        PersonalizationError: exit 2: "role-missing"; "batch-started", cards of it were made already.
    """
    job.operator.require(Role.RUN)
    batch = find_batch(job.journal, identifier)
    if batch.state is not BatchState.LOADED:
        raise PersonalizationError("batch-started", exit_code=2, batch=identifier)
    with job.journal.transaction() as connection:
        hold_for_article(connection, job.operator.name, batch.id)


def admit(job: Job, identifier: str) -> None:
    """Let the rest of a held batch be made, when its first article is there and somebody else has approved it.

    Raises:
        PersonalizationError: exit 2: "role-missing", "approval-missing".
    """
    batch = find_batch(job.journal, identifier)
    with job.journal.reading() as connection:
        waits = is_held(connection, batch.id) and find_article(connection, batch.id) is not None
    if waits:
        approval = require_two(job.journal, job.roster, job.operator, Act.FIRST_ARTICLE, identifier)
        with job.journal.transaction() as connection:
            approve_article(connection, job.operator.name, batch.id, approved(approval))


def require_article(job: Job, identifier: str) -> None:
    """Let only a first article be approved that is there.

    Raises:
        PersonalizationError: exit 2: "batch-unknown", "no-first-article".
    """
    batch = find_batch(job.journal, identifier)
    with job.journal.reading() as connection:
        if not is_held(connection, batch.id) or find_article(connection, batch.id) is None:
            raise PersonalizationError("no-first-article", exit_code=2, batch=identifier)


def told(job: Job, identifier: str, error: PersonalizationError) -> PersonalizationError:
    """The same error; where a batch waits for its first article, with the card that has to be looked at."""
    if error.code != Ending.FIRST_ARTICLE.value:
        return error
    batch = find_batch(job.journal, identifier)
    with job.journal.reading() as connection:
        card = find_article(connection, batch.id)
    if card is None:
        return error
    return PersonalizationError(
        "first-article",
        batch=identifier,
        row=card.row_number,
        card_id=card.card_number.upper(),
        location=card.location,
    )
