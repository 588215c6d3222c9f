"""What earlier batches held: asked by intake before a batch is accepted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from sqlalchemy import select

from personalization.production.journal.database import Journal
from personalization.production.journal.driver import select_among
from personalization.production.journal.tables import Batch, Row
from personalization.production.states import LIVE_ROWS, RowState

Recognise = Callable[[str], bytes]
"""Recognition value of a number: `KeyStore.recognise` over what preparation feeds it with."""

_LIVE: Final = tuple(state.value for state in LIVE_ROWS)
_ACCEPTED: Final = (*_LIVE, RowState.CANCELLED.value)
_QUESTIONS_AT_ONCE: Final = 500


def batch_of_file(journal: Journal, sha256: bytes) -> str | None:
    """Name of the batch that was made from the file of that hash; None when there is none."""
    with journal.reading() as connection:
        return connection.execute(select(Batch.identifier).where(Batch.source_hash == sha256)).scalar()


def known_permits(journal: Journal, recognised: Sequence[bytes]) -> AbstractSet[bytes]:
    """Those recognition values whose permit was accepted before, made or not, cancelled or not."""
    return _known(journal, "permit", _ACCEPTED, recognised)


def _known(journal: Journal, column: str, states: Collection[str], recognised: Sequence[bytes]) -> AbstractSet[bytes]:
    known: set[bytes] = set()
    with journal.reading() as connection:
        for at in range(0, len(recognised), _QUESTIONS_AT_ONCE):
            asked = recognised[at : at + _QUESTIONS_AT_ONCE]
            found = select_among(connection, Row.__tablename__, (column, "state"), column, asked)
            known.update(value for value, state in found if state in states)
    return known


class JournalHistory:
    """Files, permits and citizens of all batches in a journal; it holds no numbers and knows them by their HMAC.

    Args:
        journal: the open journal.
        recognise_permit: recognition value of a permit number.
        recognise_citizen: recognition value of a citizen number.
    """

    def __init__(self, journal: Journal, recognise_permit: Recognise, recognise_citizen: Recognise) -> None:
        self._journal = journal
        self._recognise_permit = recognise_permit
        self._recognise_citizen = recognise_citizen

    def batch_of_file(self, sha256: bytes) -> str | None:
        """See `batch_of_file`."""
        return batch_of_file(self._journal, sha256)

    def known_permit_numbers(self, numbers: Collection[str]) -> AbstractSet[str]:
        """See `known_permits`."""
        by_value = {self._recognise_permit(number): number for number in numbers}
        return {by_value[value] for value in known_permits(self._journal, list(by_value))}

    def permit_holders(self, citizen_numbers: Collection[str]) -> AbstractSet[str]:
        """Those whose citizen has a permit that is not cancelled, and which a newer one would cancel."""
        by_value = {self._recognise_citizen(number): number for number in citizen_numbers}
        return {by_value[value] for value in _known(self._journal, "citizen", _LIVE, list(by_value))}
