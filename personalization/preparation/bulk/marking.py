"""Marking: which citizen each picture and each row of the second sheet is of, piece by piece; workers do it.

A file of marks is one record behind the other, mark (16) ‖ place: of a picture `ZipEntry.locator`, of a residence
`RESIDENCE_PLACE`. All files together make the index.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder
from personalization.intake.cells import SheetRow, shown
from personalization.intake.limits import PIECEWISE_LIMITS
from personalization.intake.zip_directory import LOCATOR_LENGTH, DirectoryPiece, ZipDirectory
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.dealing import DealtRows
from personalization.preparation.bulk.index import MARK_LENGTH, IndexWriter, marker
from personalization.preparation.bulk.layout import BatchFolder
from personalization.preparation.bulk.plan import Plan

RESIDENCE_PLACE: Final = struct.Struct(">II")
"""Where a residence is: its chunk, and its place in the chunk from 0."""

_PICTURE: Final = struct.Struct(f"{MARK_LENGTH}s{LOCATOR_LENGTH}s")
_RESIDENCE: Final = struct.Struct(f"{MARK_LENGTH}s{RESIDENCE_PLACE.size}s")


class PieceMarker:
    """Marks pieces of one batch; made once in each worker.

    Args:
        folder: of the batch.
        plan: how it was dealt out.
        keys: the batch's store.
    """

    __slots__ = ("_folder", "_keys", "_mark", "_plan", "_rows")

    def __init__(self, folder: BatchFolder, plan: Plan, keys: KeyStore) -> None:
        self._folder = folder
        self._plan = plan
        self._keys = keys
        self._mark = marker(plan.mark_key(keys))
        self._rows = DealtRows(folder, plan, keys)

    def mark(self, piece: int) -> int:
        """Mark a piece, unless it has been; returns how much it holds.

        Args:
            piece: number of a piece of the directory; behind these come the chunks of the second sheet.

        Raises:
            PersonalizationError: the archive of pictures cannot be used; a file cannot be read or written.
        """
        path = self._folder.marked(piece)
        if not path.exists():
            chunk = piece - len(self._plan.directory)
            marks = self._residences(chunk) if chunk > 0 else self._pictures(self._plan.directory[piece - 1])
            make_folder(path.parent)
            write_atomically(path, b"".join(marks))
        return self._plan.piece_sizes[piece]

    def _pictures(self, piece: DirectoryPiece) -> Iterator[bytes]:
        content = self._plan.pictures.open(self._keys)
        try:
            for entry in ZipDirectory(content, PIECEWISE_LIMITS, "pictures").entries(piece):
                yield self._mark(picture_stem(entry.name)) + entry.locator()
        finally:
            content.close()

    def _residences(self, chunk: int) -> Iterator[bytes]:
        for place, row in enumerate(self._rows.residences(chunk)):
            yield self._mark(_citizen(row)) + RESIDENCE_PLACE.pack(chunk, place)


def join_marks(folder: BatchFolder, plan: Plan) -> None:
    """Make the index of all files of marks; it appears when it is whole.

    Raises:
        PersonalizationError: "work-file-damaged", exit 3.
    """
    index = IndexWriter(folder.index)
    try:
        for piece in plan.piece_sizes:
            of_pictures = piece <= len(plan.directory)
            add, form = (index.add_pictures, _PICTURE) if of_pictures else (index.add_residences, _RESIDENCE)
            add(_read(folder.marked(piece), form))
        index.finish()
    finally:
        index.close()


def _read(path: Path, form: struct.Struct) -> Iterator[tuple[bytes, bytes]]:
    try:
        return form.iter_unpack(path.read_bytes())
    except (OSError, struct.error):
        raise PersonalizationError("work-file-damaged", exit_code=3, file=path.name, reason="") from None


def picture_stem(name: str) -> str:
    """A picture's file name without folder and ending: a citizen number, if all is well."""
    if "/" in name or name.endswith("."):
        return PurePosixPath(name).stem
    return name.rpartition(".")[0] or name


def _citizen(row: SheetRow) -> str:
    return shown(row.cells[0]) if row.cells else ""
