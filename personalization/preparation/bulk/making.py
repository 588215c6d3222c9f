"""Preparing one chunk of checked rows: signatures, chip keys and PINs, sealed; and a signed statement of the chunk.

A chunk appears whole. What is drawn at random for a row (PIN, chip key) is in the record and in the letter of the same
attempt: when two workers make one chunk, one attempt stands and the other is thrown away.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyStore
from personalization.keys.signed_document import sign_document, written
from personalization.preparation.bulk.checking import MARKS
from personalization.preparation.bulk.layout import CHUNK_STATEMENT, BatchFolder, appearing, link_or_copy, sealed_in
from personalization.preparation.bulk.marks import RowMarks, Sound, read_marks
from personalization.preparation.bulk.plan import read_json
from personalization.preparation.faces import face_portrait
from personalization.preparation.manifest import file_digest
from personalization.preparation.prepare import Preparer, Recognition
from personalization.preparation.sealed_file import Purpose, SealedReader, SealedWriter, create_sealed
from personalization.preparation.source_file import decode_applicant

CHUNK_KIND: Final = "permitcard prepared chunk"
VERSION: Final = 1
ROWS: Final = "rows"
"""File of a chunk: row number (4) ‖ recognition values of permit and citizen number (32 each), as in the journal."""

_CHUNK_ROW: Final = struct.Struct(">I32s32s")
_CHECKED: Final = (Purpose.SOURCE, Purpose.FACES)


class ChunkMaker:
    """Prepares chunks of one batch; made once in each worker.

    Args:
        folder: of the batch.
        keys: the batch's store.
        preparer: of the profile.
    """

    __slots__ = ("_folder", "_keys", "_preparer", "_refused")

    def __init__(self, folder: BatchFolder, keys: KeyStore, preparer: Preparer) -> None:
        self._folder = folder
        self._keys = keys
        self._preparer = preparer
        self._refused: dict[int, frozenset[int]] | None = None

    def make(self, chunk: int) -> int:
        """Prepare a chunk, unless it has been; returns the number of its rows.

        Raises:
            PersonalizationError: what `Preparer.complete` refuses; a file cannot be read or written.
        """
        target = self._folder.chunk(chunk)
        if target.is_dir():
            return int(read_json(target / CHUNK_STATEMENT)["document"]["rows"])
        checked = self._folder.checked(chunk)
        refused = self._refused_rows().get(chunk, frozenset())
        marks = [row for row in read_marks(checked / MARKS) if not row.bits & Sound.FAULTY and row.row not in refused]
        with appearing(target) as attempt:
            for purpose in _CHECKED:
                self._hand_on(checked, attempt, purpose, refused)
            with self._sealed(attempt, Purpose.PREPARED) as records, self._sealed(attempt, Purpose.MAILER) as letters:
                self._complete(checked, marks, records, letters)
            (attempt / ROWS).write_bytes(b"".join([_row(row) for row in marks]))
            write_atomically(attempt / CHUNK_STATEMENT, written(self._statement(chunk, marks, attempt)), flush=False)
        return len(marks)

    def _complete(self, checked: Path, marks: list[RowMarks], records: SealedWriter, letters: SealedWriter) -> None:
        batch = self._folder.identifier
        with (
            SealedReader(sealed_in(checked, Purpose.SOURCE), Purpose.SOURCE, self._keys, batch=batch) as sources,
            SealedReader(sealed_in(checked, Purpose.FACES), Purpose.FACES, self._keys, batch=batch) as faces,
        ):
            wanted = {row.row: row for row in marks}
            for index, (number, source) in enumerate(sources.records()):
                row = wanted.get(number)
                if row is None:
                    continue
                applicant = decode_applicant(source)
                # Both files have the same rows.
                unchanged = row.bits & Sound.AS_DELIVERED
                portrait = applicant.portrait if unchanged else face_portrait(faces.record(index))
                recognition = Recognition(row.permit_recognition, row.citizen_recognition)
                record, letter = self._preparer.complete(applicant, portrait, recognition)
                records.append(row.row, record.encode())
                letters.append(row.row, letter.encode())

    def _hand_on(self, checked: Path, attempt: Path, purpose: Purpose, refused: Collection[int]) -> None:
        """The checked file itself, or a copy without rows that comparing with other chunks has refused."""
        source = sealed_in(checked, purpose)
        if not refused:
            link_or_copy(source, sealed_in(attempt, purpose))
            return
        with (
            SealedReader(source, purpose, self._keys, batch=self._folder.identifier) as reader,
            self._sealed(attempt, purpose) as writer,
        ):
            for row, record in reader.records():
                if row not in refused:
                    writer.append(row, record)

    def _sealed(self, attempt: Path, purpose: Purpose) -> AbstractContextManager[SealedWriter]:
        return create_sealed(sealed_in(attempt, purpose), purpose, self._folder.identifier, self._keys, flush=False)

    def _statement(self, chunk: int, marks: list[RowMarks], attempt: Path) -> dict[str, object]:
        """What the chunk is, signed: whoever opens one of its files can tell that it is the one that was made here."""
        document = {
            "kind": CHUNK_KIND,
            "version": VERSION,
            "batch": self._folder.identifier,
            "chunk": chunk,
            "rows": len(marks),
            "files": {purpose.label: file_digest(sealed_in(attempt, purpose)) for purpose in Purpose},
        }
        return sign_document(document, self._keys)

    def _refused_rows(self) -> dict[int, frozenset[int]]:
        if self._refused is None:
            document = read_json(self._folder.verdict)["refused"]
            self._refused = {int(chunk): frozenset(rows) for chunk, rows in document.items()}
        return self._refused


def _row(row: RowMarks) -> bytes:
    return _CHUNK_ROW.pack(row.row, row.permit_recognition, row.citizen_recognition)


def read_chunk_rows(path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """Row number and recognition values of permit and citizen of each row of a chunk, in order.

    Raises:
        PersonalizationError: "work-file-damaged", exit 3.
    """
    try:
        yield from _CHUNK_ROW.iter_unpack(path.read_bytes())
    except (OSError, struct.error):
        raise PersonalizationError("work-file-damaged", exit_code=3, file=path.name, reason="") from None


def chunk_extent(path: Path) -> tuple[int, int, int]:
    """How many rows a chunk has, its first row number and its last, 0 when it has none; raises as `read_chunk_rows`."""
    numbers = [number for number, _, _ in read_chunk_rows(path)]
    return (len(numbers), numbers[0], numbers[-1]) if numbers else (0, 0, 0)
