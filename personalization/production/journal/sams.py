"""The centre's SAMs: which there are, with which keys each was made and by whom, and which may not be used any more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import Connection, insert, select, update

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal, now_us
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Sam
from personalization.production.states import SAM_TRANSITIONS, SamState

TERMINATED: Final = "terminated"
NOT_TERMINATED: Final = "not-terminated"
"""What became of the chip of a retired SAM."""

_USAGE: Final = 2


class SamEntry(NamedTuple):
    """One SAM as the journal knows it.

    Attributes:
        card_number: hex.
        state: where it is.
        profile: name and version.
        generation: of the cards that it opens.
        keys: check values (hex) of what it was made with, by name.
        begun_at: µs since 1970 UTC.
        made_at: the same, None before.
        made_by: operator.
        retired_at: the same, None before.
        reason: why it was retired.
        disposal: whether the retired chip was put out of service.
    """

    card_number: str
    state: SamState
    profile: str
    generation: int
    keys: Mapping[str, str]
    begun_at: int
    made_at: int | None
    made_by: str
    retired_at: int | None
    reason: str | None
    disposal: str | None


def list_sams(journal: Journal) -> list[SamEntry]:
    """All SAMs in the order in which they were begun."""
    return journal.read(_select)


def find_sam(journal: Journal, card_number: str) -> SamEntry:
    """The SAM of a card number (hex).

    Raises:
        PersonalizationError: "sam-unknown", exit 2.
    """
    found = journal.read(lambda connection: _select(connection, card_number))
    if not found:
        raise PersonalizationError("sam-unknown", exit_code=_USAGE, card_id=card_number.upper())
    return found[0]


def _select(connection: Connection, card_number: str | None = None) -> list[SamEntry]:
    columns = [getattr(Sam, name) for name in SamEntry._fields]
    statement = select(*columns).order_by(Sam.id)
    if card_number is not None:
        statement = statement.where(Sam.card_number == card_number.lower())
    return [
        SamEntry(*row)._replace(state=SamState(row.state), keys=json.loads(row.keys))
        for row in connection.execute(statement)
    ]


def begin_sam(
    journal: Journal,
    who: str,
    card_number: str,
    *,
    profile: str,
    generation: int,
    keys: Mapping[str, str],
    facts: Mapping[str, object],
) -> None:
    """Write that a SAM is about to be made, or made on; commits before the chip receives a write.

    Args:
        journal: the open journal.
        who: operator.
        card_number: hex.
        profile: name and version.
        generation: of the cards that it will open.
        keys: check values (hex) of the keys it is made with, by name.
        facts: what else belongs into the trail.

    Raises:
        PersonalizationError: exit 2: "sam-made", "sam-retired".
    """
    values = {
        "state": SamState.BEGUN.value,
        "profile": profile,
        "generation": generation,
        "keys": json.dumps(dict(keys), sort_keys=True),
        "begun_at": now_us(),
        "made_by": who,
    }

    def work(connection: Connection) -> None:
        if _select(connection, card_number):
            _change(connection, card_number, SamState.BEGUN, values)
        else:
            connection.execute(insert(Sam).values(card_number=card_number.lower(), **values))
        entry = {"card_id": card_number.upper(), "generation": generation, "keys": dict(keys), **facts}
        record(connection, who, [Entry(What.SAM_BEGUN, facts=entry)])

    journal.write(work)


def finish_sam(journal: Journal, who: str, card_number: str) -> None:
    """Write that a SAM is made and proved."""

    def work(connection: Connection) -> None:
        _change(connection, card_number, SamState.IN_USE, {"made_at": now_us()})
        record(connection, who, [Entry(What.SAM_MADE, facts={"card_id": card_number.upper()})])

    journal.write(work)


def retire_sam(journal: Journal, who: str, card_number: str, reason: str) -> None:
    """Write that a SAM is not used any more; its chip is not out of service yet.

    Args:
        journal: the open journal.
        who: operator.
        card_number: hex.
        reason: why, up to 64 characters.

    Raises:
        PersonalizationError: exit 2: "sam-unknown", "sam-retired".
    """
    find_sam(journal, card_number)

    def work(connection: Connection) -> None:
        values = {"retired_at": now_us(), "reason": reason, "disposal": NOT_TERMINATED}
        _change(connection, card_number, SamState.RETIRED, values)
        facts = {"card_id": card_number.upper(), "reason": reason}
        record(connection, who, [Entry(What.SAM_RETIRED, facts=facts)])

    journal.write(work)


def record_terminated(journal: Journal, who: str, card_number: str) -> None:
    """Write that the chip of a retired SAM was put out of service."""

    def work(connection: Connection) -> None:
        statement = update(Sam).where(Sam.card_number == card_number.lower(), Sam.state == SamState.RETIRED.value)
        connection.execute(statement.values(disposal=TERMINATED))
        facts = {"card_id": card_number.upper(), "disposal": TERMINATED}
        record(connection, who, [Entry(What.SAM_TERMINATED, facts=facts)])

    journal.write(work)


def _change(connection: Connection, card_number: str, wanted: SamState, values: Mapping[str, object]) -> None:
    """Compare and set, along the transitions."""
    before = [state.value for state, following in SAM_TRANSITIONS.items() if wanted in following]
    statement = update(Sam).where(Sam.card_number == card_number.lower(), Sam.state.in_(before))
    if connection.execute(statement.values(**{**values, "state": wanted.value})).rowcount != 1:
        found = _select(connection, card_number)[0]
        raise PersonalizationError(
            "sam-retired" if found.state is SamState.RETIRED else "sam-made",
            exit_code=_USAGE,
            card_id=card_number.upper(),
            reason=found.reason or "-",
        )
