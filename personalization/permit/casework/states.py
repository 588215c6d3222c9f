"""Where a case is, and what may be done to it: the table of transitions.

```
open → incomplete ⇄ supplement → accepted → reviewed → approved → in-batch → made → handed-over
                                     └────────┴─ refused              └─ return ┘
```
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from personalization.errors import PersonalizationError
from personalization.permit.recognition import Opinion


class CaseKind(StrEnum):
    """What is applied for."""

    FIRST = "first"
    """A first permit."""
    RECOGNITION = "recognition"
    """Mutual recognition: an electronic permit in place of one of another area."""
    EXCHANGE = "exchange"
    """A permit in exchange for one of introduced talent."""
    REPLACEMENT = "replacement"
    """A new card in place of one that is lost, damaged or wrong."""


class CaseState(StrEnum):
    """Where a case is."""

    INCOMPLETE = "incomplete"
    ACCEPTED = "accepted"
    REVIEWED = "reviewed"
    APPROVED = "approved"
    IN_BATCH = "in-batch"
    MADE = "made"
    HANDED_OVER = "handed-over"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class Step(StrEnum):
    """What is done to a case."""

    OPEN = "open"
    SUPPLEMENT = "supplement"
    REVIEW = "review"
    APPROVE = "approve"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    DELIVER = "deliver"
    RETURN = "return"
    MAKE = "make"
    HAND_OVER = "hand-over"
    ISSUE = "issue"


class Replaced(StrEnum):
    """Why a new card takes the place of another."""

    LOST = "lost"
    DAMAGED = "damaged"
    WRONG = "wrong"


class Worker(StrEnum):
    """Who does a step."""

    DESK = "desk"
    REVIEWER = "review"
    APPROVER = "approve"
    PRODUCTION = "prepare"


class Transition(NamedTuple):
    """One row of the table.

    Attributes:
        step: what is done.
        before: from where.
        after: to where.
        worker: by whom.
        kinds: in which kinds of cases; all when empty.
        opinion: the opinion that it gives, None for a step that is no opinion.
    """

    step: Step
    before: CaseState
    after: CaseState
    worker: Worker
    kinds: frozenset[CaseKind] = frozenset()
    opinion: Opinion | None = None


_ON_CARDS: Final = frozenset({CaseKind.FIRST, CaseKind.EXCHANGE, CaseKind.REPLACEMENT})
_ELECTRONIC: Final = frozenset({CaseKind.RECOGNITION})

TRANSITIONS: Final = (
    Transition(Step.REVIEW, CaseState.ACCEPTED, CaseState.REVIEWED, Worker.REVIEWER, opinion=Opinion.REVIEWING),
    Transition(Step.REFUSE, CaseState.ACCEPTED, CaseState.REFUSED, Worker.REVIEWER),
    Transition(Step.APPROVE, CaseState.REVIEWED, CaseState.APPROVED, Worker.APPROVER, opinion=Opinion.APPROVING),
    Transition(Step.REFUSE, CaseState.REVIEWED, CaseState.REFUSED, Worker.APPROVER),
    Transition(Step.DELIVER, CaseState.APPROVED, CaseState.IN_BATCH, Worker.PRODUCTION, _ON_CARDS),
    Transition(Step.RETURN, CaseState.IN_BATCH, CaseState.APPROVED, Worker.PRODUCTION, _ON_CARDS),
    Transition(Step.MAKE, CaseState.IN_BATCH, CaseState.MADE, Worker.PRODUCTION, _ON_CARDS),
    Transition(Step.HAND_OVER, CaseState.MADE, CaseState.HANDED_OVER, Worker.DESK, _ON_CARDS),
    Transition(Step.ISSUE, CaseState.APPROVED, CaseState.HANDED_OVER, Worker.DESK, _ELECTRONIC),
    *(
        Transition(Step.WITHDRAW, state, CaseState.WITHDRAWN, Worker.DESK)
        for state in (CaseState.INCOMPLETE, CaseState.ACCEPTED, CaseState.REVIEWED, CaseState.APPROVED)
    ),
)
"""Every change of state after a case was accepted; opening and supplementing follow from what is shown."""

OPEN_STATES: Final = frozenset(CaseState) - {CaseState.HANDED_OVER, CaseState.REFUSED, CaseState.WITHDRAWN}
"""States in which something has still to be done."""

DELIVERED: Final = frozenset({CaseState.IN_BATCH, CaseState.MADE, CaseState.HANDED_OVER})
"""States of cases that are in a delivery."""

RUNNING: Final[Mapping[CaseKind, frozenset[CaseState]]] = MappingProxyType(
    {
        kind: frozenset({CaseState.ACCEPTED, CaseState.REVIEWED})
        | (frozenset[CaseState]() if kind in _ELECTRONIC else {CaseState.APPROVED, CaseState.IN_BATCH, CaseState.MADE})
        for kind in CaseKind
    }
)
"""While a case is in one of these its deadline runs: to the permit itself, in mutual recognition to the decision."""


def transition(step: Step, state: CaseState, kind: CaseKind) -> Transition:
    """The row for a step.

    Raises:
        PersonalizationError: "case-state" (exit 2), a case of this kind does not take that step from there.
    """
    for row in TRANSITIONS:
        if row.step is step and row.before is state and (not row.kinds or kind in row.kinds):
            return row
    raise PersonalizationError("case-state", exit_code=2, step=step.value, state=state.value, kind=kind.value)
