"""Re-making: a good card that turned out bad is barred, put out of service, and its row made again on a new blank.

The order is what keeps a permit off two live cards. The rejection commits first: run and blank are spoiled, the row
waits, and no blank is claimed for it while the old chip may still answer as a permit (`require_old_cards_dead`). Then
the card is terminated; one that does not let itself be is destroyed before a witness (see `disposal`). The run of the
old card, its evidence and its trace stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from personalization.errors import PersonalizationError
from personalization.production.journal.batches import find_batch
from personalization.production.journal.corrections import (
    cards_by_number,
    good_card,
    masters_of,
    reject_good,
    rejected_and_alive,
)
from personalization.production.journal.database import Journal
from personalization.production.journal.erasure import is_erased
from personalization.production.journal.spoiled import SpoiledCard
from personalization.production.operators import Approval, approved
from personalization.production.reject_reason import RejectReason
from personalization.production.states import BatchState, Disposal
from personalization.production.station import dispose
from personalization.production.work import Equipment

_USAGE: Final = 2
_TO_BE_TRIED: Final = frozenset({"", Disposal.NOT_REACHED.value})


class Rejected(NamedTuple):
    """A card that was rejected.

    Attributes:
        row: row in the delivered sheet.
        card_number: chip serial of the old card as hex.
        disposal: what became of the old chip; the card has to be destroyed first where it is not out of service.
        masters: check values (hex) of the keys with which the card was made, by name, as far as the journal knows.
    """

    row: int
    card_number: str
    disposal: Disposal
    masters: Mapping[str, str]

    @property
    def terminated(self) -> bool:
        """Whether the old chip is out of service."""
        return self.disposal is Disposal.TERMINATED


def subject_of(identifier: str, row: int) -> str:
    """What an approval of a re-make is about: ``BATCH/ROW``."""
    return f"{identifier}/{row}"


def require_row(journal: Journal, subject: str) -> tuple[str, int]:
    """Batch and row of an approval's subject.

    Raises:
        PersonalizationError: exit 2: "subject-malformed", "batch-unknown", "row-not-good".
    """
    identifier, _, digits = subject.rpartition("/")
    if not identifier or not digits.isdecimal():
        raise PersonalizationError("subject-malformed", exit_code=_USAGE, subject=subject)
    batch = find_batch(journal, identifier)
    with journal.reading() as connection:
        if good_card(connection, batch.id, int(digits)) is None:
            raise PersonalizationError("row-not-good", exit_code=_USAGE, batch=identifier, row=int(digits))
    return identifier, int(digits)


def reject_card(
    journal: Journal,
    identifier: str,
    row: int,
    reason: RejectReason,
    who: str,
    approval: Approval | None,
    equipment: AbstractContextManager[Equipment],
    look: Callable[[], None] = lambda: None,
) -> Rejected:
    """Bar a row's good card and have the row made again when the batch is resumed.

    Killed after its first commit, it is finished by `finish_rejections` before anything is made.

    Args:
        journal: the open journal.
        identifier: the batch.
        row: row in the delivered sheet.
        reason: why.
        who: operator.
        approval: of the second operator; None in a rehearsal of one person.
        equipment: to reach and terminate the card with; entered after the rejection is durable.
        look: sees that the row can be made again, before anything is decided.

    Raises:
        PersonalizationError: exit 2: "batch-unknown", "batch-erased", "batch-at-work", "row-not-good"; what ``look``
            finds; what entering ``equipment`` meets, and the rejection is durable then.
    """
    batch = find_batch(journal, identifier)
    if is_erased(journal, batch.id):
        raise PersonalizationError("batch-erased", exit_code=_USAGE, batch=identifier)
    if batch.state is BatchState.RUNNING:
        raise PersonalizationError("batch-at-work", exit_code=_USAGE, batch=identifier)
    look()
    with journal.transaction() as connection:
        card = good_card(connection, batch.id, row)
        if card is None:
            raise PersonalizationError("row-not-good", exit_code=_USAGE, batch=identifier, row=row)
        reject_good(connection, who, card, f"rejected: {reason.value}", _told(approval))
    finish_rejections(journal, batch.id, who, equipment)
    with journal.reading() as connection:
        (old,) = cards_by_number(connection, [card.card_number])
        masters = masters_of(connection, batch.id, card.card_number)
    return Rejected(row, card.card_number, Disposal(old.disposal), masters)


def finish_rejections(
    journal: Journal, batch_id: int, who: str, equipment: AbstractContextManager[Equipment]
) -> frozenset[str]:
    """Terminate rejected cards that nobody could try to terminate yet; returns the serials of those that still answer.

    Args:
        journal: the open journal.
        batch_id: the batch.
        who: operator.
        equipment: entered only when there is a card to terminate.
    """
    with journal.reading() as connection:
        waiting = [card for card in rejected_and_alive(connection, batch_id) if card.disposal in _TO_BE_TRIED]
    if waiting:
        with equipment as tools:
            for card in waiting:
                dispose(journal, who, tools, SpoiledCard(card.id, card.location, card.card_number))
    with journal.reading() as connection:
        return frozenset(card.card_number for card in rejected_and_alive(connection, batch_id))


def require_old_cards_dead(
    journal: Journal, batch_id: int, who: str, equipment: AbstractContextManager[Equipment]
) -> None:
    """Let a batch be resumed only when no rejected card of it can still answer as a permit.

    Raises:
        PersonalizationError: "old-card-alive", exit 2: destroy that card first.
    """
    alive = finish_rejections(journal, batch_id, who, equipment)
    if alive:
        raise PersonalizationError(
            "old-card-alive", exit_code=_USAGE, count=len(alive), card_id=", ".join(sorted(alive)).upper()
        )


def _told(approval: Approval | None) -> Mapping[str, object]:
    return approved(approval)
