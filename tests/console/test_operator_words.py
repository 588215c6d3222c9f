"""What an operator is told who is in the wrong place, too early or too late: what it is about, and the way on."""

from __future__ import annotations

import datetime as dt
import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from permitcard import signer_dates
from permitcard.job import Job
from permitcard.key_trail import one_change_at_a_time
from personalization.atomic_file import open_atomically, write_atomically
from personalization.errors import PersonalizationError, unread
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.keys.signed_document import read_json
from personalization.production.acts import Act, Role
from personalization.production.operators import Operator, Roster
from tests.console.conftest import SmallCentre

UNREADABLE = "x" * 300
"""A name that no file has and of which the system does not say that there is none."""


def test_a_file_that_may_not_be_read_is_not_said_to_be_missing(tmp_path: Path) -> None:
    missing = PersonalizationError("document-missing", exit_code=2)
    denied = PermissionError(errno.EACCES, "Permission denied")
    for error, code in ((denied, "file-failure"), (FileNotFoundError(errno.ENOENT, "none"), "document-missing")):
        assert unread(error, tmp_path, missing).code == code
    with pytest.raises(PersonalizationError) as caught:
        read_json(tmp_path / UNREADABLE)
    assert (caught.value.code, caught.value.exit_code) == ("file-failure", 3)
    assert UNREADABLE in str(caught.value.parameters["path"])


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(small_centre: SmallCentre, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "nowhere" / "file.json", b"")
    assert caught.value.filename == str(tmp_path / "nowhere" / "file.json")
    with pytest.raises(OSError, match="No space") as full, open_atomically(tmp_path / "full.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(tmp_path / "full.json")
    told = small_centre.prompt("keys", "component", "card", "li", "nowhere/li.txt", code=3)
    assert "permitcard: nowhere/li.txt: No such file" in told.err


def test_a_journal_beside_a_file_that_may_not_be_opened_is_not_said_to_be_silent(small_centre: SmallCentre) -> None:
    small_centre("stock", "show")
    locks = next(small_centre.centre.root.glob("*.locks"))
    (locks / "migration.lock").unlink(missing_ok=True)
    (locks / "migration.lock").symlink_to(locks / UNREADABLE)
    told = small_centre("stock", "show", code=3).error
    assert (told["code"], "migration.lock" in str(told["text"])) == ("file-failure", True)


def test_the_choices_of_an_argument_are_told_without_noise(small_centre: SmallCentre) -> None:
    told = small_centre.prompt("approve", "foo", "batch", code=2).err
    assert "'foo' is not one of 'accept-good'" in told
    assert "Value error" not in told


def test_nobody_is_sent_for_an_approval_that_could_not_be_used(small_centre: SmallCentre) -> None:
    """Released already, or not complete yet: both are said to who releases and to who approves, at once."""
    small_centre("batch", "prepare", small_centre.delivered, "--workers", "1")
    none: Any = small_centre("station", "list", "--all").document
    assert none["stations"] == []
    assert "No station has worked" in small_centre.prompt("station", "list", "--all", "--centre", "centre").out
    li, wang = (Operator(name, frozenset(Role), name) for name in ("li", "wang"))
    roster = Roster({one.name: one for one in (li, wang)})
    with Job.open(small_centre.centre) as job:
        both = [Job(job.centre, job.keys, job.journal, roster, who) for who in (li, wang)]
        batch = job.latest()
        with pytest.raises(PersonalizationError, match="batch-not-complete"):
            both[0].release(batch)
        with pytest.raises(PersonalizationError, match="batch-not-complete"):
            both[1].approve(Act.RELEASE, batch)
    seen = small_centre("batch", "run", small_centre.delivered, "--simulate", code=1).error
    assert (seen["code"], batch in str(seen["text"])) == ("batch-file-seen", True)
    assert small_centre("batch", "prepare", small_centre.delivered, code=1).error["code"] == "batch-file-seen"


def test_a_rehearsal_with_a_load_key_from_elsewhere_is_told_how_to_go_on(small_centre: SmallCentre) -> None:
    keys, passphrase = small_centre.centre.keys, small_centre.centre.passphrase_source().read()
    keys.unlink()
    FileKeyStore.create(keys, passphrase, given={KeyName.SAM_LOAD: bytes(range(32))}, scrypt_n=1024)
    told = small_centre("sam", "make", code=2).error
    assert (told["code"], "keys rotate sam_load" in str(told["text"])) == ("sam-load-not-vendors", True)
    small_centre("keys", "rotate", "sam_load")
    assert small_centre("sam", "make").document["found"] == "loaded"


def test_a_journal_that_is_not_the_centres_of_today_makes_nothing_again(small_centre: SmallCentre) -> None:
    """Lost, emptied, or restored from an older copy: the signed checkpoints beside it tell."""
    journal = small_centre.centre.journal
    small_centre("batch", "prepare", small_centre.delivered, "--workers", "1")
    older = journal.read_bytes()
    small_centre("stock", "receive", "1")
    small_centre("audit", "checkpoint")
    newest = journal.read_bytes()
    for content in (b"", older):
        journal.write_bytes(content)
        for words in (("batch", "run", small_centre.delivered, "--simulate"), ("batch", "status"), ("stock", "show")):
            told: Any = small_centre(*words, code=3).error
            assert told["code"] == "journal-behind"
            assert told["parameters"]["ends"] < told["parameters"]["signed"]
        assert small_centre("audit", "verify", code=1).document["genuine"] is False
    journal.write_bytes(newest)
    assert small_centre("audit", "verify").document["genuine"] is True
    journal.write_bytes(older)
    for path in small_centre.centre.checkpoints.iterdir():
        path.unlink()
    assert small_centre("batch", "status").document["left"] == 4, "what the auditor let go on"


def test_a_folder_without_a_policy_is_not_taken_for_one(small_centre: SmallCentre, tmp_path: Path) -> None:
    """The application would be judged by another policy than the one that was meant."""
    told = small_centre.prompt("permit", "policies", "--policies", str(tmp_path), "--json", code=2).error
    assert (told["code"], str(tmp_path) in str(told["text"])) == ("policies-missing", True)


def test_words_of_any_length_fit_a_journal_on_a_server(small_centre: SmallCentre) -> None:
    """A server refuses what does not fit its column, where a file takes it; the audit trail keeps all of it."""
    small_centre("stock", "receive", "3")
    long = "scratched on the conveyor " * 8
    cards: Any = small_centre("stock", "cards").document["cards"]
    gone: Any = small_centre("stock", "discard", cards[0]["card_id"], "--reason", long).document
    assert gone["discarded"][0]["state"] == "in-stock", "as it was found"
    small_centre("stock", "sample", "1", "--purpose", long)
    left: Any = small_centre("stock", "cards", "--state", "spoiled", "--state", "sample").document["cards"]
    assert [len(card["reason"]) for card in left] == [64, 64]
    small_centre("audit", "export", "trail.json")
    assert (small_centre.prompt.folder / "trail.json").read_text("utf-8").count(long.strip()) == 2
    assert small_centre("stock", "sample", "1", "--purpose", " ", code=2).error["code"] == "reason-missing"
    assert small_centre("station", "run", "--name", "x" * 65, code=2).error["code"] == "text-length"


def test_no_new_keys_are_made_where_the_old_ones_are_gone(small_centre: SmallCentre) -> None:
    """New keys know no permit that was made before: every delivery could be made a second time."""
    folder = small_centre.prompt.folder / "centre"
    small_centre("stock", "receive", "1")
    kept = (folder / "keys.json").rename(folder.parent / "keys.json")
    for words in (("batch", "resume"), ("keys", "show"), ("keys", "init", "--try-out")):
        assert small_centre(*words, code=3).error["code"] == "centre-keys-gone"
    assert not (folder / "keys.json").exists()
    kept.rename(folder / "keys.json")
    small_centre("keys", "show")


@pytest.mark.parametrize("key", ["mailer", "inspection"])
def test_a_key_that_was_replaced_and_not_told_is_told_and_not_replaced_again(
    small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """As on a full disk: the store has the new key, the journal takes nothing any more."""

    def keys() -> dict[str, str]:
        shown: Any = small_centre("keys", "show").document["check_values"]
        return dict(shown)

    def full(job: Job, name: KeyName, *rest: Any) -> Path:
        if name.value == key:
            raise PersonalizationError("journal-unavailable", exit_code=3, path="journal", cause="disk is full")
        return told(job, name, *rest)

    before, told = keys(), Job.changed_key
    with monkeypatch.context() as patch:
        patch.setattr(Job, "changed_key", full)
        assert small_centre("keys", "rotate", key, code=3).error["code"] == "journal-unavailable"
    half = keys()
    assert half[key] != before[key]
    done = small_centre("keys", "rotate", key).document
    assert (done["before"], done["after"]) == (before[key], half[key])
    assert keys() == half
    assert small_centre("keys", "rotate", key).document["before"] == half[key], "the next one is one of its own"
    small_centre("audit", "export", "trail.json")
    entries = json.loads((small_centre.prompt.folder / "trail.json").read_text("utf-8"))["entries"]
    told_of = [json.loads(entry["facts"]) for entry in entries if entry["what"] == "keys-changed"]
    assert [facts["change"] for facts in told_of if facts["key"] == key] == ["begun", "rotated", "begun", "rotated"]


def test_no_card_is_made_on_a_day_on_which_its_signer_is_not_certified(
    small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_centre("stock", "receive", "6")
    with monkeypatch.context() as patch:
        patch.setattr(signer_dates, "present", lambda: dt.datetime(2020, 1, 2, tzinfo=dt.UTC))
        refused: Any = small_centre("batch", "run", small_centre.delivered, "--stations", "1", code=3).error
        assert (refused["code"], refused["parameters"]["today"]) == ("signer-not-of-today", "2020-01-02")
    assert small_centre("stock", "show").document["in-stock"] == 6
    assert small_centre("batch", "status").document["next"] == ["resume"]


def test_keys_are_changed_by_one_at_a_time(small_centre: SmallCentre) -> None:
    """Each reads the whole store and writes it back: of two at once one would write over the other's new key."""
    before = small_centre("keys", "show").document
    with one_change_at_a_time(small_centre.centre):
        for words in (("rotate", "mailer"), ("destroy", "mailer", "000000")):
            assert small_centre("keys", *words, code=3).error["code"] == "key-change-busy"
    assert small_centre("keys", "show").document == before
    small_centre("keys", "rotate", "mailer")


@pytest.mark.skipif(sys.platform == "win32", reason="file systems of POSIX say that they are read-only")
def test_a_disk_that_is_read_only_is_no_centre_of_somebody_else(
    small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system answers there, to root too."""
    real = os.statvfs(small_centre.centre.root)
    told = os.statvfs_result((*real[:8], real.f_flag | os.ST_RDONLY, real.f_namemax))
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(os, "statvfs", lambda _: told)
    assert small_centre("batch", "status", code=3).error["code"] == "centre-read-only"
