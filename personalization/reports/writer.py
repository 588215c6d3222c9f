"""A batch's report as files: HTML that needs nothing else, and JSON, in one folder that appears as a whole.

```
index.html   report.json            the batch, with charts of throughput, times by step, failures by cause, wear
cards.csv    steps.csv              the same cards and times, for spreadsheets
cards/row-000002-run-1.html, .json  a card: what is on it (masked), its inspection, its trace
```
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from personalization.errors import PersonalizationError
from personalization.folder_rights import make_folder, settle
from personalization.formula_guard import without_formula
from personalization.production.journal.database import Journal
from personalization.production.results import Results
from personalization.production.states import RunState
from personalization.reports import charts
from personalization.reports.facts import BatchReport, CardEvidence, CardFacts, CheckResult, collect, evidence
from personalization.reports.reasons import ReportWords, Translate

_MICROSECONDS: Final = 1_000_000
_WEAR_SAMPLE: Final = 64
_JSON_VERSION: Final = 1
_ON_CARD: Final = ("field", "residence", "bank", "linked", "entitlements", "status")


class ReportFiles(NamedTuple):
    """Where a report is.

    Attributes:
        page: the batch's page.
        document: the same as JSON.
        cards: number of card pages.
    """

    page: Path
    document: Path
    cards: int


def write_report(
    journal: Journal,
    identifier: str,
    folder: Path,
    translate: Translate,
    *,
    results: Results,
    language: str = "en",
    wear: Callable[[str], int | None] | None = None,
) -> ReportFiles:
    """Write the report of a batch, finished or not; an older report in ``folder`` is replaced as a whole.

    Args:
        journal: the open journal.
        identifier: the batch.
        folder: the report's own folder; its parent is made when missing.
        translate: words for codes of errors and rules, which stand as reasons.
        results: opens what inspection showed.
        language: language of the pages, "en" or "zh".
        wear: programming cycles of the most used page of the card at a place, None where nobody can tell; asked for
            a sample of the cards.

    Raises:
        PersonalizationError: "batch-unknown"; "report-unwritable".
    """
    report = collect(journal, identifier)
    cycles = _wear_of(report, wear)
    try:
        make_folder(folder.parent)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
            fresh = Path(name) / "new"
            (fresh / "cards").mkdir(parents=True)
            _write(evidence(journal, report.cards, results), report, cycles, fresh, _Pages(translate, language))
            settle(fresh, folder.parent)
            if folder.exists():
                folder.rename(Path(name) / "old")
            fresh.rename(folder)
    except OSError as error:
        raise PersonalizationError("report-unwritable", exit_code=3, path=folder, cause=error.strerror) from error
    return ReportFiles(folder / "index.html", folder / "report.json", len(report.cards))


class CheckGroup(NamedTuple):
    """Checks whose names begin alike.

    Attributes:
        name: the beginning, such as "field".
        checks: rest of the name, and the check.
        failed: how many did not pass.
    """

    name: str
    checks: list[tuple[str, CheckResult]]
    failed: int


def _grouped(checks: Sequence[CheckResult]) -> list[CheckGroup]:
    """What is on the card first, then everything else in the order in which it was looked at."""
    groups: dict[str, list[tuple[str, CheckResult]]] = {name: [] for name in _ON_CARD}
    for check in checks:
        group, _, rest = check.name.partition(".")
        groups.setdefault(group, []).append((rest or group, check))
    return [
        CheckGroup(name, found, sum(not check.passed for _, check in found)) for name, found in groups.items() if found
    ]


class _Pages:
    """The templates with their words."""

    def __init__(self, translate: Translate, language: str) -> None:
        self._environment = Environment(
            loader=PackageLoader("personalization.reports"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(moment=_moment, us=_microseconds)
        words = self._words = ReportWords(translate, language)
        self._common: Mapping[str, object] = {
            "t": words,
            "label": words.label,
            "because": words.reason,
            "detail": words.detail,
            "language": language,
        }
        self._batch = self._environment.get_template("batch.html.j2")
        self._card = self._environment.get_template("card.html.j2")

    def batch(self, report: BatchReport, cycles: Sequence[int]) -> str:
        """The batch's page."""
        longest = max((step.total_us for step in report.steps), default=1)
        drawn = {"throughput": self._throughput(report), "steps": self._steps(report), **self._others(report, cycles)}
        return self._batch.render(**self._common, report=report, longest=longest or 1, charts=drawn)

    def _throughput(self, report: BatchReport) -> str:
        finished = [card.inspected_at for card in report.cards if card.state is RunState.GOOD and card.inspected_at]
        unit = self._words("report.chart.throughput", seconds="{seconds}")
        return charts.throughput(finished, self._words("report.good"), unit)

    def _steps(self, report: BatchReport) -> str:
        if not report.steps:
            return ""
        labels = [self._words.label("step-names", step.step) for step in report.steps]
        kinds = (("report.chart.median", "median_us"), ("report.chart.p95", "p95_us"))
        series = [
            charts.Bars(self._words(code), [charts.milliseconds(getattr(step, name)) for step in report.steps])
            for code, name in kinds
        ]
        return charts.bars_across(labels, series, self._words("report.chart.milliseconds"))

    def _others(self, report: BatchReport, cycles: Sequence[int]) -> dict[str, str]:
        cards = self._words("report.chart.cards")
        return {
            "failures": charts.failures(self._words.tally(report.failures), cards, cards),
            "wear": charts.histogram(cycles, cards, self._words("report.chart.wear", cards=len(cycles))),
        }

    def card(self, report: BatchReport, card: CardFacts, kept: CardEvidence) -> str:
        """One card's page."""
        return self._card.render(**self._common, report=report, card=card, kept=kept, groups=_grouped(kept.checks))


def _wear_of(report: BatchReport, wear: Callable[[str], int | None] | None) -> list[int]:
    """Cycles of a sample of the good cards, spread over the batch."""
    if wear is None:
        return []
    good = [card.location for card in report.cards if card.state is RunState.GOOD]
    asked = (wear(location) for location in good[:: max(1, -(-len(good) // _WEAR_SAMPLE))])
    return sorted(cycles for cycles in asked if cycles is not None)


def _write(
    cards: Iterable[tuple[CardFacts, CardEvidence]],
    report: BatchReport,
    cycles: Sequence[int],
    folder: Path,
    pages: _Pages,
) -> None:
    for card, kept in cards:
        base = folder / "cards" / card.page
        base.with_suffix(".html").write_text(pages.card(report, card, kept), "utf-8")
        base.with_suffix(".json").write_text(_dump(_card_document(card, kept)), "utf-8")
    document = {**_batch_document(report), "wear": cycles}
    (folder / "report.json").write_text(_dump(document), "utf-8")
    (folder / "index.html").write_text(pages.batch(report, cycles), "utf-8")
    _write_table(folder / "cards.csv", [_card_summary(card) for card in report.cards])
    _write_table(folder / "steps.csv", [asdict(step) for step in report.steps])


def _write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """UTF-8 with byte order mark; columns are named as in the JSON."""
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]) if rows else [])
        table.writeheader()
        table.writerows({name: without_formula(value) for name, value in row.items()} for row in rows)


def _batch_document(report: BatchReport) -> dict[str, object]:
    status = report.status
    batch = asdict(status.batch)
    for private in ("id", "prepared", "source"):
        del batch[private]
    return {
        "version": _JSON_VERSION,
        "batch": {**batch, "received_at": _iso(status.batch.received_at)},
        "rows": status.rows,
        "runs": status.runs,
        "stock": status.stock,
        "accepted": status.accepted,
        "good": status.good,
        "left": status.left,
        "seconds": round(status.seconds, 3),
        "cards_per_second": round(status.cards_per_second, 2),
        "recovered": status.recovered,
        "failures": report.failures,
        "steps": [asdict(step) for step in report.steps],
        "rejected": [asdict(row) for row in report.rejected],
        "unfinished": [asdict(row) for row in report.unfinished],
        "cancelled": [asdict(row) for row in report.cancelled],
        "cards": [_card_summary(card) for card in report.cards],
    }


def _card_summary(card: CardFacts) -> dict[str, object]:
    return {
        **asdict(card),
        "claimed_at": _iso(card.claimed_at),
        "made_at": _iso(card.made_at),
        "inspected_at": _iso(card.inspected_at),
        "page": f"cards/{card.page}.html",
    }


def _card_document(card: CardFacts, kept: CardEvidence) -> dict[str, object]:
    traces = {
        stage: [
            {
                "name": entry.name,
                "interface": entry.interface.value,
                "header": entry.header.hex().upper(),
                "command_length": entry.command_length,
                "response_length": entry.response_length,
                "status": entry.status.hex().upper(),
                "microseconds": entry.microseconds,
            }
            for entry in entries
        ]
        for stage, entries in kept.traces.items()
    }
    checks = [asdict(check) for check in kept.checks]
    return {"version": _JSON_VERSION, **_card_summary(card), "steps": kept.steps, "checks": checks, "traces": traces}


def _dump(document: Mapping[str, object]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _iso(at_us: int) -> str | None:
    return datetime.fromtimestamp(at_us / _MICROSECONDS, UTC).isoformat(timespec="milliseconds") if at_us else None


def _moment(at_us: int) -> str:
    """Date and time, UTC, for people."""
    return datetime.fromtimestamp(at_us / _MICROSECONDS, UTC).strftime("%Y-%m-%d %H:%M:%S") if at_us else "–"


def _microseconds(value: float) -> str:
    return f"{value:,.0f}"
