"""Findings for people and programs: text, JSON and HTML; values are masked before they get here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import jinja2

from personalization.intake.applicant import RESIDENCE_COLUMNS, Finding, Severity
from personalization.intake.receipt import Receipt
from personalization.intake.words import Translator, column_title, words

_HEADINGS: Final = ("row", "column", "value", "severity", "finding", "action")


@dataclass(frozen=True, slots=True)
class FindingLine:
    """One finding in words of one language."""

    row: str
    column: str
    value: str
    severity: str
    severity_code: str
    rule: str
    finding: str
    action: str

    @classmethod
    def of(cls, found: Finding, language: str) -> FindingLine:
        """The line of a finding."""
        say = words(language)
        row = str(found.row) if found.row else say("report.whole")
        if found.column in RESIDENCE_COLUMNS:
            row = f"{say('report.sheet2')} {row}"
        return cls(
            row=row,
            column=column_title(found.column, language),
            value=found.masked,
            severity=say(f"report.{found.severity.value}"),
            severity_code=found.severity.value,
            rule=found.rule,
            finding=say(f"rule.{found.rule}.finding", **found.parameters),
            action=say(f"rule.{found.rule}.action", **found.parameters),
        )


def findings_text(receipt: Receipt, language: str = "en") -> str:
    """One line a finding, and a summary."""
    say = words(language)
    lines = finding_lines(receipt.findings, language)
    return "\n".join([say("report.title", identifier=receipt.identifier), *lines, _summary(receipt, say)]) + "\n"


def finding_lines(findings: Iterable[Finding], language: str = "en") -> list[str]:
    """One line a finding."""
    lines = (FindingLine.of(found, language) for found in findings)
    return [
        f"{line.row} | {line.column} | {line.value} | {line.severity}: {line.finding} → {line.action} [{line.rule}]"
        for line in lines
    ]


def findings_json(receipt: Receipt, language: str = "en") -> str:
    """A JSON object: the batch, the counts, and the findings with codes, parameters and words."""
    findings = [
        {
            "rule": found.rule,
            "severity": found.severity.value,
            "row": found.row,
            "column": int(found.column),
            "column_title": line.column,
            "value": found.masked,
            "parameters": dict(found.parameters),
            "finding": line.finding,
            "action": line.action,
        }
        for found, line in zip(receipt.findings, _lines(receipt, language), strict=True)
    ]
    report = {
        "batch": receipt.identifier,
        "area_code": receipt.name.area_code,
        "source_sha256": receipt.source_sha256.hex(),
        "declared_rows": receipt.name.count,
        "rows": receipt.row_count,
        "good_rows": len(receipt.applicants),
        "errors": receipt.error_count,
        "findings": findings,
    }
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


def findings_html(receipt: Receipt, language: str = "en") -> str:
    """A page of its own, without anything to load."""
    say = words(language)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("personalization.intake"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("findings.html").render(
        language=language,
        title=say("report.title", identifier=receipt.identifier),
        summary=_summary(receipt, say),
        headings=[say(f"report.{heading}") for heading in _HEADINGS],
        findings=_lines(receipt, language),
        clean=say("report.clean"),
    )


def _lines(receipt: Receipt, language: str) -> list[FindingLine]:
    return [FindingLine.of(found, language) for found in receipt.findings]


def _summary(receipt: Receipt, say: Translator) -> str:
    warnings = sum(found.severity is Severity.WARNING for found in receipt.findings)
    return say(
        "report.summary",
        rows=receipt.row_count,
        good=len(receipt.applicants),
        errors=receipt.error_count,
        warnings=warnings,
    )
