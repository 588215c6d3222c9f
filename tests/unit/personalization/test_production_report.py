from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from personalization.errors import PersonalizationError
from personalization.production.journal import Journal, open_journal
from personalization.production.journal.claims import claim_to_make
from personalization.production.journal.place import JournalPlace
from personalization.production.policy import Policy
from personalization.production.recovery import recover
from personalization.production.states import BatchState, BlankState, RowState, RunState
from personalization.production.station import Line, Station
from personalization.production.work import Condition
from personalization.reports.words import catalogue
from personalization.reports.writer import write_report
from tests.unit.personalization.scripted_line import (
    FAULTY,
    HONEST,
    MISREAD,
    RESULTS,
    Outfit,
    load_batch,
    receive,
    set_card,
)

VOID = {"meta", "link", "br", "hr", "img"}


def words(code: str, **parameters: object) -> str:
    """A front door that has a word for one rule, and is asked for none of the reports' own codes."""
    assert not code.startswith("report."), code
    return {"name-missing": "no name"}.get(code, code)


class Page(HTMLParser):
    """Checks that tags are balanced; collects text and links."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def journal(journal_place: JournalPlace, tmp_path: Path) -> Iterator[Journal]:
    """A batch with good, spoiled, half-made, rejected and cancelled rows."""
    with open_journal(journal_place) as opened:
        old = load_batch(opened, 1, "old", citizens=["citizen-2"])
        batch = load_batch(opened, 4, citizens=[f"citizen-{number}" for number in range(1, 5)], rejected=1)
        paths = receive(opened, tmp_path / "cards", [HONEST, HONEST, FAULTY, MISREAD, HONEST, HONEST, HONEST, HONEST])
        line = Line(lambda _seconds: False, lambda _progress: None)
        with Outfit()() as equipment:
            Station(opened, old.id, "station-1", equipment, Policy(), line).work()
            with opened.transaction() as connection:
                claim_to_make(connection, batch.id, "station-1", 1)
            set_card(paths[1], Condition.STARTED, 1)
            recover(opened, batch.id, equipment, Policy())
            Station(opened, batch.id, "station-1", equipment, Policy(tray=2), line).work()
        yield opened


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_is_whole_and_needs_nothing_else(journal: Journal, tmp_path: Path, language: str) -> None:
    report = write_report(journal, "batch", tmp_path / "report", words, results=RESULTS, language=language)
    page = Page(report.page.read_text("utf-8"))
    assert {catalogue(language)["report.stock"], "no name"} <= set(page.text)
    assert report.cards == 6
    cards = [link for link in page.links if link.startswith("cards/")]
    assert len(set(cards)) == report.cards
    for link in cards:
        card = Page((report.page.parent / link).read_text("utf-8"))
        assert card.links == ["../index.html"]
    assert set(page.links) == set(cards)


def test_the_document_adds_up(journal: Journal, tmp_path: Path) -> None:
    report = write_report(journal, "batch", tmp_path / "report", words, results=RESULTS)
    document = json.loads(report.document.read_text("utf-8"))
    assert (document["accepted"], document["good"], document["left"]) == (4, 4, 0)
    assert sum(document["rows"].values()) == document["batch"]["delivered"] == 5
    assert sum(document["stock"].values()) == 8
    assert document["recovered"] == {"started": 1}
    assert document["failures"] == {"inspection: field.row": 1, "started: status-word": 1}
    assert [row["reason"] for row in document["rejected"]] == ["name-missing"]
    assert {card["state"] for card in document["cards"]} == {"good", "spoiled"}
    assert {step["step"] for step in document["steps"]} >= {"connect", "keyed", "finished", "inspect"}
    assert "prepared" not in document["batch"]


def test_a_card_page_tells_inspection_and_trace(journal: Journal, tmp_path: Path) -> None:
    report = write_report(journal, "batch", tmp_path / "report", words, results=RESULTS)
    document = json.loads(report.document.read_text("utf-8"))
    link = next(card["page"] for card in document["cards"] if card["state"] == "good")
    card = json.loads((report.page.parent / link).with_suffix(".json").read_text("utf-8"))
    assert [check["interface"] for check in card["checks"]] == ["contact", "contactless"]
    assert all(check["passed"] and check["shown"].startswith("***") for check in card["checks"])
    assert [entry["interface"] for entry in card["traces"]["inspect"]] == ["contact", "contactless"]
    assert {entry["name"] for entry in card["traces"]["make"]} == {"READ BINARY", "UPDATE BINARY"}
    assert all(entry["status"] == "9000" for entry in card["traces"]["make"])
    assert list(card["traces"]) == ["make", "inspect"]


def test_a_replaced_permit_names_what_replaced_it(journal: Journal, tmp_path: Path) -> None:
    report = write_report(journal, "old", tmp_path / "report", words, results=RESULTS)
    document = json.loads(report.document.read_text("utf-8"))
    assert [row["replaced_by"] for row in document["cancelled"]] == ["batch / 2"]


def test_a_report_takes_the_place_of_the_older_one_as_a_whole(journal: Journal, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "batch"
    folder.mkdir(parents=True)
    (folder / "left-over.txt").write_text("old")
    write_report(journal, "batch", folder, words, results=RESULTS)
    assert not (folder / "left-over.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["batch"]


def test_a_report_that_cannot_be_written_leaves_the_older_one(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reports" / "batch"
    write_report(journal, "batch", folder, words, results=RESULTS)
    before = (folder / "index.html").read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(PersonalizationError, match="report-unwritable"):
        write_report(journal, "batch", folder, words, results=RESULTS)
    assert (folder / "index.html").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["batch"]


def test_an_unknown_batch_has_no_report(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError, match="batch-unknown"):
        write_report(journal, "nobody", tmp_path / "report", words, results=RESULTS)


def test_both_catalogues_hold_the_same_codes_with_the_same_parameters() -> None:
    english, chinese = catalogue("en"), catalogue("zh")
    assert set(english) == set(chinese)
    for code, text in english.items():
        places = re.findall(r"\{(\w+)\}", text)
        assert sorted(places) == sorted(re.findall(r"\{(\w+)\}", chinese[code])), code


@pytest.mark.parametrize("states", [BatchState, RowState, BlankState, RunState, Condition])
def test_every_state_has_words(states: type[RowState]) -> None:
    assert {f"report.states.{state.value}" for state in states} <= set(catalogue("en"))
