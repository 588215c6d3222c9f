"""Barcodes of pre-printed cards, read on standard input as a scanner types them."""

from __future__ import annotations

import datetime as dt
import io
import sys
from typing import Any

import pytest

from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
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
