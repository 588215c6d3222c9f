"""HTML report of a run of the shared suite: each test with its clause, result and reason."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """One test in the report.

    Attributes:
        name: node id without the path.
        clause: clause of the standard.
        outcome: "passed", "failed" or "skipped".
        reason: why it was skipped or how it failed; empty when passed.
        seconds: time of the call.
    """

    name: str
    clause: str
    outcome: str
    reason: str
    seconds: float


class SuiteReport:
    """A pytest plugin that collects results and writes the page at the end.

    Args:
        path: file to write.
        address: where the card was.
    """

    def __init__(self, path: str, address: str) -> None:
        self._path = Path(path)
        self._address = address
        self._clauses: dict[str, str] = {}
        self._rows: list[SuiteRow] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the clause of each test."""
        for item in items:
            marker = item.get_closest_marker("clause")
            self._clauses[item.nodeid] = str(marker.args[0]) if marker else ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        """Note the outcome of each test's set-up and call."""
        report: pytest.TestReport = yield  # type: ignore[assignment] # pluggy sends the hook's result
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            self._rows.append(
                SuiteRow(
                    report.nodeid.rpartition("/")[2],
                    self._clauses.get(report.nodeid, ""),
                    report.outcome,
                    _reason(report),
                    report.duration,
                )
            )
        return report  # type: ignore[return-value] # same

    def pytest_sessionfinish(self) -> None:
        """Write the page."""
        from jinja2 import Environment

        template = Environment(autoescape=True).from_string(
            files("permitcard").joinpath("testing", "suite_report.html.j2").read_text("utf-8")
        )
        page = template.render(
            address=self._address,
            date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            counts=Counter(row.outcome for row in self._rows),
            rows=sorted(self._rows, key=lambda row: (row.outcome == "passed", row.name)),
        )
        self._path.write_text(page, encoding="utf-8")


def _reason(report: pytest.TestReport) -> str:
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(getattr(crash, "message", report.longrepr))[:500]
