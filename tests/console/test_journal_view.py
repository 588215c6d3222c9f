"""What operators ask at night is answered without a key; what was changed behind their backs is told at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from tests.console.command_line import Prompt
from tests.console.conftest import SmallCentre

QUESTIONS = (
    ("batch", "status"),
    ("stock", "show"),
    ("stock", "cards"),
    ("stock", "account"),
    ("station", "list", "--all"),
)


def _lasting(document: Any) -> Any:
    """What does not change by looking later."""
    for station in document.get("stations", ()):
        del station["lease_left_s"]
    return document


def test_what_was_made_is_told_while_the_keys_are_gone(small_centre: SmallCentre) -> None:
    assert small_centre.make()["good"] == 4
    told = [_lasting(small_centre(*question).document) for question in QUESTIONS]
    passphrase = small_centre.centre.test_passphrase
    away = passphrase.rename(passphrase.with_name("away"))
    assert [_lasting(small_centre(*question).document) for question in QUESTIONS] == told
    assert small_centre("batch", "release", code=2).error["code"] == "passphrase-nowhere"
    away.rename(passphrase)
    small_centre("batch", "release")


def test_no_question_makes_a_centre(prompt: Prompt) -> None:
    for question in QUESTIONS:
        assert prompt(*question, "--centre", "nowhere", "--json", code=2).error["code"] == "centre-missing"
    assert not (prompt.folder / "nowhere").exists()


def test_a_trail_that_was_changed_is_told_by_the_next_act(small_centre: SmallCentre) -> None:
    small_centre.make()
    with closing(sqlite3.connect(small_centre.centre.journal)) as journal, journal:
        journal.execute("UPDATE events SET who = 'somebody' WHERE id = 2")
    assert small_centre("batch", "release", code=1).error["code"] == "checkpoint-not-of-trail"
    assert small_centre("audit", "verify", code=1).document["genuine"] is False
