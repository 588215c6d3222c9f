"""Bounds of a delivery and of its fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What a delivered file may hold before it is taken for an attack or a mistake.

    Args:
        archive_bytes: the delivered file and each file inside it, unpacked.
        table_bytes: the spreadsheet or text file, unpacked.
        picture_bytes: one picture.
        unpacked_bytes: everything inside one archive together.
        entries: files in one archive.
        expansion: unpacked size of an entry over its packed size; entries below `expansion_floor` are not judged.
        expansion_floor: unpacked bytes up to which any ratio is harmless.
        rows: rows in a sheet.
        columns: columns in a sheet, used or not.
    """

    archive_bytes: int = 1024 * _MEBIBYTE
    table_bytes: int = 256 * _MEBIBYTE
    picture_bytes: int = _MEBIBYTE // 2
    unpacked_bytes: int = 2048 * _MEBIBYTE
    entries: int = 120_000
    expansion: int = 200
    expansion_floor: int = _MEBIBYTE
    rows: int = 100_000
    columns: int = 52


PIECEWISE_LIMITS: Final = ArchiveLimits(
    archive_bytes=1 << 36,
    table_bytes=1 << 32,
    unpacked_bytes=1 << 36,
    entries=10_000_000,
    rows=10_000_000,
)
"""Bounds of a delivery that is read in pieces, so that its size costs disk and time, not memory."""


@dataclass(frozen=True, slots=True)
class FieldLimits:
    """What a field may hold so that the card, the printer and the register can take it.

    Args:
        name_characters: the register's column of names.
        address_characters: the register's columns of addresses, also of the issuing authority and the station.
        hotline_characters: what one line on the back of a card takes.
        registration_characters: registration number of the current residence.
        identity_bytes: EF.IDENTITY with its template 7F01.
        residence_bytes: EF.RESIDENCE with its template 7F02.
        portrait_width: smallest width in pixels, the production size.
        portrait_height: smallest height in pixels, the production size.
        portrait_side: largest width or height in pixels.
        portrait_ratio: smallest and largest width over height in thousandths; production is 717.
        bank_digits: shortest and longest account number.
        citizen_card_account_digits: shortest and longest citizen-card account.
        code_grace_months: how long police stations went on giving numbers under an abolished division code.
        earliest_birth: nobody born before is alive.
        earliest_issue: no permit of this form was issued before.
    """

    name_characters: int = 50
    address_characters: int = 100
    hotline_characters: int = 30
    registration_characters: int = 40
    identity_bytes: int = 1024
    residence_bytes: int = 512
    portrait_width: int = 71
    portrait_height: int = 99
    portrait_side: int = 4096
    portrait_ratio: tuple[int, int] = (600, 850)
    bank_digits: tuple[int, int] = (15, 20)
    citizen_card_account_digits: tuple[int, int] = (16, 20)
    code_grace_months: int = 180
    earliest_birth: date = date(1900, 1, 1)
    earliest_issue: date = date(2016, 1, 1)
