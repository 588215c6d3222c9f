"""After a batch is erased nothing personal is left: not in the centre, and not in a backup of journal and batches.

The batch is made by a run that is killed and resumed, so that write-ahead logs and what only a crash leaves behind are
looked at too. The backup is a copy of what a backup may take; keys of batches, cards and deliveries are not among it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from permitcard.centre import Centre
from personalization.errors import PersonalizationError
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.keys.keystore import KeyName
from personalization.keys.signed_document import read_signed
from personalization.preparation.mailer import MailerFile
from personalization.preparation.sealed_file import Purpose, SealedReader
from tests.console.command_line import CommandLine
from tests.console.killed_demo import killed_demo
from tests.console.needles import search
from tests.console.test_no_leaks import personal, portraits

CARDS = 12
MADE_BEFORE_THE_KILL = 2
BACKED_UP = ("journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "batches", "reports", "checkpoints")


@dataclass(frozen=True, slots=True)
class Erased:
    """A centre before and after.

    Attributes:
        command: runs further commands.
        centre: the centre.
        backup: copy of what a backup may take, from before.
        elsewhere: folder with a second copy of the delivered file.
        batch: identifier.
        secrets: what nobody may find.
        document: what the command printed.
        temporary: TMPDIR of all commands.
    """

    command: CommandLine
    centre: Centre
    backup: Path
    elsewhere: Path
    batch: str
    secrets: dict[str, str | bytes]
    document: dict[str, Any]
    temporary: Path


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Erased:
    import datetime as dt

    folder = tmp_path_factory.mktemp("erased")
    centre, temporary, elsewhere = Centre(folder / "centre"), folder / "tmp", folder / "elsewhere"
    temporary.mkdir()
    elsewhere.mkdir()
    command = CommandLine(folder, {"TMPDIR": str(temporary)})
    killed_demo(command, centre, CARDS, MADE_BEFORE_THE_KILL)
    command("batch", "resume", "--centre", centre.root)
    delivered = next((centre.root / "delivered").glob("*.zip"))
    shutil.copy(delivered, elsewhere / "renamed.bin")
    (elsewhere / "another.zip").write_bytes(b"not the delivery")
    applicants = receive_batch(delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    assert len(applicants) == CARDS
    secrets: dict[str, str | bytes] = dict(portraits(applicants))
    for applicant in applicants:
        secrets |= personal(applicant)
    batch = next((centre.root / "batches").iterdir()).name
    keys = centre.key_store().open()
    with MailerFile(centre.batch(batch) / f"{batch}.mailer", keys.of_batch(batch)) as letters:
        assert letters.letter(applicants[0].row_number).name == applicants[0].name, "opens before it is erased"
    backup = folder / "backup"
    backup.mkdir()
    for name in BACKED_UP:
        source = centre.root / name
        if source.is_dir():
            shutil.copytree(source, backup / name)
        elif source.exists():
            shutil.copy(source, backup / name)
    printed = command("batch", "erase", batch, "--centre", centre.root, "--input", elsewhere, "--json").document
    return Erased(command, centre, backup, elsewhere, batch, secrets, printed, temporary)


def test_nothing_personal_is_left_in_the_centre(erased: Erased) -> None:
    """Database, write-ahead log, inputs, prepared files, card images, reports, certificates: in every form."""
    assert (erased.centre.root / "journal.sqlite").exists()
    assert search([erased.centre.root, erased.temporary, erased.elsewhere], erased.secrets) == []


def test_the_masked_values_that_inspection_showed_are_gone_too(erased: Erased) -> None:
    with contextlib.closing(sqlite3.connect(erased.centre.journal)) as connection:
        assert connection.execute("SELECT count(*) FROM evidence").fetchone()[0] > CARDS
        assert connection.execute("SELECT count(*) FROM evidence WHERE checks IS NOT NULL").fetchone()[0] == 0


def test_a_backup_holds_nothing_in_clear_and_its_sealed_files_open_no_more(erased: Erased) -> None:
    assert search([erased.backup / name for name in BACKED_UP if (erased.backup / name).exists()], erased.secrets) == []
    keys = erased.centre.key_store().open()
    with pytest.raises(PersonalizationError, match="batch-keys-missing"):
        keys.of_batch(erased.batch)
    folder = erased.backup / "batches" / erased.batch
    for purpose in Purpose:
        with pytest.raises(PersonalizationError, match="sealed-file-other-key"):
            SealedReader(folder / f"{erased.batch}.{purpose.label}", purpose, keys)


def test_what_was_removed_is_what_was_there(erased: Erased) -> None:
    root = erased.centre.root
    assert not erased.centre.batch(erased.batch).exists()
    assert not erased.centre.report(erased.batch).exists()
    assert list((root / "delivered").glob("*.zip")) == []
    assert [path.name for path in erased.elsewhere.iterdir()] == ["another.zip"]
    with contextlib.closing(sqlite3.connect(erased.centre.journal)) as connection:
        used = connection.execute("SELECT location FROM blanks WHERE state != 'in-stock'").fetchall()
        unused = connection.execute("SELECT location FROM blanks WHERE state = 'in-stock'").fetchall()
    assert len(used) >= CARDS
    assert not any((root / location.removeprefix("sim:")).exists() for (location,) in used)
    assert all((root / location.removeprefix("sim:")).exists() for (location,) in unused)


def test_the_certificate_says_what_was_erased_and_is_signed(erased: Erased) -> None:
    keys = erased.centre.key_store().open()
    document = read_signed(Path(erased.document["certificate"]), keys.certificate(KeyName.AUTHORITY))
    assert document["batch"] == erased.batch
    assert document["rehearsal"] is True
    assert set(document["destroyed_keys"]) == {"transport", "mailer", "rejects"}
    assert document["removed"]["inputs"] == 2
    assert document["removed"]["cards"] >= CARDS
    assert document["approved_by"] is None
    page = Path(erased.document["page"]).read_text("utf-8")
    assert "Certificate of erasure" in page
    assert document["destroyed_keys"]["mailer"] in page


def test_the_audit_trail_tells_and_verifies(erased: Erased) -> None:
    verdict = erased.command("audit", "verify", "--centre", erased.centre.root, "--json").document
    assert verdict["genuine"] is True
    assert verdict["uncovered"] == 0
    with contextlib.closing(sqlite3.connect(erased.centre.journal)) as connection:
        facts = json.loads(connection.execute("SELECT facts FROM events WHERE what = 'batch-erased'").fetchone()[0])
    assert facts["cards"] >= CARDS


def test_the_batch_is_known_as_erased_and_its_permits_are_known_again(erased: Erased) -> None:
    centre = ("--centre", erased.centre.root, "--json")
    assert erased.command("batch", "erase", erased.batch, *centre, code=2).error["code"] == "batch-erased"
    assert erased.command("batch", "status", erased.batch, *centre).document["good"] == CARDS
    erased.command("batch", "report", erased.batch, *centre)
    written = erased.centre.report(erased.batch)
    assert search([written], erased.secrets) == []
    shutil.rmtree(written)
