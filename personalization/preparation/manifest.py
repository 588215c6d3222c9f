"""The manifest of a batch in chunks: a signed list of its files, and reading records through it.

```
{"kind", "version", "batch", "area", "source_sha256", "delivered_sha256": […], "rows", "chunks": [
    {"folder", "rows", "first_row", "last_row", "files": {purpose: SHA-256}}, …]}
```

signed by the audit key (`keys.signed_document`). A file is compared with its digest when it is opened, so that a chunk
can neither be changed nor be taken from another batch or place by anybody who has the sealing keys only.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError, unread
from personalization.keys.authorities import authorities_of
from personalization.keys.keystore import KeyStore
from personalization.keys.signed_document import read_signed, sign_document, written
from personalization.preparation.sealed_file import Purpose, SealedReader

MANIFEST_ENDING: Final = ".manifest"
KIND: Final = "permitcard prepared batch"
VERSION: Final = 1
_OPEN_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One chunk of a batch.

    Attributes:
        folder: its folder, relative to the manifest.
        rows: records in each of its files.
        first_row: row number of the first record, 0 in a chunk without records.
        last_row: of the last.
        files: SHA-256 by purpose, hexadecimal.
    """

    folder: str
    rows: int
    first_row: int
    last_row: int
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A batch in chunks; see the module.

    Attributes:
        batch: identifier.
        area: six digits of GB/T 2260.
        source_sha256: of the delivery, hexadecimal.
        delivered_sha256: of each delivered file, hexadecimal.
        chunks: in the order of their rows.
    """

    batch: str
    area: str
    source_sha256: str
    delivered_sha256: tuple[str, ...]
    chunks: tuple[ChunkEntry, ...]

    @property
    def rows(self) -> int:
        """Records of each purpose."""
        return sum(chunk.rows for chunk in self.chunks)

    def write(self, path: Path, keys: KeyStore) -> None:
        """Sign and write it; it appears whole."""
        document = {"kind": KIND, "version": VERSION, "rows": self.rows, **asdict(self)}
        write_atomically(path, written(sign_document(document, keys)))

    @classmethod
    def read(cls, path: Path, authority: bytes) -> Self:
        """Read and verify a manifest.

        Raises:
            PersonalizationError: "sealed-file-missing" (exit 3), "document-malformed", "document-not-genuine".
        """
        if not path.exists():
            raise PersonalizationError("sealed-file-missing", exit_code=3, file=str(path))
        document = read_signed(path, authority)
        if (document.get("kind"), document.get("version")) != (KIND, VERSION):
            raise PersonalizationError("document-malformed", place=str(path))
        try:
            return cls(
                document["batch"],
                document["area"],
                document["source_sha256"],
                tuple(document["delivered_sha256"]),
                tuple(_entry(entry) for entry in document["chunks"]),
            )
        except (KeyError, TypeError, ValueError):
            raise PersonalizationError("document-malformed", place=str(path)) from None


class ChunkedReader:
    """The records of one purpose of a batch in chunks, by index and by row; a few chunks are open at a time.

    Args:
        path: the manifest.
        purpose: which records.
        keystore: has the key of that purpose, and the authority's certificate.
        batch: identifier of the batch that it has to be of; None takes any.

    Raises:
        PersonalizationError: as `Manifest.read`; "sealed-file-other-batch".
    """

    __slots__ = ("_chunks", "_ends", "_folder", "_keystore", "_open", "_purpose", "batch")

    def __init__(self, path: Path, purpose: Purpose, keystore: KeyStore, *, batch: str | None = None) -> None:
        manifest = Manifest.read(path, authorities_of(keystore))
        if batch is not None and batch != manifest.batch:
            raise PersonalizationError("sealed-file-other-batch", file=str(path), batch=batch, found=manifest.batch)
        self._folder = path.parent
        self._purpose = purpose
        self._keystore = keystore
        self._chunks: Sequence[ChunkEntry] = [chunk for chunk in manifest.chunks if chunk.rows]
        self._ends = list(itertools.accumulate(chunk.rows for chunk in self._chunks))
        self._open: OrderedDict[int, SealedReader] = OrderedDict()
        self.batch = manifest.batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files; safe to call twice."""
        while self._open:
            self._open.popitem()[1].close()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __repr__(self) -> str:
        return f"ChunkedReader({self._purpose.label}, {len(self)} records)"

    def row_number(self, index: int) -> int:
        """See `SealedReader.row_number`."""
        reader, at = self._place(index)
        return reader.row_number(at)

    def row_numbers(self) -> Iterator[int]:
        """See `SealedReader.row_numbers`."""
        return itertools.chain.from_iterable(self._reader(chunk).row_numbers() for chunk in range(len(self._chunks)))

    def record(self, index: int) -> bytes:
        """See `SealedReader.record`."""
        reader, at = self._place(index)
        return reader.record(at)

    def record_of_row(self, row_number: int) -> bytes:
        """See `SealedReader.record_of_row`."""
        chunk = bisect.bisect_left(self._chunks, row_number, key=lambda entry: entry.last_row)
        if chunk == len(self._chunks):
            raise PersonalizationError("row-unknown", row=row_number, file=str(self._folder))
        return self._reader(chunk).record_of_row(row_number)

    def _place(self, index: int) -> tuple[SealedReader, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        chunk = bisect.bisect_right(self._ends, index)
        return self._reader(chunk), index - (self._ends[chunk] - self._chunks[chunk].rows)

    def _reader(self, chunk: int) -> SealedReader:
        found = self._open.get(chunk)
        if found is None:
            found = self._opened(self._chunks[chunk])
            if len(self._open) >= _OPEN_AT_ONCE:
                self._open.popitem(last=False)[1].close()
            self._open[chunk] = found
        else:
            self._open.move_to_end(chunk)
        return found

    def _opened(self, entry: ChunkEntry) -> SealedReader:
        path = self._folder / entry.folder / self._purpose.label
        try:
            digest = file_digest(path)
        except OSError as error:
            missing = PersonalizationError("sealed-file-missing", exit_code=3, file=str(path))
            raise unread(error, path, missing) from None
        if digest != entry.files.get(self._purpose.label):
            raise PersonalizationError("chunk-not-genuine", file=str(path))
        reader = SealedReader(path, self._purpose, self._keystore, batch=self.batch)
        if len(reader) != entry.rows:
            reader.close()
            raise PersonalizationError("chunk-not-genuine", file=str(path))
        return reader


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal: what ``sha256sum`` says."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _entry(document: dict[str, Any]) -> ChunkEntry:
    return ChunkEntry(
        str(document["folder"]),
        int(document["rows"]),
        int(document["first_row"]),
        int(document["last_row"]),
        dict(document["files"]),
    )
