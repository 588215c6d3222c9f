"""The main job at the command line: a batch file becomes verified cards, and everything says the same about it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from permitcard.job import Job
from permitcard.products import open_simulated, permit_profile
from personalization.intake.applicant import Applicant
from personalization.keys.keystore import KeyName
from personalization.terminal.holder import HolderSession
from reader_bridge.connection import Interface
from tests.console.command_line import CommandLine, Outcome
from tests.console.conftest import CARDS, MadeCentre

ENGLISH_SECTIONS = ("As its holder sees it", "As an inspection terminal sees it")
CHINESE_SECTIONS = ("持卡人所见", "核验终端所见")
OWN_PIN = "2718281"
"""Longer than that of a letter, so that it is another one."""


def journal_facts(centre: MadeCentre, question: str) -> dict[str, int]:
    """Counts straight from the database, past every function of ours."""
    with closing(sqlite3.connect(f"file:{centre.centre.journal}?mode=ro", uri=True)) as connection:
        return dict(connection.execute(question).fetchall())


def card_of(centre: MadeCentre, applicant: Applicant) -> tuple[Path, str]:
    """File and id of the card that was made for an applicant, from the report."""
    cards = json.loads((centre.report / "report.json").read_text("utf-8"))["cards"]
    card = next(card for card in cards if card["row_number"] == applicant.row_number and card["state"] == "good")
    return centre.centre.root / card["location"].removeprefix("sim:"), card["card_number"].upper()


def test_the_demo_ends_well_and_says_so(made_centre: MadeCentre) -> None:
    assert made_centre.made.err == ""
    assert f"{CARDS} cards made and inspected, 0 rows left" in made_centre.made.out
    assert str(made_centre.report / "index.html") in made_centre.made.out


def test_the_report_says_what_the_journal_says(made_centre: MadeCentre) -> None:
    report = json.loads((made_centre.report / "report.json").read_text("utf-8"))
    rows = journal_facts(made_centre, "SELECT state, count(*) FROM rows GROUP BY state")
    blanks = journal_facts(made_centre, "SELECT state, count(*) FROM blanks GROUP BY state")
    assert {state: count for state, count in report["rows"].items() if count} == rows == {"good": CARDS}
    assert {state: count for state, count in report["stock"].items() if count} == blanks
    assert report["batch"]["identifier"] == made_centre.batch
    assert (report["accepted"], report["good"], report["left"], report["rejected"]) == (CARDS, CARDS, 0, [])


def test_every_card_has_a_page_with_checks_and_traces(made_centre: MadeCentre) -> None:
    report = json.loads((made_centre.report / "report.json").read_text("utf-8"))
    index = (made_centre.report / "index.html").read_text("utf-8")
    assert sorted(card["row_number"] for card in report["cards"]) == [row.row_number for row in made_centre.applicants]
    assert "report." not in index.replace("report.json", ""), "a text without words"
    for card in report["cards"]:
        assert f'href="{card["page"]}"' in index
        page = (made_centre.report / card["page"]).read_text("utf-8")
        document = json.loads((made_centre.report / card["page"]).with_suffix(".json").read_text("utf-8"))
        assert document["checks"]
        assert all(check["passed"] for check in document["checks"])
        assert {check["interface"] for check in document["checks"]} >= {"contact", "contactless"}
        names = [entry["name"] for entry in document["traces"]["make"]]
        assert "STORE DATA" in names
        assert card["card_number"].upper() in page
        assert "report." not in page, "a text without words"
        assert "STORE DATA" in page


def test_status_and_stock_add_up(made_centre: MadeCentre) -> None:
    root = made_centre.centre.root
    status = made_centre.command("batch", "status", "--centre", root, "--json").document
    stock: Any = made_centre.command("--json", "stock", "show", "--centre", root).document
    rows: Any = status["rows"]
    assert sum(rows.values()) == status["accepted"] == status["good"] == CARDS
    assert (status["state"], status["left"]) == ("complete", 0)
    assert stock.pop("received") == sum(stock.values())
    assert stock == status["stock"]
    assert len(list(made_centre.centre.cards.glob("*.card"))) == sum(rows.values()) + stock["in-stock"]


def test_status_in_words_is_the_same_in_both_languages(made_centre: MadeCentre) -> None:
    root = made_centre.centre.root
    english = made_centre.command("batch", "status", made_centre.batch, "--centre", root, "--lang", "en").out
    chinese = made_centre.command("batch", "status", made_centre.batch, "--centre", root, "--lang=zh").out
    assert "complete" in english
    assert "完成" in chinese
    assert all(made_centre.batch in words and str(CARDS) in words for words in (english, chinese))


@pytest.mark.parametrize(("language", "sections"), [("en", ENGLISH_SECTIONS), ("zh", CHINESE_SECTIONS)])
def test_a_card_shows_its_applicant_to_holder_and_terminal(
    made_centre: MadeCentre, language: str, sections: tuple[str, str], tmp_path: Path
) -> None:
    applicant = made_centre.applicants[0]
    made, card_id = card_of(made_centre, applicant)
    path = shutil.copy(made, tmp_path)
    line = ("card", "show", path, "--centre", made_centre.centre.root, "--lang", language)
    face, fresh = made_centre.command(*line).out.split(sections[1])
    assert sections[0] not in face, "the holder has not changed the PIN of the letter"
    assert applicant.bank_account is not None
    assert applicant.bank_account not in fresh
    put_in_use(made_centre, Path(path), bytes.fromhex(card_id))
    shown = made_centre.command(*line).out
    face, holder, terminal = shown.replace(sections[1], sections[0]).split(sections[0])
    assert card_id in face
    for view in (face, holder, terminal):
        for value in (applicant.name, applicant.citizen_number, applicant.permit_number, applicant.registered_address):
            assert value in view
    assert applicant.bank_account in holder
    assert applicant.bank_account not in terminal
    assert refusals(terminal)
    assert not refusals(holder)


def refusals(view: str) -> list[str]:
    """What was refused; the same digits may stand in a hash as well."""
    return [line for line in view.splitlines() if line.split()[:1] == ["6982"]]


def put_in_use(made_centre: MadeCentre, path: Path, card_number: bytes) -> None:
    """What a holder does first: change the PIN of the letter; here back again, which is a choice of one's own."""
    with Job.open(made_centre.centre) as job:
        letter = job.pin_letter(card_number).pins["holder"]
    with open_simulated(path) as card, card.connect(Interface.CONTACT) as connection:
        connection.power_on()
        holder = HolderSession.open(connection, permit_profile())
        holder.change(letter, OWN_PIN)
        holder.change(OWN_PIN, letter)


def test_every_applicant_has_a_card_and_no_card_has_another_face(made_centre: MadeCentre) -> None:
    for applicant in made_centre.applicants[1:4]:
        path, card_id = card_of(made_centre, applicant)
        shown = show_json(made_centre, path)
        assert shown["card_id"] == card_id
        identity = shown["views"][0]["files"][0]["records"][0]
        values = {value["name"]: value["value"] for value in identity}
        assert values["name"] == applicant.name
        assert values["permit_number"] == applicant.permit_number
        assert values["birth_date"] == applicant.birth_date.isoformat()


def show_json(centre: MadeCentre, path: Path) -> dict[str, Any]:
    return centre.command("card", "read", "--card", f"sim:{path}", "--centre", centre.centre.root, "--json").document


def test_over_the_field_only_the_terminal_sees_the_card(made_centre: MadeCentre) -> None:
    applicant = made_centre.applicants[0]
    path, card_id = card_of(made_centre, applicant)
    address = f"sim:{path}:contactless"
    shown = made_centre.command("card", "read", "--card", address, "--centre", made_centre.centre.root, "--json")
    views: Any = shown.document["views"]
    assert shown.document["card_id"] == card_id
    assert [view["seen_by"] for view in views] == ["inspection"]
    assert applicant.citizen_number in shown.out


def test_the_portrait_comes_off_the_card_as_a_picture(made_centre: MadeCentre, tmp_path: Path) -> None:
    path, _ = card_of(made_centre, made_centre.applicants[0])
    picture = tmp_path / "portrait.jpg"
    made_centre.command("card", "show", path, "--centre", made_centre.centre.root, "--portrait", picture)
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    assert picture.read_bytes().startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize("command", ["check", "run"])
def test_the_same_file_is_never_made_twice(made_centre: MadeCentre, command: str) -> None:
    before = files(made_centre.centre.root)
    refused = made_centre.command(
        "batch", command, made_centre.delivered, "--centre", made_centre.centre.root, "--json", code=1
    )
    assert refused.error["code"] == "batch-file-seen"
    assert files(made_centre.centre.root) == before


def files(root: Path) -> list[Path]:
    """All files but those that SQLite keeps beside a database while it is open."""
    return sorted(path for path in root.rglob("*") if not path.name.startswith("journal.sqlite-"))


def test_a_complete_batch_is_not_resumed(made_centre: MadeCentre) -> None:
    refused = made_centre.command("batch", "resume", "--centre", made_centre.centre.root, "--json", code=2)
    assert refused.error["code"] == "batch-complete"


def test_the_keys_are_shown_by_their_check_values_only(made_centre: MadeCentre) -> None:
    shown = made_centre.command("keys", "show", "--centre", made_centre.centre.root, "--json").document
    values: Any = shown["check_values"]
    assert shown["production"] is False
    assert len(values) == len(KeyName)
    assert all(len(bytes.fromhex(value)) == 3 for value in values.values())


def test_a_report_is_written_again_in_chinese(made_centre: MadeCentre) -> None:
    again = made_centre.command("batch", "report", "--centre", made_centre.centre.root, "--lang", "zh")
    page = (made_centre.report / "index.html").read_text("utf-8")
    assert str(made_centre.report / "index.html") in again.out
    assert '<html lang="zh' in page
    assert "批次" in page
    english = made_centre.command("batch", "report", made_centre.batch, "--centre", made_centre.centre.root, "--json")
    assert english.document == {"report": str(made_centre.report / "index.html")}
    assert '<html lang="en' in (made_centre.report / "index.html").read_text("utf-8")


def test_json_is_one_document_and_nothing_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("json")
    made: Outcome = CommandLine(folder)("demo", "--cards", "2", "--stations", "1", "--centre", "c", "--json")
    assert made.err == ""
    assert made.document["good"] == 2
