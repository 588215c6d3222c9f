"""Receiving a batch: open the file, check everything, and say what can go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Applicant, Batch, Column, Finding, Residence, Severity
from personalization.intake.cells import SheetRow
from personalization.intake.code_tables import code_tables
from personalization.intake.delivery import Delivery, DeliveryName, open_delivery
from personalization.intake.history import History
from personalization.intake.limits import ArchiveLimits, FieldLimits
from personalization.intake.masking import mask
from personalization.intake.portrait import check_portrait
from personalization.intake.row_check import CheckedRow, RowChecker, applicant_of, residence_of

_BATCH_PREFIX: Final = "RCO"
_MICROSECONDS_A_MILLISECOND: Final = 1000
_NAMED_ROWS: Final = 20
UNIQUE: Final = (
    (Column.PERMIT_NUMBER, "duplicate-permit-number"),
    (Column.CITIZEN_NUMBER, "duplicate-citizen-number"),
    (Column.BANK_ACCOUNT, "duplicate-bank-account"),
)


@dataclass(frozen=True, slots=True, repr=False)
class RejectedRow:
    """What was delivered about an applicant who cannot be made, to be corrected and sent in again.

    Args:
        source: the row of the first sheet; None for a picture or residence that belongs to no row.
        residences: its rows of the second sheet, one or none if all is well.
        pictures: its pictures, file name and content.
    """

    source: SheetRow | None
    residences: tuple[SheetRow, ...] = ()
    pictures: tuple[tuple[str, bytes], ...] = ()

    def __repr__(self) -> str:
        return "RejectedRow(…)"


@dataclass(frozen=True, slots=True, repr=False)
class Receipt:
    """The outcome of intake.

    Args:
        identifier: of the batch, see `Batch`.
        name: what the file's name says.
        source_sha256: SHA-256 of the delivered file.
        row_count: rows of the first sheet.
        findings: everything that was found, in the order of the sheet.
        applicants: rows without errors.
        rejected: all else that was delivered.
        replaced: rows among `applicants` whose citizen holds an older permit.
    """

    identifier: str
    name: DeliveryName
    source_sha256: bytes
    row_count: int
    findings: tuple[Finding, ...]
    applicants: tuple[Applicant, ...]
    rejected: tuple[RejectedRow, ...]
    replaced: frozenset[int]

    def __repr__(self) -> str:
        return f"Receipt({self.identifier}, {self.row_count} rows, {len(self.findings)} findings)"

    @property
    def error_count(self) -> int:
        """Findings that keep a row from going on."""
        return sum(finding.severity is Severity.ERROR for finding in self.findings)

    def batch(self, *, accept_good: bool = False) -> Batch:
        """The batch that goes on to preparation.

        Args:
            accept_good: go on with the rows without errors where others have some; else one error rejects the batch.

        Raises:
            PersonalizationError: `batch-rejected`, or `batch-empty` when no row is left.
        """
        errors = self.error_count
        if errors and not accept_good:
            raise PersonalizationError("batch-rejected", findings=errors, rows=self.row_count)
        if not self.applicants:
            raise PersonalizationError("batch-empty", rows=self.row_count)
        return Batch(
            self.identifier, self.name.area_code, self.name.count, self.source_sha256, self.applicants, self.replaced
        )


def batch_identifier(received: datetime) -> str:
    """The number of a batch that was received at ``received``: RCO and 17 digits YYYYMMDDhhmmssmmm."""
    return f"{_BATCH_PREFIX}{received:%Y%m%d%H%M%S}{received.microsecond // _MICROSECONDS_A_MILLISECOND:03d}"


def receive_batch(
    path: Path,
    history: History,
    received: datetime,
    archive_limits: ArchiveLimits | None = None,
    field_limits: FieldLimits | None = None,
) -> Receipt:
    """Read and check a delivered file.

    Args:
        path: the zip, or the table with its pictures zip beside it.
        history: what was received before.
        received: the time of receipt, which names the batch.
        archive_limits: bounds of unpacking.
        field_limits: bounds of fields.

    Raises:
        PersonalizationError: the file as a whole cannot be used or was accepted before. Faults of rows are findings.
    """
    archive_limits = archive_limits or ArchiveLimits()
    delivery = open_delivery(path, archive_limits)
    if (batch := history.batch_of_file(delivery.sha256)) is not None:
        raise PersonalizationError("batch-file-seen", file=path.name, batch=batch)
    return _Check(delivery, history, archive_limits, field_limits or FieldLimits()).receipt(received)


def name_rows(numbers: Sequence[int]) -> str:
    """Row numbers for a message; of very many, the first."""
    named = ", ".join(str(number) for number in numbers[:_NAMED_ROWS])
    return named if len(numbers) <= _NAMED_ROWS else f"{named} … ({len(numbers)})"


class _Check:
    """The check of one delivery: rows first, then what concerns several rows, then the verdict."""

    def __init__(self, delivery: Delivery, history: History, archive: ArchiveLimits, fields: FieldLimits) -> None:
        self._delivery = delivery
        self._history = history
        self._archive = archive
        self._fields = fields
        area = delivery.name.area_code
        checker = RowChecker(area, code_tables(), fields)
        self._rows = [checker.check(row) for row in delivery.table.applicants]
        residence_checker = RowChecker.for_residences(area, code_tables(), fields)
        self._residence_rows = [residence_checker.check(row) for row in delivery.table.residences]
        self._portraits: dict[int, bytes] = {}
        self._residences: dict[str, list[CheckedRow]] = defaultdict(list)
        self._loose: list[Finding] = []

    def receipt(self, received: datetime) -> Receipt:
        self._check_count()
        self._check_unique()
        self._check_history()
        self._check_portraits()
        self._check_residences()
        good = [row for row in self._rows if not row.faulty]
        holders = self._history.permit_holders([row.view.text[Column.CITIZEN_NUMBER] for row in good])
        findings = [finding for row in (*self._rows, *self._residence_rows) for finding in row.findings]
        return Receipt(
            identifier=batch_identifier(received),
            name=self._delivery.name,
            source_sha256=self._delivery.sha256,
            row_count=len(self._rows),
            findings=tuple(self._loose + findings),
            applicants=tuple(
                applicant_of(row, self._portraits[row.source.number], self._residence(row)) for row in good
            ),
            rejected=tuple(self._rejected()),
            replaced=frozenset(row.source.number for row in good if row.view.text[Column.CITIZEN_NUMBER] in holders),
        )

    def _check_count(self) -> None:
        declared, found = self._delivery.name.count, len(self._rows)
        if declared != found:
            self._loose.append(Finding("row-count", 0, Column.ROW, parameters={"declared": declared, "found": found}))

    def _check_unique(self) -> None:
        """Both rows are at fault: which of them is right cannot be known here."""
        for column, rule in UNIQUE:
            for rows in self._groups(self._rows, column):
                numbers = [row.source.number for row in rows]
                for row in rows:
                    row.add(rule, column, {"rows": name_rows(numbers)})

    @staticmethod
    def _groups(rows: Iterable[CheckedRow], column: Column) -> list[list[CheckedRow]]:
        by_value: dict[str, list[CheckedRow]] = defaultdict(list)
        for row in rows:
            value = row.sound(column)
            if value is not None:
                by_value[value].append(row)
        return [group for group in by_value.values() if len(group) > 1]

    def _check_history(self) -> None:
        numbered = [(row, number) for row in self._rows if (number := row.sound(Column.PERMIT_NUMBER)) is not None]
        known = self._history.known_permit_numbers([number for _, number in numbered])
        for row, number in numbered:
            if number in known:
                row.add("permit-number-seen", Column.PERMIT_NUMBER)

    def _check_portraits(self) -> None:
        claimed: set[str] = set()
        for row in self._rows:
            # A number at fault still names its picture, so that the picture is not called one too many.
            number = row.view.text[Column.CITIZEN_NUMBER]
            claimed.add(number)
            names = self._delivery.pictures.names(number) if number else []
            if len(names) == 1:
                self._check_portrait(row, names[0])
            elif names:
                row.add("portrait-several", Column.PORTRAIT, {"found": len(names)})
            elif row.sound(Column.CITIZEN_NUMBER):
                row.add("portrait-missing", Column.PORTRAIT)
        for stem in self._delivery.pictures.stems:
            if stem not in claimed:
                self._loose.append(Finding("portrait-without-row", 0, Column.PORTRAIT, mask(Column.PORTRAIT, stem)))

    def _check_portrait(self, row: CheckedRow, name: str) -> None:
        size = self._delivery.pictures.size(name)
        if size > self._archive.picture_bytes:
            row.add("portrait-file-too-large", Column.PORTRAIT, {"bytes": size, "limit": self._archive.picture_bytes})
            return
        content = self._delivery.pictures.read(name)
        broken = check_portrait(content, self._fields)
        if broken is not None:
            row.add(broken[0], Column.PORTRAIT, broken[1])
        self._portraits[row.source.number] = content

    def _check_residences(self) -> None:
        for rows in self._groups(self._residence_rows, Column.RESIDENCE_CITIZEN_NUMBER):
            for row in rows:
                row.add("duplicate-residence", Column.RESIDENCE_CITIZEN_NUMBER)
        applicants = {row.view.text[Column.CITIZEN_NUMBER]: row for row in self._rows}
        for residence in self._residence_rows:
            number = residence.view.text[Column.RESIDENCE_CITIZEN_NUMBER]
            self._residences[number].append(residence)
            applicant = applicants.get(number)
            if applicant is not None:
                # Without its residence the applicant would get a card other than the one that was ordered.
                applicant.faulty |= residence.faulty
            elif residence.sound(Column.RESIDENCE_CITIZEN_NUMBER):
                residence.add("residence-without-row", Column.RESIDENCE_CITIZEN_NUMBER)

    def _residence(self, row: CheckedRow) -> Residence | None:
        residences = self._residences.get(row.view.text[Column.CITIZEN_NUMBER])
        return residence_of(residences[0]) if residences else None

    def _rejected(self) -> Iterable[RejectedRow]:
        """Everything that was delivered and is not in a good row, each thing once."""
        pictures, residences = self._delivery.pictures, dict(self._residences)
        taken: set[str] = set()
        for row in self._rows:
            number = row.view.text[Column.CITIZEN_NUMBER]
            own = tuple(residence.source for residence in residences.pop(number, ()))
            names = [] if number in taken else pictures.names(number)
            taken.add(number)
            if row.faulty:
                yield RejectedRow(row.source, own, self._read_all(names))
        for rows in residences.values():
            yield RejectedRow(None, tuple(row.source for row in rows))
        for stem in pictures.stems:
            if stem not in taken:
                yield RejectedRow(None, (), self._read_all(pictures.names(stem)))

    def _read_all(self, names: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
        pictures = self._delivery.pictures
        return tuple(
            (name, pictures.read(name)) for name in names if pictures.size(name) <= self._archive.picture_bytes
        )
