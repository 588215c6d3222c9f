"""Barcodes of pre-printed cards, read on standard input as a scanner types them."""

from __future__ import annotations

import datetime as dt
import io
import sys
from typing import Any

import pytest

from card_os.card import Card
from card_os.storage.store import ObjectKind
from permitcard.products import open_simulated
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from tests.console.command_line import Outcome
from tests.console.conftest import SmallCentre


def test_pre_printed_cards_are_made_as_they_are_read(
    small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = receive_batch(small_centre.delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    numbers = [person.permit_number for person in people]
    small_centre("batch", "prepare", small_centre.delivered, "--workers", "1")
    small_centre("stock", "receive", "6")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{numbers[2]}\n{numbers[2]}\n12345\n{numbers[0]}\n"))
    first: Any = small_centre("batch", "scan", code=1).document
    assert [(scan["row"], scan["good"]) for scan in first["scans"]] == [
        (people[2].row_number, True),
        (None, False),
        (None, False),
        (people[0].row_number, True),
    ]
    codes = [scan["error"]["code"] for scan in first["scans"] if scan["error"]]
    assert codes == ["barcode-read-before", "barcode-malformed"]
    assert (first["state"], first["left"]) == ("stopped", 2)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{numbers[1]}\n{numbers[3]}\n"))
    said = small_centre.prompt("batch", "scan", "--centre", "centre", "--lang", "zh").out
    assert "剩余 0 行" in said
    assert not any(number in said for number in numbers)
    assert small_centre("batch", "status").document["state"] == "complete"
    assert small_centre("stock", "account").document["adds_up"] is True
    assert small_centre("batch", "scan", code=2).error["code"] == "batch-complete"


def test_a_scanner_works_with_a_named_sam_and_asks_for_codes_when_it_has_one(
    small_centre: SmallCentre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SAM that is not there or is used up spoils no card, and nobody is asked for a code before there is one."""
    centre, prompt = small_centre, small_centre.prompt
    people = receive_batch(centre.delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    numbers = [person.permit_number for person in people]
    for name in ("one", "two"):
        centre("sam", "make", "--reader", f"sim:{name}.card")
    centre("batch", "prepare", centre.delivered, "--workers", "1")
    centre("stock", "receive", "5")

    def scan(codes: list[str], *sams: str, code: int = 0) -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{one}\n" for one in codes)))
        named = [word for sam in sams for word in ("--sam", sam)]
        return prompt("batch", "scan", "--centre", "centre", *named, code=code)

    absent = scan(numbers, "sim:nowhere.card", code=3)
    assert ("barcodes" in absent.out, "nowhere.card" in absent.err) == (False, True)
    with open_simulated(prompt.folder / "one.card") as chip:
        assert isinstance(chip.card, Card)
        store = chip.card.platform.store
        (counter,) = (item for item in store.objects() if (item.kind, item.identifier) == (ObjectKind.COUNTER, 0x80))
        store.write_through(counter, 0, (8).to_bytes(4, "big"))  # its proof, one card and half of another
    used_up = scan(numbers, "sim:one.card", code=3)
    assert "barcodes" in used_up.out
    status: Any = centre("batch", "status").document
    assert (status["good"], status["stock"]["spoiled"], status["rows"]["in-production"]) == (1, 0, 1)
    again = scan(numbers, "sim:one.card", "sim:two.card", code=1)
    assert again.out.count("read before") == 2, "the body that was in hand is not another one"
    assert centre("batch", "status").document["good"] == 4
    assert centre("stock", "account").document["adds_up"] is True
