"""Which card bodies a print was begun on: in the audit trail before the printer is told, shared by all machines."""

from __future__ import annotations

from sqlalchemy import Connection, select

from personalization.production.journal.database import Journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.tables import Blank, Event, Run
from personalization.production.states import RunState

PRINTER = "printer"
"""Name under which prints stand in the trail."""


class PrintLedger:
    """Begins and takes back prints.

    Args:
        journal: the open journal.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def begin(self, card_number: bytes) -> bool:
        """Write that a print on this card begins; False when one was begun before and not taken back."""
        with self._journal.transaction() as connection:
            entry = self._entry(connection, card_number, What.PRINT_BEGUN)
            told = (What.PRINT_BEGUN.value, What.PRINT_WITHDRAWN.value)
            last = select(Event.what).where(Event.blank_id == entry.blank_id, Event.what.in_(told))
            begun = connection.execute(last.order_by(Event.id.desc()).limit(1)).scalar() == What.PRINT_BEGUN.value
            if not begun:
                record(connection, PRINTER, [entry])
        return not begun

    def withdraw(self, card_number: bytes) -> None:
        """Write that the print did not take place: the printer was not ready and left the body as it was."""
        with self._journal.transaction() as connection:
            record(connection, PRINTER, [self._entry(connection, card_number, What.PRINT_WITHDRAWN)])

    def _entry(self, connection: Connection, card_number: bytes, what: What) -> Entry:
        run = connection.execute(
            select(Run.batch_id, Run.row_id, Run.blank_id, Run.id)
            .join(Blank, Blank.id == Run.blank_id)
            .where(Blank.card_number == card_number.hex(), Run.state == RunState.OPEN.value)
            .with_for_update(of=Run)  # two machines that begin at once: the second one sees what the first one wrote
        ).one()
        return Entry(what, run.batch_id, run.row_id, run.blank_id, run.id)
