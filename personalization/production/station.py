"""The work of one station: trays of cards to make, trays of cards to inspect, one commit between two trays.

The commit that records a tray also claims the next one, so that a card costs a fraction of a commit and yet no card
receives a byte before its claim is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection

from personalization.errors import PersonalizationError
from personalization.production.card_kind import OTHER_KIND
from personalization.production.guard import KeyGuard
from personalization.production.journal.claims import (
    Claim,
    Stage,
    active_count,
    claim_to_inspect,
    claim_to_make,
    record_disposal,
    record_good,
    record_keys_refused,
    record_made,
    record_released,
    record_spoiled,
    record_uninspected,
    waiting_count,
)
from personalization.production.journal.database import Journal
from personalization.production.making import Result, Verdict, inspect_card, make_card, terminate_card
from personalization.production.policy import Policy
from personalization.production.states import BlankState, RowState
from personalization.production.work import Equipment

IDLE_S: Final = 0.05
"""Pause of a station that waits for what others still have in hand."""


class Ending(StrEnum):
    """Why a station ended."""

    DONE = "done"
    DRAINED = "drained"
    STOCK_EMPTY = "stock-empty"
    KEY_GUARD = "key-guard-alarm"
    REPEATED_FAILURE = "repeated-failure"


class Progress(NamedTuple):
    """What was committed since the last report.

    Attributes:
        made: cards made.
        good: cards that passed inspection.
        spoiled: cards lost.
        failed: rows given up.
    """

    made: int = 0
    good: int = 0
    spoiled: int = 0
    failed: int = 0


class Line(NamedTuple):
    """How a station hears from whoever runs it and answers.

    Attributes:
        wait: waits up to so many seconds for the order to drain; True once it came.
        report: takes what was committed.
    """

    wait: Callable[[float], bool]
    report: Callable[[Progress], None]


@dataclass(slots=True)
class _Tray:
    """A claimed tray and what came of it so far."""

    stage: Stage = Stage.MAKE
    waiting: list[Claim] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)


class Station:
    """One station at work on one batch.

    Args:
        journal: the open journal.
        batch_id: the batch.
        name: the station's name in the journal.
        equipment: what it works with.
        policy: limits.
        line: orders in, progress out.
    """

    def __init__(
        self, journal: Journal, batch_id: int, name: str, equipment: Equipment, policy: Policy, line: Line
    ) -> None:
        self._journal = journal
        self._batch_id = batch_id
        self._name = name
        self._equipment = equipment
        self._policy = policy
        self._line = line
        self._guard = KeyGuard(policy.stop_after_refusals)
        self._failures = 0

    def work(self) -> Ending:
        """Make and inspect until there is nothing left to do, an order to drain, or a reason to stop.

        Raises:
            PersonalizationError: the journal or the prepared file failed; what was finished is recorded if it can be.
        """
        tray = _Tray()
        while True:
            ending = self._reason_to_stop()
            tray = self._turn(tray, claim=ending is None)
            if ending is not None:
                return ending
            if tray.waiting:
                self._process(tray)
            elif (ending := self._nothing_claimed()) is not None:
                return ending

    def _reason_to_stop(self) -> Ending | None:
        if self._guard.alarm:
            return Ending.KEY_GUARD
        if self._failures >= self._policy.stop_after_failures:
            return Ending.REPEATED_FAILURE
        return Ending.DRAINED if self._line.wait(0) else None

    def _nothing_claimed(self) -> Ending | None:
        """Why there was nothing to claim; None when others may yet leave something."""
        with self._journal.reading() as connection:
            waiting, active = waiting_count(connection, self._batch_id), active_count(connection, self._batch_id)
        if not active:
            return Ending.STOCK_EMPTY if waiting else Ending.DONE
        self._line.wait(IDLE_S)
        return None

    def _turn(self, tray: _Tray, *, claim: bool) -> _Tray:
        """Record the tray and claim the next one, in one commit; then dispose of what was spoiled."""
        fresh = _Tray()
        with self._journal.transaction() as connection:
            progress = self._record(connection, tray)
            if claim:
                fresh.stage = Stage.INSPECT
                fresh.waiting = claim_to_inspect(connection, self._batch_id, self._name, self._policy.tray)
            if claim and not fresh.waiting:
                fresh.stage = Stage.MAKE
                fresh.waiting = claim_to_make(connection, self._batch_id, self._name, self._policy.tray)
        if any(progress):
            self._line.report(progress)
        self._dispose(tray)
        return fresh

    def _process(self, tray: _Tray) -> None:
        """Work through the tray; what is not begun when there is a reason to stop goes back."""
        handle = make_card if tray.stage is Stage.MAKE else inspect_card
        while tray.waiting and self._reason_to_stop() is None:
            claim = tray.waiting.pop(0)
            try:
                result = handle(self._equipment, claim)
            except PersonalizationError as error:
                if error.code in OTHER_KIND:
                    tray.waiting.insert(0, claim)  # it got no command: it goes back with the others
                # Any other card's run stays open: it may have been touched, and recovery will look at it.
                self._turn(tray, claim=False)
                raise
            tray.results.append(result)
            self._judge(result)

    def _judge(self, result: Result) -> None:
        if result.refused is not None:
            self._guard.refused()
        elif result.verdict is Verdict.FINISHED:
            self._guard.accepted()
        self._failures = 0 if result.verdict is Verdict.FINISHED else self._failures + 1

    def _record(self, connection: Connection, tray: _Tray) -> Progress:
        finished = [result.outcome for result in tray.results if result.verdict is Verdict.FINISHED]
        failed = 0
        if tray.stage is Stage.MAKE:
            record_made(connection, self._name, finished)
        else:
            record_good(connection, self._name, finished)
        unfinished = [result for result in tray.results if result.verdict is not Verdict.FINISHED]
        for result in unfinished:
            failed += record_unfinished(connection, self._name, result, tray.stage, self._policy.max_attempts)
        for claim in tray.waiting:
            if tray.stage is Stage.MAKE:
                record_released(connection, self._name, claim, "not-begun")
            else:
                record_uninspected(connection, self._name, claim)
        spoiled = sum(result.verdict is Verdict.SPOILED for result in unfinished)
        made, good = (len(finished), 0) if tray.stage is Stage.MAKE else (0, len(finished))
        return Progress(made, good, spoiled, failed)

    def _dispose(self, tray: _Tray) -> None:
        for result in tray.results:
            if result.verdict is Verdict.SPOILED:
                claim = result.outcome.claim
                dispose(self._journal, self._name, self._equipment, claim.blank_id, claim.location)


def record_unfinished(connection: Connection, station: str, result: Result, stage: Stage, max_attempts: int) -> bool:
    """Write what became of a card that is not finished; True when its row has failed for good."""
    claim = result.outcome.claim
    if result.refused is not None:
        record_keys_refused(connection, station, claim, result.refused.step, result.refused.tries_spent)
    if result.verdict is Verdict.SPOILED:
        return record_spoiled(connection, station, result.outcome, stage, max_attempts) is RowState.FAILED
    if stage is Stage.INSPECT:
        record_uninspected(connection, station, claim)
        return False
    state = BlankState.BARRED if result.verdict is Verdict.BARRED else BlankState.IN_STOCK
    record_released(connection, station, claim, result.outcome.reason, state)
    return False


def dispose(journal: Journal, who: str, equipment: Equipment, blank_id: int, location: str) -> None:
    """Terminate a card that the journal has recorded as spoiled, and write whether that was possible."""
    terminated = terminate_card(equipment, location)
    with journal.transaction() as connection:
        record_disposal(connection, who, blank_id, "terminated" if terminated else "not-terminated")
