"""Sealed records of an office's cases, by number, with state and version: what an office has still to do.

The journal sees neither who a case is about nor what it holds: that is sealed by who hands it in. Each save is an entry
of the audit trail in the same transaction, which refers to the case by its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, insert, select, update

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal, now_us
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import SealedCase


class CaseEntry(NamedTuple):
    """A case as the journal keeps it.

    Attributes:
        number: counts cases from 1.
        state: where it is.
        sealed: its content.
        version: counts its changes from 1.
    """

    number: int
    state: str
    sealed: bytes
    version: int


def open_case(journal: Journal, state: str, seal: Callable[[int], bytes], who: str) -> int:
    """Keep a new case; returns its number.

    Args:
        journal: the open journal.
        state: where it is.
        seal: gives the sealed content for a number.
        who: operator, for the audit trail.
    """
    with journal.transaction() as connection:
        values = {"state": state, "version": 1, "sealed": b"", "changed_at": now_us()}
        number = connection.execute(insert(SealedCase).values(values).returning(SealedCase.number)).scalar_one()
        connection.execute(update(SealedCase).where(SealedCase.number == number).values(sealed=seal(number)))
        facts = {"case": number, "step": "open", "state": state}
        record(connection, who, [Entry(What.CASE_CHANGED, facts=facts)])
    return number


def find_case(journal: Journal, number: int) -> CaseEntry:
    """A case.

    Raises:
        PersonalizationError: "case-unknown" (exit 2).
    """
    found = _select(journal, SealedCase.number == number)
    if not found:
        raise PersonalizationError("case-unknown", exit_code=2, number=number)
    return found[0]


def cases_in(journal: Journal, states: Iterable[str]) -> list[CaseEntry]:
    """Cases in any of these states, in order of their numbers."""
    return _select(journal, SealedCase.state.in_(sorted(states)))


def _select(journal: Journal, condition: ColumnElement[bool]) -> list[CaseEntry]:
    table = SealedCase
    statement = select(table.number, table.state, table.sealed, table.version).where(condition).order_by(table.number)
    with journal.reading() as connection:
        return [CaseEntry(*row) for row in connection.execute(statement)]


def save_cases(journal: Journal, changed: Sequence[CaseEntry], who: str, step: str) -> None:
    """Keep cases in place of the versions that they name, all or none.

    Args:
        journal: the open journal.
        changed: new states and contents, with the versions that they replace.
        who: operator, for the audit trail.
        step: what was done.

    Raises:
        PersonalizationError: "case-changed" (exit 1), somebody else saved one of them since.
    """
    with journal.transaction() as connection:
        for entry in changed:
            done = connection.execute(
                update(SealedCase)
                .where(SealedCase.number == entry.number, SealedCase.version == entry.version)
                .values(state=entry.state, sealed=entry.sealed, version=entry.version + 1, changed_at=now_us())
            )
            if done.rowcount != 1:
                raise PersonalizationError("case-changed", number=entry.number)
        record(
            connection,
            who,
            [
                Entry(What.CASE_CHANGED, facts={"case": entry.number, "step": step, "state": entry.state})
                for entry in changed
            ],
        )
