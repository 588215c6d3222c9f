"""A delivered file: its name, its table and its pictures.

Layout of a delivery: a zip named `resAppData-<area>(<from>-<to>)-<count>.zip` that holds one table (.xls, .xlsx or
.csv) and one `…-pictures.zip`; a .csv may be followed by `…-residence.csv` in place of the second sheet. A table may
also come unpacked, with `<its name>-pictures.zip` beside it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.applicant import RESIDENCE_COLUMNS, SHEET_COLUMNS, Column
from personalization.intake.archive import BoundedArchive
from personalization.intake.cells import SheetRow, Table, shown
from personalization.intake.code_tables import code_tables
from personalization.intake.delimited import read_rows
from personalization.intake.limits import ArchiveLimits
from personalization.intake.workbook import Workbook

_NAME: Final = re.compile(r"resAppData-(?P<area>\d{6})\((?P<first>\d+)-(?P<last>\d+)\)-(?P<count>\d{1,7})", re.ASCII)
PICTURES_END: Final = "-pictures.zip"
RESIDENCE_END: Final = "-residence.csv"
TABLE_ENDS: Final = frozenset({".xls", ".xlsx", ".csv"})

HEADINGS: Final[Mapping[Column, str]] = {
    Column.PERMIT_NUMBER: "居住证号",
    Column.NAME: "姓名",
    Column.BIRTH_DATE: "出生日期",
    Column.SEX: "性别",
    Column.ETHNIC_GROUP: "民族",
    Column.CITIZEN_NUMBER: "身份证号",
    Column.REGISTERED_ADDRESS: "户籍地区",
    Column.ISSUE_DATE: "签发日期",
    Column.ISSUING_AUTHORITY: "签发机关",
    Column.SERVICE_HOTLINE: "服务热线",
    Column.BANK_ACCOUNT: "银行卡号",
    Column.ENDORSEMENT_DUE: "有效期",
    Column.AREA_CODE: "区域代码",
    Column.PRODUCTION_DATE: "制卡日期",
    Column.CITIZEN_CARD_NUMBER: "市民卡编号",
    Column.CITIZEN_CARD_ACCOUNT: "市民卡号",
    Column.RESIDENCE_CITIZEN_NUMBER: "身份证号",
    Column.CURRENT_ADDRESS: "现居住地址",
    Column.REGISTRATION_NUMBER: "居住登记编号",
    Column.REGISTRATION_DATE: "居住登记日期",
    Column.REGISTERING_STATION: "登记派出所",
}


@dataclass(frozen=True, slots=True)
class DeliveryName:
    """What the name of a delivered file says.

    Args:
        area_code: six digits of GB/T 2260.
        first, last: the numbers in brackets; what they count is not published, so nothing is concluded from them.
        count: rows that the file should hold.
    """

    area_code: str
    first: int
    last: int
    count: int

    def __str__(self) -> str:
        return f"resAppData-{self.area_code}({self.first}-{self.last})-{self.count}"

    @classmethod
    def parse(cls, stem: str) -> DeliveryName:
        """The parts of a name without its ending; raises `batch-file-name` or `batch-area-unknown`."""
        match = _NAME.fullmatch(stem)
        if match is None:
            raise PersonalizationError("batch-file-name", expected="resAppData-<area>(<from>-<to>)-<count>")
        if code_tables().divisions.issuing_area(match["area"]) is None:
            raise PersonalizationError("batch-area-unknown", area=match["area"])
        return cls(match["area"], int(match["first"]), int(match["last"]), int(match["count"]))


class Pictures:
    """The pictures of a delivery by the citizen number that names them."""

    def __init__(self, archive: BoundedArchive) -> None:
        self._archive = archive
        self._names: dict[str, list[str]] = {}
        for name in archive.names:
            self._names.setdefault(PurePosixPath(name).stem, []).append(name)

    @property
    def stems(self) -> tuple[str, ...]:
        """File names without endings: citizen numbers, if all is well."""
        return tuple(self._names)

    def names(self, citizen_number: str) -> list[str]:
        """Files named by ``citizen_number``: one, if all is well."""
        return self._names.get(citizen_number, [])

    def size(self, name: str) -> int:
        """Declared size of a file in bytes."""
        return self._archive.size(name)

    def read(self, name: str) -> bytes:
        """Content of a file."""
        return self._archive.read(name)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivered file, opened.

    Args:
        name: what its name says.
        sha256: of the file that was delivered (of table and pictures one after the other if they came unpacked).
        table: the rows.
        pictures: the pictures.
    """

    name: DeliveryName
    sha256: bytes
    table: Table
    pictures: Pictures


def open_delivery(path: Path, limits: ArchiveLimits | None = None) -> Delivery:
    """Read a delivered file.

    Raises:
        PersonalizationError: the file as a whole cannot be used; what is wrong with rows is found later.
    """
    limits = limits or ArchiveLimits()
    content = _content(path, limits)
    ending = path.suffix.lower()
    if ending == ".zip":
        name = DeliveryName.parse(path.stem)
        outer = BoundedArchive(content, limits, path.name)
        files = {entry: outer.read(entry) for entry in outer.names}
        digest = hashlib.sha256(content)
    elif ending in TABLE_ENDS:
        name = DeliveryName.parse(path.stem)
        beside = [path.with_name(path.stem + PICTURES_END)]
        residence = path.with_name(path.stem + RESIDENCE_END)
        beside += [residence] if ending == ".csv" and residence.exists() else []
        files = {path.name: content} | {other.name: _content(other, limits) for other in beside}
        digest = hashlib.sha256(b"".join(files.values()))
    else:
        raise PersonalizationError("batch-file-kind", exit_code=2, file=path.name)
    pictures = _only(files, [entry for entry in files if entry.lower().endswith(PICTURES_END)], "batch-pictures-file")
    archive = BoundedArchive(pictures, limits, "pictures")
    return Delivery(name, digest.digest(), _read_table(files, limits), Pictures(archive))


def _content(path: Path, limits: ArchiveLimits) -> bytes:
    try:
        size = path.stat().st_size
        if size > limits.archive_bytes:
            raise PersonalizationError(
                "batch-archive-too-large", archive=path.name, bytes=size, limit=limits.archive_bytes
            )
        with path.open("rb") as stream:
            content = stream.read(size + 1)
    except FileNotFoundError as error:
        raise PersonalizationError("batch-file-missing", exit_code=2, file=path.name) from error
    except OSError as error:
        raise PersonalizationError("batch-file-unreadable", exit_code=3, file=path.name) from error
    if len(content) > size:  # a device, or a file that still grows
        raise PersonalizationError("batch-file-unreadable", exit_code=3, file=path.name)
    return content


def _only(files: Mapping[str, bytes], names: list[str], code: str) -> bytes:
    if len(names) != 1:
        raise PersonalizationError(code, found=len(names))
    return files[names[0]]


def _named(*names: str) -> str:
    """What a message calls a table: its name without its folder."""
    return "".join(PurePosixPath(name).name for name in names)


def _read_table(files: Mapping[str, bytes], limits: ArchiveLimits) -> Table:
    tables = [name for name in files if PurePosixPath(name).suffix.lower() in TABLE_ENDS]
    residences = [name for name in tables if name.lower().endswith(RESIDENCE_END)]
    mains = [name for name in tables if name not in residences]
    content = _only(files, mains, "batch-table-file")
    if len(content) > limits.table_bytes:
        raise PersonalizationError("batch-archive-too-large", archive=mains[0], limit=limits.table_bytes)
    if mains[0].lower().endswith(".csv"):
        rows = tuple(read_rows(content, limits, _named(mains[0])))
        second = _only(files, residences, "batch-table-file") if residences else b""
        return Table(
            _body(rows, SHEET_COLUMNS), _body(tuple(read_rows(second, limits, _named(*residences))), RESIDENCE_COLUMNS)
        )
    book = Workbook(content, limits, _named(mains[0]))
    if book.sheet_count == 0:
        raise PersonalizationError("batch-table-unreadable", file=_named(mains[0]))
    applicants = tuple(book.read_rows(0, len(SHEET_COLUMNS)))
    residence = tuple(book.read_rows(1, len(RESIDENCE_COLUMNS))) if book.sheet_count > 1 else ()
    return Table(_body(applicants, SHEET_COLUMNS), _body(residence, RESIDENCE_COLUMNS))


def _body(rows: tuple[SheetRow, ...], columns: tuple[Column, ...]) -> tuple[SheetRow, ...]:
    """The rows below the headings.

    The first row must be the headings, word for word and in order: columns that were moved would otherwise be taken
    for one another.
    """
    if not rows:
        return rows
    require_headings(rows[0], columns)
    return rows[1:]


def require_headings(row: SheetRow, columns: tuple[Column, ...]) -> None:
    """Refuse a first row that is not the headings.

    Raises:
        PersonalizationError: "batch-table-header".
    """
    expected = [HEADINGS[column] for column in columns]
    found = [shown(cell).strip() for cell in row.cells]
    if found[: len(expected)] != expected or any(found[len(expected) :]):
        pairs = zip_longest(found, expected, fillvalue="")
        column, wanted = next((place, name) for place, (text, name) in enumerate(pairs, 1) if text != name)
        raise PersonalizationError(
            "batch-table-header", column=column, wanted=wanted or "-", expected="、".join(expected)
        )
