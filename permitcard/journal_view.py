"""The journal of a centre, to be looked at: no key is needed, so that it answers while the token is gone.

Nothing personal stands in what is shown from it, and who may read the centre's folder may read it anyway.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from permitcard.centre_group import require_access
from personalization.errors import PersonalizationError
from personalization.production.audit import require_journal_of
from personalization.production.journal.batches import list_batches
from personalization.production.journal.database import Journal, open_journal

if TYPE_CHECKING:
    from permitcard.centre import Centre


@contextmanager
def look_at_journal(centre: Centre) -> Generator[Journal]:
    """The open journal; a centre that has none yet is opened as for work, which makes it or says what is missing.

    Raises:
        PersonalizationError: no such centre, or it is closed to the caller; "journal-behind", exit 3; the journal
            cannot be opened.
    """
    require_access(centre.root)
    if not centre.journal.exists() and not centre.journal_file.exists():
        from permitcard.job import Job

        with Job.open(centre) as job:
            yield job.journal
        return
    journal = open_journal(centre.journal_place())
    try:
        require_journal_of(journal, centre.checkpoints)
        yield journal
    finally:
        journal.close()


def latest_batch(journal: Journal, centre: Centre) -> str:
    """The batch that came last.

    Raises:
        PersonalizationError: "no-batch", exit 2.
    """
    batches = list_batches(journal)
    if not batches:
        raise PersonalizationError("no-batch", exit_code=2, path=str(centre.root))
    return batches[-1]
