"""Writing the PIN letters of a released batch: two operators, each letter once unless somebody says again.

The trail tells of letters before they have their name on the disk; no PIN leaves that it does not know of.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from personalization.atomic_file import open_atomically
from personalization.errors import PersonalizationError
from personalization.preparation.mailer import MailerFile, PinLetter
from personalization.preparation.sealed_file import Purpose
from personalization.production.acts import Act
from personalization.production.journal.batches import find_batch
from personalization.production.journal.events import Entry, What, record
from personalization.production.operators import approved, require_two
from personalization.production.row_ranges import write_rows
from personalization.returns.envelope import ENDING
from personalization.returns.facts import ROWS, Result, collect_returns, lettered_rows
from personalization.returns.files import write_csv, write_xlsx
from personalization.returns.letters import letter_texts, letters_pdf, letters_table
from personalization.typeface import Typeface

if TYPE_CHECKING:
    from permitcard.job import Job
    from personalization.returns.envelope import RecipientCertificate

_USAGE: Final = 2
_PDF: Final = ".pdf"
_TABLES: Final = {".csv": write_csv, ".xlsx": write_xlsx}


class Wanted(NamedTuple):
    """Which letters, and how.

    Attributes:
        path: of the file; ``.pdf``, ``.csv`` or ``.xlsx`` says its form.
        rows: of these rows; None for all that have a card.
        again: also letters that were written before.
        recipient: who alone can open the file; None leaves it in clear.
        font: of the pages.
    """

    path: Path
    rows: frozenset[int] | None = None
    again: bool = False
    recipient: RecipientCertificate | None = None
    font: Path | None = None


class Written(NamedTuple):
    """What was written.

    Attributes:
        path: of the file.
        rows: whose letters are in it.
        lacking: rows whose letters cannot be printed, with the code points that the font lacks.
    """

    path: Path
    rows: tuple[int, ...]
    lacking: dict[int, str]


def write_letters(job: Job, identifier: str, wanted: Wanted) -> Written:
    """Write PIN letters to a file.

    Raises:
        PersonalizationError: exit 2: "role-missing", "approval-missing", "maker-inspects", "batch-unknown",
            "batch-not-released", "letters-kind", "letters-exist", "letters-without-card", "letters-before",
            "letters-none"; exit 3: "batch-keys-missing", "font-missing", "font-unusable"; "letters-unprintable", the
            font lacks characters of each.
    """
    path = _target(wanted)
    rows = _rows(job, identifier, wanted)
    approval = require_two(job.journal, job.roster, job.operator, Act.LETTERS, identifier)
    sealed = job.sealed(identifier, Purpose.MAILER)
    with MailerFile(sealed, job.keys.of_batch(identifier), batch=identifier) as mailer:
        letters = [mailer.letter(row) for row in rows]
    content, lacking = _content(letters, wanted)
    printed = tuple(row for row in rows if row not in lacking)
    facts = {
        ROWS: write_rows(printed),
        "count": len(printed),
        "sha256": hashlib.sha256(content).hexdigest(),
        "recipient": None if wanted.recipient is None else wanted.recipient.fingerprint,
        **approved(approval),
    }
    batch = find_batch(job.journal, identifier)
    try:
        with open_atomically(path, replace=False) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())  # a full disk shows before the trail says that there are letters
            with job.journal.transaction() as connection:
                record(connection, job.operator.name, [Entry(What.LETTERS_WRITTEN, batch.id, facts=facts)])
    except FileExistsError:
        raise PersonalizationError("letters-exist", exit_code=_USAGE, file=str(path)) from None
    job.checkpoint_if_possible()
    return Written(path, printed, lacking)


def _target(wanted: Wanted) -> Path:
    if wanted.path.suffix.lower() not in {_PDF, *_TABLES}:
        raise PersonalizationError("letters-kind", exit_code=_USAGE, file=str(wanted.path))
    path = wanted.path if wanted.recipient is None else wanted.path.with_name(wanted.path.name + ENDING)
    if path.exists():
        raise PersonalizationError("letters-exist", exit_code=_USAGE, file=str(path))
    return path


def _content(letters: list[PinLetter], wanted: Wanted) -> tuple[bytes, dict[int, str]]:
    """The file, and rows whose letters are not in it with the code points that the font lacks."""
    lacking: dict[int, str] = {}
    if write := _TABLES.get(wanted.path.suffix.lower()):
        content = write(letters_table(letters))
    else:
        typeface = Typeface(wanted.font)
        lacking = {one.row_number: points for one in letters if (points := typeface.lacking(letter_texts(one)))}
        if len(lacking) == len(letters):
            raise PersonalizationError("letters-unprintable", rows=write_rows(lacking), points=lacking[min(lacking)])
        content = letters_pdf([one for one in letters if one.row_number not in lacking], typeface)
    return content if wanted.recipient is None else wanted.recipient.seal(content), lacking


def _rows(job: Job, identifier: str, wanted: Wanted) -> list[int]:
    made = {row.row for row in collect_returns(job.journal, identifier).rows if row.result is Result.MADE}
    rows = made if wanted.rows is None else wanted.rows
    if strangers := rows - made:
        raise PersonalizationError("letters-without-card", exit_code=_USAGE, rows=write_rows(strangers))
    batch = find_batch(job.journal, identifier)
    with job.journal.reading() as connection:
        before = rows & lettered_rows(connection, batch.id)
    if before and not wanted.again:
        raise PersonalizationError("letters-before", exit_code=_USAGE, rows=write_rows(before))
    if not rows:
        raise PersonalizationError("letters-none", exit_code=_USAGE, batch=identifier)
    return sorted(rows)
