"""Findings in words: complete in both languages, masked, and safe in HTML."""

from __future__ import annotations

import ast
import json
import string
from datetime import UTC, datetime
from pathlib import Path

import pytest

from personalization.intake.applicant import Column, Finding
from personalization.intake.delivery import DeliveryName, open_delivery
from personalization.intake.findings_report import findings_html, findings_json, findings_text
from personalization.intake.history import RememberedBatches
from personalization.intake.masking import mask
from personalization.intake.receipt import Receipt, receive_batch
from personalization.intake.words import LANGUAGES, column_title, words

ROOT = Path(__file__).parents[3]
DAMAGED = next((ROOT / "examples" / "damaged").glob("*.zip"))


@pytest.fixture(scope="module")
def receipt() -> Receipt:
    return receive_batch(DAMAGED, RememberedBatches(), datetime(2026, 11, 2, tzinfo=UTC))


def codes_in_sources() -> set[str]:
    """Every code that an error of intake is raised with."""
    codes: set[str] = set()
    for path in (ROOT / "personalization" / "intake").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"PersonalizationError", "_only"}:
                codes.update(
                    argument.value
                    for argument in node.args
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                )
    return codes


def places(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_the_format_page_names_every_rule_and_error() -> None:
    page = (ROOT / "docs" / "delivery-format.md").read_text("utf-8")
    for code in words("en").templates:
        kind, _, rest = code.partition(".")
        if kind in {"rule", "error"}:
            assert f"`{rest.partition('.')[0]}`" in page, code


def test_every_error_has_words() -> None:
    codes = codes_in_sources()
    assert "batch-file-seen" in codes
    for language in LANGUAGES:
        assert {f"error.{code}" for code in codes} <= set(words(language).templates)


def test_both_languages_say_the_same() -> None:
    english, chinese = words("en").templates, words("zh").templates
    assert set(english) == set(chinese)
    for code, template in english.items():
        assert places(template) == places(chinese[code]), code
        assert template.strip()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finding_has_words_and_all_its_facts(receipt: Receipt, language: str) -> None:
    text = findings_text(receipt, language)
    assert "{" not in text
    assert "rule." not in text
    assert len(text.splitlines()) == len(receipt.findings) + 2
    assert "公民身份号码" in text if language == "zh" else "citizen number" in text


def test_json_carries_codes_and_words(receipt: Receipt) -> None:
    report = json.loads(findings_json(receipt, "zh"))
    assert report["rows"] == 120
    assert report["declared_rows"] == 123
    assert len(report["findings"]) == len(receipt.findings)
    entry = next(each for each in report["findings"] if each["rule"] == "text-too-long")
    assert entry["column_title"] == "2 姓名"
    assert entry["parameters"] == {"length": 51, "limit": 50}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_report_shows_a_value_in_clear(receipt: Receipt, language: str) -> None:
    reports = findings_text(receipt, language) + findings_json(receipt, language) + findings_html(receipt, language)
    personal = (
        Column.PERMIT_NUMBER,
        Column.NAME,
        Column.CITIZEN_NUMBER,
        Column.REGISTERED_ADDRESS,
        Column.BANK_ACCOUNT,
    )
    for row in open_delivery(DAMAGED).table.applicants:
        for column in personal:
            cell = row.cells[column - 1]
            if isinstance(cell, str) and len(cell) > 1:
                assert cell not in reports


def test_html_escapes_what_was_delivered() -> None:
    hostile = Finding("cell-empty", 2, Column.NAME, "<script>alert(1)</script>")
    receipt = Receipt("RCO1", DeliveryName("330381", 1, 1, 1), bytes(32), 1, (hostile,), (), (), frozenset())
    page = findings_html(receipt)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_html_of_a_clean_batch_says_so() -> None:
    receipt = Receipt("RCO1", DeliveryName("330381", 1, 1, 1), bytes(32), 1, (), (), (), frozenset())
    assert words("zh")("report.clean") in findings_html(receipt, "zh")
    assert "<table>" not in findings_html(receipt)


@pytest.mark.parametrize(
    ("column", "value", "masked"),
    [
        (Column.NAME, "", ""),
        (Column.NAME, "王", "*"),
        (Column.NAME, "王明", "王*"),
        (Column.CITIZEN_NUMBER, "11010519491231002X", "11**************2X"),
        (Column.REGISTERED_ADDRESS, "村" * 101, "村***(101)"),
        (Column.NAME, "\u200b王", "<U+200B>*"),
        (Column.ISSUE_DATE, "20260931", "20260931"),
        (Column.ETHNIC_GROUP, "57", "57"),
        (Column.ISSUE_DATE, "王小明", "王**"),
        (Column.SEX, "110105194912", "11********12"),
        (Column.BIRTH_DATE, "19491231", "1*******"),
    ],
)
def test_masks(column: Column, value: str, masked: str) -> None:
    assert mask(column, value) == masked


def test_titles_name_the_column_as_the_sheet_does_and_in_english() -> None:
    assert column_title(Column.CITIZEN_NUMBER) == "6 身份证号 citizen number"
    assert column_title(Column.CURRENT_ADDRESS) == "2 现居住地址 current address"
    assert column_title(Column.PORTRAIT) == "照片 picture"
    assert [column_title(column, "zh") for column in (Column.CITIZEN_NUMBER, Column.ROW)] == ["6 身份证号", "行"]
    assert len({column_title(column) for column in Column}) == len(Column)


def test_unknown_codes_and_facts_are_shown_by_name() -> None:
    assert words("en")("no.such.code") == "no.such.code"
    assert "{limit}" in words("en")("rule.text-too-long.finding", length=51)
