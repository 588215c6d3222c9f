"""The prepared batch file: what production works through, card by card."""

from __future__ import annotations

from typing import ClassVar

from personalization.errors import PersonalizationError
from personalization.preparation.record import PreparedRecord
from personalization.preparation.sealed_file import Purpose
from personalization.preparation.sealed_records import SealedRecords


class PreparedFile(SealedRecords):
    """Prepared records by index or row; each is opened when it is asked for, and not kept."""

    __slots__ = ()

    purpose: ClassVar[Purpose] = Purpose.PREPARED

    def row_number(self, index: int) -> int:
        """Row number of the record at ``index``, 0 is the first."""
        return self._file.row_number(index)

    def record(self, index: int) -> PreparedRecord:
        """The record at ``index``, 0 is the first.

        Raises:
            IndexError: there is no such record.
            PersonalizationError: "sealed-data-refused", "record-malformed".
        """
        record = PreparedRecord.decode(self._file.record(index))
        if record.row_number != self._file.row_number(index):
            raise PersonalizationError("record-malformed", row=record.row_number)
        return record
