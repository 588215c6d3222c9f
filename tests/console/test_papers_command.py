"""Receipt and work order at the command line; a report with charts that needs nothing from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from personalization.keys.keystore import KeyName
from personalization.keys.signed_document import read_signed
from tests.console.conftest import MadeCentre, SmallCentre


def test_papers_are_signed_and_say_when_the_cards_are_due(small_centre: SmallCentre, tmp_path: Path) -> None:
    small_centre.make()
    receipt: Any = small_centre("batch", "receipt", "--working-days", "1").document
    order: Any = small_centre("batch", "order").document
    authority = small_centre.centre.key_store().open().certificate(KeyName.AUTHORITY)
    for paper in (receipt, order):
        assert read_signed(tmp_path / paper["signed"], authority) == paper["document"]
        page = (tmp_path / paper["page"]).read_text("utf-8")
        assert paper["document"]["due"] in page
        assert "document." not in page, "a text without words"
        assert (tmp_path / paper["signed"]).with_suffix(".csv").read_bytes().startswith(b"\xef\xbb\xbfname,value")
    assert (receipt["document"]["delivered"], receipt["document"]["refused"]) == (4, 0)
    assert (order["document"]["to_make"], order["document"]["left"], order["document"]["working_days"]) == (4, 0, 15)
    said = small_centre.prompt("batch", "order", "--centre", "centre", "--lang", "zh").out
    assert order["document"]["due"] in said
    assert "交卡期限" in said
    assert small_centre("batch", "receipt", "nothing", code=2).error["code"] == "batch-unknown"


def test_the_report_has_charts_and_tables(made_centre: MadeCentre) -> None:
    page = (made_centre.report / "index.html").read_text("utf-8")
    assert page.count("<svg") == 3, "throughput, wear, times; nothing failed"
    assert "<script" not in page
    wear = json.loads((made_centre.report / "report.json").read_text("utf-8"))["wear"]
    assert len(wear) > 10
    assert min(wear) > 0
    assert (made_centre.report / "cards.csv").read_text("utf-8-sig").count("\n") == 15
    assert "store-data" in (made_centre.report / "steps.csv").read_text("utf-8-sig")
