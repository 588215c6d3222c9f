"""``permitcard batch letters``: the PINs of a released batch leave the centre, each once, and the trail tells of it."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from personalization.preparation.mailer import MailerFile
from personalization.preparation.sealed_file import Purpose
from tests.console.conftest import SmallCentre


def pins(centre: SmallCentre, batch: str) -> dict[str, dict[str, str]]:
    """By permit number: what was drawn in preparation."""
    from permitcard.job import Job

    with Job.open(centre.centre) as job:
        path = job.sealed(batch, Purpose.MAILER)
        with MailerFile(path, job.keys.of_batch(batch), batch=batch) as letters:
            found = [letters.letter(row) for row in range(2, 6)]
    return {letter.permit_number: letter.pins for letter in found}


def entries(centre: SmallCentre) -> list[Any]:
    centre("audit", "export", "export.json")
    document = json.loads((centre.prompt.folder / "export.json").read_bytes())
    return [json.loads(one["facts"]) for one in document["entries"] if one["what"] == "letters-written"]


@pytest.fixture
def released(small_centre: SmallCentre) -> SmallCentre:
    small_centre.make()
    small_centre("batch", "release")
    return small_centre


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def test_letters_are_written_once(released: SmallCentre, tmp_path: Path) -> None:
    status: Any = released("batch", "status").document
    batch = str(status["batch"])
    assert status["next"] == ["return", "letters"]
    part: Any = released("batch", "letters", "part.csv", "--rows", "3-4").document
    assert part == {"batch": batch, "file": "part.csv", "rows": [3, 4], "lacking": {}}
    drawn = pins(released, batch)
    for row in table((tmp_path / "part.csv").read_bytes()):
        assert drawn[row["居住证号"]] == {"holder": row["持证人密码"], "unblocking": row["解锁码"]}
    assert (tmp_path / "part.csv").stat().st_mode & 0o077 == 0
    before = released("batch", "letters", "all.pdf", code=2).error
    assert (before["code"], before["parameters"]) == ("letters-before", {"rows": "3-4"})
    assert not (tmp_path / "all.pdf").exists()
    assert released("batch", "letters", "rest.pdf", "--rows", "2,5").document["rows"] == [2, 5]
    assert released("batch", "status").document["next"] == ["return"]
    assert released("batch", "letters", "all.xlsx", "--again").document["rows"] == [2, 3, 4, 5]
    told = entries(released)
    assert [(one["rows"], one["count"], one["recipient"]) for one in told] == [
        ("3-4", 2, None),
        ("2,5", 2, None),
        ("2-5", 4, None),
    ]
    secrets = [pin for one in drawn.values() for pin in one.values() if len(pin) > 6]
    trail = (tmp_path / "export.json").read_text("utf-8")
    assert not any(re.search(f"(?<![0-9A-Fa-f]){pin}(?![0-9A-Fa-f])", trail) for pin in secrets), (
        "as a word, by no chance"
    )


def test_letters_for_one_recipient_open_with_its_key(released: SmallCentre, tmp_path: Path) -> None:
    request = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out printer.pem -subj /CN=printer -days 3"
    subprocess.run(request.split(), cwd=tmp_path, check=True, capture_output=True)
    sealed: Any = released("batch", "letters", "letters.csv", "--recipient", "printer.pem").document
    assert sealed["file"] == "letters.csv.p7m"
    assert not (tmp_path / "letters.csv").exists()
    decrypt = "openssl cms -decrypt -inform DER -in letters.csv.p7m -inkey key.pem"
    opened = subprocess.run(decrypt.split(), cwd=tmp_path, check=True, capture_output=True).stdout
    drawn = pins(released, str(sealed["batch"]))
    assert {row["居住证号"]: row["持证人密码"] for row in table(opened)} == {
        permit: one["holder"] for permit, one in drawn.items()
    }
    assert entries(released)[0]["recipient"], "SHA-256 of the certificate"
    written: Any = released("batch", "return").document
    bank = str(written["files"]["bank"]["path"])
    files: Any = released("batch", "open", bank, "out", "--recipient", "printer.pem").document["files"]
    assert {Path(file).suffixes[-1] for file in files} == {".p7m"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(Path(file).name for file in files)


def test_a_mistake_writes_no_letter(released: SmallCentre, tmp_path: Path) -> None:
    (tmp_path / "there.pdf").write_bytes(b"somebody else's")
    for line, code in (
        (("letters.txt",), "outgoing-kind"),
        (("there.pdf",), "outgoing-exists"),
        (("letters.pdf", "--rows", "5-2"), "rows-malformed"),
        (("letters.pdf", "--rows", "2,9"), "letters-without-card"),
        (("letters.pdf", "--recipient", "none.pem"), "recipient-missing"),
        (("letters.pdf", "B-0"), "batch-unknown"),
    ):
        assert released("batch", "letters", *line, code=2).error["code"] == code
    assert (tmp_path / "there.pdf").read_bytes() == b"somebody else's"
    assert not (tmp_path / "letters.pdf").exists()
    assert entries(released) == []


def test_no_letter_before_the_release_and_none_after_the_end(small_centre: SmallCentre, tmp_path: Path) -> None:
    batch = str(small_centre.make()["batch"])
    assert small_centre("batch", "letters", "early.pdf", code=2).error["code"] == "batch-not-released"
    small_centre("batch", "release")
    small_centre("batch", "remake", "--row", "3", "--reason", "printing")
    assert small_centre("batch", "letters", "early.pdf", code=2).error["code"] == "batch-not-released"
    small_centre("stock", "receive", "1")
    small_centre("batch", "resume", "--stations", "1")
    small_centre("batch", "release")
    small_centre("batch", "erase", batch)
    assert small_centre("batch", "letters", "late.pdf", code=3).error["code"] == "batch-keys-missing"
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".pdf"]


def test_a_full_disk_leaves_no_letter_that_counts_as_written(
    released: SmallCentre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("permitcard.outgoing.os.fsync", full)
        assert released("batch", "letters", "letters.csv", code=3).error
    assert not list(tmp_path.glob("*letters.csv*"))
    assert entries(released) == []
    assert released("batch", "letters", "letters.csv").document["rows"] == [2, 3, 4, 5]
