"""The records of a batch under the type they have, whether they are in one sealed file or in many."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, Self

from personalization.keys.keystore import KeyStore
from personalization.preparation.manifest import MANIFEST_ENDING, ChunkedReader
from personalization.preparation.sealed_file import Purpose, SealedReader


class RecordFile(Protocol):
    """Sealed records in ascending order of their rows."""

    @property
    def batch(self) -> str:
        """Batch identifier."""
        ...

    def __len__(self) -> int:
        """Records."""
        ...

    def row_number(self, index: int) -> int:
        """Row number of the record at ``index``, 0 is the first."""
        ...

    def row_numbers(self) -> Iterator[int]:
        """All row numbers in order."""
        ...

    def record(self, index: int) -> bytes:
        """Open the record at ``index``."""
        ...

    def record_of_row(self, row_number: int) -> bytes:
        """Open the record of a row."""
        ...

    def close(self) -> None:
        """Let go of files; safe to call twice."""
        ...


def open_records(path: Path, purpose: Purpose, keystore: KeyStore, *, batch: str | None = None) -> RecordFile:
    """Open one sealed file, or the chunks that a manifest lists.

    Raises:
        PersonalizationError: as `SealedReader` and `ChunkedReader`.
    """
    kind = ChunkedReader if path.suffix == MANIFEST_ENDING else SealedReader
    return kind(path, purpose, keystore, batch=batch)


class SealedRecords:
    """The records of one purpose; what reads one of the purposes builds on this.

    Args:
        path: a sealed file, or the manifest of a batch in chunks.
        keystore: has the key of the purpose.
        batch: identifier of the batch that the file has to be of; None takes any.

    Raises:
        PersonalizationError: as `open_records`.
    """

    __slots__ = ("_file",)

    purpose: ClassVar[Purpose]

    def __init__(self, path: Path, keystore: KeyStore, *, batch: str | None = None) -> None:
        self._file = open_records(path, self.purpose, keystore, batch=batch)

    @property
    def batch(self) -> str:
        """Batch identifier."""
        return self._file.batch

    def __len__(self) -> int:
        return len(self._file)

    def row_numbers(self) -> Iterator[int]:
        """All row numbers in order."""
        return self._file.row_numbers()

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
        return f"{type(self).__name__}({self.batch}, {len(self)} records)"
