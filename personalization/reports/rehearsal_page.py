"""The page of a rehearsal: what the batch will take, and what of it would fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from personalization.reports import charts
from personalization.reports.reasons import ReportWords, Translate

_STAGES = ("make", "inspect")
_PARTS = ("card_ms", "line_ms", "reader_ms")


def rehearsal_page(document: Mapping[str, Any], translate: Translate, *, language: str) -> str:
    """The page of a rehearsal's document.

    Args:
        document: as the front door makes it; see docs/production.md.
        translate: the front door's words.
        language: of the page, such as "zh".
    """
    environment = Environment(
        loader=PackageLoader("personalization.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    words = ReportWords(translate, language)
    labels = [words(f"report.stages.{stage}") for stage in _STAGES]
    bars = [
        charts.Bars(words(f"report.rehearsal.{part}"), [document[stage][part] for stage in _STAGES]) for part in _PARTS
    ]
    cards = words("report.chart.cards")
    drawn = {
        "times": charts.bars_across(labels, bars, words("report.chart.milliseconds")),
        "failures": charts.failures(words.tally(document["failures"]), cards, cards),
        "wear": charts.histogram(document["cycles"], cards, words("report.chart.wear", cards=len(document["cycles"]))),
    }
    template = environment.get_template("rehearsal.html.j2")
    return template.render(
        t=words, why=words.failed_row, title=words.code, language=language, found=document, charts=drawn
    )
