"""Blank cards: receiving them, and counting them so that the counts add up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal, now_us
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Blank
from personalization.production.states import BlankState

_RECEIVED_AT_ONCE: Final = 100


class NewBlank(NamedTuple):
    """A blank card as it arrives.

    Attributes:
        card_number: chip serial, 10 bytes.
        location: address that a station's connector understands, such as ``sim:cards/0001.card``.
    """

    card_number: bytes
    location: str


def receive_blanks(
    journal: Journal,
    blanks: Iterable[NewBlank],
    *,
    lot: str,
    who: str,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Take blank cards into stock; returns how many.

    They are booked in groups as they come, so that ``blanks`` may make simulated cards while it is iterated: a card
    file that was made and not booked when the process died is not in the stock.

    Args:
        journal: the journal.
        blanks: the cards.
        lot: delivery or manufacturing lot.
        who: operator.
        progress: called with the number booked so far.

    Raises:
        PersonalizationError: "blank-known", a card number or place is in the stock already; its group is not booked.
    """
    total = 0
    source = iter(blanks)
    while group := list(islice(source, _RECEIVED_AT_ONCE)):
        _book(journal, group, lot, who)
        total += len(group)
        if progress:
            progress(total)
    return total


def receive_list(journal: Journal, blanks: Sequence[NewBlank], *, lot: str, who: str) -> int:
    """Take the blank cards of a delivery into stock, all or none; returns how many.

    Raises:
        PersonalizationError: "blank-known", a card number or place is in the stock already.
    """
    _book(journal, blanks, lot, who)
    return len(blanks)


def _book(journal: Journal, group: Sequence[NewBlank], lot: str, who: str) -> None:
    at = now_us()
    rows = [
        {
            "card_number": blank.card_number.hex(),
            "location": blank.location,
            "lot": lot,
            "state": BlankState.IN_STOCK.value,
            "key_failures": 0,
            "received_at": at,
        }
        for blank in group
    ]
    try:
        with journal.transaction() as connection:
            connection.execute(insert(Blank), rows)
            record(connection, who, [Entry(What.BLANKS_RECEIVED, facts={"count": len(group), "lot": lot})])
    except IntegrityError:
        raise PersonalizationError("blank-known", exit_code=2, lot=lot, first=group[0].location) from None


def places_beginning(journal: Journal, beginning: str, length: int) -> set[str]:
    """How the places of blanks go on behind a beginning, for so many characters; of all blanks that ever came.

    Cards that are gone count, too: what was numbered once is not numbered again.
    """
    part = func.substr(Blank.location, len(beginning) + 1, length)
    with journal.reading() as connection:
        found = select(part).where(Blank.location.startswith(beginning, autoescape=True)).distinct()
        return {str(name) for name in connection.execute(found).scalars()}


class StockCount(NamedTuple):
    """The stock in numbers.

    Attributes:
        received: all blanks that ever came in.
        by_state: blanks by state; their sum is ``received``.
    """

    received: int
    by_state: dict[BlankState, int]


def count_stock(journal: Journal) -> StockCount:
    """Count all blanks, in one consistent view."""
    with journal.reading() as connection:
        found = connection.execute(select(Blank.state, func.count()).group_by(Blank.state))
        counts = {BlankState(row[0]): row[1] for row in found}
    return StockCount(sum(counts.values()), {state: counts.get(state, 0) for state in BlankState})


def blank_locations(journal: Journal, state: BlankState) -> Iterator[tuple[str, str]]:
    """Card number (hex) and location of all blanks in ``state``."""
    with journal.reading() as connection:
        found = connection.execute(
            select(Blank.card_number, Blank.location).where(Blank.state == state.value).order_by(Blank.id)
        ).all()
    return iter([(row.card_number, row.location) for row in found])
