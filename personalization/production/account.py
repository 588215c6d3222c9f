"""The account of cards: what went into each step, what came out of it, and where every card is now.

The audit trail is read as double-entry bookkeeping. Each entry that moves a card takes it from one place and brings it
to another (`MOVES`), so that for every step, in any span of time,

    before + in = out + reject + back + sample + after

No entry may take a card from where it is not (`Account.irregular`), and at the end every card has to be where its own
state says (`Account.differences`); else trail or states were tampered with.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from sqlalchemy import select

from personalization.production.journal.database import Journal
from personalization.production.journal.events import What
from personalization.production.journal.tables import Batch, Blank, Event, Run
from personalization.production.states import BlankState, RunState


class Place(StrEnum):
    """Where a card can be."""

    OUTSIDE = "outside"
    STOCK = "stock"
    MAKING = "make"
    INSPECTION = "inspect"
    FINISHED = "finished"
    BARRED = "barred"
    SPOILED = "spoiled"
    SAMPLE = "sample"
    DESTROYED = "destroyed"


STEPS: Final = (Place.STOCK, Place.MAKING, Place.INSPECTION, Place.FINISHED)
"""Places that a card goes through on its way to a permit."""

_Facts = Mapping[str, object]
_Move = tuple[Place, Place]


def _from_stage(facts: _Facts) -> _Move:
    return (Place.MAKING if facts["stage"] == "make" else Place.INSPECTION), Place.SPOILED


def _released(facts: _Facts) -> _Move:
    barred = facts.get("blank") == BlankState.BARRED.value
    return Place.MAKING, Place.BARRED if barred else Place.STOCK


def _from_state(target: Place) -> Callable[[_Facts], _Move]:
    places = {BlankState.IN_STOCK.value: Place.STOCK, BlankState.BARRED.value: Place.BARRED}
    places |= {BlankState.SPOILED.value: Place.SPOILED, BlankState.SAMPLE.value: Place.SAMPLE}

    def move(facts: _Facts) -> _Move:
        return places[str(facts["from"])], target

    return move


MOVES: Final[Mapping[What, _Move | Callable[[_Facts], _Move]]] = MappingProxyType(
    {
        What.BLANKS_RECEIVED: (Place.OUTSIDE, Place.STOCK),
        What.CLAIMED: (Place.STOCK, Place.MAKING),
        What.MADE: (Place.MAKING, Place.INSPECTION),
        What.GOOD: (Place.INSPECTION, Place.FINISHED),
        What.RELEASED: _released,
        What.SPOILED: _from_stage,
        What.REJECTED: (Place.FINISHED, Place.SPOILED),
        What.BLANK_SAMPLED: (Place.STOCK, Place.SAMPLE),
        What.BLANK_DISCARDED: _from_state(Place.SPOILED),
        What.BLANK_RESTORED: (Place.BARRED, Place.STOCK),
        What.DESTROYED: _from_state(Place.DESTROYED),
    }
)
"""Audit entries that move a card: from where to where."""


class StepCount(NamedTuple):
    """One step over a span of time, in cards.

    Attributes:
        before: there when the span began.
        came: came in.
        out: went on to the next step.
        reject: spoiled or barred.
        back: went back to the stock.
        sample: taken as samples.
        after: there when the span ended.
    """

    before: int
    came: int
    out: int
    reject: int
    back: int
    sample: int
    after: int

    @property
    def adds_up(self) -> bool:
        """Whether what was there and came is what went and is there."""
        return self.before + self.came == self.out + self.reject + self.back + self.sample + self.after


@dataclass(frozen=True, slots=True)
class ShiftCount:
    """One run of a coordinator over a batch.

    Attributes:
        batch: batch identifier.
        operator: who ran it.
        started_at: microseconds since 1970 UTC.
        ended_at: 0 while it goes on, and for one that was killed.
        steps: making and inspection of that batch's cards.
    """

    batch: str
    operator: str
    started_at: int
    ended_at: int
    steps: Mapping[Place, StepCount]


@dataclass(frozen=True, slots=True)
class Account:
    """What the trail says of cards.

    Attributes:
        steps: each step over the span.
        places: cards by place at the end of the trail.
        irregular: numbers of entries that move a card from where it is not.
        differences: cards by place in the trail and place by the journal's states, where the two are not the same.
        shifts: runs of coordinators that began in the span, oldest first.
    """

    steps: Mapping[Place, StepCount]
    places: Mapping[Place, int]
    irregular: tuple[int, ...]
    differences: Mapping[tuple[Place, Place], int]
    shifts: tuple[ShiftCount, ...]

    @property
    def adds_up(self) -> bool:
        """Whether every card is where the trail brought it, and every step adds up."""
        counts = [*self.steps.values(), *(step for shift in self.shifts for step in shift.steps.values())]
        return not self.irregular and not self.differences and all(count.adds_up for count in counts)


def take_account(journal: Journal, since: int | None = None, until: int | None = None) -> Account:
    """Add up the whole trail; one consistent view, also while stations work.

    Args:
        journal: the open journal.
        since: begin of the span, microseconds since 1970 UTC; that of the trail when absent.
        until: its end, not included; that of the trail when absent.
    """
    book = _Book(since, until)
    columns = (Event.id, Event.at, Event.who, Event.what, Event.batch_id, Event.blank_id, Event.facts)
    with journal.reading() as connection:
        for entry in connection.execute(select(*columns).order_by(Event.id)):
            book.enter(*entry)
        states = [(row.id, row.state) for row in connection.execute(select(Blank.id, Blank.state))]
        made = (RunState.MADE.value, RunState.INSPECTING.value)
        waiting = set(connection.execute(select(Run.blank_id).where(Run.state.in_(made))).scalars())
        names = {row.id: row.identifier for row in connection.execute(select(Batch.id, Batch.identifier))}
    found = {key: Place.INSPECTION if key in waiting else _PLACES[BlankState(state)] for key, state in states}
    return book.close(found, names)


_PLACES: Final = {
    BlankState.IN_STOCK: Place.STOCK,
    BlankState.IN_USE: Place.MAKING,
    BlankState.BARRED: Place.BARRED,
    BlankState.GOOD: Place.FINISHED,
    BlankState.SPOILED: Place.SPOILED,
    BlankState.SAMPLE: Place.SAMPLE,
    BlankState.DESTROYED: Place.DESTROYED,
}
_MOVING: Final = {what.value: (what, move) for what, move in MOVES.items()}
_ENDS: Final = frozenset({What.BATCH_STOPPED.value, What.BATCH_COMPLETE.value})
_OF_A_SHIFT: Final = (Place.MAKING, Place.INSPECTION)
_FORWARD: Final = {
    Place.STOCK: Place.MAKING,
    Place.MAKING: Place.INSPECTION,
    Place.INSPECTION: Place.FINISHED,
}


class _Span:
    """Moves between two moments, and what was in each place at both."""

    def __init__(self, before: Counter[Place]) -> None:
        self._before = Counter(before)
        self._moves: Counter[_Move] = Counter()

    def move(self, source: Place, target: Place, count: int) -> None:
        self._moves[source, target] += count

    def steps(self, steps: tuple[Place, ...], after: Counter[Place]) -> dict[Place, StepCount]:
        return {step: self._step(step, after[step]) for step in steps}

    def _step(self, step: Place, after: int) -> StepCount:
        left: Counter[Place] = Counter()
        came = 0
        for (source, target), count in self._moves.items():
            if source is step:
                left[target] += count
            if target is step:
                came += count
        out = left[_FORWARD[step]] if step in _FORWARD else 0
        reject = left[Place.SPOILED] + left[Place.BARRED]
        return StepCount(self._before[step], came, out, reject, left[Place.STOCK], left[Place.SAMPLE], after)


@dataclass(slots=True)
class _Shift:
    batch: int
    operator: str
    started_at: int
    span: _Span
    ended_at: int = 0
    after: Counter[Place] | None = None


class _Book:
    """The trail as it is read."""

    def __init__(self, since: int | None, until: int | None) -> None:
        self._since, self._until = since, until
        self._here: Counter[Place] = Counter()
        self._of_batch: defaultdict[int, Counter[Place]] = defaultdict(Counter)
        self._of_blank: dict[int, Place] = {}
        self._irregular: list[int] = []
        self._shifts: list[_Shift] = []
        self._running: dict[int, _Shift] = {}
        self._span = _Span(self._here)
        self._begun = since is None
        self._after: Counter[Place] | None = None

    def enter(
        self, number: int, at: int, who: str, name: str, batch: int | None, blank: int | None, text: str | None
    ) -> None:
        if not self._begun and at >= (self._since or 0):
            self._begun, self._span = True, _Span(self._here)
        if self._until is not None and at >= self._until and self._after is None:
            self._after = Counter(self._here)
        if name in _MOVING:
            self._move(number, name, batch, blank, text)
        elif batch is not None and name == What.BATCH_RUNNING.value:
            self._end_shift(batch, 0)
            self._begin_shift(batch, who, at)
        elif batch is not None and name in _ENDS:
            self._end_shift(batch, at)

    def _move(self, number: int, name: str, batch: int | None, blank: int | None, text: str | None) -> None:
        what, move = _MOVING[name]
        counted = what is What.BLANKS_RECEIVED
        facts: _Facts = json.loads(text) if text and (counted or callable(move)) else {}
        source, target = move(facts) if callable(move) else move
        count = int(str(facts["count"])) if counted else 1
        if blank is not None:
            if self._of_blank.get(blank, Place.STOCK) is not source:
                self._irregular.append(number)
            self._of_blank[blank] = target
        self._here[source] -= count
        self._here[target] += count
        if self._begun and self._after is None:
            self._span.move(source, target, count)
        if batch is not None:
            here = self._of_batch[batch]
            here[source] -= count
            here[target] += count
            if batch in self._running:
                self._running[batch].span.move(source, target, count)

    def _begin_shift(self, batch: int, who: str, at: int) -> None:
        shift = _Shift(batch, who, at, _Span(self._of_batch[batch]))
        self._running[batch] = shift
        if self._begun and self._after is None:
            self._shifts.append(shift)

    def _end_shift(self, batch: int, at: int) -> None:
        shift = self._running.pop(batch, None)
        if shift is not None:
            shift.ended_at, shift.after = at, Counter(self._of_batch[batch])

    def close(self, found: Mapping[int, Place], names: Mapping[int, str]) -> Account:
        """The account, compared with where the journal's states say that each blank is."""
        for batch in list(self._running):
            self._end_shift(batch, 0)
        if not self._begun:
            self._span = _Span(self._here)
        trail = {blank: self._of_blank.get(blank, Place.STOCK) for blank in found}
        differences = Counter((trail[blank], place) for blank, place in found.items() if trail[blank] is not place)
        received = sum(count for place, count in self._here.items() if place is not Place.OUTSIDE)
        if received != len(found):
            differences[Place.OUTSIDE, Place.STOCK] += len(found) - received
        shifts = tuple(
            ShiftCount(
                names[shift.batch],
                shift.operator,
                shift.started_at,
                shift.ended_at,
                shift.span.steps(_OF_A_SHIFT, shift.after or Counter()),
            )
            for shift in self._shifts
        )
        places: dict[Place, int] = {place: self._here[place] for place in Place if place is not Place.OUTSIDE}
        steps = self._span.steps(STEPS, self._here if self._after is None else self._after)
        return Account(steps, places, tuple(self._irregular), dict(differences), shifts)
