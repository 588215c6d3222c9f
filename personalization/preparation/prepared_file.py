"""The prepared batch file: what production works through, card by card."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyStore
from personalization.preparation.record import PreparedRecord
from personalization.preparation.sealed_file import Purpose, SealedReader


class PreparedFile:
    """Prepared records by index or row; each is opened when it is asked for, and not kept.

    Raises:
        PersonalizationError: as `SealedReader`.
    """

    __slots__ = ("_file",)

    def __init__(self, path: Path, keystore: KeyStore) -> None:
        self._file = SealedReader(path, Purpose.PREPARED, keystore)

    @property
    def batch(self) -> str:
        """Batch identifier."""
        return self._file.batch

    def __len__(self) -> int:
        return len(self._file)

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

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PreparedFile({self.batch}, {len(self)} records)"
