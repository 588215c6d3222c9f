"""The files of a return: CSV for programs and XLSX for offices, in a zip, sealed until somebody opens it.

File: magic ``PCRET1`` and a line feed, the batch identifier and a line feed, the recipient and a line feed, then the
sealed zip under the batch's transport key; the first three lines are its associated data. It dies with that key.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError, unread
from personalization.folder_rights import make_folder
from personalization.formula_guard import without_formula
from personalization.keys.keystore import KeyName, KeyStore
from personalization.returns.envelope import ENDING, RecipientCertificate
from personalization.returns.tables import Recipient, Table

_MAGIC: Final = b"PCRET1\n"
_LONGEST_LINE: Final = 64
_LONGEST_SHEET_NAME: Final = 31
_NOT_IN_SHEET_NAMES: Final = str.maketrans(dict.fromkeys("[]:*?/\\'", "_"))
_WIDTH: Final = 22
_TEXT: Final = "@"


class ReturnHeader(NamedTuple):
    """What a sealed return says of itself; not proved before it is opened.

    Attributes:
        batch: batch identifier.
        recipient: who gets it.
        length: bytes of the header.
    """

    batch: str
    recipient: Recipient
    length: int


def seal_return(path: Path, batch: str, recipient: Recipient, tables: Sequence[Table], keys: KeyStore) -> None:
    """Write a recipient's tables to a sealed file, which appears as a whole.

    Args:
        path: of the file; replaced when it exists.
        batch: batch identifier.
        recipient: who gets it.
        tables: each becomes a CSV and an XLSX.
        keys: of the batch.
    """
    header = _MAGIC + batch.encode("ascii") + b"\n" + recipient.value.encode("ascii") + b"\n"
    write_atomically(path, header + keys.seal(KeyName.TRANSPORT, _packed(batch, tables), header))


def open_return(
    path: Path,
    directory: Path,
    keys_of: Callable[[str], KeyStore],
    recipient: RecipientCertificate | None = None,
) -> tuple[ReturnHeader, list[Path]]:
    """Write the tables of a sealed return, in clear or for one recipient; returns what it is and the files.

    Args:
        path: written by `seal_return`.
        directory: for the files; they hold personal data, and existing ones are not replaced.
        keys_of: the keys of a batch.
        recipient: who alone can open the files.

    Raises:
        PersonalizationError: "return-file-missing" (exit 2), "return-file-unreadable", "return-exists" (exit 2),
            "sealed-data-refused", "batch-keys-missing".
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        missing = PersonalizationError("return-file-missing", exit_code=2, file=path.name)
        raise unread(error, path, missing) from error
    header = read_header(content, path.name)
    raw = content[: header.length]
    packed = keys_of(header.batch).unseal(KeyName.TRANSPORT, content[header.length :], raw)
    make_folder(directory)
    written: list[Path] = []
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            target = directory / Path(name).name
            if recipient is not None:
                content, target = recipient.seal(content), target.with_name(target.name + ENDING)
            try:
                write_atomically(target, content, replace=False)
            except FileExistsError:
                raise PersonalizationError("return-exists", exit_code=2, file=str(target)) from None
            written.append(target)
    return header, written


def read_header(content: bytes, name: str) -> ReturnHeader:
    """The header of a sealed return.

    Raises:
        PersonalizationError: "return-file-unreadable".
    """
    first = content.find(b"\n", len(_MAGIC), len(_MAGIC) + _LONGEST_LINE) + 1
    second = content.find(b"\n", first, first + _LONGEST_LINE) + 1
    if not content.startswith(_MAGIC) or not first or not second:
        raise PersonalizationError("return-file-unreadable", file=name)
    try:
        recipient = Recipient(content[first : second - 1].decode("ascii"))
        return ReturnHeader(content[len(_MAGIC) : first - 1].decode("ascii"), recipient, second)
    except ValueError:
        raise PersonalizationError("return-file-unreadable", file=name) from None


def write_csv(table: Table) -> bytes:
    """UTF-8 with byte order mark, every field quoted, CRLF (RFC 4180).

    Text that a spreadsheet program would take for a formula gets an apostrophe in front.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
    writer.writerow(table.headings)
    writer.writerows([without_formula(text) for text in row] for row in table.rows)
    return stream.getvalue().encode("utf-8-sig")


def write_xlsx(table: Table) -> bytes:
    """A workbook of text cells, so that no digit is lost; one sheet, or those that the table names."""
    book = Workbook(write_only=True)
    names: set[str] = set()
    for name, rows in table.sheets or [(table.name, table.rows)]:
        sheet = book.create_sheet(_sheet_name(name, names))
        sheet.freeze_panes = "A2"
        for column in range(1, len(table.headings) + 1):
            sheet.column_dimensions[get_column_letter(column)].width = _WIDTH
        sheet.append([_as_text(WriteOnlyCell(sheet, heading), bold=True) for heading in table.headings])
        for row in rows:
            sheet.append([_as_text(WriteOnlyCell(sheet, text)) for text in row])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _as_text(cell: Cell, *, bold: bool = False) -> Cell:
    cell.data_type, cell.number_format = "s", _TEXT  # a leading "=" would make it a formula
    if bold:
        cell.font = Font(bold=True)
    return cell


def _sheet_name(name: str, taken: set[str]) -> str:
    """A name that a workbook takes: 31 characters at most, without some, and each once whatever its case."""
    base = name.translate(_NOT_IN_SHEET_NAMES)[:_LONGEST_SHEET_NAME] or "_"
    found, number = base, 1
    while found.casefold() in taken:
        number += 1
        ending = f" ({number})"
        found = base[: _LONGEST_SHEET_NAME - len(ending)] + ending
    taken.add(found.casefold())
    return found


def _packed(batch: str, tables: Sequence[Table]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in tables:
            archive.writestr(f"{batch}-{table.name}.csv", write_csv(table))
            archive.writestr(f"{batch}-{table.name}.xlsx", write_xlsx(table))
    return stream.getvalue()
