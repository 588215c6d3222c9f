"""Writing deliveries: for samples, and for rejected rows that are to be corrected.

Archives are stored, not deflated, and carry one fixed time, so that the same rows give the same bytes everywhere.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final
from xml.sax.saxutils import escape

from personalization.intake.applicant import RESIDENCE_COLUMNS, SHEET_COLUMNS
from personalization.intake.cells import Cell, CellFlaw, shown
from personalization.intake.delivery import HEADINGS, DeliveryName

_ARCHIVE_TIME: Final = (2026, 1, 1, 0, 0, 0)
_LETTERS: Final = 26
_NAMESPACE: Final = "http://schemas.openxmlformats.org"
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_SHEET_NAMES: Final = ("居住证", "居住登记")

# An underscore that would be read as the beginning of an escape.
_ESCAPE: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
Rows = Sequence[Sequence[Cell]]


class TableFormat(StrEnum):
    """Forms of the table; the value is the file's ending."""

    XLSX = "xlsx"
    XLS = "xls"
    CSV = "csv"
    CSV_BOM = "csv-bom"
    CSV_GB18030 = "csv-gb18030"


def pack_delivery(
    name: DeliveryName,
    applicants: Rows,
    residences: Rows,
    pictures: Iterable[tuple[str, bytes]],
    form: TableFormat = TableFormat.XLSX,
) -> bytes:
    """The bytes of a delivery zip.

    Args:
        name: area and count for the names inside.
        applicants: rows of the first sheet, without headings.
        residences: rows of the second sheet, without headings; no sheet is written when there are none.
        pictures: file names and contents.
        form: of the table.
    """
    sheets: list[Rows] = [[[HEADINGS[column] for column in SHEET_COLUMNS], *applicants]]
    if residences:
        sheets.append([[HEADINGS[column] for column in RESIDENCE_COLUMNS], *residences])
    ending = "csv" if form.value.startswith("csv") else form.value
    endings = (f".{ending}",) if ending != "csv" else (".csv", "-residence.csv")
    files = [(f"{name}{end}", content) for end, content in zip(endings, _WRITERS[form](sheets), strict=False)]
    return pack_archive([*files, (f"{name}-pictures.zip", pack_archive(pictures))])


def pack_archive(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip of stored entries, name and content, with a fixed time."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name, _ARCHIVE_TIME), content)
    return stream.getvalue()


def _write_xlsx(sheets: Sequence[Rows]) -> list[bytes]:
    numbers = range(1, len(sheets) + 1)
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    relation = f"{_NAMESPACE}/officeDocument/2006/relationships"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_NAMESPACE}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{kind}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="{kind}.worksheet+xml"/>'
            for number in numbers
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{_NAMESPACE}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{relation}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_NAMESPACE}/spreadsheetml/2006/main" xmlns:r="{relation}"><sheets>'
        + "".join(
            f'<sheet name="{_SHEET_NAMES[number - 1]}" sheetId="{number}" r:id="rId{number}"/>' for number in numbers
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_NAMESPACE}/package/2006/relationships">'
        + "".join(
            f'<Relationship Id="rId{number}" Type="{relation}/worksheet" Target="worksheets/sheet{number}.xml"/>'
            for number in numbers
        )
        + f'<Relationship Id="rId{len(sheets) + 1}" Type="{relation}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{_NAMESPACE}/spreadsheetml/2006/main">'
        '<fonts count="1"><font/></fonts><fills count="1"><fill><patternFill/></fill></fills>'
        '<borders count="1"><border/></borders>'
        '<cellStyleXfs count="1"><xf/></cellStyleXfs>'
        # Style 1 is number format 49, "text": what is typed over a cell stays text.
        '<cellXfs count="2"><xf/><xf numFmtId="49" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    for number, rows in zip(numbers, sheets, strict=True):
        parts[f"xl/worksheets/sheet{number}.xml"] = _worksheet(rows)
    return [pack_archive((name, (_HEAD + part).encode()) for name, part in parts.items())]


def _worksheet(rows: Rows) -> str:
    body = "".join(
        f'<row r="{number}">{"".join(_xml_cell(place, number, cell) for place, cell in enumerate(row) if cell)}</row>'
        for number, row in enumerate(rows, 1)
    )
    columns = f'<cols><col min="1" max="{len(SHEET_COLUMNS)}" width="20" style="1"/></cols>'
    return f'<worksheet xmlns="{_NAMESPACE}/spreadsheetml/2006/main">{columns}<sheetData>{body}</sheetData></worksheet>'


def _xml_cell(place: int, row: int, cell: Cell) -> str:
    reference = f"{chr(ord('A') + place)}{row}"
    if isinstance(cell, str):
        return f'<c r="{reference}" s="1" t="inlineStr"><is><t xml:space="preserve">{_xml_text(cell)}</t></is></c>'
    text = _xml_text(cell.shown)
    if cell.flaw is CellFlaw.FORMULA:
        return f'<c r="{reference}" t="str"><f>CONCATENATE("{text}")</f><v>{text}</v></c>'
    if cell.flaw is CellFlaw.NUMBER:
        return f'<c r="{reference}"><v>{text}</v></c>'
    return f'<c r="{reference}" t="b"><v>1</v></c>'


def _xml_text(text: str) -> str:
    """Escaped text; what XML cannot hold is written _xHHHH_. Source: ECMA-376-1 clause 22.9.2.19 (ST_Xstring)."""
    plain = "".join(
        character if character >= " " and character not in "\ufffe\uffff" else f"_x{ord(character):04X}_"
        for character in _ESCAPE.sub("_x005F_", text)
    )
    return escape(plain)


def _write_xls(sheets: Sequence[Rows]) -> list[bytes]:
    import xlwt

    book = xlwt.Workbook(encoding="utf-8")
    text = xlwt.easyxf(num_format_str="@")
    for name, rows in zip(_SHEET_NAMES, sheets, strict=False):
        sheet = book.add_sheet(name)
        for number, row in enumerate(rows):
            for place, cell in enumerate(row):
                if isinstance(cell, str):
                    if cell:
                        sheet.write(number, place, cell, text)
                elif cell.flaw is CellFlaw.FORMULA:
                    sheet.write(number, place, xlwt.Formula(f'CONCATENATE("{cell.shown}")'))
                else:
                    sheet.write(number, place, float(cell.shown) if cell.flaw is CellFlaw.NUMBER else True)
    stream = io.BytesIO()
    book.save(stream)
    return [stream.getvalue()]


def _write_csv(encoding: str) -> Callable[[Sequence[Rows]], list[bytes]]:
    def write(sheets: Sequence[Rows]) -> list[bytes]:
        files: list[bytes] = []
        for rows in sheets:
            stream = io.StringIO(newline="")
            csv.writer(stream).writerows([_csv_field(cell) for cell in row] for row in rows)
            files.append(stream.getvalue().encode(encoding))
        return files

    return write


def _csv_field(cell: Cell) -> str:
    if not isinstance(cell, str) and cell.flaw is CellFlaw.FORMULA:
        return f'="{cell.shown}"'
    return shown(cell)


_WRITERS: Final[Mapping[TableFormat, Callable[[Sequence[Rows]], list[bytes]]]] = {
    TableFormat.XLSX: _write_xlsx,
    TableFormat.XLS: _write_xls,
    TableFormat.CSV: _write_csv("utf-8"),
    TableFormat.CSV_BOM: _write_csv("utf-8-sig"),
    TableFormat.CSV_GB18030: _write_csv("gb18030"),
}
