"""``permitcard batch faces``: what a printing house needs to print bodies before their chips are made."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import openpyxl

from permitcard.job import Job
from personalization.preparation.sealed_file import Purpose
from personalization.preparation.source_file import SourceFile
from tests.console.conftest import SmallCentre


def test_a_printing_house_gets_what_is_on_the_cards(small_centre: SmallCentre, tmp_path: Path) -> None:
    small_centre("batch", "prepare", small_centre.delivered, "--workers", "1")
    batch = str(small_centre("batch", "status").document["batch"])
    written: Any = small_centre("batch", "faces", "faces.zip").document
    assert written == {"batch": batch, "file": "faces.zip", "rows": [2, 3, 4, 5]}
    with Job.open(small_centre.centre) as job:
        keys = job.keys.of_batch(batch)
        with SourceFile(job.sealed(batch, Purpose.SOURCE), keys, batch=batch) as source:
            applicants = [source.applicant(row) for row in range(2, 6)]
    with zipfile.ZipFile(tmp_path / "faces.zip") as archive:
        assert archive.testzip() is None
        rows = list(csv.DictReader(io.StringIO(archive.read("faces.csv").decode("utf-8-sig"))))
        for applicant, row in zip(applicants, rows, strict=True):
            assert (row["行号"], row["姓名"], row["居住证号"], row["条码内容"], row["公民身份号码"]) == (
                str(applicant.row_number),
                applicant.name,
                applicant.permit_number,
                applicant.permit_number,
                applicant.citizen_number,
            )
            assert bool(row["支付标识"]) is bool(applicant.bank_account)
            assert archive.read(row["照片文件"]).startswith(b"\xff\xd8\xff")
            assert ET.fromstring(archive.read(row["条码文件"])).tag.endswith("svg")  # noqa: S314 - of our own making
        book = openpyxl.load_workbook(io.BytesIO(archive.read("faces.xlsx")), read_only=True)
        assert [str(row[1]) for row in book.worksheets[0].iter_rows(min_row=2, values_only=True)] == [
            row["姓名"] for row in rows
        ]
        book.close()
        assert len(archive.namelist()) == 2 + 2 * len(rows)
    small_centre("audit", "export", "export.json")
    entries = json.loads((tmp_path / "export.json").read_bytes())["entries"]
    facts = [json.loads(entry["facts"]) for entry in entries if entry["what"] == "faces-written"]
    sha256 = hashlib.sha256((tmp_path / "faces.zip").read_bytes()).hexdigest()
    assert facts == [{"rows": "2-5", "count": 4, "sha256": sha256, "recipient": None}]


def test_some_rows_and_mistakes(small_centre: SmallCentre, tmp_path: Path) -> None:
    batch = str(small_centre.make()["batch"])
    assert small_centre("batch", "faces", "one.zip", "--rows", "4").document["rows"] == [4]
    for line, code in (
        (("one.zip",), "outgoing-exists"),
        (("faces.pdf",), "outgoing-kind"),
        (("faces.zip", "--rows", "1,4"), "rows-not-prepared"),
        (("faces.zip", "B-0"), "batch-unknown"),
    ):
        assert small_centre("batch", "faces", *line, code=2).error["code"] == code
    small_centre("batch", "release")
    small_centre("batch", "erase", batch)
    assert small_centre("batch", "faces", "faces.zip", code=3).error["code"] == "batch-keys-missing"
    assert not (tmp_path / "faces.zip").exists()
