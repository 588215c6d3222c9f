"""What rules came to, in words and as a document: for `permitcard permit` and `permitcard case`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from permitcard.console import Console
from personalization.permit.calendars import Deadline
from personalization.permit.eligibility import Eligibility
from personalization.permit.evidence import Application
from personalization.permit.findings import Reason, RuleFinding
from personalization.permit.policy.model import Title

_MARKS: Final = {"met": "+", "proof-missing": "?", "not-met": "-"}
_WORDED: Final = ("fact", "use", "unit", "status", "designation")
"""Parameters of reasons that have words of their own."""


def title_of(console: Console, title: Title) -> str:
    """A title in the language of the console."""
    return title.zh if console.translate.language.value == "zh" else title.en


def say_eligibility(console: Console, application: Application, answer: Eligibility) -> None:
    """Say of every rule what it came to, and the verdict."""
    policy = answer.policy
    console.say(
        "permit.under",
        title=title_of(console, policy.title),
        name=policy.name,
        applied=application.applied,
        area=application.area,
    )
    _say_rule(console, answer.residence)
    for ground in answer.grounds:
        console.say(f"permit.ground.{ground.ground.value}")
        for finding in (*ground.ways, *ground.minors):
            _say_rule(console, finding)
    for finding in answer.exemptions:
        _say_rule(console, finding)
    if answer.exemption is not None:
        console.say("permit.exempt", rule=answer.exemption.rule)
    console.say(f"permit.verdict.{answer.verdict.value}")


def _say_rule(console: Console, finding: RuleFinding) -> None:
    mark = _MARKS[finding.outcome.code]
    console.say("permit.rule", mark=f"  {mark}", rule=finding.rule, clause=finding.source.clause)
    for reason in finding.reasons:
        console.say("permit.because", text=f"{_MARKS[reason.outcome.code]} {_sentence(console, reason)}")


def _sentence(console: Console, reason: Reason) -> str:
    parameters: Mapping[str, object] = {
        name: console.translate(f"permit.{name}.{value}") if name in _WORDED else value
        for name, value in reason.parameters.items()
    }
    return console.translate(f"permit.reason.{reason.code.value}", **parameters)


def say_deadline(console: Console, deadline: Deadline) -> None:
    """Say the last day for a decision."""
    provisional = console.translate("permit.provisional") if deadline.provisional else ""
    console.say("permit.decided-by", day=deadline.day, provisional=provisional)


def eligibility_document(answer: Eligibility) -> dict[str, object]:
    """The same for programs."""
    return {
        "policy": answer.policy.name,
        "verdict": answer.verdict,
        "exemption": answer.exemption.rule if answer.exemption else None,
        "rules": [
            {
                "rule": finding.rule,
                "outcome": finding.outcome.code,
                "clause": finding.source.clause,
                "quote": finding.source.quote,
                "reasons": [
                    {"code": reason.code, "outcome": reason.outcome.code, **reason.parameters}
                    for reason in finding.reasons
                ],
            }
            for finding in answer.findings()
        ],
    }
