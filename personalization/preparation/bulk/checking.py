"""Checking one chunk: everything about its rows that needs no other row, and the portraits.

The portrait is decoded once: while it is checked, the card's portrait is made of it. Rows without a fault leave their
applicant and their card face, sealed; both are the same however often a chunk is checked.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from personalization.intake.applicant import Applicant, Column, Finding, Severity
from personalization.intake.cells import SheetRow, shown
from personalization.intake.code_tables import code_tables
from personalization.intake.limits import PIECEWISE_LIMITS, FieldLimits
from personalization.intake.portrait import use_portrait
from personalization.intake.row_check import CheckedRow, RowChecker, applicant_of, residence_of
from personalization.intake.zip_directory import ZipDirectory, ZipEntry
from personalization.keys.keystore import KeyStore
from personalization.preparation.bulk.dealing import DealtRows
from personalization.preparation.bulk.findings import write_findings
from personalization.preparation.bulk.index import MARK_LENGTH, QUESTIONS_AT_ONCE, DeliveryIndex, marker
from personalization.preparation.bulk.layout import BatchFolder, appearing, sealed_in
from personalization.preparation.bulk.marking import RESIDENCE_PLACE
from personalization.preparation.bulk.marks import RowMarks, Sound
from personalization.preparation.bulk.plan import Plan
from personalization.preparation.faces import FaceMaker
from personalization.preparation.portrait import is_production_picture, portrait_of
from personalization.preparation.sealed_file import Purpose, create_sealed
from personalization.preparation.source_file import encode_applicant

MARKS: Final = "marks"
FINDINGS: Final = "findings"
_UNMARKED: Final = bytes(MARK_LENGTH)
_UNRECOGNISED: Final = bytes(32)
_SOUND: Final = (
    (int(Column.PERMIT_NUMBER), Sound.PERMIT),
    (int(Column.CITIZEN_NUMBER), Sound.CITIZEN),
    (int(Column.BANK_ACCOUNT), Sound.ACCOUNT),
)
_PERMIT, _CITIZEN, _ACCOUNT = (column for column, _ in _SOUND)


class _Place(NamedTuple):
    """Where a row of the second sheet is, and whose."""

    chunk: int
    at: int
    citizen: bytes


@dataclass(slots=True)
class _Row:
    """A row while it is checked.

    Attributes:
        row: what its rules said.
        citizen: mark of its citizen number.
        residences: its rows of the second sheet.
        portraits: the delivered portrait and the card's, empty where there is none.
    """

    row: CheckedRow
    citizen: bytes
    residences: list[CheckedRow]
    portraits: tuple[bytes, bytes] = (b"", b"")


class ChunkChecker:
    """Checks chunks of one batch; made once in each worker.

    Args:
        folder: of the batch.
        plan: how it was dealt out.
        keys: the batch's store.
    """

    __slots__ = (
        "_checker",
        "_directory",
        "_faces",
        "_folder",
        "_index",
        "_keys",
        "_limits",
        "_mark",
        "_pictures",
        "_residence_checker",
        "_rows",
    )

    def __init__(self, folder: BatchFolder, plan: Plan, keys: KeyStore) -> None:
        self._folder = folder
        self._keys = keys
        self._limits = FieldLimits()
        self._mark = marker(plan.mark_key(keys))
        self._checker = RowChecker(plan.area_code, code_tables(), self._limits)
        self._residence_checker = RowChecker.for_residences(plan.area_code, code_tables(), self._limits)
        self._faces = FaceMaker()
        self._rows = DealtRows(folder, plan, keys)
        self._index = DeliveryIndex(folder.index)
        self._pictures = plan.pictures.open(keys)
        self._directory = ZipDirectory(self._pictures, PIECEWISE_LIMITS, "pictures")

    def close(self) -> None:
        """Let go of files."""
        self._index.close()
        self._pictures.close()

    def check(self, chunk: int) -> int:
        """Check a chunk, unless it has been; returns the number of its rows.

        Raises:
            PersonalizationError: a file of the batch cannot be read or written; faults of rows are findings.
        """
        rows = self._rows.applicants(chunk)
        if self._folder.checked(chunk).is_dir():
            return len(rows)
        findings: list[Finding] = []
        of_residences: list[Finding] = []
        reasons: dict[int, str] = {}
        with appearing(self._folder.checked(chunk)) as attempt:
            batch = self._folder.identifier
            source_path, face_path = sealed_in(attempt, Purpose.SOURCE), sealed_in(attempt, Purpose.FACES)
            with (
                create_sealed(source_path, Purpose.SOURCE, batch, self._keys, flush=False) as sources,
                create_sealed(face_path, Purpose.FACES, batch, self._keys, flush=False) as faces,
                (attempt / MARKS).open("wb") as marks,
            ):
                for each in self._check_rows(rows):
                    applicant = self._applicant(each)
                    if applicant is not None:
                        sources.append(applicant.row_number, encode_applicant(applicant))
                        faces.append(applicant.row_number, self._faces.make(applicant, each.portraits[1]).encode())
                    marks.write(self._marks(each).encode())
                    findings += each.row.findings
                    of_residences += [finding for row in each.residences for finding in row.findings]
                    if each.row.faulty:
                        reasons[each.row.source.number] = _reason(each)
            write_findings(attempt / FINDINGS, findings + of_residences, reasons)
        return len(rows)

    def _check_rows(self, rows: Sequence[SheetRow]) -> Iterator[_Row]:
        citizens = [self._mark(number_in(row)) for row in rows]
        residences = self._residences_of(citizens)
        # Some hundreds of rows at a time: more would be out of the processor's sight again.
        for at in range(0, len(rows), QUESTIONS_AT_ONCE):
            some = slice(at, at + QUESTIONS_AT_ONCE)
            yield from self._check_together(rows[some], citizens[some], residences)

    def _check_together(
        self, rows: Sequence[SheetRow], citizens: Sequence[bytes], residences: Mapping[bytes, Sequence[SheetRow]]
    ) -> Iterator[_Row]:
        checked = [self._checker.check(row) for row in rows]
        pictures = self._index.pictures(citizens)
        for row, citizen in zip(checked, citizens, strict=True):
            named = bool(row.view.text[_CITIZEN])
            each = _Row(row, citizen, self._check_residences(residences.get(citizen, ())) if named else [])
            self._find_portrait(each, pictures.get(citizen, ()) if named else ())
            if any(residence.faulty for residence in each.residences):
                # Without its residence the applicant would get a card other than the one that was ordered.
                row.faulty |= 1 << Column.RESIDENCE_CITIZEN_NUMBER
            yield each

    def _residences_of(self, citizens: Sequence[bytes]) -> dict[bytes, list[SheetRow]]:
        """Rows of the second sheet by citizen; each of its chunks is read once, in whatever order its rows are."""
        found: dict[bytes, list[SheetRow]] = defaultdict(list)
        places: list[_Place] = []
        for citizen, located in self._index.residences(citizens).items():
            for chunk, at in map(RESIDENCE_PLACE.unpack, located):
                places.append(_Place(chunk, at, citizen))
        for chunk, wanted in itertools.groupby(sorted(places), lambda place: place.chunk):
            rows = self._rows.residences(chunk)
            for place in wanted:
                found[place.citizen].append(rows[place.at])
        return found

    def _check_residences(self, residences: Sequence[SheetRow]) -> list[CheckedRow]:
        rows = [self._residence_checker.check(row) for row in residences]
        mark_doubles(rows)
        return rows

    def _find_portrait(self, each: _Row, places: Sequence[bytes]) -> None:
        row = each.row
        if len(places) == 1:
            self._check_portrait(each, ZipEntry.of_locator(places[0]))
        elif places:
            row.add("portrait-several", Column.PORTRAIT, {"found": len(places)})
        elif row.sound(Column.CITIZEN_NUMBER):
            row.add("portrait-missing", Column.PORTRAIT)

    def _check_portrait(self, each: _Row, entry: ZipEntry) -> None:
        limit = PIECEWISE_LIMITS.picture_bytes
        if entry.unpacked > limit:
            each.row.add("portrait-file-too-large", Column.PORTRAIT, {"bytes": entry.unpacked, "limit": limit})
            return
        delivered = self._directory.read(entry)
        if is_production_picture(delivered):
            each.portraits = delivered, delivered
            return
        broken, portrait = use_portrait(delivered, self._limits, lambda picture: portrait_of(picture, delivered))
        if broken is not None:
            each.row.add(broken[0], Column.PORTRAIT, broken[1])
        elif portrait is not None:
            each.portraits = delivered, portrait

    def _applicant(self, each: _Row) -> Applicant | None:
        if each.row.faulty:
            return None
        residence = residence_of(each.residences[0]) if each.residences else None
        return applicant_of(each.row, each.portraits[0], residence)

    def _marks(self, each: _Row) -> RowMarks:
        row, text = each.row, each.row.view.text
        bits = sum([bit for column, bit in _SOUND if text[column] and not row.faulty >> column & 1])
        permit, citizen = _UNRECOGNISED, _UNRECOGNISED
        if row.faulty:
            bits |= Sound.FAULTY
        if each.portraits[0] is each.portraits[1]:
            bits |= Sound.AS_DELIVERED
        if bits & Sound.PERMIT:
            permit = self._keys.recognise(text[_PERMIT].encode("ascii"))
        if bits & Sound.CITIZEN:
            citizen = self._keys.recognise(text[_CITIZEN].encode("ascii"))
        return RowMarks(
            row.source.number,
            bits,
            self._mark(text[_PERMIT]),
            each.citizen,
            self._mark(text[_ACCOUNT]) if text[_ACCOUNT] else _UNMARKED,
            permit,
            citizen,
        )


def number_in(row: SheetRow) -> str:
    """The citizen number of a row of the first sheet, as it was delivered."""
    place = _CITIZEN - 1
    return shown(row.cells[place]) if len(row.cells) > place else ""


def _reason(each: _Row) -> str:
    """The first rule that keeps a row from going on."""
    findings = [*each.row.findings, *(finding for row in each.residences for finding in row.findings)]
    return next(finding.rule for finding in findings if finding.severity is Severity.ERROR)


def mark_doubles(residences: Sequence[CheckedRow]) -> None:
    """Put every one of several residences of one citizen at fault."""
    sound = [row for row in residences if row.sound(Column.RESIDENCE_CITIZEN_NUMBER)]
    for row in sound if len(sound) > 1 else ():
        row.add("duplicate-residence", Column.RESIDENCE_CITIZEN_NUMBER)
