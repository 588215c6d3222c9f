"""What came from outside is text in every table that people open with a spreadsheet program."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import permitcard
import personalization
from personalization.formula_guard import without_formula
from personalization.reports.papers import paper_table

FOR_PROGRAMS = {"intake/delivery_writer.py", "intake/sample/unpacked.py"}
"""Deliveries: intake takes them back to the letter, and refuses a formula itself."""


@pytest.mark.parametrize("start", [*"=+-@\t\r\n＝＋－＠"])
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(start: str) -> None:
    text = f'{start}HYPERLINK("http://example.org/?"&A1)'
    assert without_formula(text) == f"'{text}"
    (read,) = csv.DictReader(io.StringIO(paper_table({"lot": text}).decode("utf-8-sig"), newline=""))
    assert read == {"name": "lot", "value": f"'{text}"}


@pytest.mark.parametrize("value", ["", "a=1", "330381263000000001", "张三", "’=", -5, 0.5, None, True])
def test_everything_else_is_as_it_was(value: object) -> None:
    assert without_formula(value) is value


def test_every_table_for_people_is_written_through_the_guard() -> None:
    unguarded = {
        str(path.relative_to(root))
        for root in (Path(personalization.__path__[0]), Path(permitcard.__path__[0]))
        for path in root.rglob("*.py")
        if ("csv.writer(" in (text := path.read_text("utf-8")) or "DictWriter(" in text)
        and "without_formula(" not in text
    }
    assert unguarded == FOR_PROGRAMS
