"""A delivered file on disk: which parts it has and where they are, found without reading them into memory.

A part that is stored in the zip is read where it lies; one that is deflated is unpacked to a sealed copy in the work
folder of the batch.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.applicant import RESIDENCE_COLUMNS, SHEET_COLUMNS
from personalization.intake.cells import SheetRow
from personalization.intake.delivery import (
    PICTURES_END,
    RESIDENCE_END,
    TABLE_ENDS,
    DeliveryName,
    require_headings,
)
from personalization.intake.limits import PIECEWISE_LIMITS, ArchiveLimits
from personalization.intake.workbook import Workbook
from personalization.intake.zip_directory import ZipDirectory, ZipEntry
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.parts import PartPlace, seal_part

_PIECE: Final = 1 << 20
_OUTER_ENTRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class DeliveredFiles:
    """The files that make up one delivery.

    Attributes:
        name: what the main file's name says.
        paths: one zip, or table, pictures and perhaps residences.
    """

    name: DeliveryName
    paths: tuple[Path, ...]

    @classmethod
    def of(cls, path: Path) -> DeliveredFiles:
        """The files that belong to the one that was named.

        Raises:
            PersonalizationError: "batch-file-kind", "batch-file-missing" (exit 2), "batch-file-name",
                "batch-area-unknown".
        """
        ending = path.suffix.lower()
        if ending != ".zip" and ending not in TABLE_ENDS:
            raise PersonalizationError("batch-file-kind", exit_code=2, file=path.name)
        paths = [path]
        if ending != ".zip":
            paths.append(path.with_name(path.stem + PICTURES_END))
            residence = path.with_name(path.stem + RESIDENCE_END)
            paths += [residence] if ending == ".csv" and residence.exists() else []
        for each in paths:
            if not each.is_file():
                raise PersonalizationError("batch-file-missing", exit_code=2, file=each.name)
        return cls(DeliveryName.parse(path.stem), tuple(paths))

    def digests(self) -> tuple[bytes, tuple[bytes, ...]]:
        """SHA-256 of the delivery (of its files one after the other), and of each file."""
        whole = hashlib.sha256() if len(self.paths) > 1 else None
        with ThreadPoolExecutor(1) as beside:  # two sums over one content: neither holds the interpreter
            each = tuple(_digest(path, whole.update if whole else None, beside) for path in self.paths)
        return whole.digest() if whole else each[0], each


def _digest(path: Path, also: Callable[[bytes], None] | None, beside: Executor) -> bytes:
    """The sum of a file; whoever wants its content too gets it meanwhile."""
    own = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                taken = beside.submit(also, piece) if also else None
                own.update(piece)
                if taken:
                    taken.result()
    except OSError:
        raise PersonalizationError("batch-file-unreadable", exit_code=3, file=path.name) from None
    return own.digest()


@dataclass(frozen=True, slots=True)
class Located:
    """The parts of a delivery.

    Attributes:
        table: the table.
        kind: its ending, lower case.
        residences: the second table of a .csv.
        pictures: the zip of pictures.
    """

    table: PartPlace
    kind: str
    residences: PartPlace | None
    pictures: PartPlace


def locate(files: DeliveredFiles, work: Path, keys: KeyStore, limits: ArchiveLimits = PIECEWISE_LIMITS) -> Located:
    """Find the parts.

    Args:
        files: the delivery.
        work: folder for sealed copies of what is packed.
        keys: the batch's store, which seals them.
        limits: bounds.

    Raises:
        PersonalizationError: the delivery as a whole cannot be used.
    """
    main = files.paths[0]
    if main.suffix.lower() == ".zip":
        return _located_in_zip(main, work, keys, limits)
    places = [PartPlace(str(path.absolute()), 0, path.stat().st_size) for path in files.paths]
    _bounded(places[0], limits, main.name)
    return Located(places[0], main.suffix.lower(), places[2] if len(places) > 2 else None, places[1])  # noqa: PLR2004


def _located_in_zip(path: Path, work: Path, keys: KeyStore, limits: ArchiveLimits) -> Located:
    whole = PartPlace(str(path.absolute()), 0, path.stat().st_size)
    content = whole.open(keys)
    try:
        directory = ZipDirectory(content, limits, path.name)
        if directory.count > _OUTER_ENTRIES:
            raise PersonalizationError(
                "batch-archive-entries", archive=path.name, entries=directory.count, limit=_OUTER_ENTRIES
            )
        entries = list(directory.entries())
        if len({entry.name for entry in entries}) != len(entries):
            raise PersonalizationError("batch-archive-duplicate", archive=path.name)
        tables = [entry for entry in entries if PurePosixPath(entry.name).suffix.lower() in TABLE_ENDS]
        residences = [entry for entry in tables if entry.name.lower().endswith(RESIDENCE_END)]
        pictures = _only([entry for entry in entries if entry.name.lower().endswith(PICTURES_END)], "pictures")
        table = _only([entry for entry in tables if entry not in residences], "table")
        found = {"pictures": pictures, "table": table}
        kind = PurePosixPath(table.name).suffix.lower()
        if residences and kind == ".csv":
            found["residences"] = _only(residences, "table")
        places = {
            role: PartPlace(whole.path, directory.data_offset(entry), entry.unpacked)
            if entry.method == zipfile.ZIP_STORED
            else _unpacked(path, entry, work / role, keys, limits)
            for role, entry in found.items()
        }
    finally:
        content.close()
    _bounded(places["table"], limits, "table")
    return Located(places["table"], kind, places.get("residences"), places["pictures"])


def _only(entries: list[ZipEntry], role: str) -> ZipEntry:
    if len(entries) != 1:
        raise PersonalizationError(f"batch-{role}-file", found=len(entries))
    return entries[0]


def _bounded(place: PartPlace, limits: ArchiveLimits, label: str) -> None:
    if place.size > limits.table_bytes:
        raise PersonalizationError("batch-archive-too-large", archive=label, bytes=place.size, limit=limits.table_bytes)


def _unpacked(path: Path, entry: ZipEntry, target: Path, keys: KeyStore, limits: ArchiveLimits) -> PartPlace:
    """A sealed copy of a deflated entry."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry.name) as stream:
            return seal_part(stream, target, keys, min(entry.unpacked, limits.archive_bytes), target.name)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError):
        raise PersonalizationError("batch-archive-unreadable", archive=path.name) from None


def workbook_rows(place: PartPlace, sheet: int, keys: KeyStore) -> Iterator[SheetRow]:
    """The rows of a workbook's sheet below its headings; it is read whole, within the bounds of `Workbook`.

    Args:
        place: the workbook.
        sheet: 0 or 1; there need not be a second one.
        keys: the batch's store, for a workbook that was packed.

    Raises:
        PersonalizationError: the workbook cannot be used.
    """
    part, limits = place.open(keys), ArchiveLimits()
    try:
        _bounded(place, limits, "workbook")
        book = Workbook(part.read(0, part.size), limits, "workbook")
    finally:
        part.close()
    if book.sheet_count == 0:
        raise PersonalizationError("batch-table-unreadable", file="workbook")
    columns = (SHEET_COLUMNS, RESIDENCE_COLUMNS)[sheet]
    rows = book.read_rows(sheet, len(columns)) if sheet < book.sheet_count else iter(())
    first = next(rows, None)
    if first is not None:
        require_headings(first, columns)
        yield from rows
