"""Why cards and rows came to nothing, and what inspection looked at: from the journal's codes to words.

The journal keeps a reason as ``STEP: CODE``, after which a status word or a cause may stand; of a row that intake
refused, the rule; of a card that an operator gave up, what the operator said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from personalization.intake.words import rule_title
from personalization.reports.words import catalogue

_PLACE: Final = re.compile(r"\{\w+\}")
_FREE: Final = "discarded"
_REJECTED: Final = "rejected"
_FILE: Final = "EF"


class Translate(Protocol):
    """Words for a code; an unknown code comes back as it is."""

    def __call__(self, code: str, **parameters: object) -> str:
        """The sentence for ``code``."""
        ...


class ReportWords:
    """The reports' own words, and the front door's for all other codes.

    Args:
        translate: the front door's.
        language: "en" or "zh".
    """

    def __init__(self, translate: Translate, language: str) -> None:
        self._own = catalogue(language)
        self._translate = translate
        self._language = language

    def __call__(self, code: str, **parameters: object) -> str:
        """The sentence for ``code``."""
        own = self._own.get(code)
        return own.format_map(parameters) if own is not None else self._translate(code, **parameters)

    def label(self, kind: str, name: str) -> str:
        """The word for a name of ``kind``, or the name itself: makers and inspectors bring names of their own."""
        return self._own.get(f"report.{kind}.{name}", name)

    def reason(self, reason: str) -> str:
        """Why a card or a row came to nothing."""
        step, mark, code = reason.partition(": ")
        if not mark:
            return self.code(reason)
        if step == _REJECTED:
            code = self.label("rejects", code)
        elif step != _FREE:
            known, _, said = code.partition(" ")
            words = self.check(known) if "." in known else self.code(known)
            code = f"{words} {self._cause(said)}".rstrip()
        return self("report.because", step=self.label("step-names", step), reason=code)

    def tally(self, reasons: Mapping[str, int]) -> dict[str, int]:
        """Reasons in words with their counts; two that read alike are one."""
        told: Counter[str] = Counter()
        for reason, count in reasons.items():
            told[self.reason(reason)] += count
        return dict(told)

    def code(self, code: str) -> str:
        """A code alone: a reason, an ending, a rule of intake, or an error without its facts."""
        if (ending := self._own.get(f"report.outcomes.{code}")) is not None:
            return ending
        for words, unknown in (
            (self._translate(f"reason.{code}"), f"reason.{code}"),
            (rule_title(code, self._language), ""),
            (_PLACE.sub("…", self(code)), code),
        ):
            if words != unknown:
                return words
        return self.label("hooks", code)

    def _cause(self, said: str) -> str:
        """What stands behind a code: a status word as it is, how a hook ended in words."""
        kind, _, number = said.rpartition("-")
        template = self._own.get(f"report.causes.{kind or number}")
        return said if template is None else template.format(number=number)

    def check(self, name: str) -> str:
        """A check of inspection, such as "field.name" or "refused.update.EF.STATUS"."""
        group, _, rest = name.partition(".")
        return self("report.because", step=self.label("groups", group), reason=self.detail(rest)) if rest else group

    def detail(self, rest: str) -> str:
        """What stands behind the group in a check's name."""
        return " ".join(self.label("fields", part) for part in _parts(rest))

    def failed_row(self, stage: str, reason: str, facts: Mapping[str, object]) -> str:
        """Why a row of a rehearsal would fail.

        Args:
            stage: where: "prepare", "blank", "make" or "inspect".
            reason: the code.
            facts: what it is about: ``checks`` that failed, the ``step``, or the parameters of an error.
        """
        checks = facts.get("checks")
        if isinstance(checks, list):
            return "; ".join(self.check(str(name)) for name in checks)
        if "step" in facts:
            return self.reason(f"{facts['step']}: {reason}")
        return self(reason, **facts) if stage == "prepare" else self.code(reason)


def _parts(name: str) -> Iterator[str]:
    """Words of a check's name; that of a file is one of them."""
    words = iter(name.split("."))
    for word in words:
        yield f"{word}.{next(words, '')}" if word == _FILE else word
