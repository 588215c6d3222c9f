"""Journals on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from personalization.production.journal import Journal, open_journal
from personalization.production.journal.place import JournalPlace, SqliteFile
from tests.doubles import postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_place(request: pytest.FixtureRequest, tmp_path: Path) -> JournalPlace:
    """Where an empty journal is."""
    return SqliteFile(tmp_path / "journal.sqlite") if request.param == "sqlite" else postgres.empty_journal()


@pytest.fixture
def journal(journal_place: JournalPlace) -> Iterator[Journal]:
    """An empty journal."""
    with open_journal(journal_place) as opened:
        yield opened
