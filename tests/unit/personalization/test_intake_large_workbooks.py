"""Workbooks far larger than any delivery: refused or read, with a clear word, within bounds of memory and time.

Memory is the largest that the process ever had, as the kernel counts it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from permitcard.centre import Centre
from personalization.intake.applicant import SHEET_COLUMNS
from personalization.intake.delivery import HEADINGS, PICTURES_END
from personalization.intake.delivery_writer import pack_archive
from personalization.intake.limits import ArchiveLimits
from personalization.keys.file_store import FileKeyStore
from tests.console.command_line import ROOT

MEBIBYTE = 1 << 20
OURS_MB = 160
"""What the command itself needs, libraries and all."""

_MEASURE = """
import json, os, subprocess, sys
with open(sys.argv[1], "w") as figures:
    process = subprocess.Popen(sys.argv[2:])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    json.dump((process.returncode, used.ru_maxrss, used.ru_utime + used.ru_stime), figures)
"""
"""Runs a command from a small process: the kernel begins to count with the memory of whoever starts a program."""

_PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.'
    'sheet.main+xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" '
    'Target="worksheets/sheet1.xml"/></Relationships>',
}


@dataclass(frozen=True, slots=True)
class Told:
    """How the command ended: exit code, words, largest memory in MB, processor time in seconds."""

    code: int
    words: str
    peak_mb: int
    seconds: float


def delivery(folder: Path, rows: Iterator[bytes]) -> Path:
    """A workbook of these rows, with a zip of no pictures beside it."""
    path = folder / "resAppData-330381(1-10)-10.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        for name, part in _PARTS.items():
            package.writestr(name, part)
        with package.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>')
            for row in rows:
                sheet.write(row)
            sheet.write(b"</sheetData></worksheet>")
    path.with_name(path.stem + PICTURES_END).write_bytes(pack_archive([]))
    return path


def row(number: int, *texts: str) -> bytes:
    cells = "".join(
        f'<c r="{chr(ord("A") + at)}{number}" t="inlineStr"><is><t>{text}</t></is></c>' for at, text in enumerate(texts)
    )
    return f'<row r="{number}">{cells}</row>'.encode()


def ask(folder: Path, file: Path) -> Told:
    """``batch prepare`` of a delivery, in a process of its own."""
    centre = Centre(folder / "centre")
    FileKeyStore.create(centre.keys, centre.make_test_passphrase().read(), scrypt_n=1024)
    command = [sys.executable, "-m", "permitcard", "batch", "prepare", str(file), "--workers", "0", "--json"]
    figures = folder / "figures"
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(figures), *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    code, peak_kb, seconds = json.loads(figures.read_bytes())
    return Told(code, done.stdout.decode(), peak_kb // 1024, seconds)


def unpacks_to_too_much() -> Iterator[bytes]:
    """270 MB that pack well, though not as well as a bomb."""
    chance = random.Random(7)
    filler = row(2, "浙" * 20_000)
    for _ in range(270 * MEBIBYTE // (len(filler) + 4096)):
        yield filler
        yield row(3, chance.randbytes(2048).hex())


def has_too_many_rows() -> Iterator[bytes]:
    yield row(1, *(HEADINGS[column] for column in SHEET_COLUMNS))
    for number in range(2, ArchiveLimits().rows + 3):
        yield row(number, "1")


@pytest.mark.parametrize(
    ("rows", "code"), [(unpacks_to_too_much, "batch-archive-too-large"), (has_too_many_rows, "batch-table-rows")]
)
def test_a_workbook_beyond_the_bounds_is_refused_before_it_fills_the_memory(
    tmp_path: Path, rows: Callable[[], Iterator[bytes]], code: str
) -> None:
    file = delivery(tmp_path, rows())
    told = ask(tmp_path, file)
    assert told.code == 1, told.words
    assert f'"code": "{code}"' in told.words
    assert told.peak_mb < OURS_MB + 3 * file.stat().st_size // MEBIBYTE
    assert list((tmp_path / "centre" / "batches").glob("RCO*")) == []


@pytest.mark.long
def test_a_workbook_of_a_hundred_megabytes_is_read_within_a_gigabyte(tmp_path: Path) -> None:
    chance = random.Random(7)

    def rows() -> Iterator[bytes]:
        yield row(1, *(HEADINGS[column] for column in SHEET_COLUMNS))
        for number in range(2, 90_000):
            yield row(number, *(chance.randbytes(52).hex() for _ in SHEET_COLUMNS))

    file = delivery(tmp_path, rows())
    assert file.stat().st_size > 100_000_000
    told = ask(tmp_path, file)
    assert told.code == 1, told.words
    assert '"rows": 89998' in told.words
    assert told.peak_mb < 1024
    assert told.seconds < 600
