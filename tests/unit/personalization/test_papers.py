"""Receipt and work order: what was accepted, what has to be made, and by which day."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from personalization.errors import PersonalizationError
from personalization.production.journal.database import Journal, open_journal
from personalization.production.journal.place import SqliteFile
from personalization.production.journal.tables import Batch
from personalization.reports import charts
from personalization.reports.papers import order_document, paper_table, receipt_document
from tests.unit.personalization.scripted_line import HONEST, load_batch, receive


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(SqliteFile(tmp_path / "journal.sqlite")) as opened:
        yield opened


def received(journal: Journal, moment: dt.datetime) -> None:
    at = int(moment.timestamp() * 1_000_000)
    with journal.transaction() as connection:
        connection.execute(update(Batch).values(received_at=at))


def test_the_due_day_counts_working_days_of_china(journal: Journal) -> None:
    """Civil Code, article 201: the first day is not counted; National Day and moved days of 2025 lie between."""
    load_batch(journal, 3, rejected=2)
    received(journal, dt.datetime(2025, 9, 21, 17, 0, tzinfo=dt.UTC))  # the 22nd in China
    receipt = receipt_document(journal, "batch", rehearsal=True)
    assert (receipt["working_days"], receipt["due"], receipt["due_provisional"]) == (15, "2025-10-17", False)
    assert (receipt["delivered"], receipt["accepted"], receipt["refused"]) == (5, 3, 2)
    assert receipt["refused_by_rule"] == {"name-missing": 2}
    assert receipt["received_at"] == "2025-09-22T01:00:00+08:00"
    assert receipt_document(journal, "batch", rehearsal=True, working_days=1)["due"] == "2025-09-23"
    received(journal, dt.datetime(2099, 1, 1, tzinfo=dt.UTC))
    assert receipt_document(journal, "batch", rehearsal=True)["due_provisional"] is True


def test_the_order_says_what_is_missing(journal: Journal, tmp_path: Path) -> None:
    load_batch(journal, 5)
    receive(journal, tmp_path, [HONEST] * 3)
    order = order_document(
        journal, "batch", rehearsal=True, keys={"card": "0a1b2c"}, profile="permit 1.0", by="li", working_days=5
    )
    assert (order["to_make"], order["left"], order["in_stock"], order["missing_blanks"]) == (5, 5, 3, 2)
    rows = dict(csv.reader(io.StringIO(paper_table(order).decode("utf-8-sig"))))
    assert (rows["name"], rows["keys.card"], rows["missing_blanks"], rows["due"]) == (
        "value",
        "0a1b2c",
        "2",
        str(order["due"]),
    )
    with pytest.raises(PersonalizationError, match="batch-unknown"):
        receipt_document(journal, "another", rehearsal=True)


def test_charts_stand_alone_and_show_what_they_are_given() -> None:
    drawn = [
        charts.bars_across(["a <b>", "c"], [charts.Bars("one", [1, None]), charts.Bars("two", [2, 3])], "ms"),
        charts.throughput([1_700_000_000_000_000 + n * 250_000 for n in range(400)], "good", "each {seconds} s"),
        charts.failures({"inspection: field.name": 2, "store-data: 6A84": 7}, "cards", "cards"),
        charts.histogram([5, 5, 6, 90], "cards", "cycles"),
    ]
    for svg in drawn:
        assert svg.startswith("<svg")
        assert "<script" not in svg
        assert "href" not in svg
        assert "a <b>" not in svg
    assert "a &lt;b&gt;" in drawn[0]
    assert "each 3 s" in drawn[1], "a hundred seconds in at most forty bars"
    assert drawn[2].index("inspection: field.name") < drawn[2].index("store-data: 6A84")  # from below to above
    assert charts.throughput([], "good", "") == charts.failures({}, "", "") == charts.histogram([], "", "") == ""
