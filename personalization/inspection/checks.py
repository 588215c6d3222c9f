"""What inspection found: one row for each thing that was looked at.

| name begins with | what was looked at |
|---|---|
| `opened.` | a role authenticated and was let in |
| `read.` | a file could be read by who may read it |
| `field.` `record.` `status.` `residence.` `linked.` `bank.` | a field of a file against the source data |
| `portrait` | the portrait against the delivered picture |
| `empty.` | a file without content for this applicant |
| `signature.` | EF.SIGNATURE: hashes, signature, certificate |
| `chip.` | the chip key, by a fresh challenge |
| `number.` | the card's number, as it is told and concealed |
| `same.` | contactless equals contact |
| `face.` | what is printed against what is in the chip |
| `refused.` | something that has to be refused |
| `pin.` | the try counters are full |
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from card_os.iso7816.status import StatusWord
from personalization.inspection.masking import Masking, masked


@lru_cache(maxsize=256)
def _in_words(statuses: tuple[StatusWord, ...]) -> str:
    """Status words as hex; remembered, for a card is asked for the same few refusals again and again."""
    return " ".join(str(status) for status in statuses)


class InspectionCheck(NamedTuple):
    """One thing that inspection looked at.

    Attributes:
        name: stable code, such as "field.name".
        passed: whether it was as it has to be.
        interface: "contact" or "contactless"; empty for a check over both.
        shown: what stands on the card or what it answered, masked.
        expected: what should, masked.
    """

    name: str
    passed: bool
    interface: str = ""
    shown: str = ""
    expected: str = ""


class InspectionResult(NamedTuple):
    """The result of one card.

    Attributes:
        row_number: row of the batch whose card it should be.
        checks: in the order in which they were made.
    """

    row_number: int
    checks: tuple[InspectionCheck, ...]

    @property
    def passed(self) -> bool:
        """True when there are checks and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[InspectionCheck, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)


class CheckList:
    """Collects checks of one card.

    Attributes:
        interface: the interface that following checks belong to; empty for checks over both.
    """

    __slots__ = ("_checks", "interface")

    def __init__(self) -> None:
        self._checks: list[InspectionCheck] = []
        self.interface = ""

    def add(self, name: str, passed: bool, shown: str = "", expected: str = "") -> bool:
        """Note one check; returns whether it passed."""
        self._checks.append(InspectionCheck(name, passed, self.interface, shown, expected))
        return passed

    def compare(self, name: str, found: str | None, expected: str | None, masking: Masking) -> bool:
        """Note whether two texts are equal."""
        return self.add(name, found == expected, masked(found, masking), masked(expected, masking))

    def refused(self, name: str, answered: StatusWord, *wanted: StatusWord) -> bool:
        """Note whether a command was refused; with ``wanted``, by one of these status words."""
        passed = answered in wanted if wanted else not answered.ok and not answered.warning
        return self.add(name, passed, _in_words((answered,)), _in_words(wanted))

    def result(self, row_number: int) -> InspectionResult:
        """Everything noted so far."""
        return InspectionResult(row_number, tuple(self._checks))
