"""Writing what is printed on the cards of a batch, for a printing house."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from personalization.errors import PersonalizationError
from personalization.preparation.faces import FaceFile
from personalization.preparation.sealed_file import Purpose
from personalization.production.acts import Role
from personalization.production.journal.batches import find_batch
from personalization.production.journal.events import What
from personalization.production.row_ranges import write_rows
from personalization.returns.face_archive import pack_faces
from personalization.returns.facts import ROWS

if TYPE_CHECKING:
    from permitcard.job import Job
    from permitcard.outgoing import Outgoing

_USAGE: Final = 2
_ENDINGS: Final = frozenset({".zip"})


def write_faces(job: Job, identifier: str, outgoing: Outgoing, chosen: frozenset[int] | None) -> tuple[int, ...]:
    """Write the faces of a batch, or of some rows; returns the rows.

    Raises:
        PersonalizationError: exit 2: "role-missing", "outgoing-kind", "outgoing-exists", "batch-unknown",
            "rows-not-prepared"; "batch-keys-missing" (exit 3), the batch was erased.
    """
    job.operator.require(Role.RUN)
    outgoing.require_kind(_ENDINGS)
    find_batch(job.journal, identifier)
    path = job.sealed(identifier, Purpose.FACES)
    with FaceFile(path, job.keys.of_batch(identifier), batch=identifier) as file:
        prepared = frozenset(file.row_numbers())
        rows = prepared if chosen is None else chosen
        if strangers := rows - prepared:
            raise PersonalizationError("rows-not-prepared", exit_code=_USAGE, rows=write_rows(strangers))
        wanted = tuple(sorted(rows))
        facts = {ROWS: write_rows(wanted), "count": len(wanted)}
        outgoing.write(
            job,
            identifier,
            What.FACES_WRITTEN,
            facts,
            lambda stream: pack_faces((file.face(row) for row in wanted), stream),
        )
    return wanted
