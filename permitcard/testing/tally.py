"""Counts of a suite run, for programs."""

from __future__ import annotations

from collections import Counter

import pytest


class Tally:
    """Counts outcomes of tests, for programs."""

    def __init__(self) -> None:
        self._outcomes: dict[str, str] = {}
        self._skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the worst outcome of a test's set-up, call and end."""
        if report.failed:
            self._outcomes[report.nodeid] = "failed"
        elif report.skipped:
            self._outcomes.setdefault(report.nodeid, "skipped")
            self._skipped[report.nodeid] = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        elif report.when == "call":
            self._outcomes.setdefault(report.nodeid, "passed")

    def document(self) -> dict[str, object]:
        """Counts, the tests that failed, and why others were skipped."""
        counts = Counter(self._outcomes.values())
        failed = sorted(name for name, outcome in self._outcomes.items() if outcome == "failed")
        return {
            **{outcome: counts[outcome] for outcome in ("passed", "failed", "skipped")},
            "failures": failed,
            "skips": dict(sorted(self._skipped.items())),
        }
