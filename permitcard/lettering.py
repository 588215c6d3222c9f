"""Writing the PIN letters of a released batch: two operators, each letter once unless somebody says again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from permitcard.outgoing import Outgoing
from permitcard.products import permit_profile
from personalization.errors import PersonalizationError
from personalization.preparation.mailer import MailerFile, PinLetter
from personalization.preparation.sealed_file import Purpose
from personalization.production.acts import ACTS, Act
from personalization.production.journal.batches import find_batch
from personalization.production.journal.events import What
from personalization.production.operators import approved, require_two
from personalization.production.row_ranges import write_rows
from personalization.returns.facts import ROWS, Result, collect_returns, lettered_rows
from personalization.returns.files import write_csv, write_xlsx
from personalization.returns.letters import letter_texts, letters_pdf, letters_table
from personalization.typeface import Typeface

if TYPE_CHECKING:
    from permitcard.job import Job

_USAGE: Final = 2
_PDF: Final = ".pdf"
_TABLES: Final = {".csv": write_csv, ".xlsx": write_xlsx}
_ENDINGS: Final = frozenset({_PDF, *_TABLES})


class Wanted(NamedTuple):
    """Which letters, and how.

    Attributes:
        file: where they go; ``.pdf``, ``.csv`` or ``.xlsx`` says their form.
        rows: of these rows; None for all that have a card.
        again: also letters that were written before.
        font: of the pages.
    """

    file: Outgoing
    rows: frozenset[int] | None = None
    again: bool = False
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
            "batch-not-released", "outgoing-kind", "outgoing-exists", "letters-without-card", "letters-before",
            "letters-none"; exit 3: "batch-keys-missing", "font-missing", "font-unusable"; "letters-unprintable", the
            font lacks characters of each.
    """
    job.operator.require(ACTS[Act.LETTERS].acts)
    wanted.file.require_kind(_ENDINGS)
    rows = _rows(job, identifier, wanted)
    approval = require_two(job.journal, job.roster, job.operator, Act.LETTERS, identifier)
    sealed = job.sealed(identifier, Purpose.MAILER)
    with MailerFile(sealed, job.keys.of_batch(identifier), batch=identifier) as mailer:
        letters = [mailer.letter(row) for row in rows]
    content, lacking = _content(letters, wanted)
    printed = tuple(row for row in rows if row not in lacking)
    facts = {ROWS: write_rows(printed), "count": len(printed), **approved(approval)}
    path = wanted.file.write(job, identifier, What.LETTERS_WRITTEN, facts, lambda stream: _put(stream, content))
    return Written(path, printed, lacking)


def _put(stream: BinaryIO, content: bytes) -> None:
    stream.write(content)


def _content(letters: list[PinLetter], wanted: Wanted) -> tuple[bytes, dict[int, str]]:
    """The file, and rows whose letters are not in it with the code points that the font lacks."""
    lacking: dict[int, str] = {}
    titles = {row.name: row.title.zh for row in permit_profile().pins}
    if write := _TABLES.get(wanted.file.path.suffix.lower()):
        content = write(letters_table(letters, titles))
    else:
        typeface = Typeface(wanted.font)
        lacking = {one.row_number: points for one in letters if (points := typeface.lacking(letter_texts(one, titles)))}
        if len(lacking) == len(letters):
            raise PersonalizationError("letters-unprintable", rows=write_rows(lacking), points=lacking[min(lacking)])
        content = letters_pdf([one for one in letters if one.row_number not in lacking], titles, typeface)
    return content, lacking


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
