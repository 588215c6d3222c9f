"""The audit trail: what is changed, cut, moved or put in before the last checkpoint is found, every time."""

from __future__ import annotations

import json
import multiprocessing
import random
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from permitcard.specimen import specimen_keys
from personalization.errors import PersonalizationError
from personalization.keys.authorities import authorities_of
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.keys.signed_document import read_signed, sign_document, written
from personalization.production.audit import (
    Checkpoint,
    Fault,
    Verdict,
    export_trail,
    make_checkpoint,
    read_checkpoints,
    read_trail,
    verify_export,
    verify_trail,
)
from personalization.production.journal.chain import FIRST_LINK, link_of
from personalization.production.journal.database import Journal, open_journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.place import JournalPlace

Trail = list[dict[str, object]]
ENTRIES = 24
SIGNED = (9, 20)
MUTATIONS = 10_000
WHO = ("station-1", "station-2", "li", "coordinator", "recovery")


def trail(length: int = ENTRIES, seed: int = 1) -> Trail:
    """A linked trail as a journal would keep it."""
    chance = random.Random(seed)
    link, entries = FIRST_LINK, Trail()
    for number in range(1, length + 1):
        entry: dict[str, object] = {
            "id": number,
            "at": 1_700_000_000_000_000 + number * 1000,
            "who": chance.choice(WHO),
            "what": chance.choice(list(What)).value,
            "batch_id": chance.choice([None, 1, 2]),
            "row_id": chance.choice([None, chance.randint(1, 50)]),
            "blank_id": None,
            "run_id": chance.choice([None, chance.randint(1, 50)]),
            "facts": chance.choice([None, '{"reason": "\u5361"}', '{"count": 3}']),
        }
        link = link_of(link, entry)
        entries.append({**entry, "link": link})
    return entries


def checkpoints(entries: Trail) -> list[Checkpoint]:
    return [Checkpoint(number, _link(entries[number - 1]), "2026-01-01") for number in SIGNED]


def _link(entry: dict[str, object]) -> bytes:
    link = entry["link"]
    assert isinstance(link, bytes)
    return link


def relinked(entries: Trail) -> Trail:
    """What somebody who may write the whole database would do: compute all links anew."""
    link, found = FIRST_LINK, Trail()
    for entry in entries:
        link = link_of(link, entry)
        found.append({**entry, "link": link})
    return found


def change(entries: Trail, chance: random.Random) -> None:
    at = chance.randrange(SIGNED[-1])
    field = chance.choice([name for name in entries[at] if name != "id"])
    before = entries[at][field]
    values: dict[str, Callable[[], object]] = {
        "at": lambda: chance.randint(1, 1 << 50),
        "who": lambda: chance.choice(WHO),
        "what": lambda: chance.choice(list(What)).value,
        "facts": lambda: chance.choice([None, "{}", '{"count": 4}', '{"count":3}']),
        "link": lambda: chance.randbytes(32),
    }
    draw = values.get(field, lambda: chance.choice([None, chance.randint(1, 60)]))
    while entries[at][field] == before:
        entries[at][field] = draw()


def cut(entries: Trail, chance: random.Random) -> None:
    at = chance.randrange(SIGNED[-1])
    del entries[at : at + chance.randint(1, 4)]


def cut_and_number_anew(entries: Trail, chance: random.Random) -> None:
    cut(entries, chance)
    for number, entry in enumerate(entries, start=1):
        entry["id"] = number


def swap(entries: Trail, chance: random.Random) -> None:
    one, other = chance.sample(range(SIGNED[-1]), 2)
    entries[one], entries[other] = entries[other], entries[one]
    if chance.random() < 0.5:
        entries[one]["id"], entries[other]["id"] = entries[other]["id"], entries[one]["id"]


def insert(entries: Trail, chance: random.Random) -> None:
    at = chance.randrange(SIGNED[-1])
    entries.insert(at, {**entries[chance.randrange(len(entries))], "at": 7})
    if chance.random() < 0.5:
        for number, entry in enumerate(entries, start=1):
            entry["id"] = number


def truncate(entries: Trail, chance: random.Random) -> None:
    del entries[chance.randrange(SIGNED[-1]) :]


ATTACKS: tuple[Callable[[Trail, random.Random], None], ...] = (
    change,
    cut,
    cut_and_number_anew,
    swap,
    insert,
    truncate,
)


def test_ten_thousand_mutations_before_the_last_checkpoint_are_all_found() -> None:
    whole = trail()
    signed = checkpoints(whole)
    assert verify_trail(whole, signed).findings == ()
    chance = random.Random(10_000)
    missed: list[str] = []
    for number in range(MUTATIONS):
        entries = [dict(entry) for entry in whole]
        attack = ATTACKS[number % len(ATTACKS)]
        attack(entries, chance)
        covers_traces = chance.random() < 0.5
        if covers_traces:
            entries = relinked(entries)
        if entries != whole and not verify_trail(entries, signed).findings:
            missed.append(f"{attack.__name__} {number} {covers_traces}")
    assert missed == []


def test_what_lies_after_the_last_checkpoint_is_told_as_not_covered() -> None:
    whole = trail()
    verdict = verify_trail(whole, checkpoints(whole))
    assert (verdict.entries, verdict.covered, verdict.uncovered, verdict.checkpoints) == (24, 20, 4, 2)
    assert verify_trail(whole, []).uncovered == 24
    assert verify_trail([], []).findings == ()
    late = relinked([*whole[:22], {**whole[22], "who": "somebody"}, whole[23]])
    assert verify_trail(late, checkpoints(whole)).findings == (), "linked anew, and covered by nothing"
    assert verify_trail(late, checkpoints(whole), (24, _link(whole[-1]))).findings[0].fault is Fault.HEAD


@pytest.mark.parametrize(
    ("attack", "fault"),
    [
        (lambda entries: entries[4].update(who="somebody"), Fault.CHANGED),
        (lambda entries: entries.pop(4), Fault.OUT_OF_ORDER),
        (lambda entries: entries.__delitem__(slice(15, None)), Fault.CUT),
        (lambda entries: entries[19].update(link=None), Fault.CHANGED),
    ],
    ids=["changed", "out of order", "cut", "without link"],
)
def test_a_finding_says_what_and_where(attack: Callable[[Trail], object], fault: Fault) -> None:
    whole = trail()
    signed = checkpoints(whole)
    attack(whole)
    assert verify_trail(whole, signed).findings[0].fault is fault


@pytest.fixture
def keys() -> FileKeyStore:
    return specimen_keys()


def happened(journal: Journal, count: int, who: str = "li") -> None:
    for number in range(count):
        with journal.transaction() as connection:
            record(connection, who, [Entry(What.BLANKS_RECEIVED, facts={"count": number, "lot": "批"})])


def test_a_journal_links_what_it_records(journal_place: JournalPlace, tmp_path: Path, keys: FileKeyStore) -> None:
    with open_journal(journal_place) as journal:
        happened(journal, 3)
        make_checkpoint(journal, tmp_path / "checkpoints", keys, "li")
        happened(journal, 2)
        entries, head = read_trail(journal)
    signed = read_checkpoints(tmp_path / "checkpoints", keys.certificate(KeyName.AUTHORITY))
    verdict = verify_trail(entries, signed, head)
    assert (verdict.findings, verdict.entries, verdict.covered, verdict.uncovered) == ((), 6, 4, 2)


def fail(journal: Journal) -> None:
    with journal.transaction() as connection:
        record(connection, "li", [Entry(What.BLANKS_RECEIVED)])
        raise RuntimeError("on purpose")


def test_a_transaction_that_fails_leaves_no_entry_and_no_gap(journal_place: JournalPlace) -> None:
    with open_journal(journal_place) as journal:
        happened(journal, 1)
        with pytest.raises(RuntimeError, match="on purpose"):
            fail(journal)
        happened(journal, 1)
        entries, head = read_trail(journal)
    assert [entry["id"] for entry in entries] == [1, 2]
    assert verify_trail(entries, [], head).findings == ()


def test_checkpoints_that_the_trail_tells_of_and_that_are_not_there(tmp_path: Path, keys: FileKeyStore) -> None:
    """Whoever takes the newest ones away lets what they covered look as if it had never been signed."""
    folder, authority = tmp_path / "checkpoints", keys.certificate(KeyName.AUTHORITY)
    with open_journal(tmp_path / "journal.sqlite") as journal:
        paths: list[Path] = []
        for who in ("li", "wang", "zhao"):
            with journal.transaction() as connection:
                record(connection, who, [Entry(What.REFUSED)])
            paths.append(make_checkpoint(journal, folder, keys, who))
        entries, head = read_trail(journal)

        def verdict() -> Verdict:
            return verify_trail(entries, read_checkpoints(folder, authority), head)

        assert (verdict().missing, verdict().newest_missing) == ((), False)
        paths[1].unlink()
        assert (verdict().missing, verdict().newest_missing, verdict().findings) == ((4,), False, ())
        paths[2].unlink()
        assert (verdict().missing, verdict().newest_missing, verdict().covered) == ((4, 6), True, 2)
        paths[0].unlink()
        assert (verdict().missing, verdict().newest_missing, verdict().covered) == ((2, 4, 6), True, 0)
        make_checkpoint(journal, folder, keys, "li")
        entries, head = read_trail(journal)
        assert (verdict().missing, verdict().newest_missing) == ((2, 4, 6), False), "signed anew up to now"


def test_a_trail_that_was_changed_gets_no_new_checkpoint(tmp_path: Path, keys: FileKeyStore) -> None:
    path = tmp_path / "journal.sqlite"
    with open_journal(path) as journal:
        happened(journal, 3)
        make_checkpoint(journal, tmp_path / "checkpoints", keys, "li")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE events SET who = 'somebody' WHERE id = 2")
            connection.commit()
        with pytest.raises(PersonalizationError, match="checkpoint-not-of-trail") as caught:
            make_checkpoint(journal, tmp_path / "checkpoints", keys, "li")
    assert caught.value.parameters["number"] == 2
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize("field", ["number", "link", "at"])
def test_a_checkpoint_that_was_changed_is_not_believed(tmp_path: Path, keys: FileKeyStore, field: str) -> None:
    with open_journal(tmp_path / "journal.sqlite") as journal:
        path = make_checkpoint(journal, tmp_path / "checkpoints", keys, "li")
    signed = json.loads(path.read_bytes())
    signed["document"][field] = {"number": 2, "link": "00" * 32, "at": "2020-01-01"}[field]
    path.write_text(json.dumps(signed), "utf-8")
    with pytest.raises(PersonalizationError, match="document-not-genuine"):
        read_checkpoints(tmp_path / "checkpoints", keys.certificate(KeyName.AUTHORITY))


def test_a_checkpoint_of_another_centre_is_not_believed(tmp_path: Path, keys: FileKeyStore) -> None:
    other = FileKeyStore.create(tmp_path / "keys.json", b"another centre", scrypt_n=16)
    with open_journal(tmp_path / "journal.sqlite") as journal:
        make_checkpoint(journal, tmp_path / "checkpoints", other, "li")
    with pytest.raises(PersonalizationError, match="document-not-genuine"):
        read_checkpoints(tmp_path / "checkpoints", keys.certificate(KeyName.AUTHORITY))


def test_an_export_is_verified_without_the_centre(
    journal_place: JournalPlace, tmp_path: Path, keys: FileKeyStore
) -> None:
    with open_journal(journal_place) as journal:
        happened(journal, 3)
        make_checkpoint(journal, tmp_path / "checkpoints", keys, "li")
        document = export_trail(journal, tmp_path / "checkpoints", keys)
    path = tmp_path / "export.json"
    path.write_text(json.dumps(document, ensure_ascii=False), "utf-8")
    assert verify_export(path, keys.certificate(KeyName.AUTHORITY)).findings == ()
    assert verify_export(path).covered == 4
    entries = document["entries"]
    assert isinstance(entries, list)
    entries[1]["facts"] = None
    path.write_text(json.dumps(document, ensure_ascii=False), "utf-8")
    assert verify_export(path).findings[0].fault is Fault.CHANGED
    for content in ("", "[]", "{}", '{"entries": []}'):
        path.write_text(content)
        with pytest.raises(PersonalizationError, match="document-malformed"):
            verify_export(path)
    with pytest.raises(PersonalizationError, match="document-missing"):
        verify_export(tmp_path / "none.json")


HALF_A_CHARACTER = (
    b'{"authority": "00", "checkpoints": [], "head": {"number": 1, "link": ""}, "entries": [{"id": 1, "at": 1, '
    b'"who": "\\ud800", "what": "made", "batch_id": null, "row_id": null, "blank_id": null, "run_id": null, '
    b'"facts": null, "link": null}]}'
)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"\xff\xfe",
        HALF_A_CHARACTER,
    ],
    ids=["nested without reason", "no text", "half a character"],
)
def test_what_is_no_export_is_said_to_be(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(content)
    for attempt in (verify_export, read_signed):
        with pytest.raises(PersonalizationError, match="document-malformed"):
            attempt(path)


def test_a_checkpoint_is_the_last_thing_that_it_covers_and_its_owner_s(tmp_path: Path, keys: FileKeyStore) -> None:
    folder = tmp_path / "checkpoints"
    with open_journal(tmp_path / "journal.sqlite") as journal:
        happened(journal, 2)
        path = make_checkpoint(journal, folder, keys, "li")
        entries, _ = read_trail(journal)
    assert (entries[-1]["what"], entries[-1]["who"], entries[-1]["id"]) == ("checkpoint", "li", 3)
    assert json.loads(str(entries[-1]["facts"])) == {"key": keys.check_value(KeyName.AUDIT).hex()}
    (found,) = read_checkpoints(folder, authorities_of(keys))
    assert (found.number, found.link) == (3, entries[-1]["link"])
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "permitcard destruction certificate", "version": 1, "number": 1, "link": "00" * 32, "at": "x"},
        {"kind": "permitcard audit checkpoint", "version": 2, "number": 1, "link": "00" * 32, "at": "x"},
        {"kind": "permitcard audit checkpoint", "version": 1, "number": 1, "link": "00" * 31, "at": "x"},
        {"kind": "permitcard audit checkpoint", "version": 1, "number": "one", "link": "00" * 32, "at": "x"},
        {"kind": "permitcard audit checkpoint", "version": 1, "link": "00" * 32, "at": "x"},
    ],
)
def test_another_document_of_the_centre_is_no_checkpoint(
    tmp_path: Path, keys: FileKeyStore, document: dict[str, object]
) -> None:
    (tmp_path / "checkpoint-000000000001.json").write_bytes(written(sign_document(document, keys)))
    with pytest.raises(PersonalizationError, match="document-malformed"):
        read_checkpoints(tmp_path, authorities_of(keys))


def test_a_file_among_the_checkpoints_that_is_none_is_named(tmp_path: Path, keys: FileKeyStore) -> None:
    folder = tmp_path / "checkpoints"
    with open_journal(tmp_path / "journal.sqlite") as journal:
        make_checkpoint(journal, folder, keys, "li")
        (folder / "checkpoint-000000000001.json.bak").write_bytes(b"a copy of somebody")
        assert len(export_trail(journal, folder, keys)["checkpoints"]) == 1  # type: ignore[arg-type]  # a list
        (folder / "checkpoint-000000000009.json").write_bytes(b"cut o")
        for attempt in (
            lambda: export_trail(journal, folder, keys),
            lambda: read_checkpoints(folder, authorities_of(keys)),
        ):
            with pytest.raises(PersonalizationError, match="document-malformed") as caught:
                attempt()
            assert str(caught.value.parameters["place"]).endswith("checkpoint-000000000009.json")


def test_entries_of_an_older_journal_are_linked_when_it_is_opened(tmp_path: Path) -> None:
    """Migration 0002."""
    path = tmp_path / "journal.sqlite"
    configuration = Config()
    configuration.set_main_option("script_location", "personalization.production.journal:migrations")
    with open_journal(path, migrate=False) as journal, journal.engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0001")
        for number in range(1, 6):
            values = {"id": number, "facts": f'{{"count": {number}, "lot": "批"}}'}
            connection.execute(
                text("INSERT INTO events (id, at, who, what, facts) VALUES (:id, 1, 'li', 'blanks-received', :facts)"),
                values,
            )
    with open_journal(path) as journal:
        happened(journal, 1)
        entries, head = read_trail(journal)
    assert len(entries) == 6
    assert verify_trail(entries, [], head).findings == ()


def write_many(place: JournalPlace, who: str) -> None:
    with open_journal(place, migrate=False) as journal:
        happened(journal, 6, who)


def test_writers_of_several_processes_take_turns(journal_place: JournalPlace) -> None:
    open_journal(journal_place).close()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(journal_place, who)) for who in ("one", "two", "three")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    with open_journal(journal_place, migrate=False) as journal:
        entries, head = read_trail(journal)
    assert len(entries) == 18
    assert {entry["who"] for entry in entries} == {"one", "two", "three"}
    assert verify_trail(entries, [], head).findings == ()
