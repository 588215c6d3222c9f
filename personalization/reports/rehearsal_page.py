"""The page of a rehearsal: what the batch will take, and what of it would fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from personalization.reports import charts
from personalization.reports.writer import Translate

_STAGES = ("make", "inspect")
_PARTS = ("card_ms", "line_ms", "reader_ms")


def rehearsal_page(document: Mapping[str, Any], words: Translate, *, language: str) -> str:
    """The page of a rehearsal's document.

    Args:
        document: as the front door makes it; see docs/production.md.
        words: the words, the reports' own included.
        language: of the page, such as "zh".
    """
    environment = Environment(
        loader=PackageLoader("personalization.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    labels = [words(f"report.stages.{stage}") for stage in _STAGES]
    bars = [
        charts.Bars(words(f"report.rehearsal.{part}"), [document[stage][part] for stage in _STAGES]) for part in _PARTS
    ]
    cards = words("report.chart.cards")
    drawn = {
        "times": charts.bars_across(labels, bars, words("report.chart.milliseconds")),
        "failures": charts.failures(document["failures"], cards, cards),
        "wear": charts.histogram(document["cycles"], cards, words("report.chart.wear", cards=len(document["cycles"]))),
    }
    template = environment.get_template("rehearsal.html.j2")
    return template.render(t=words, language=language, found=document, charts=drawn)
