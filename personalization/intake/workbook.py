"""Spreadsheets: values by calamine, formulas by looking at what the file really stores.

calamine gives a formula's last result as if it had been typed. Such a cell must be refused, so both file forms are
searched for formulas: in .xlsx the `f` element of a cell, in .xls the FORMULA record.

Source: ECMA-376-1 clause 18.3.1.40 (f); [MS-XLS] 2.4.127 (Formula), 2.4.28 (BoundSheet8).
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum, unique
from typing import Final, TypeVar

import python_calamine

from personalization.errors import PersonalizationError
from personalization.intake.archive import BoundedArchive
from personalization.intake.cells import Cell, CellFlaw, FlawedCell, SheetRow, shown
from personalization.intake.limits import ArchiveLimits
from personalization.intake.shared_strings import SharedStrings

XLS_MAGIC: Final = bytes.fromhex("D0CF11E0A1B11AE1")
XLSX_MAGIC: Final = b"PK\x03\x04"
_FORMULA_ELEMENT: Final = re.compile(rb"<(?:\w+:)?f[\s/>]")
# Cells and rows whose reference is not that of a near one; in a large sheet there are millions of those.
_FAR_REFERENCE: Final = re.compile(
    rb"""<(?:[^<\s/>]*:)?(?:c|row)\s[^<]*?\br\s*=\s*["'](?![A-Z]?\d{1,5}["'])(?P<reference>[^"'<]*)"""
)
_REFERENCE: Final = re.compile(rb"(?P<column>[A-Z]{0,3})(?P<row>\d{1,7})")
_OTHER_PACKAGES: Final = frozenset({"content.xml", "xl/workbook.bin"})
"""Main parts of what is a zip too and holds sheets: OpenDocument, and the binary form of ECMA-376."""

_LETTERS: Final = 26
_DOCUMENT_TYPE: Final = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_XML_STARTS: Final = (b"<", b"\xef\xbb\xbf<")
_WIDE_STARTS: Final = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
"""Markup in UTF-16, in which nothing that is looked for here would be found."""


_LOST: Final = "\N{REPLACEMENT CHARACTER}"
_PANIC: Final = "PanicException"
_Result = TypeVar("_Result")
Position = tuple[int, int]  # row and column, both from 0


class Workbook:
    """The sheets of one .xls or .xlsx file, in order.

    Args:
        content: the file.
        limits: bounds of unpacking.
        label: name for messages.
    """

    def __init__(self, content: bytes, limits: ArchiveLimits, label: str) -> None:
        self._limits = limits
        self._label = label
        self._formulas: Sequence[frozenset[Position]]
        self._stream = b""  # of an .xls file
        if content.startswith(XLS_MAGIC):
            self._formulas = self._formulas_of_xls(content)
        elif content.startswith(XLSX_MAGIC):
            content = self._repacked(content)
            self._formulas = self._formulas_of_xlsx(content)
        else:
            raise PersonalizationError("batch-table-unreadable", file=label)
        self._book = self._read(lambda: python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content)))
        self.sheet_count = len(self._book.sheet_names)
        # Charts and macro sheets would shift the order in which formulas were found.
        worksheets = [
            sheet for sheet in self._book.sheets_metadata if sheet.typ == python_calamine.SheetTypeEnum.WorkSheet
        ]
        if len(worksheets) != self.sheet_count or len(self._formulas) not in {0, self.sheet_count}:
            raise PersonalizationError("batch-table-sheets", file=label)

    def read_rows(self, index: int, columns: int) -> Iterator[SheetRow]:
        """The rows of sheet ``index`` (from 0) that hold anything, each with at least ``columns`` cells."""
        sheet = self._read(lambda: self._book.get_sheet_by_index(index))
        if sheet.total_height > self._limits.rows + 1:
            raise PersonalizationError("batch-table-rows", file=self._label, limit=self._limits.rows)
        formulas = self._formulas[index] if index < len(self._formulas) else frozenset[Position]()
        by_row: dict[int, list[int]] = {}
        for row, column in formulas:
            by_row.setdefault(row, []).append(column)
        values = self._read(lambda: sheet.to_python(skip_empty_area=False))
        if self._stream and any(isinstance(value, str) and _LOST in value for line in values for value in line):
            for (row, column), text in self._shared_texts(index).items():
                if row < len(values) and column < len(values[row]):
                    values[row][column] = text
        # A formula that was never computed has no value, so that calamine may end before its row.
        values.extend([] for _ in range(max(by_row, default=-1) + 1 - len(values)))
        for row, line in enumerate(values):
            cells: list[Cell] = [value if isinstance(value, str) else _flawed(value) for value in line]
            cells.extend([""] * (max([columns, *(column + 1 for column in by_row.get(row, ()))]) - len(cells)))
            for column in by_row.get(row, ()):
                cells[column] = FlawedCell(CellFlaw.FORMULA, shown(cells[column]))
            if any(cells):
                yield SheetRow(row + 1, tuple(cells))

    def _read(self, action: Callable[[], _Result]) -> _Result:
        """Run a piece of calamine and turn each of its ways to fail into our error."""
        try:
            return action()
        except python_calamine.PasswordError as error:
            raise PersonalizationError("batch-table-encrypted", file=self._label) from error
        except (python_calamine.CalamineError, OSError, ValueError) as error:
            raise PersonalizationError("batch-table-unreadable", file=self._label) from error
        except BaseException as error:
            # Rust code that fails an internal check panics, and the panic is no Exception.
            if type(error).__name__ != _PANIC:
                raise
            raise PersonalizationError("batch-table-unreadable", file=self._label) from error

    def _repacked(self, content: bytes) -> bytes:
        """The package with every part unpacked within bounds, so that no later reader meets a compressed part."""
        archive = BoundedArchive(content, self._limits, self._label)
        if not _OTHER_PACKAGES.isdisjoint(name.lower() for name in archive.names):
            raise PersonalizationError("batch-table-unreadable", file=self._label)
        if sum(map(archive.size, archive.names)) > self._limits.table_bytes:
            raise PersonalizationError("batch-archive-too-large", archive=self._label, limit=self._limits.table_bytes)
        plain = io.BytesIO()
        with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as package:
            for name in archive.names:
                part = archive.read(name)
                named_markup = name.lower().endswith((".xml", ".rels"))
                if (
                    (named_markup and not part.startswith(_XML_STARTS))
                    or part.startswith(_WIDE_STARTS)
                    or _DOCUMENT_TYPE.search(part)
                ):
                    raise PersonalizationError("batch-table-unreadable", file=self._label)
                package.writestr(zipfile.ZipInfo(name), part)
        return plain.getvalue()

    def _formulas_of_xlsx(self, content: bytes) -> list[frozenset[Position]]:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            # One part at a time, for it is in memory twice; and every one, for a sheet may be called anything.
            formulas = [self._has_formula(package.read(name)) for name in package.namelist()]
        if not any(formulas):
            return []
        import openpyxl  # takes as long to load as a small table to read

        try:
            with warnings.catch_warnings():
                # openpyxl warns of extensions that it does not keep; nothing is written back here.
                warnings.simplefilter("ignore")
                book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=False)
            return [
                frozenset(
                    (cell.row - 1, cell.column - 1)
                    for row in sheet.iter_rows()
                    for cell in row
                    if cell.data_type == "f" and cell.row is not None and cell.column is not None
                )
                for sheet in book.worksheets
            ]
        except (KeyError, ValueError, TypeError, AttributeError, SyntaxError) as error:
            # openpyxl reports broken markup by whatever its parser stumbled over; ParseError is a SyntaxError.
            raise PersonalizationError("batch-table-unreadable", file=self._label) from error

    def _has_formula(self, part: bytes) -> bool:
        self._refuse_far_cells(part)
        return _FORMULA_ELEMENT.search(part) is not None

    def _sheet_starts(self) -> list[int]:
        return [
            struct.unpack_from("<I", content)[0]
            for kind, content in _records(self._stream, 0)
            if kind == _Record.BOUND_SHEET
        ]

    def _formulas_from(self, start: int) -> Iterator[Position]:
        for kind, content in _records(self._stream, start):
            if kind in _CELLS:
                row, column = struct.unpack_from("<HH", content)
                last = column + len(content) // _SHORTEST_CELL if kind in _SEVERAL_CELLS else column
                self._refuse_far(row + 1, last + 1)
                if kind == _Record.FORMULA:
                    yield row, column

    def _shared_texts(self, index: int) -> dict[Position, str]:
        """Texts of a sheet of an .xls file, read again where calamine lost a character."""
        pieces: list[bytes] = []
        for kind, content in _records(self._stream, 0):
            if kind == _Record.SHARED_STRINGS or (pieces and kind == _Record.CONTINUE):
                pieces.append(content)
            elif pieces:
                break
        try:
            strings = SharedStrings(pieces).read_all()
            cells = _records(self._stream, self._sheet_starts()[index])
            places = [struct.unpack_from("<HHHI", content) for kind, content in cells if kind == _Record.SHARED_STRING]
            return {(row, column): strings[place] for row, column, _, place in places}
        except (struct.error, IndexError) as error:
            raise PersonalizationError("batch-table-unreadable", file=self._label) from error

    def _refuse_far_cells(self, part: bytes) -> None:
        """Refuse a cell far from the others, however it is written: calamine holds the whole rectangle in memory."""
        for match in _FAR_REFERENCE.finditer(part):
            found = _REFERENCE.fullmatch(match["reference"])
            if found is None:
                raise PersonalizationError("batch-table-unreadable", file=self._label)
            self._refuse_far(int(found["row"]), _column_number(found["column"]))

    def _refuse_far(self, row: int, column: int) -> None:
        if row > self._limits.rows + 1 or column > self._limits.columns:
            raise PersonalizationError("batch-table-rows", file=self._label, limit=self._limits.rows)

    def _formulas_of_xls(self, content: bytes) -> list[frozenset[Position]]:
        import olefile

        try:
            with olefile.OleFileIO(io.BytesIO(content)) as container:
                name = next(name for name in ("Workbook", "Book") if container.exists(name))
                self._stream = container.openstream(name).read()
            return [frozenset(self._formulas_from(start)) for start in self._sheet_starts()]
        except (OSError, StopIteration, struct.error, ValueError, IndexError, TypeError) as error:
            raise PersonalizationError("batch-table-unreadable", file=self._label) from error


@unique
class _Record(IntEnum):
    """Record types of BIFF8 that are looked for. Source: [MS-XLS] 2.3.1."""

    FORMULA = 0x0006
    END = 0x000A
    BOUND_SHEET = 0x0085
    CONTINUE = 0x003C
    MULTIPLE_RK = 0x00BD
    MULTIPLE_BLANK = 0x00BE
    RICH_STRING = 0x00D6
    SHARED_STRINGS = 0x00FC
    SHARED_STRING = 0x00FD
    BLANK = 0x0201
    NUMBER = 0x0203
    LABEL = 0x0204
    TRUTH_OR_ERROR = 0x0205
    RK = 0x027E


_SHORTEST_CELL: Final = 6
"""Bytes of a cell in MULTIPLE_RK; one in MULTIPLE_BLANK, which has no values, takes two and is not kept."""

_SEVERAL_CELLS: Final = frozenset({_Record.MULTIPLE_RK})
_CELLS: Final = frozenset(_Record) - {_Record.END, _Record.BOUND_SHEET, _Record.CONTINUE, _Record.SHARED_STRINGS}


def _records(stream: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Records from ``offset`` to the end of the substream: type and content, both headers little-endian."""
    while True:
        kind, length = struct.unpack_from("<HH", stream, offset)
        yield kind, stream[offset + 4 : offset + 4 + length]
        if kind == _Record.END:
            return
        offset += 4 + length


def _column_number(letters: bytes) -> int:
    """1 for A, 27 for AA; 0 for no letters, which is the reference of a row."""
    number = 0
    for letter in letters:
        number = number * _LETTERS + letter - ord("A") + 1
    return number


def _flawed(value: object) -> FlawedCell:
    if isinstance(value, bool):
        return FlawedCell(CellFlaw.OTHER, str(value))
    if isinstance(value, float) and value.is_integer():
        return FlawedCell(CellFlaw.NUMBER, str(int(value)))
    return FlawedCell(CellFlaw.NUMBER, str(value))
