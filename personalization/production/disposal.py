"""Cards that leave the stock other than as permits: samples, blanks that are discarded, cards that are destroyed.

Destroying takes two. Who destroys asks for the list of what waits; its identifier is a hash over the serials in it, so
that the witness approves exactly these cards and no other. The journal commits, then a certificate is signed; it is
made of what the journal says and can be written again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import select

from personalization.errors import PersonalizationError
from personalization.overwritten_file import overwrite_and_remove
from personalization.production.journal.corrections import StockCard, cards_by_number, cards_in, move_cards
from personalization.production.journal.database import Journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Blank, Event
from personalization.production.operators import Approval, approved
from personalization.production.states import BlankState

CERTIFICATE_KIND: Final = "permitcard destruction certificate"
VERSION: Final = 1
_USAGE: Final = 2
_FREE: Final = (BlankState.IN_STOCK,)
_SET_ASIDE: Final = (BlankState.BARRED,)
_UNTOUCHED: Final = (*_FREE, *_SET_ASIDE)
_SPOILED: Final = (BlankState.SPOILED,)
_WAITING: Final = (*_SPOILED, BlankState.SAMPLE)
_IDENTIFIER_DIGITS: Final = 16
_SIMULATED: Final = "sim:"
_MICROSECONDS: Final = 1_000_000


class DestructionList(NamedTuple):
    """What waits to be destroyed.

    Attributes:
        identifier: 16 hexadecimal digits of SHA-256 over the sorted serials.
        cards: the cards.
    """

    identifier: str
    cards: list[StockCard]


def take_samples(journal: Journal, count: int, purpose: str, who: str, lot: str | None = None) -> list[StockCard]:
    """Take blanks out of the stock as samples; returns them.

    Args:
        journal: the open journal.
        count: how many.
        purpose: what for, such as "incoming inspection".
        who: operator.
        lot: of this lot only.

    Raises:
        PersonalizationError: "stock-too-small", exit 2; nothing was taken.
    """
    with journal.transaction() as connection:
        free = [card for card in cards_in(connection, _FREE) if lot in {None, card.lot}]
        if len(free) < count:
            raise PersonalizationError("stock-too-small", exit_code=_USAGE, wanted=count, found=len(free))
        facts = {"purpose": purpose}
        move_cards(
            connection, who, free[:count], _FREE, BlankState.SAMPLE, What.BLANK_SAMPLED, reason=purpose, facts=facts
        )
    return free[:count]


def discard_blanks(journal: Journal, card_numbers: Sequence[str], reason: str, who: str) -> list[StockCard]:
    """Give up blanks that are in stock or barred, for damage that somebody saw; returns them.

    Raises:
        PersonalizationError: exit 2: "card-unknown", "card-not-so"; nothing was discarded.
    """
    with journal.transaction() as connection:
        cards = cards_by_number(connection, card_numbers)
        why = f"discarded: {reason}"
        move_cards(
            connection,
            who,
            cards,
            _UNTOUCHED,
            BlankState.SPOILED,
            What.BLANK_DISCARDED,
            reason=why,
            facts={"reason": reason},
        )
    return cards


def restore_blanks(journal: Journal, card_numbers: Sequence[str], who: str) -> list[StockCard]:
    """Take barred blanks back into the stock, once it is known why they were barred; returns them.

    Raises:
        PersonalizationError: exit 2: "card-unknown", "card-not-so"; nothing was restored.
    """
    with journal.transaction() as connection:
        cards = cards_by_number(connection, card_numbers)
        move_cards(connection, who, cards, _SET_ASIDE, BlankState.IN_STOCK, What.BLANK_RESTORED, reason="")
    return cards


def destruction_list(journal: Journal, *, samples: bool = False) -> DestructionList:
    """What waits to be destroyed: all spoiled cards, and the samples too where they are not needed any more."""
    states = _WAITING if samples else _SPOILED
    with journal.reading() as connection:
        cards = cards_in(connection, states)
    return DestructionList(_identifier(cards), cards)


def require_list(journal: Journal, identifier: str) -> DestructionList:
    """The list of that identifier, as it is now.

    Raises:
        PersonalizationError: exit 2: "nothing-to-destroy"; "destruction-list-other", cards came to it or left it.
    """
    lists = [destruction_list(journal), destruction_list(journal, samples=True)]
    for found in lists:
        if found.identifier == identifier and found.cards:
            return found
    if not lists[-1].cards:
        raise PersonalizationError("nothing-to-destroy", exit_code=_USAGE)
    raise PersonalizationError(
        "destruction-list-other", exit_code=_USAGE, list=identifier, now=lists[0].identifier, count=len(lists[0].cards)
    )


def destroy_cards(
    journal: Journal, wanted: DestructionList, root: Path, who: str, approval: Approval | None
) -> tuple[int, int]:
    """Record that the cards of a list were destroyed; returns the audit entry and how many images were removed.

    Images of simulated cards are overwritten and removed first: a crash then leaves cards that are gone and still
    listed, never a card that is listed as gone and still there.

    Args:
        journal: the open journal.
        wanted: the list, as the witness approved it.
        root: addresses of simulated cards are relative to it.
        who: operator.
        approval: of the witness; None in a rehearsal of one person.
    """
    removed = 0
    for card in wanted.cards:
        path = root / card.location.removeprefix(_SIMULATED)
        if card.location.startswith(_SIMULATED) and path.exists():
            overwrite_and_remove(path)
            removed += 1
    facts = {"list": wanted.identifier, "count": len(wanted.cards), "images": removed, **approved(approval)}
    with journal.transaction() as connection:
        record(connection, who, [Entry(What.CARDS_DESTROYED, facts=facts)])
        move_cards(
            connection,
            who,
            wanted.cards,
            _WAITING,
            BlankState.DESTROYED,
            What.DESTROYED,
            facts={"list": wanted.identifier},
        )
    return _entry_of(journal, wanted.identifier), removed


def destruction_document(journal: Journal, identifier: str, *, rehearsal: bool) -> dict[str, object]:
    """The certificate of a destruction that the journal knows, ready to be signed.

    Args:
        journal: the open journal.
        identifier: of the destruction list.
        rehearsal: whether the centre's keys are for rehearsal.

    Raises:
        PersonalizationError: "destruction-unknown", exit 2.
    """
    number = _entry_of(journal, identifier)
    with journal.reading() as connection:
        entry = connection.execute(select(Event.at, Event.who, Event.facts).where(Event.id == number)).one()
        facts: Mapping[str, object] = json.loads(entry.facts or "{}")
        told = select(Event.blank_id).where(Event.what == What.DESTROYED.value, Event.id > number).order_by(Event.id)
        count = int(str(facts["count"]))
        keys = list(connection.execute(told.limit(count)).scalars())
        columns = (Blank.card_number, Blank.lot, Blank.reason, Blank.disposal)
        cards = connection.execute(select(*columns).where(Blank.id.in_(keys)).order_by(Blank.id)).all()
    return {
        "kind": CERTIFICATE_KIND,
        "version": VERSION,
        "list": identifier,
        "entry": number,
        "rehearsal": rehearsal,
        "at": datetime.fromtimestamp(entry.at / _MICROSECONDS, UTC).isoformat(timespec="seconds"),
        "by": entry.who,
        "witness": facts["approved_by"],
        "count": count,
        "cards": [
            {
                "card_number": card.card_number.upper(),
                "lot": card.lot,
                "reason": card.reason or "",
                "disposal": card.disposal or "",
            }
            for card in cards
        ],
    }


def _entry_of(journal: Journal, identifier: str) -> int:
    statement = select(Event.id, Event.facts).where(Event.what == What.CARDS_DESTROYED.value).order_by(Event.id.desc())
    with journal.reading() as connection:
        for number, facts in connection.execute(statement):
            if json.loads(facts or "{}").get("list") == identifier:
                return int(number)
    raise PersonalizationError("destruction-unknown", exit_code=_USAGE, list=identifier)


def _identifier(cards: Sequence[StockCard]) -> str:
    serials = "\n".join(sorted(card.card_number for card in cards))
    return hashlib.sha256(serials.encode("ascii")).hexdigest()[:_IDENTIFIER_DIGITS]
