"""Findings between processes and on disk: codes, places and facts; values are masked before they get here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from personalization.intake.applicant import Column, Finding, Severity
from personalization.preparation.bulk.plan import read_json


def finding_document(found: Finding) -> dict[str, object]:
    """A finding for JSON."""
    return {
        "rule": found.rule,
        "row": found.row,
        "column": int(found.column),
        "masked": found.masked,
        "severity": found.severity.value,
        "parameters": dict(found.parameters),
    }


def finding_of(document: dict[str, Any]) -> Finding:
    """Undo `finding_document`."""
    return Finding(
        document["rule"],
        document["row"],
        Column(document["column"]),
        document["masked"],
        Severity(document["severity"]),
        document["parameters"],
    )


def write_findings(path: Path, findings: Iterable[Finding], reasons: Mapping[int, str]) -> None:
    """Write the findings of one chunk.

    Args:
        path: the file.
        findings: of its rows, and of their rows in the second sheet.
        reasons: for each row at fault, the first rule that it or its residence breaks.
    """
    document = {
        "findings": [finding_document(found) for found in findings],
        "reasons": {str(row): rule for row, rule in reasons.items()},
    }
    path.write_bytes(json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def read_findings(path: Path) -> tuple[list[Finding], dict[int, str]]:
    """Undo `write_findings`.

    Raises:
        PersonalizationError: "work-file-damaged", exit 3.
    """
    document = read_json(path)
    found = [finding_of(each) for each in document["findings"]]
    return found, {int(row): rule for row, rule in document["reasons"].items()}
