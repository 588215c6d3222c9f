"""A journal is of the keys that it was begun with."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete

from permitcard.job import Job
from personalization.errors import PersonalizationError
from personalization.keys.file_store import FileKeyStore
from personalization.production.journal.database import open_journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.ownership import require_keys_of
from personalization.production.journal.place import JournalPlace
from personalization.production.journal.tables import JournalKeys
from tests.console.conftest import SmallCentre, prompt, small_centre

__all__ = ["prompt", "small_centre"]

OURS, OTHERS = b"\x01\x02\x03", b"\x01\x02\x04"
AUDIT, FORMER = b"\xaa\xaa\xaa", b"\xbb\xbb\xbb"


def test_the_first_keys_are_its_own(journal_place: JournalPlace) -> None:
    with open_journal(journal_place) as journal:
        for _ in range(2):
            require_keys_of(journal, OURS, AUDIT)
        with pytest.raises(PersonalizationError) as raised:
            require_keys_of(journal, OTHERS, AUDIT)
        require_keys_of(journal, OURS, FORMER)
    assert (raised.value.code, raised.value.exit_code) == ("journal-of-other-keys", 3)
    assert (raised.value.parameters["found"], raised.value.parameters["ours"]) == ("010203", "010204")


def test_a_journal_of_before_is_of_who_signed_it_last(journal_place: JournalPlace) -> None:
    with open_journal(journal_place) as journal:
        for key in (FORMER, AUDIT):
            with journal.transaction() as connection:
                record(connection, "li", [Entry(What.CHECKPOINT, facts={"key": key.hex()})])
        require_keys_of(journal, OTHERS, FORMER)
        require_keys_of(journal, OURS, AUDIT)
        with pytest.raises(PersonalizationError, match="journal-of-other-keys"):
            require_keys_of(journal, OTHERS, AUDIT)


def test_new_keys_in_an_old_centre_make_nothing(small_centre: SmallCentre, tmp_path: Path) -> None:
    centre = small_centre.centre
    small_centre.make()
    centre.keys.unlink()
    FileKeyStore.create(centre.keys, centre.passphrase_source().read(), scrypt_n=1024)
    for path in centre.checkpoints.iterdir():
        path.unlink()  # which would tell as well
    refused = small_centre("batch", "check", small_centre.delivered, code=3).error
    assert refused["code"] == "journal-of-other-keys"
    assert small_centre("batch", "run", small_centre.delivered, code=3).error["code"] == "journal-of-other-keys"
    with open_journal(centre.journal_place()) as journal, journal.transaction() as connection:
        connection.execute(delete(JournalKeys))
    with Job.open(centre), open_journal(centre.journal_place()) as journal, journal.reading() as connection:
        assert connection.execute(JournalKeys.__table__.select()).first() is None, "of whoever signed it, not of these"
