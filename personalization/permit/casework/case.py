"""A case as it is kept: what was handed in, who said what on which day, and the permit that it leads to.

It holds personal data, so it is sealed before it is kept anywhere; the journal knows its number, state and last day.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from personalization.errors import PersonalizationError
from personalization.permit.calendars import Deadline
from personalization.permit.casework.case_file import CaseFile
from personalization.permit.casework.states import CaseKind, CaseState, Step
from personalization.permit.recognition import Opinion


class Taken(NamedTuple):
    """A step that was taken.

    Attributes:
        opinion: the opinion that went with it.
        note: reason of a refusal, name of a delivery, a permit that was given in.
    """

    step: Step
    who: str
    day: date
    opinion: Opinion | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        file: what was handed in last.
        portrait: the picture, empty while there is none.
        state: where it is.
        steps: what was done, in order.
        due: the last day that the office has, None before it was accepted.
        permit_number: assigned when it went into a batch, empty before.
        delivery: name of the delivery that it is in.
        succeeds: number of the permit whose place it takes, empty for a first one.
        endorsement_due: the due day that the new card takes over, None for a new term.
        row: the sixteen columns that were delivered, empty before.
        policy: name of the policy that was asked for, such as a draft; empty for that of area and day.
    """

    kind: CaseKind
    file: CaseFile = field(repr=False)
    portrait: bytes = field(repr=False)
    state: CaseState
    steps: tuple[Taken, ...] = ()
    due: Deadline | None = None
    permit_number: str = field(default="", repr=False)
    delivery: str = ""
    succeeds: str = field(default="", repr=False)
    endorsement_due: date | None = None
    row: tuple[str, ...] = field(default=(), repr=False)
    policy: str = ""

    @property
    def area(self) -> str:
        """Area code of the office."""
        return self.file.application.area

    def by(self, opinion: Opinion) -> str | None:
        """Who gave an opinion, None while nobody did."""
        return next((taken.who for taken in reversed(self.steps) if taken.opinion is opinion), None)

    def moved(self, state: CaseState, taken: Taken) -> Case:
        """The case after a step."""
        return replace(self, state=state, steps=(*self.steps, taken))

    def encode(self) -> bytes:
        """JSON, UTF-8."""
        document = {
            "kind": self.kind,
            "file": self.file.model_dump(mode="json"),
            "portrait": base64.b64encode(self.portrait).decode("ascii"),
            "state": self.state,
            "steps": [[one.step, one.who, one.day.isoformat(), one.opinion, one.note] for one in self.steps],
            "due": [self.due.day.isoformat(), self.due.provisional] if self.due else None,
            "permit_number": self.permit_number,
            "delivery": self.delivery,
            "succeeds": self.succeeds,
            "endorsement_due": self.endorsement_due.isoformat() if self.endorsement_due else None,
            "row": self.row,
            "policy": self.policy,
        }
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Case:
        """Read a case.

        Raises:
            PersonalizationError: "case-malformed" (exit 3).
        """
        try:
            document: dict[str, Any] = json.loads(raw)
            due, endorsement_due = document["due"], document["endorsement_due"]
            return cls(
                CaseKind(document["kind"]),
                CaseFile.model_validate(document["file"]),
                base64.b64decode(document["portrait"], validate=True),
                CaseState(document["state"]),
                tuple(
                    Taken(Step(step), who, date.fromisoformat(day), Opinion(opinion) if opinion else None, note)
                    for step, who, day, opinion, note in document["steps"]
                ),
                Deadline(date.fromisoformat(due[0]), bool(due[1])) if due else None,
                document["permit_number"],
                document["delivery"],
                document["succeeds"],
                date.fromisoformat(endorsement_due) if endorsement_due else None,
                tuple(document["row"]),
                document["policy"],
            )
        except (ValueError, KeyError, TypeError, ValidationError):
            # What a parser says may quote the case.
            raise PersonalizationError("case-malformed", exit_code=3) from None


class Numbered(NamedTuple):
    """A case with its number, and its version against lost updates."""

    number: int
    case: Case
    version: int


class Cases(Protocol):
    """Where cases are kept."""

    def open(self, case: Case) -> int:
        """Keep a new case; returns its number."""
        ...

    def find(self, number: int) -> Numbered:
        """A case.

        Raises:
            PersonalizationError: "case-unknown" (exit 2).
        """
        ...

    def in_states(self, states: frozenset[CaseState]) -> list[Numbered]:
        """Cases in any of these states, in order of their numbers."""
        ...

    def save(self, changed: list[Numbered], step: Step) -> None:
        """Keep cases in place of the versions that were found, all or none.

        Raises:
            PersonalizationError: "case-changed" (exit 1), somebody else saved one of them since.
        """
        ...
