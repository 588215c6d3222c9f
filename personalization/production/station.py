"""The work of one station: trays of cards to make, trays of cards to inspect, one commit between two trays.

The commit that records a tray also claims the next one and prolongs the station's lease, so that a card costs a
fraction of a commit and yet no card receives a byte before its claim is durable. A station also looks at cards that
others left in doubt. One whose lease ran out, because it was stopped or cut off, has lost what it had in hand and
begins a new life.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from sqlalchemy import Connection

from personalization.errors import PersonalizationError
from personalization.production.card_kind import OTHER_KIND
from personalization.production.guard import KeyGuard
from personalization.production.journal.articles import is_held, room_to_make
from personalization.production.journal.claims import (
    Claim,
    Stage,
    active_count,
    begin_to_make,
    claim_doubtful,
    claim_to_inspect,
    claim_to_make,
    free_count,
    held_count,
    record_good,
    record_keys_refused,
    record_made,
    record_released,
    record_spoiled,
    record_uninspected,
    record_unreachable,
    waiting_count,
)
from personalization.production.journal.clock import MICROSECONDS, elapsed_s
from personalization.production.journal.database import Journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.journal.spoiled import SpoiledCard, record_disposal, undisposed
from personalization.production.journal.stations import Progress, SeatLost, living, lose
from personalization.production.lease import Lease
from personalization.production.lives import LeaseWatch
from personalization.production.making import (
    READER_MISSING,
    UNREACHABLE,
    Result,
    Verdict,
    inspect_card,
    make_card,
    settle,
    terminate_card,
)
from personalization.production.policy import Policy
from personalization.production.settled_heap import settled_heap
from personalization.production.states import BlankState, Order, RowState
from personalization.production.work import Equipment

__all__ = ["IDLE_S", "Ending", "Line", "Progress", "Station", "dispose", "record_looked_at", "record_unfinished"]

IDLE_S: Final = 0.05
"""Pause of a station that waits for what others still have in hand."""

SILENT: Final = "silent"
"""Condition of a card that did not answer."""

JOURNAL_GONE: Final = "journal-unavailable"
_NOT_BEGUN: Final = OTHER_KIND | {READER_MISSING}
"""Codes of a card that received no command."""

_PAUSED_S: Final = 0.5
_WATCH_S: Final = 1.0
_MOST_LIVES: Final = 16
"""A station that loses its lease this often has no business going on."""


class Ending(StrEnum):
    """Why a station ended."""

    DONE = "done"
    DRAINED = "drained"
    STOCK_EMPTY = "stock-empty"
    KEY_GUARD = "key-guard-alarm"
    REPEATED_FAILURE = "repeated-failure"
    IN_DOUBT = "rows-in-doubt"
    FIRST_ARTICLE = "first-article"


class Line(NamedTuple):
    """How a station hears from whoever runs it and answers.

    Attributes:
        wait: waits up to so many seconds for the order to drain; True once it came.
        report: takes what was committed.
    """

    wait: Callable[[float], bool]
    report: Callable[[Progress], None]


@dataclass(slots=True)
class Tray:
    """A claimed tray and what came of it so far; ``doubtful`` cards are looked at before anything is done to them."""

    stage: Stage = Stage.MAKE
    doubtful: bool = False
    waiting: list[Claim] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    unreachable: list[Claim] = field(default_factory=list)

    @property
    def in_other_hands(self) -> bool:
        """Somebody else had every card of it, so that nothing came of it."""
        passed = self.stage is Stage.INSPECT and all(result.verdict is Verdict.RELEASED for result in self.results)
        return not self.waiting and (passed or not self.results)


class Station:
    """One station at work on one batch.

    Args:
        journal: the open journal.
        batch_id: the batch.
        name: the station's name in the journal; with a number behind it when that is taken.
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
        self._failures = dict.fromkeys(Stage, 0)
        self._watch = LeaseWatch(journal)
        self._watched = 0.0
        self._unreachable: dict[int, float] = {}
        self._idle_since: float | None = None

    def work(self) -> Ending:
        """Make and inspect until there is nothing left to do, an order to drain, or a reason to stop.

        Raises:
            PersonalizationError: the journal or the prepared file failed; what was finished is recorded if it can be.
            SeatLost: the lease was lost again and again.
        """
        for _ in range(_MOST_LIVES):
            self._lease = Lease.join(self._journal, self._batch_id, self._name, self._policy.lease_s)
            try:
                with settled_heap():
                    return self._life()
            except SeatLost:
                self._lease.leave("lost")
        raise SeatLost(self._name)

    def _life(self) -> Ending:
        """One life, until its end or until the lease is lost."""
        word = "crashed"
        try:
            ending = self._trays()
            word = ending.value
        except SeatLost:
            raise
        except PersonalizationError as error:
            word = error.code
            self._end(word)
            raise
        except BaseException:
            self._lease.abandon()
            raise
        self._end(word)
        return ending

    def _end(self, word: str) -> None:
        """Leave the journal in order; when it does not answer, the lease will run out."""
        if word == JOURNAL_GONE:
            self._lease.abandon()
        else:
            self._lease.leave(word)

    def _trays(self) -> Ending:
        tray, busy_us = Tray(), 0
        while True:
            ending = self._reason_to_stop()
            tray = self._turn(tray, claim=ending is None and not self._paused(), busy_us=busy_us)
            busy_us = 0
            if ending is not None:
                return ending
            if tray.waiting:
                begun = elapsed_s()
                self._process(tray)
                busy_us = int((elapsed_s() - begun) * MICROSECONDS)
                if not tray.in_other_hands:
                    self._idle_since = None
            elif self._paused():
                self._stand_still()
            elif (ending := self._nothing_claimed()) is not None:
                return ending

    def _reason_to_stop(self) -> Ending | None:
        if self._guard.alarm:
            return Ending.KEY_GUARD
        if max(self._failures.values()) >= self._policy.stop_after_failures:
            return Ending.REPEATED_FAILURE
        if self._line.wait(0) or self._lease.order() is Order.DRAIN:
            return Ending.DRAINED
        return None

    def _paused(self) -> bool:
        return self._lease.order() is Order.PAUSE

    def _stand_still(self) -> None:
        """Wait, with nothing in hand, until the order is to go on or to drain."""
        self._lease.pause(paused=True)
        while self._paused() and not self._line.wait(_PAUSED_S):
            self._lease.pause(paused=True)
        self._lease.pause(paused=False)

    def _nothing_claimed(self) -> Ending | None:
        """Why there was nothing to claim; None when others may yet leave something."""
        now = elapsed_s()
        self._idle_since = self._idle_since or now
        if now - self._watched >= _WATCH_S:
            self._watched = now
            give_up_the_lost(self._journal, self._name, self._batch_id, self._watch)

        def count(connection: Connection) -> tuple[int, int, int, int]:
            counts = waiting_count, active_count, held_count
            waiting, active, held = (of(connection, self._batch_id) for of in counts)
            return waiting, active, held, free_count(connection)

        waiting, active, held, free = self._journal.read(count)
        if held:
            self._idle_since = now
        elif not active:
            if self._dispose_leftovers():
                return None
            if waiting and self._journal.read(lambda connection: is_held(connection, self._batch_id)):
                return Ending.FIRST_ARTICLE
            if not waiting:
                return Ending.DONE
            if not free:
                return Ending.STOCK_EMPTY
            # Rows and blanks are there: others are claiming them now and have not committed.
        elif now - self._idle_since > self._policy.lease_s:
            return Ending.IN_DOUBT  # nobody has these cards in hand, and they cannot be reached from here
        self._line.wait(IDLE_S)
        return None

    def _turn(self, tray: Tray, *, claim: bool, busy_us: int = 0) -> Tray:
        """Record the tray and claim the next one, in one commit; then dispose of what was spoiled."""
        sent = elapsed_s()

        def work(connection: Connection) -> tuple[Progress, Tray]:
            progress = self._record(connection, tray)
            self._lease.renew(connection, progress, busy_us)
            return progress, self._claim(connection) if claim else Tray()

        progress, fresh = self._journal.write(work)
        self._lease.extended(sent)
        if any(progress):
            self._line.report(progress)
        self._dispose(tray)
        return fresh

    def _claim(self, connection: Connection) -> Tray:
        """The next tray: cards to inspect, else cards that others left in doubt, else rows to make."""
        batch_id, name, most, seat = self._batch_id, self._name, self._policy.tray, self._lease.station_id
        now = elapsed_s()
        without = [run for run, until in self._unreachable.items() if until > now]
        if claims := claim_to_inspect(connection, batch_id, name, most, seat=seat, without=without):
            return Tray(Stage.INSPECT, waiting=claims)
        if claims := claim_doubtful(connection, batch_id, name, most, seat=seat, without=without):
            return Tray(doubtful=True, waiting=claims)
        begin, most = not self._policy.begin_each, room_to_make(connection, batch_id, most)
        return Tray(waiting=claim_to_make(connection, batch_id, name, most, seat=seat, begin=begin) if most else [])

    def _process(self, tray: Tray) -> None:
        """Work through the tray; what is not begun when there is a reason to stop goes back."""
        while tray.waiting and self._reason_to_stop() is None and not self._paused():
            claim = tray.waiting.pop(0)
            try:
                result = self._handle(tray, claim)
            except SeatLost:
                raise
            except PersonalizationError as error:
                if error.code in UNREACHABLE and tray.doubtful:
                    self._unreachable[claim.run_id] = elapsed_s() + _WATCH_S
                    tray.unreachable.append(claim)
                    continue
                if error.code in _NOT_BEGUN:
                    tray.waiting.insert(0, claim)  # it got no command: it goes back with the others
                # Any other card's run stays open: it may have been touched, and recovery will look at it.
                self._turn(tray, claim=False)
                raise
            tray.results.append(result)
            if tray.stage is Stage.INSPECT and result.verdict is Verdict.RELEASED:
                self._unreachable[claim.run_id] = elapsed_s() + _WATCH_S  # somebody else has the card
                continue
            self._judge(tray.stage, result)

    def _handle(self, tray: Tray, claim: Claim) -> Result:
        equipment, hold = self._equipment, self._lease.hold
        if tray.stage is Stage.INSPECT:
            return inspect_card(equipment, claim)
        if tray.doubtful:
            return settle(equipment, claim, equipment.records.record(claim.prepared_index), hold=hold)
        if self._policy.begin_each:
            self._journal.write(lambda connection: begin_to_make(connection, claim))
        return make_card(equipment, claim, hold)

    def _judge(self, stage: Stage, result: Result) -> None:
        """Count failures in a row, each stage for itself: cards that are made well say nothing of their inspection."""
        if result.refused is not None:
            self._guard.refused()
        elif result.verdict is Verdict.FINISHED:
            self._guard.accepted()
        self._failures[stage] = 0 if result.verdict is Verdict.FINISHED else self._failures[stage] + 1

    def _record(self, connection: Connection, tray: Tray) -> Progress:
        finished = [result.outcome for result in tray.results if result.verdict is Verdict.FINISHED]
        failed = 0
        if tray.stage is Stage.MAKE:
            record_made(connection, self._name, finished)
        else:
            record_good(connection, self._name, finished)
        unfinished = [result for result in tray.results if result.verdict is not Verdict.FINISHED]
        for result in unfinished:
            failed += record_unfinished(connection, self._name, result, tray.stage, self._policy.max_attempts)
        if tray.doubtful:
            record_looked_at(connection, self._name, tray.results)
        for claim in tray.waiting:
            self._give_back(connection, tray, claim)
        for claim in tray.unreachable:
            record_unreachable(connection, claim)
        spoiled = sum(result.verdict is Verdict.SPOILED for result in unfinished)
        made, good = (len(finished), 0) if tray.stage is Stage.MAKE else (0, len(finished))
        return Progress(made, good, spoiled, failed)

    def _give_back(self, connection: Connection, tray: Tray, claim: Claim) -> None:
        if tray.stage is Stage.INSPECT:
            record_uninspected(connection, self._name, claim)
        elif tray.doubtful:
            record_unreachable(connection, claim)
        else:
            record_released(connection, self._name, claim, "not-begun")

    def _dispose(self, tray: Tray) -> None:
        for result in tray.results:
            if result.verdict is Verdict.SPOILED:
                claim = result.outcome.claim
                dispose(self._journal, self._name, self._equipment, SpoiledCard.of(claim))

    def _dispose_leftovers(self) -> bool:
        """Dispose of cards that a station spoiled which died before it could; True when there were any."""
        found = self._journal.read(lambda connection: undisposed(connection, self._batch_id))
        for card in found:
            dispose(self._journal, self._name, self._equipment, card)
        return bool(found)


def give_up_the_lost(journal: Journal, who: str, batch_id: int, watch: LeaseWatch) -> int:
    """Give up the stations of a batch that are dead or let their leases run out; returns how many."""
    seats = journal.read(lambda connection: living(connection, batch_id))
    lost = watch.lost(seats)
    given_up = 0
    for seat in seats:
        if seat.id in lost:
            given_up += journal.write(lambda connection, seat=seat: lose(connection, who, seat))  # type: ignore[misc]
    return given_up


def record_looked_at(connection: Connection, who: str, results: Sequence[Result]) -> None:
    """Write what cards in doubt said of themselves, and what was decided."""
    for result in results:
        claim = result.outcome.claim
        facts = {"condition": result.condition.value if result.condition else SILENT, "verdict": result.verdict.value}
        entry = Entry(What.RECOVERED, claim.batch_id, claim.row_id, claim.blank_id, claim.run_id, facts)
        record(connection, who, [entry])


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


def dispose(journal: Journal, who: str, equipment: Equipment, card: SpoiledCard) -> None:
    """Terminate a card that the journal has recorded as spoiled, and write whether that was possible.

    Raises:
        PersonalizationError: keys or journal are gone; the card is asked again.
    """
    disposal = terminate_card(equipment, card.location, card.card_number)
    journal.write(lambda connection: record_disposal(connection, who, card.blank_id, disposal))
