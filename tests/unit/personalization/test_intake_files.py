"""Delivered files: every form of table, and what is refused before a row is looked at."""

from __future__ import annotations

import io
import posixpath
import random
import re
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
import xlwt
from openpyxl.chart import BarChart
from openpyxl.worksheet.formula import ArrayFormula

from personalization.errors import PersonalizationError
from personalization.intake.applicant import SHEET_COLUMNS
from personalization.intake.archive import BoundedArchive
from personalization.intake.cells import CellFlaw, FlawedCell, SheetRow, shown
from personalization.intake.delimited import decode, read_rows
from personalization.intake.delivery import HEADINGS, DeliveryName, open_delivery
from personalization.intake.delivery_writer import TableFormat, pack_archive, pack_delivery
from personalization.intake.limits import ArchiveLimits
from personalization.intake.sample.residents import Residents
from personalization.intake.shared_strings import SharedStrings
from personalization.intake.workbook import Workbook

NAME = DeliveryName("330381", 1, 3, 3)
DRAFTS = [Residents(5).draw(index) for index in (1, 2, 12)]
ROWS = [draft.cells for draft in DRAFTS]
RESIDENCES = [draft.residence for draft in DRAFTS if draft.residence is not None]
PICTURES = [picture for draft in DRAFTS for picture in draft.pictures]
HEADER = [HEADINGS[column] for column in SHEET_COLUMNS]


def written(tmp_path: Path, content: bytes, name: str = f"{NAME}.zip") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(PersonalizationError) as caught:
        action()
    return caught.value.code


def texts(row: SheetRow) -> list[str]:
    return [shown(cell) for cell in row.cells[:16]]


@pytest.mark.parametrize("form", list(TableFormat))
def test_every_form_gives_the_same_rows(tmp_path: Path, form: TableFormat) -> None:
    delivery = open_delivery(written(tmp_path, pack_delivery(NAME, ROWS, RESIDENCES, PICTURES, form)))
    assert [texts(row) for row in delivery.table.applicants] == ROWS
    assert [row.number for row in delivery.table.applicants] == [2, 3, 4]
    assert [list(row.cells) for row in delivery.table.residences] == RESIDENCES
    assert delivery.name == NAME
    for name, content in PICTURES:
        assert delivery.pictures.read(name) == content


@pytest.mark.parametrize("form", [TableFormat.XLSX, TableFormat.XLS, TableFormat.CSV])
def test_flawed_cells_are_seen_in_every_form(tmp_path: Path, form: TableFormat) -> None:
    rows = [list(row) for row in ROWS]
    rows[0][5] = FlawedCell(CellFlaw.FORMULA, "110105")
    rows[1][0] = FlawedCell(CellFlaw.NUMBER, "3.3E+17" if form is TableFormat.CSV else "330381")
    delivery = open_delivery(written(tmp_path, pack_delivery(NAME, rows, [], PICTURES, form)))
    flaws = [
        (row.number, place, cell.flaw)
        for row in delivery.table.applicants
        for place, cell in enumerate(row.cells)
        if isinstance(cell, FlawedCell)
    ]
    assert flaws == [(2, 5, CellFlaw.FORMULA), (3, 0, CellFlaw.NUMBER)]


def test_formulas_written_by_other_programs_are_seen() -> None:
    """Shared and array formulas keep their text in one cell only."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(["a", "=1+1", "b"])
    sheet["C1"] = ArrayFormula("C1:C1", "=A1")
    sheet.append(["=A1"])
    stream = io.BytesIO()
    book.save(stream)
    rows = list(Workbook(stream.getvalue(), ArchiveLimits(), "book").read_rows(0, 3))
    flawed = {
        (row.number, place) for row in rows for place, cell in enumerate(row.cells) if isinstance(cell, FlawedCell)
    }
    assert flawed == {(1, 1), (1, 2), (2, 0)}


@pytest.mark.parametrize("text", ["王\u0007明", "a_x0041_b", "x\ny", "z\tt", " lead ", "<&>\"'", "王\U0002ebf0", "_x_"])
def test_any_text_survives_a_written_workbook(text: str) -> None:
    """ECMA-376-1 clause 22.9.2.19: what XML cannot hold is escaped, and so is what looks like an escape."""
    packed = zipfile.ZipFile(io.BytesIO(pack_delivery(NAME, [[text]], [], [])))
    _, row = Workbook(packed.read(f"{NAME}.xlsx"), ArchiveLimits(), "book").read_rows(0, 1)
    assert row.cells[0] == text


@pytest.mark.parametrize("offset", range(4))
def test_characters_at_the_end_of_a_record_are_kept(offset: int) -> None:
    """[MS-XLS] 2.4.58: a record holds at most 8,224 bytes; strings go on in the next, also within a character."""
    names = ["a" * offset, *(f"{number}𠮷𬱖𬭎" for number in range(5000))]
    content = zipfile.ZipFile(io.BytesIO(pack_delivery(NAME, [[name] for name in names], [], [], TableFormat.XLS)))
    rows = list(Workbook(content.read(f"{NAME}.xls"), ArchiveLimits(), "book").read_rows(0, 1))
    assert [row.cells[0] for row in rows[1:]] == [name for name in names if name]


def test_shared_strings_with_formats_and_both_widths() -> None:
    """[MS-XLS] 2.5.293: runs of formats and phonetic data follow the characters; a piece says its own width."""
    first = struct.pack("<HBHI", 3, 0x0D, 1, 2) + "王𠮷".encode("utf-16-le") + bytes(4) + bytes(2)
    second = struct.pack("<HB", 4, 0x00) + b"ab"
    pieces = [bytes(8) + first + second, b"\x01" + "明x".encode("utf-16-le")]
    assert SharedStrings(pieces).read_all() == ["王𠮷", "ab明x"]
    half = struct.pack("<HB", 1, 0x01) + b"\x42\xd8"
    assert SharedStrings([bytes(8) + half]).read_all() == ["\ud842"]


def chart_first() -> bytes:
    book = openpyxl.Workbook()
    book.create_chartsheet("chart", 0).add_chart(BarChart())
    book.worksheets[0].append(["=1+1"])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def test_sheets_that_are_no_tables_are_refused() -> None:
    """A chart before the table would shift the place at which formulas are looked for."""
    assert code_of(lambda: Workbook(chart_first(), ArchiveLimits(), "book")) == "batch-table-sheets"


def test_dates_and_truth_values_are_no_text() -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("s")
    sheet.write(0, 0, True)
    sheet.write(0, 1, 5.5)
    stream = io.BytesIO()
    book.save(stream)
    (row,) = Workbook(stream.getvalue(), ArchiveLimits(), "book").read_rows(0, 2)
    assert [cell.flaw for cell in row.cells if isinstance(cell, FlawedCell)] == [CellFlaw.OTHER, CellFlaw.NUMBER]
    assert [shown(cell) for cell in row.cells] == ["True", "5.5"]


def test_a_table_may_come_unpacked_with_its_pictures_beside(tmp_path: Path) -> None:
    packed = zipfile.ZipFile(io.BytesIO(pack_delivery(NAME, ROWS, RESIDENCES, PICTURES, TableFormat.CSV)))
    packed.extractall(tmp_path)
    delivery = open_delivery(tmp_path / f"{NAME}.csv")
    assert len(delivery.table.applicants) == 3
    assert len(delivery.table.residences) == len(RESIDENCES)
    (tmp_path / f"{NAME}-pictures.zip").unlink()
    assert code_of(lambda: open_delivery(tmp_path / f"{NAME}.csv")) == "batch-file-missing"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("姓名,王𠮷".encode(), "姓名,王𠮷"),
        ("姓名,王𠮷".encode("utf-8-sig"), "姓名,王𠮷"),
        ("姓名,王𠮷".encode("gb18030"), "姓名,王𠮷"),
    ],
)
def test_encodings(content: bytes, text: str) -> None:
    assert decode(content, "csv") == text


@pytest.mark.parametrize(
    "content", ["姓名".encode("utf-16"), b"a\0b", b"\xff\xff\xff", "姓".encode("gb18030") + b"\x81"]
)
def test_other_encodings_are_refused(content: bytes) -> None:
    assert code_of(lambda: decode(content, "csv")) == "batch-table-encoding"


def test_csv_follows_the_quoting_of_rfc_4180() -> None:
    rows = list(read_rows(b'"a,b","c""d"\r\n\r\n"e\nf",g\n', ArchiveLimits(), "csv"))
    assert [(row.number, row.cells) for row in rows] == [(1, ("a,b", 'c"d')), (3, ("e\nf", "g"))]
    assert code_of(lambda: list(read_rows(b'"a"b,c\n', ArchiveLimits(), "csv"))) == "batch-table-unreadable"
    assert len(list(read_rows(b"a\n" * 6, ArchiveLimits(rows=5), "csv"))) == 6  # the headings, and five rows
    assert code_of(lambda: list(read_rows(b"a\n" * 7, ArchiveLimits(rows=5), "csv"))) == "batch-table-rows"


@pytest.mark.parametrize(
    ("header", "column", "wanted"),
    [
        (HEADER[::-1], 1, HEADER[0]),
        ([HEADER[0], "姓 名", *HEADER[2:]], 2, "姓名"),
        (HEADER[:15], 16, HEADER[15]),
        ([*HEADER, "备注"], 17, "-"),
        (ROWS[0], 1, HEADER[0]),
    ],
)
def test_headings_are_required_in_order(tmp_path: Path, header: list[str], column: int, wanted: str) -> None:
    """What stands there instead is not told: it may be somebody's data."""
    content = ",".join(str(name) for name in header).encode()
    path = written(tmp_path, pack_archive([("a.csv", content), ("a-pictures.zip", pack_archive([]))]))
    with pytest.raises(PersonalizationError) as caught:
        open_delivery(path)
    assert caught.value.code == "batch-table-header"
    assert caught.value.parameters == {"column": column, "wanted": wanted, "expected": "、".join(HEADER)}


def test_a_table_that_cannot_be_read_is_called_by_its_name(tmp_path: Path) -> None:
    content = ",".join(HEADER).encode("utf-16")
    path = written(tmp_path, pack_archive([("二月/a.csv", content), ("a-pictures.zip", pack_archive([]))]))
    with pytest.raises(PersonalizationError) as caught:
        open_delivery(path)
    assert (caught.value.code, caught.value.parameters) == ("batch-table-encoding", {"file": "a.csv"})


@pytest.mark.parametrize(
    ("stem", "code"),
    [
        ("resAppData-330381-200", "batch-file-name"),
        ("resAppData-330381(1-200)", "batch-file-name"),
        ("resAppData-３３0381(1-2)-2", "batch-file-name"),
        ("resAppData-330103(1-2)-2", "batch-area-unknown"),
        ("resAppData-110101(1-2)-2", "batch-area-unknown"),
        ("resAppData-330000(1-2)-2", "batch-area-unknown"),
    ],
)
def test_names_of_files(tmp_path: Path, stem: str, code: str) -> None:
    assert code_of(lambda: DeliveryName.parse(stem)) == code
    assert code_of(lambda: open_delivery(written(tmp_path, pack_archive([]), f"{stem}.zip"))) == code


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "batch-pictures-file"),
        ([("a.csv", b"")], "batch-pictures-file"),
        ([("a-pictures.zip", pack_archive([]))], "batch-table-file"),
        ([("a.csv", b""), ("b.xlsx", b""), ("a-pictures.zip", pack_archive([]))], "batch-table-file"),
        ([("a.xlsx", b"PK\x03\x04no"), ("a-pictures.zip", pack_archive([]))], "batch-archive-unreadable"),
        ([("a.xlsx", pack_archive([("x", b"")])), ("a-pictures.zip", pack_archive([]))], "batch-table-unreadable"),
        ([("a.xls", b"none"), ("a-pictures.zip", pack_archive([]))], "batch-table-unreadable"),
        ([("a.csv", b""), ("a-pictures.zip", b"none")], "batch-archive-unreadable"),
    ],
)
def test_what_a_delivery_must_hold(tmp_path: Path, entries: list[tuple[str, bytes]], code: str) -> None:
    assert code_of(lambda: open_delivery(written(tmp_path, pack_archive(entries)))) == code


def test_files_that_are_none(tmp_path: Path) -> None:
    assert code_of(lambda: open_delivery(tmp_path / f"{NAME}.zip")) == "batch-file-missing"
    assert code_of(lambda: open_delivery(written(tmp_path, b"", f"{NAME}.pdf"))) == "batch-file-kind"
    assert code_of(lambda: open_delivery(written(tmp_path, b"none"))) == "batch-archive-unreadable"
    (tmp_path / f"{NAME}.csv").mkdir()
    assert code_of(lambda: open_delivery(tmp_path / f"{NAME}.csv")) == "batch-file-unreadable"
    path = written(tmp_path, b"x" * 99)
    assert code_of(lambda: open_delivery(path, ArchiveLimits(archive_bytes=98))) == "batch-archive-too-large"


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/a", "a\\b", "C:a", "..", "a/.."])
def test_paths_that_leave_the_folder(name: str) -> None:
    assert code_of(lambda: BoundedArchive(pack_archive([(name, b"")]), ArchiveLimits(), "a")) == "batch-archive-path"


def archive_with(entry: zipfile.ZipInfo, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(entry, content, method)
    return stream.getvalue()


def test_links_are_refused() -> None:
    entry = zipfile.ZipInfo("a.jpg")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert code_of(lambda: BoundedArchive(archive_with(entry, b"b"), ArchiveLimits(), "a")) == "batch-archive-path"


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    bomb = archive_with(zipfile.ZipInfo("a"), bytes(4 << 20), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 5000
    assert code_of(lambda: BoundedArchive(bomb, ArchiveLimits(), "a")) == "batch-archive-bomb"
    many = pack_archive([(str(number), b"") for number in range(20)])
    assert code_of(lambda: BoundedArchive(many, ArchiveLimits(entries=19), "a")) == "batch-archive-entries"
    limits = ArchiveLimits(unpacked_bytes=10)
    assert code_of(lambda: BoundedArchive(pack_archive([("a", bytes(11))]), limits, "a")) == "batch-archive-too-large"
    limits = ArchiveLimits(archive_bytes=10)
    assert code_of(lambda: BoundedArchive(pack_archive([("a", bytes(11))]), limits, "a")) == "batch-archive-too-large"


def test_a_size_that_lies_gives_no_more_than_it_declares() -> None:
    content = bytearray(archive_with(zipfile.ZipInfo("a"), bytes(100_000), zipfile.ZIP_DEFLATED))
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 10)
    archive = BoundedArchive(bytes(content), ArchiveLimits(), "a")
    assert code_of(lambda: archive.read("a")) == "batch-archive-unreadable"


def test_encrypted_strange_and_doubled_entries_are_refused() -> None:
    content = bytearray(pack_archive([("a", b"x")]))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert code_of(lambda: BoundedArchive(bytes(content), ArchiveLimits(), "a")) == "batch-archive-encrypted"
    packed = archive_with(zipfile.ZipInfo("a"), b"x" * 99, zipfile.ZIP_BZIP2)
    assert code_of(lambda: BoundedArchive(packed, ArchiveLimits(), "a")) == "batch-archive-method"
    with pytest.warns(UserWarning, match="Duplicate"):
        packed = pack_archive([("a", b"x"), ("a", b"y")])
    assert code_of(lambda: BoundedArchive(packed, ArchiveLimits(), "a")) == "batch-archive-duplicate"


def test_litter_and_folders_are_passed_over() -> None:
    packed = pack_archive([("__MACOSX/._a", b""), ("f/", b""), ("f/a.jpg", b"x"), ("f/Thumbs.db", b"")])
    assert BoundedArchive(packed, ArchiveLimits(), "a").names == ("f/a.jpg",)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_file_without_an_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.zip"
    path.symlink_to("/dev/zero")
    assert code_of(lambda: open_delivery(path)) == "batch-file-unreadable"


def test_a_damaged_entry_is_refused() -> None:
    content = bytearray(pack_archive([("a", b"some content")]))
    content[content.index(b"some")] ^= 1
    archive = BoundedArchive(bytes(content), ArchiveLimits(), "a")
    assert code_of(lambda: archive.read("a")) == "batch-archive-unreadable"


def xlsx_with(change: Callable[[str, bytes], bytes], called: str = "sheet1.xml") -> bytes:
    """A workbook with changed parts, and with another name of its first sheet."""
    package = zipfile.ZipFile(io.BytesIO(pack_delivery(NAME, ROWS, [], [])))
    book = zipfile.ZipFile(io.BytesIO(package.read(f"{NAME}.xlsx")))
    parts = {name: change(name, book.read(name)) for name in book.namelist()}
    old, new = "xl/worksheets/sheet1.xml", posixpath.normpath(f"xl/worksheets/{called}")
    for name in ("xl/_rels/workbook.xml.rels", "[Content_Types].xml"):
        parts[name] = parts[name].replace(old.encode(), new.encode()).replace(old[3:].encode(), new[3:].encode())
    return pack_archive([(new if name == old else name, part) for name, part in parts.items()])


def rows_of(content: bytes) -> list[list[str]]:
    return [texts(row) for row in Workbook(content, ArchiveLimits(), "book").read_rows(0, 1)][1:]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'r="A2"', b'r="XFD2"', "batch-table-rows"),
        (b'r="A2"', b"r = 'BB2'", "batch-table-rows"),
        (b'r="A2"', b'r="A1048576"', "batch-table-rows"),
        (b'<row r="2"', b'<row r="1048576"', "batch-table-rows"),
        (b'r="A2"', b'r="xfd1048576"', "batch-table-unreadable"),
        (b'r="A2"', b'r="A&#49;048576"', "batch-table-unreadable"),
        (b'<c r="A2"', b'<c x=">" r="XFD2"', "batch-table-rows"),
        (b'<c r="A2"', b'<c r="A2" r="XFD2"', "batch-table-rows"),
        (b'<c r="A2"', "<x\u00e9:c xmlns:x\u00e9='main' r='XFD2'/><c r='A2'".encode(), "batch-table-rows"),
        (b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet', "batch-table-unreadable"),
    ],
)
def test_workbooks_that_would_fill_the_memory(old: bytes, new: bytes, code: str) -> None:
    content = xlsx_with(lambda name, part: part.replace(old, new, 1) if "sheet1" in name else part)
    assert code_of(lambda: Workbook(content, ArchiveLimits(), "book")) == code


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("called", ["sheet1.xml", "sheet1.dat"])
def test_a_workbook_in_another_encoding_is_refused(encoding: str, called: str) -> None:
    content = xlsx_with(lambda name, part: part.decode().encode(encoding) if "sheet1" in name else part, called)
    assert code_of(lambda: Workbook(content, ArchiveLimits(), "book")) == "batch-table-unreadable"


@pytest.mark.parametrize("called", ["sheet1.xml", "one.dat", "../elsewhere/one.XML"])
def test_a_sheet_is_judged_whatever_it_is_called(called: str) -> None:
    """Which part is a sheet, the relations of the workbook say. Source: ECMA-376-2 clause 6.5."""
    assert rows_of(xlsx_with(lambda _, part: part, called)) == ROWS
    far = xlsx_with(lambda name, part: part.replace(b'r="A2"', b'r="A1048576"') if "sheet1" in name else part, called)
    assert code_of(lambda: Workbook(far, ArchiveLimits(), "book")) == "batch-table-rows"
    formula = b'<c r="A2" t="str"><f>1+1</f><v>2</v></c>'
    computed = xlsx_with(
        lambda name, part: re.sub(rb'<c r="A2".*?</c>', formula, part) if "sheet1" in name else part, called
    )
    cell = list(Workbook(computed, ArchiveLimits(), "book").read_rows(0, 1))[1].cells[0]
    assert isinstance(cell, FlawedCell)
    assert cell.flaw is CellFlaw.FORMULA


def test_only_workbooks_of_the_two_forms_are_opened() -> None:
    """An OpenDocument sheet keeps formulas elsewhere, and repeats a cell a million times in a few bytes."""
    repeated = 'table:number-columns-repeated="9000" office:value-type="string" table:formula="of:=1+1"'
    content = f"""<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"><office:body><office:spreadsheet>
<table:table table:name="S"><table:table-row><table:table-cell {repeated}><text:p>x</text:p></table:table-cell>
</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"""
    kind = b"application/vnd.oasis.opendocument.spreadsheet"
    manifest = b"<manifest/>"
    package = [("mimetype", kind), ("META-INF/manifest.xml", manifest), ("content.xml", content.encode())]
    assert code_of(lambda: Workbook(pack_archive(package), ArchiveLimits(), "book")) == "batch-table-unreadable"
    binary = xlsx_with(lambda _, part: part)
    parts = zipfile.ZipFile(io.BytesIO(binary))
    both = [(name, parts.read(name)) for name in parts.namelist()]
    with_binary = pack_archive([*both, ("XL/Workbook.bin", b"\x83\x01")])
    assert code_of(lambda: Workbook(with_binary, ArchiveLimits(), "book")) == "batch-table-unreadable"


def test_many_cells_in_one_record_of_an_old_workbook_are_counted() -> None:
    """MULRK holds the cells of columns one behind the other. Source: [MS-XLS] 2.4.175."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("s")
    for column in range(60):
        sheet.write(0, column, column)
    stream = io.BytesIO()
    book.save(stream)
    assert b"\xbd\x00" in stream.getvalue()
    assert code_of(lambda: Workbook(stream.getvalue(), ArchiveLimits(), "book")) == "batch-table-rows"


def test_far_cells_of_an_old_workbook_are_refused() -> None:
    book = xlwt.Workbook()
    book.add_sheet("s").write(0, 200, "x")
    stream = io.BytesIO()
    book.save(stream)
    assert code_of(lambda: Workbook(stream.getvalue(), ArchiveLimits(), "book")) == "batch-table-rows"


@pytest.mark.parametrize("form", [TableFormat.XLSX, TableFormat.XLS])
def test_damaged_workbooks_are_refused_or_read_but_never_crash(tmp_path: Path, form: TableFormat) -> None:
    good = pack_delivery(NAME, ROWS, RESIDENCES, [], form)
    table = zipfile.ZipFile(io.BytesIO(good)).read(f"{NAME}.{form.value}")
    chance = random.Random(11)
    outcomes: set[str] = set()
    for _ in range(150):
        broken = bytearray(table)
        for _ in range(chance.randint(1, 12)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        if chance.random() < 0.3:
            del broken[chance.randrange(len(broken)) :]
        packed = pack_archive([(f"a.{form.value}", bytes(broken)), ("a-pictures.zip", pack_archive([]))])
        path = written(tmp_path, packed)
        try:
            open_delivery(path)
            outcomes.add("read")
        except PersonalizationError as error:
            outcomes.add(error.code)
    assert len(outcomes) > 1
