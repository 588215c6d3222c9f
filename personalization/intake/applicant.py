"""What intake hands on: applicants, the batch they came in, and findings about what cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, IntEnum, StrEnum, unique
from typing import NamedTuple


@unique
class PermitType(StrEnum):
    """Permit types that rules know of; the type is the ninth digit of the permit number and other digits occur.

    `TWO_DIGIT` marks types written "0" and a further digit. Which digit that is has not been published, so it is
    not read: such a permit follows the rules of a type that is neither citizen-card nor child.
    """

    TWO_DIGIT = "0"
    CITIZEN_CARD = "3"
    CHILD = "5"


class Column(IntEnum):
    """Columns of a delivery: 1 to 16 stand in the first sheet, 21 to 25 in the second; 31 and 32 are not in a sheet."""

    PERMIT_NUMBER = 1
    NAME = 2
    BIRTH_DATE = 3
    SEX = 4
    ETHNIC_GROUP = 5
    CITIZEN_NUMBER = 6
    REGISTERED_ADDRESS = 7
    ISSUE_DATE = 8
    ISSUING_AUTHORITY = 9
    SERVICE_HOTLINE = 10
    BANK_ACCOUNT = 11
    ENDORSEMENT_DUE = 12
    AREA_CODE = 13
    PRODUCTION_DATE = 14
    CITIZEN_CARD_NUMBER = 15
    CITIZEN_CARD_ACCOUNT = 16
    RESIDENCE_CITIZEN_NUMBER = 21
    CURRENT_ADDRESS = 22
    REGISTRATION_NUMBER = 23
    REGISTRATION_DATE = 24
    REGISTERING_STATION = 25
    PORTRAIT = 31
    ROW = 32


SHEET_COLUMNS = tuple(column for column in Column if column <= Column.CITIZEN_CARD_ACCOUNT)
RESIDENCE_COLUMNS = tuple(
    column for column in Column if Column.RESIDENCE_CITIZEN_NUMBER <= column <= Column.REGISTERING_STATION
)


class Residence(NamedTuple):
    """Where the applicant lives now and how that was registered: one row of the optional second sheet."""

    current_address: str
    registration_number: str
    registration_date: date
    registering_station: str

    def __repr__(self) -> str:
        return "Residence(…)"


class Applicant(NamedTuple):
    """One checked row of a batch: the sixteen columns, the portrait, and the current residence if it was delivered.

    Args:
        row_number: row in the first sheet as a spreadsheet program counts, 1 is the topmost; unique in a batch.
        permit_number: 18 digits; the ninth is the permit type.
        name: NFC, 1 to 50 characters.
        birth_date: equal to digits 7 to 14 of the citizen number.
        sex: one digit of GB/T 2261.1; the column's two digits without the leading zero.
        ethnic_group: two digits of GB 3304 or of the GA supplement.
        citizen_number: 18 characters, the last 0 to 9 or X.
        registered_address: address of household registration, NFC, 1 to 100 characters.
        issue_date: first day of the permit.
        issuing_authority: NFC, 1 to 100 characters.
        service_hotline: NFC text.
        bank_account: 15 to 20 digits, None for a child's permit.
        endorsement_due: the validity column, understood as the day by which the next endorsement is due.
        area_code: six digits of GB/T 2260, equal to the area in the file's name.
        production_date: day on which the card is made.
        citizen_card_number: Z and eight digits; citizen-card type only, else None.
        citizen_card_account: 16 to 20 digits; citizen-card type only, else None.
        portrait: the picture file as delivered, checked to be a readable picture.
        residence: None where no second sheet or no row of it brought one.
    """

    row_number: int
    permit_number: str
    name: str
    birth_date: date
    sex: str
    ethnic_group: str
    citizen_number: str
    registered_address: str
    issue_date: date
    issuing_authority: str
    service_hotline: str
    bank_account: str | None
    endorsement_due: date
    area_code: str
    production_date: date
    citizen_card_number: str | None
    citizen_card_account: str | None
    portrait: bytes
    residence: Residence | None = None

    @property
    def permit_type(self) -> str:
        """One digit, the ninth of the permit number."""
        return self.permit_number[8]

    @property
    def is_child(self) -> bool:
        """Whether this is a child's permit, which carries no bank account."""
        return self.permit_number[8] == PermitType.CHILD

    def __repr__(self) -> str:
        return f"Applicant(row_number={self.row_number}, …)"


class Severity(Enum):
    """What a finding does to its row."""

    ERROR = "error"  # the row cannot be made
    WARNING = "warning"  # the row is made; a person should look


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one cell, row or picture of a batch.

    Args:
        rule: code of the rule, such as "citizen-number-check-digit"; the catalogues hold its words.
        row: row in the sheet (see `Applicant.row_number`), 0 when the finding belongs to no row of the first sheet.
        column: the column at fault.
        masked: the value with all but a few characters hidden, empty when there is none.
        severity: whether the row can go on.
        parameters: facts for the message, such as lengths and limits; never a value of the batch in clear.
    """

    rule: str
    row: int
    column: Column
    masked: str = ""
    severity: Severity = Severity.ERROR
    parameters: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, repr=False)
class Batch:
    """A delivery that may go on to preparation.

    Args:
        identifier: "RCO" and the time of receipt, 17 digits YYYYMMDDhhmmssmmm.
        area_code: the area in the file's name.
        declared_count: the count in the file's name.
        source_sha256: SHA-256 of the delivered file.
        applicants: the accepted rows in the order of the sheet.
        replaced: row numbers whose citizen already holds an older permit, to be cancelled after inspection.
    """

    identifier: str
    area_code: str
    declared_count: int
    source_sha256: bytes
    applicants: tuple[Applicant, ...]
    replaced: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        return f"Batch({self.identifier}, area {self.area_code}, {len(self.applicants)} applicants)"
