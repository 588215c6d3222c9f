"""A card is rejected and made again, cards are sampled and destroyed: as an operator types it, and it adds up."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from permitcard import stockroom
from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.translation import Language, Translator
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName
from personalization.keys.signed_document import read_signed
from personalization.production.acts import Act, Role
from personalization.production.disposal import destruction_list
from personalization.production.operators import Operator, Roster
from personalization.production.reject_reason import RejectReason
from tests.console.conftest import SmallCentre

CARDS = 4
LI, WANG = (Operator(name, frozenset(Role), name) for name in ("li", "wang"))
ROSTER = Roster({one.name: one for one in (LI, WANG)})
WORDS = Translator.load(Language.ENGLISH)


def counted(centre: Centre, question: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{centre.journal}?mode=ro", uri=True)) as connection:
        return int(connection.execute(question).fetchone()[0])


def test_a_rejected_card_is_made_again_and_everything_adds_up(small_centre: SmallCentre, tmp_path: Path) -> None:
    prompt, centre = small_centre, small_centre.centre
    batch = str(small_centre.make()["batch"])
    spare = int(str(prompt("stock", "show").document["in-stock"]))
    prompt("stock", "receive", "4")

    unknown = prompt("batch", "remake", batch, "--row", "99", "--reason", "printing", code=2)
    assert unknown.error["code"] == "row-not-good"
    assert prompt("batch", "remake", "--row", "2", "--reason", "ugly", code=2).error["code"] == "usage"
    rejected = prompt("batch", "remake", "--row", "2", "--reason", "printing").document
    assert rejected == {
        "batch": batch,
        "row": 2,
        "card_id": rejected["card_id"],
        "terminated": True,
        "disposal": "terminated",
        "master_destroyed": None,
    }
    for state, code in (("spoiled", "card-out-of-service"), ("in-stock", "card-without-permit")):
        there: Any = prompt("stock", "cards", "--state", state).document["cards"]
        card = str(there[0]["location"]).replace("sim:", f"sim:{centre.root}/")
        assert prompt("desk", "inspect", "--card", card, "--area", "330381", code=1).error["code"] == code
    status: Any = prompt("batch", "status").document
    assert (status["state"], status["left"], status["rows"]["waiting"]) == ("stopped", 1, 1)
    assert status["next"] == ["resume", "destroy"]
    assert status["reasons"] == {"rejected: printing": 1}
    assert prompt("batch", "release", code=2).error["code"] == "batch-not-complete"
    assert prompt("batch", "resume").document["good"] == CARDS

    sampled: Any = prompt("stock", "sample", "2", "--purpose", "incoming inspection").document
    assert len(sampled["sampled"]) == 2
    blank = next(iter(sampled["sampled"]))["card_id"]
    assert prompt("stock", "discard", blank, "--reason", "bent", code=2).error["code"] == "card-not-so"
    assert prompt("stock", "restore", "00", code=2).error["code"] == "card-unknown"
    listed: Any = prompt("stock", "list").document
    assert [(card["card_id"], card["reason"], card["disposal"]) for card in listed["cards"]] == [
        (rejected["card_id"], "rejected: printing", "terminated")
    ]
    everything: Any = prompt("stock", "list", "--with-samples").document
    assert len(everything["cards"]) == 3
    assert prompt("stock", "destroy", "0123456789abcdef", code=2).error["code"] == "destruction-list-other"
    images = {centre.root / card["location"].removeprefix("sim:") for card in everything["cards"]}
    assert all(path.exists() for path in images)
    done = prompt("stock", "destroy", everything["list"]).document
    assert (done["destroyed"], done["witness"]) == (3, None)
    assert not any(path.exists() for path in images)

    path = Path(str(done["certificate"]))
    keys = centre.key_store().open()
    document = read_signed(tmp_path / path, keys.certificate(KeyName.AUTHORITY))
    assert {card["card_number"] for card in document["cards"]} == {card["card_id"] for card in everything["cards"]}
    page = (tmp_path / path).with_suffix(".html").read_text("utf-8")
    assert "Certificate of destruction" in page
    assert str(rejected["card_id"]) in page
    table = (tmp_path / path).with_suffix(".csv").read_bytes()
    assert table.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
    assert [row["disposal"] for row in rows] == [card["disposal"] for card in document["cards"]]
    (tmp_path / path).unlink()
    prompt("stock", "certificate", everything["list"])
    assert read_signed(tmp_path / path, keys.certificate(KeyName.AUTHORITY)) == document

    account: Any = prompt("stock", "account").document
    assert account["adds_up"] is True
    assert account["places"]["destroyed"] == 3
    assert account["places"]["finished"] == CARDS
    assert account["places"]["stock"] == spare + 4 - 1 - 2
    assert [shift["steps"]["make"]["out"] for shift in account["shifts"]] == [CARDS, 1]
    words = small_centre.prompt("stock", "account", "--centre", "centre", "--lang", "zh").out
    assert "账实相符" in words
    assert counted(centre, "SELECT max(c) FROM (SELECT count(*) c FROM runs WHERE state = 'good' GROUP BY permit)") == 1
    assert prompt("audit", "verify").document["genuine"] is True

    with contextlib.closing(sqlite3.connect(centre.journal)) as connection:
        connection.execute(
            "UPDATE blanks SET state = 'in-stock' WHERE id = (SELECT min(id) FROM blanks WHERE state = 'good')"
        )
        connection.commit()
    assert prompt("stock", "account", code=1).document["adds_up"] is False


@pytest.fixture
def job(small_centre: SmallCentre) -> Job:
    small_centre.make()
    return Job.open(small_centre.centre)


def as_operator(job: Job, who: Operator) -> Job:
    return replace(job, roster=ROSTER, operator=who)


@pytest.mark.parametrize("ending", ["prepared", "source", "faces"])
def test_a_card_that_cannot_be_made_again_is_not_rejected(small_centre: SmallCentre, ending: str) -> None:
    batch = str(small_centre.make()["batch"])
    sealed = small_centre.centre.batch(batch) / f"{batch}.{ending}"
    whole = sealed.read_bytes()
    remake = ("batch", "remake", "--row", "3", "--reason", "printing")
    sealed.write_bytes(bytes(byte ^ 1 for byte in whole))
    damaged = small_centre(*remake, code=1).error
    sealed.unlink()
    gone = small_centre(*remake, code=3).error
    sealed.write_bytes(whole)
    assert (damaged["code"], gone["code"]) == ("sealed-file-malformed", "sealed-file-missing")
    status: Any = small_centre("batch", "status").document
    assert (status["good"], status["next"]) == (4, ["release"])
    assert small_centre(*remake).document["terminated"] is True


def test_re_making_and_destroying_take_two(job: Job) -> None:
    with job:
        li, wang, batch = as_operator(job, LI), as_operator(job, WANG), job.latest()
        with pytest.raises(PersonalizationError, match="approval-missing"):
            stockroom.remake(li, batch, 2, RejectReason.RETURNED)
        with pytest.raises(PersonalizationError, match="subject-malformed"):
            wang.approve(Act.REMAKE, batch)
        wang.approve(Act.REMAKE, f"{batch}/3")
        with pytest.raises(PersonalizationError, match="approval-missing"):
            stockroom.remake(li, batch, 2, RejectReason.RETURNED)  # the approval is of another row
        wang.approve(Act.REMAKE, f"{batch}/2")
        assert stockroom.remake(li, batch, 2, RejectReason.RETURNED).terminated
        wanted = destruction_list(job.journal)
        with pytest.raises(PersonalizationError, match="destruction-list-other"):
            wang.approve(Act.DESTROY, "0" * 16)
        wang.approve(Act.DESTROY, wanted.identifier)
        with pytest.raises(PersonalizationError, match="approval-missing"):
            stockroom.destroy(wang, wanted.identifier, WORDS)
        done = stockroom.destroy(li, wanted.identifier, WORDS)
        assert (done.cards, done.witness) == (1, "wang")
        assert json.loads(done.certificate.read_bytes())["document"]["witness"] == "wang"


def test_a_delivery_is_received_by_its_list_whole_or_not_at_all(small_centre: SmallCentre, tmp_path: Path) -> None:
    prompt, chips = small_centre, [f"4A5A01440A00000000{number:02X}" for number in range(3)]
    for name, which in (("first", chips[:2]), ("second", chips[1:])):
        rows = [f"{chip},sim:cards/{name}-{chip}.card" for chip in which]
        (tmp_path / f"{name}.csv").write_text("\n".join(("card_number,reader", *rows)), "utf-8")
    assert prompt("stock", "receive", "--list", "first.csv").document == {"received": 2, "lot": "first"}
    assert prompt("stock", "receive", "--list", "second.csv", "--lot", "L2", code=2).error["code"] == "blank-known"
    assert prompt("stock", "show").document["received"] == 2
    assert prompt("stock", "receive", "--list", "none.csv", code=2).error["code"] == "blank-list-unreadable"
    for line in ((), ("3", "--list", "first.csv")):
        assert prompt("stock", "receive", *line, code=2).error["code"] == "either-or"
    assert prompt("stock", "receive", "3", "--lot", "x" * 65, code=2).error["code"] == "text-length"
    prompt("stock", "account")


def test_blanks_are_numbered_on_when_card_files_are_gone(small_centre: SmallCentre) -> None:
    """No backup takes ``cards``: a centre that is brought back has a journal that knows them, and no files."""
    centre = small_centre.centre
    small_centre("stock", "receive", "3")
    shutil.rmtree(centre.cards)
    assert small_centre("stock", "receive", "6").document["received"] == 6
    assert {path.name[:4] for path in centre.cards.glob("*.card")} == {"0002"}
    places = {str(card["location"]) for card in cards_of(small_centre)}
    assert len(places) == 9
    small_centre("batch", "run", small_centre.delivered, "--stations", "1", code=1)
    assert small_centre("batch", "resume").document["good"] == CARDS
    gone = [card["reason"] for card in cards_of(small_centre) if card["state"] == "spoiled"]
    assert gone == ["reader: image-missing"] * 3, "and each is accounted for"


def test_blanks_are_numbered_on_when_all_of_a_batch_is_erased(small_centre: SmallCentre) -> None:
    small_centre("stock", "receive", str(CARDS))
    batch = str(small_centre("batch", "run", small_centre.delivered, "--stations", "1").document["batch"])
    small_centre("batch", "erase", batch)
    assert not list(small_centre.centre.cards.glob("*.card"))
    assert small_centre("stock", "receive", "1").document["received"] == 1


def cards_of(centre: SmallCentre) -> list[dict[str, Any]]:
    document: Any = centre("stock", "cards").document
    return list(document["cards"])


def test_a_damaged_journal_is_told_and_what_to_do(small_centre: SmallCentre) -> None:
    """SQLite finds damage where it reads: in a page of a table, or in the beginning of the file."""
    small_centre("stock", "receive", "1")
    journal = small_centre.centre.journal
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        pages = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'blanks'").fetchall()
    whole = journal.read_bytes()
    torn = bytearray(whole)
    for (page,) in pages:
        torn[(page - 1) * size : page * size] = b"\xff" * size
    for content in (bytes(torn), b"no database" * 100 + whole[1100:]):
        journal.write_bytes(content)
        for line in (("stock", "show"), ("stock", "receive", "1")):
            told = small_centre(*line, code=3).error
            assert told["code"] == "journal-damaged"
            assert "backup" in str(told["text"])
        chinese = small_centre.prompt("--lang", "zh", "stock", "show", "--centre", "centre", code=3).err
        assert "备份" in chinese
        assert "malformed" not in chinese
    journal.write_bytes(whole)
    assert small_centre("stock", "show").document["received"] == 1
