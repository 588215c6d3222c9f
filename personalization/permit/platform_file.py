"""The file for the residents' platform: what each card is worth on a day, and the numbers it is linked with, checked.

```
{"kind": "permitcard platform file", "version": 1, "day", "counts": {status: number},
 "permits": [{"permit_number", "status", "due", "area", "ended", "why", "residence_years", "waiting",
              "linked": {"citizen_card", "account", "social_card"}, "faults": […]}]}
```

The platform takes a file whole and signed, or not at all. A line with faults is in it and says so: its status holds,
its numbers are to be looked at.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from personalization.errors import PersonalizationError
from personalization.permit.desk.dossier import Dossier
from personalization.permit.endorsement import PermitStatus, PermitTerm
from personalization.permit.linked import LinkedNumbers, LinkFault, faults_of

KIND: Final = "permitcard platform file"
VERSION: Final = 1
_NUMBERS: Final = ("citizen_card", "account", "social_card")


@dataclass(frozen=True, slots=True)
class PlatformLine:
    """What the platform hears of one permit.

    Attributes:
        permit_number: 18 digits.
        term: issue, due day, area, cancellation.
        why: why it ended, empty while it is good.
        waiting: how much of it the card has not taken yet.
        linked: numbers of other cards.
    """

    permit_number: str = field(repr=False)
    term: PermitTerm
    why: str
    waiting: int
    linked: LinkedNumbers

    @classmethod
    def of_dossier(cls, dossier: Dossier, linked: LinkedNumbers) -> PlatformLine:
        """The line of a permit that desks know; numbers that a desk saw come before those that were delivered."""
        return cls(
            dossier.number,
            dossier.term,
            dossier.withdrawal.value if dossier.withdrawal else "",
            len(dossier.waiting),
            dossier.linked or linked,
        )


def platform_document(lines: Iterable[PlatformLine], day: dt.date) -> dict[str, object]:
    """The document that is signed, in order of permit numbers."""
    listed = sorted(lines, key=lambda line: line.permit_number)
    shared = _shared(listed, day)
    permits = [_line(line, day, shared) for line in listed]
    counts = Counter(line.term.status(day).value for line in listed)
    return {
        "kind": KIND,
        "version": VERSION,
        "day": day.isoformat(),
        "counts": {status.value: counts[status.value] for status in PermitStatus},
        "permits": permits,
    }


def _shared(lines: Iterable[PlatformLine], day: dt.date) -> frozenset[tuple[str, str]]:
    """Numbers that more than one permit which is not cancelled is linked with."""
    counted = Counter(
        (name, number)
        for line in lines
        if line.term.status(day) is not PermitStatus.CANCELLED
        for name in _NUMBERS
        if (number := getattr(line.linked, name))
    )
    return frozenset(number for number, times in counted.items() if times > 1)


def _line(line: PlatformLine, day: dt.date, shared: frozenset[tuple[str, str]]) -> dict[str, object]:
    status = line.term.status(day)
    numbers = {name: getattr(line.linked, name) for name in _NUMBERS}
    faults = [fault.value for fault in faults_of(line.linked)]
    if status is PermitStatus.CANCELLED:
        faults += [LinkFault.LINKED_TO_ENDED.value] if line.linked else []
    elif shared & set(numbers.items()):
        faults.append(LinkFault.LINKED_TWICE.value)
    return {
        "permit_number": line.permit_number,
        "status": status.value,
        "due": line.term.due.isoformat(),
        "area": line.term.area,
        "ended": line.term.cancelled.isoformat() if line.term.cancelled else None,
        "why": line.why or None,
        "residence_years": line.term.residence_years(day),
        "waiting": line.waiting,
        "linked": numbers,
        "faults": faults,
    }


def read_platform_document(document: Mapping[str, Any], place: str) -> dict[str, int]:
    """Check a document whose signature holds; returns how often each fault is in it.

    Raises:
        PersonalizationError: "platform-file-wrong" (exit 1) with what is: kind, version, order, counts, or a line whose
            faults are not those of its numbers.
    """
    try:
        _require(document["kind"] == KIND and document["version"] == VERSION, place, "version")
        permits = document["permits"]
        numbers = [row["permit_number"] for row in permits]
        _require(numbers == sorted(set(numbers)), place, "order")
        counts = Counter(row["status"] for row in permits)
        _require({name: number for name, number in document["counts"].items() if number} == counts, place, "counts")
        for row in permits:
            own = {fault.value for fault in faults_of(LinkedNumbers(**row["linked"]))}
            _require(own <= set(row["faults"]) <= {fault.value for fault in LinkFault}, place, "faults")
        return dict(Counter(fault for row in permits for fault in row["faults"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise PersonalizationError("platform-file-wrong", place=place, what="form") from error


def _require(condition: bool, place: str, what: str) -> None:
    if not condition:
        raise PersonalizationError("platform-file-wrong", place=place, what=what)
