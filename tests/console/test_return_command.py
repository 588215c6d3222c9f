"""A released batch gives back: results to the platform, accounts to the bank, cards to police stations; all sealed."""

from __future__ import annotations

import csv
import datetime as dt
import io
import shutil
from pathlib import Path
from typing import Any

import openpyxl
from filelock import FileLock

from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.production.journal.shifts import batch_lock
from tests.console.conftest import SmallCentre


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))


def test_a_batch_is_released_and_gives_back(small_centre: SmallCentre, tmp_path: Path) -> None:
    batch = str(small_centre.make()["batch"])
    assert small_centre("batch", "return", code=2).error["code"] == "batch-not-released"
    assert small_centre("batch", "status").document["next"] == ["release"]
    small_centre("batch", "release")
    assert small_centre("batch", "status").document["next"] == ["return", "letters"]
    written: Any = small_centre("batch", "return").document
    applicants = receive_batch(small_centre.delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    with_account = [applicant for applicant in applicants if applicant.bank_account]
    assert written["files"]["platform"]["rows"] == {"results": 4, "replaced": 0}
    assert written["files"]["bank"]["rows"] == {"bank": len(with_account)}
    secrets = [value for one in applicants for value in (one.permit_number, one.citizen_number, one.name)]
    for file in written["files"].values():
        content = (tmp_path / file["path"]).read_bytes()
        assert not any(secret.encode() in content for secret in secrets)
    opened: Any = small_centre("batch", "open", written["files"]["platform"]["path"], "out").document
    assert opened["recipient"] == "platform"
    results = read(tmp_path / "out" / f"{batch}-results.csv")
    assert [row["居住证号"] for row in results] == [applicant.permit_number for applicant in applicants]
    assert {row["结果"] for row in results} == {"00"}
    assert len({row["芯片序列号"] for row in results}) == 4
    small_centre("batch", "open", written["files"]["bank"]["path"], "out")
    assert [row["银行卡号"] for row in read(tmp_path / "out" / f"{batch}-bank.csv")] == [
        applicant.bank_account for applicant in with_account
    ]
    small_centre("batch", "open", written["files"]["stations"]["path"], "out")
    book = openpyxl.load_workbook(tmp_path / "out" / f"{batch}-stations.xlsx", read_only=True)
    holders = [row[2] for sheet in book for row in sheet.iter_rows(min_row=2, values_only=True)]
    book.close()
    assert sorted(map(str, holders)) == sorted(applicant.name for applicant in applicants)
    again = small_centre("batch", "open", written["files"]["bank"]["path"], "out", code=2)
    assert again.error["code"] == "return-exists"
    kept = tmp_path / "kept"
    shutil.copy(tmp_path / written["files"]["bank"]["path"], kept)
    with FileLock(next(small_centre.centre.root.rglob(f"{batch_lock(1)}.lock"))):  # somebody has just resumed it
        assert small_centre("batch", "erase", batch, code=2).error["code"] == "batch-at-work"
    small_centre("batch", "erase", batch)
    assert small_centre("batch", "open", "kept", "out2", code=3).error["code"] == "batch-keys-missing"
    assert small_centre("batch", "return", code=3).error["code"] == "batch-keys-missing"
    assert small_centre("batch", "open", "nowhere", "out2", code=2).error["code"] == "return-file-missing"
    assert small_centre("stock", "account").document["adds_up"] is True
    assert small_centre("batch", "status").document["next"] == ["erased"]
    said = small_centre.prompt("batch", "return", "--centre", "centre", "--lang", "zh", code=3)
    assert batch in said.err


def test_a_batch_that_was_prepared_in_chunks_gives_back_too(small_centre: SmallCentre, tmp_path: Path) -> None:
    small_centre("batch", "prepare", small_centre.delivered, "--workers", "1")
    small_centre("stock", "receive", "5")
    small_centre("batch", "resume", "--stations", "1")
    small_centre("batch", "release")
    written: Any = small_centre("batch", "return").document
    assert written["files"]["platform"]["rows"]["results"] == 4
    small_centre("batch", "open", written["files"]["platform"]["path"], "out")
    results = next((tmp_path / "out").glob("*-results.csv"))
    assert all(row["居住证号"] and row["芯片序列号"] for row in read(results))
