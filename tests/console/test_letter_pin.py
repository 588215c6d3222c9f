"""From the letter to the holder's own PIN, on a card that a centre has made."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from permitcard.specimen import HOLDER_PIN
from tests.console.command_line import Prompt
from tests.console.conftest import SmallCentre

OWN_PIN = "2718281"
"""Longer than that of a letter, so that it is another one."""


def test_a_holder_changes_the_pin_of_the_letter_first(
    small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre = small_centre
    centre.make()
    centre("batch", "release")
    centre("batch", "letters", "letters.csv")
    card = f"sim:{min((centre.centre.root / 'cards').glob('*.card'))}"
    fresh: Any = centre("card", "read", "--card", card).document
    assert fresh["pin_to_change"] is True
    assert [view["seen_by"] for view in fresh["views"]] == ["inspection"]
    number = next(
        str(item["value"])
        for file in fresh["views"][0]["files"]
        for record in file["records"]
        for item in record
        if item["name"] == "permit_number"
    )
    text = (centre.prompt.folder / "letters.csv").read_text("utf-8-sig")
    letter = next(row for row in csv.DictReader(io.StringIO(text)) if row["居住证号"] == number)
    change = ("card", "change-pin", "--card", card)
    for old, new, code, told in (
        (letter["持证人密码"], letter["持证人密码"], 2, "pin-same"),
        ("12", OWN_PIN, 2, "pin-format"),
        (letter["持证人密码"], OWN_PIN, 0, None),
        (letter["持证人密码"], "3141592", 1, "pin-wrong"),
        (OWN_PIN, letter["持证人密码"], 0, None),
    ):
        monkeypatch.setenv("PERMITCARD_PIN", old)
        monkeypatch.setenv("PERMITCARD_NEW_PIN", new)
        done = centre.prompt("--json", *change, code=code)
        assert (done.error["code"] if told else done.document) == (told or {"card": card, "changed": True})
    changed: Any = centre("card", "read", "--card", card).document
    assert changed["pin_to_change"] is False
    assert [view["seen_by"] for view in changed["views"]] == ["holder", "inspection"]


@pytest.mark.parametrize(
    ("language", "old", "again"), [("en", "PIN until now:", "once more:"), ("zh", "原密码:", "再次输入")]
)
def test_a_holder_is_asked_unseen_and_in_the_chosen_language(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch, language: str, old: str, again: str
) -> None:
    """A new PIN that was mistyped is asked for again; what is asked does not stand in the document."""
    prompt("card", "new", "letter.card", "--letter-pin")
    typed = iter((HOLDER_PIN, "271828", "271829", "271828", "271828"))
    monkeypatch.setattr("typer._click.termui.hidden_prompt_func", lambda _text: next(typed))
    done = prompt("--lang", language, "--json", "card", "change-pin", "--card", "sim:letter.card")
    assert done.document == {"card": "sim:letter.card", "changed": True}
    assert next(typed, None) is None
    assert (done.err.count(old), done.err.count(again)) == (1, 2)
    assert not {"271828", HOLDER_PIN} & set(done.err.split())


@pytest.mark.parametrize("other", ["--blank", "--sam", "--profile=default"])
def test_a_letters_pin_is_for_a_permit(prompt: Prompt, other: str) -> None:
    assert prompt("--json", "card", "new", "x.card", "--letter-pin", other, code=2).error["code"] == "letter-pin-alone"
    assert not (prompt.folder / "x.card").exists()


def test_the_suite_knows_a_card_with_the_pin_of_a_letter(prompt: Prompt) -> None:
    """Its own tests run, and those that verify a holder's PIN are left out; nothing fails."""
    prompt("card", "new", "letter.card", "--letter-pin")
    assert "has not changed the PIN of the letter" in prompt("card", "show", "letter.card", "--lang", "en").out
    told: Any = prompt("--json", "test", "--card", "sim:letter.card", "-k", "test_letter_pin or test_pin").document
    assert (told["passed"], told["failed"]) == (7, 0)
    assert {name.partition("::")[0] for name in told["skips"]} == {"test_pin.py"}
