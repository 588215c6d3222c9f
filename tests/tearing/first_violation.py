"""Ends a tear sweep at what it was to find: each violation that follows takes its time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reader_bridge.tear_report import TearReport, Violation, ViolationKind


class Found(Exception):
    """What was looked for."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation)
        self.violation = violation


def first_violation(
    monkeypatch: pytest.MonkeyPatch, wanted: set[ViolationKind], sweep: Callable[[], object]
) -> Violation:
    """The first violation of one of these kinds, in a sweep that must have one."""
    add = TearReport.add

    def look(report: TearReport, violation: Violation) -> None:
        if violation.problem.kind in wanted:
            raise Found(violation)
        add(report, violation)

    monkeypatch.setattr(TearReport, "add", look)
    with pytest.raises(Found) as caught:
        sweep()
    return caught.value.violation
