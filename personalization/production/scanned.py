"""Cards that were printed before: each is made when its barcode has been read, the body decides the row.

A code that cannot be taken is refused before anything is claimed, and the next one can be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sqlalchemy import Connection, select

from personalization.errors import PersonalizationError
from personalization.production.journal.claims import Stage, claim_to_inspect
from personalization.production.journal.database import Journal
from personalization.production.journal.scans import claim_scanned, rows_of_permit
from personalization.production.journal.tables import Row, Run
from personalization.production.policy import Policy
from personalization.production.states import RowState
from personalization.production.station import Ending, Line, Progress, Station, Tray
from personalization.production.work import Equipment

SCANNER: Final = "scanner"
"""Name of the station in the journal."""

_CODE: Final = re.compile(r"[0-9]{18}")
_CARD: Final = re.compile(r"[0-9a-fA-F]{20}")
_REFUSED: Final = frozenset(
    {
        "barcode-unknown",
        "barcode-other-batch",
        "barcode-read-before",
        "barcode-not-wanted",
        "barcode-mismatch",
        "barcode-held",
        "card-unknown",
        "card-not-so",
    }
)


class Scan(NamedTuple):
    """What came of one reading.

    Attributes:
        row: row in the delivered sheet, 0 when the code was refused.
        good: whether there is a good card.
        error: why not: of the refusal, or None.
        reason: code of why the card was lost, empty else.
    """

    row: int
    good: bool
    error: PersonalizationError | None = None
    reason: str = ""


class _ScannedStation(Station):
    """A station that makes one row, the one that was read, and inspects it."""

    def __init__(
        self, journal: Journal, batch_id: int, equipment: Equipment, policy: Policy, permit: bytes, card_number: str
    ) -> None:
        line = Line(_not_ordered_home, _unheard)
        super().__init__(journal, batch_id, SCANNER, equipment, policy, line)
        self._permit = permit
        self._card_number = card_number
        self._taken = False

    def _claim(self, connection: Connection) -> Tray:
        batch_id, name, seat = self._batch_id, self._name, self._lease.station_id
        if not self._taken:
            claim = claim_scanned(connection, batch_id, name, self._permit, self._card_number, seat=seat)
            self._taken = True
            return Tray(waiting=[claim])
        return Tray(Stage.INSPECT, waiting=claim_to_inspect(connection, batch_id, name, 1, seat=seat))

    def _nothing_claimed(self) -> Ending | None:
        return Ending.DONE


def _not_ordered_home(seconds: float) -> bool:
    del seconds
    return False


def _unheard(progress: Progress) -> None:
    del progress


def make_scanned(
    journal: Journal,
    batch_id: int,
    equipment: Equipment,
    policy: Policy,
    readings: Iterable[str],
    recognise: Callable[[str], bytes],
    told: Callable[[Scan], None],
) -> list[Scan]:
    """Make a card for each barcode that is read; returns what came of all of them.

    Args:
        journal: the open journal.
        batch_id: the batch; its coordinator is who calls.
        equipment: of the station.
        policy: limits.
        readings: lines of a scanner: the code, and behind a blank the chip serial where a reader tells it.
        recognise: recognition value of a permit number.
        told: called with each result.

    Raises:
        PersonalizationError: what stops a station; the code that was read last is not refused but was not made.
    """
    scans: list[Scan] = []
    for reading in readings:
        words = reading.split()
        if not words:
            continue
        scan = _scan(journal, batch_id, equipment, policy, words, recognise)
        scans.append(scan)
        told(scan)
    return scans


def _scan(
    journal: Journal,
    batch_id: int,
    equipment: Equipment,
    policy: Policy,
    words: list[str],
    recognise: Callable[[str], bytes],
) -> Scan:
    code, *more = words
    card_number = more[0] if more else ""
    if not _CODE.fullmatch(code) or len(more) > 1 or (card_number and not _CARD.fullmatch(card_number)):
        return Scan(0, good=False, error=PersonalizationError("barcode-malformed", exit_code=2))
    permit = recognise(code)
    try:
        _ScannedStation(journal, batch_id, equipment, policy, permit, card_number.lower()).work()
    except PersonalizationError as error:
        if error.code not in _REFUSED:
            raise
        return Scan(0, good=False, error=error)
    with journal.reading() as connection:
        key = rows_of_permit(connection, permit)[batch_id]
        row = connection.execute(select(Row.id, Row.number, Row.state).where(Row.id == key)).one()
        last = select(Run.reason).where(Run.row_id == row.id).order_by(Run.id.desc()).limit(1)
        good = row.state == RowState.GOOD.value
        reason = "" if good else connection.execute(last).scalar() or ""
    return Scan(row.number, good=good, reason=reason)
