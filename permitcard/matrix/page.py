"""The page of a matrix, and the same as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files

from permitcard.matrix.checks import CHECKS
from permitcard.matrix.running import Cell, Outcome, Row

_MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}

_WORDS = {
    "title": "matrix.title",
    "way": "matrix.way",
    "problems": "matrix.problems",
    "skips": "matrix.skips",
    "clauses": "matrix.clauses",
}

Say = Callable[..., str]
"""Words for a code."""


def why(cell: Cell, say: Say) -> str:
    """Why a check failed or was skipped; empty when it passed."""
    return say(f"matrix.why.{cell.why}", **cell.parameters) if cell.why else ""


def page(rows: Sequence[Row], date: str, language: str, say: Say) -> str:
    """The page, HTML that needs nothing else.

    Args:
        rows: the results.
        date: when.
        language: "en" or "zh", for the page's own tag.
        say: the catalogue.
    """
    from jinja2 import Environment

    words = {name: say(code) for name, code in _WORDS.items()}
    words["lead"] = say(
        "matrix.lead", cards=len({row.card for row in rows}), readers=len({row.reader for row in rows}), date=date
    )

    def title_of(code: str) -> str:
        return say(f"matrix.check.{code}")

    def outcome(name: str) -> str:
        return say(f"matrix.outcome.{name}")

    def reason(cell: Cell) -> str:
        return why(cell, say)

    problems: dict[tuple[int, str], list[str]] = {}
    for number, row in enumerate(rows):
        for cell in row.cells:
            if cell.outcome is Outcome.FAILED:
                problems.setdefault((number, reason(cell)), []).append(title_of(cell.check))
    template = Environment(autoescape=True).from_string(
        files("permitcard").joinpath("matrix", "page.html.j2").read_text("utf-8")
    )
    return template.render(
        rows=rows,
        checks=CHECKS,
        date=date,
        language=language,
        words=words,
        title_of=title_of,
        outcome=outcome,
        why=reason,
        marks=_MARKS,
        counts=Counter(cell.outcome.value for row in rows for cell in row.cells),
        skips=Counter(reason(cell) for row in rows for cell in row.cells if cell.outcome.value == "skipped"),
        problems=problems,
    )


def document(rows: Sequence[Row], date: str) -> dict[str, object]:
    """The same for programs."""
    counts = Counter(cell.outcome.value for row in rows for cell in row.cells)
    return {
        "date": date,
        "passed": counts["passed"],
        "failed": counts["failed"],
        "skipped": counts["skipped"],
        "checks": [{"check": check.code, "clause": check.clause} for check in CHECKS],
        "rows": [
            {
                "card": row.card,
                "reader": row.reader,
                "interface": row.interface,
                "protocol": row.protocol,
                "answer": row.answer,
                "cells": [
                    {
                        "check": cell.check,
                        "outcome": cell.outcome.value,
                        "fact": cell.fact,
                        "why": cell.why or None,
                        "parameters": cell.parameters,
                    }
                    for cell in row.cells
                ],
            }
            for row in rows
        ],
    }
