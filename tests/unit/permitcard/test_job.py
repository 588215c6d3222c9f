"""Loading a batch: all of it or nothing, and no refused row without its sealed file."""

from __future__ import annotations

from pathlib import Path

import pytest

from permitcard import job as job_module
from permitcard.centre import Centre
from permitcard.job import Job
from personalization.errors import PersonalizationError
from personalization.intake.sample import write_sample
from personalization.keys.file_store import FileKeyStore
from personalization.production.journal.batches import BatchEntry, list_batches
from personalization.production.journal.database import Journal


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    place = Centre(tmp_path / "centre")
    FileKeyStore.create(place.keys, place.make_test_passphrase().read(), scrypt_n=1024)
    return place


def refuse(journal: Journal, entry: BatchEntry, who: str, **more: object) -> None:
    raise PersonalizationError("permit-known", batch=entry.identifier)


def test_a_batch_that_the_journal_refuses_leaves_nothing_behind(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "register_batch", refuse)
    with Job.open(centre) as job:
        receipt = job.check(write_sample(tmp_path, 2, 1))
        with pytest.raises(PersonalizationError, match="permit-known"):
            job.load(receipt)
        assert list((centre.root / "batches").iterdir()) == []
        assert list_batches(job.journal) == []


def test_refused_rows_are_sealed_before_the_journal_knows_the_batch(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed: list[bool] = []

    def look(journal: Journal, entry: BatchEntry, who: str, **more: object) -> None:
        sealed.append(job.rejects(entry.identifier).exists())

    with Job.open(centre) as job:
        receipt = job.check(write_sample(tmp_path, 120, 2, damaged=True))
        monkeypatch.setattr(job_module, "register_batch", look)
        job.load(receipt, accept_good=True)
    assert sealed == [True]


def test_preparation_that_is_interrupted_leaves_nothing_behind(
    centre: Centre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with Job.open(centre) as job:
        receipt = job.check(write_sample(tmp_path, 2, 1))
        with pytest.raises(KeyboardInterrupt):
            job.load(receipt, progress=interrupt)
        assert list((centre.root / "batches").iterdir()) == []
