"""States of rows, blanks, runs and batches, and the transitions that are allowed.

A state changes only through a compare-and-set statement (``UPDATE … WHERE id = … AND state = …``) that a transition
table here allows; the uniqueness rules of `personalization.production.journal.tables` rest on the same states.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class BatchState(StrEnum):
    """Where a batch is."""

    LOADED = "loaded"
    RUNNING = "running"
    STOPPED = "stopped"
    COMPLETE = "complete"


class RowState(StrEnum):
    """Where one row of a batch is.

    REJECTED rows were refused by intake, FAILED rows spoiled as many blanks as the policy grants, CANCELLED rows are
    permits that a newer permit of the same citizen replaced.
    """

    REJECTED = "rejected"
    WAITING = "waiting"
    IN_PRODUCTION = "in-production"
    GOOD = "good"
    FAILED = "failed"
    CANCELLED = "cancelled"


class BlankState(StrEnum):
    """Where one blank card of the stock is.

    BARRED blanks were not touched but are not what the stock says: another chip, or other keys. An operator decides.
    """

    IN_STOCK = "in-stock"
    IN_USE = "in-use"
    BARRED = "barred"
    GOOD = "good"
    SPOILED = "spoiled"
    SAMPLE = "sample"
    DESTROYED = "destroyed"


class Disposal(StrEnum):
    """What became of the chip of a spoiled card.

    NOT_TERMINATED did not let itself be put out of service, KEYS_REFUSED holds none of the keys that the store has, and
    such a card is destroyed by hand. NOT_REACHED was not there to be asked, or in somebody's hands: it is asked again.
    """

    TERMINATED = "terminated"
    NOT_TERMINATED = "not-terminated"
    KEYS_REFUSED = "keys-refused"
    NOT_REACHED = "not-reached"


class RunState(StrEnum):
    """Where one row on one blank is.

    OPEN is written before the card receives its first command, so an open run that nobody works on is a card to look
    at. RELEASED means that the card turned out untouched and both sides went back. SPOILED also takes good cards that
    were rejected after their inspection.
    """

    OPEN = "open"
    MADE = "made"
    INSPECTING = "inspecting"
    GOOD = "good"
    SPOILED = "spoiled"
    RELEASED = "released"
    CANCELLED = "cancelled"


class StationState(StrEnum):
    """Where one life of a station is; a process that starts again begins another one.

    LOST stations let their lease run out, or are known to be dead: what they had in hand is not theirs any more.
    """

    WORKING = "working"
    PAUSED = "paused"
    ENDED = "ended"
    LOST = "lost"


class SamState(StrEnum):
    """Where one SAM of the centre is.

    BEGUN is written before the chip receives its first write. A RETIRED one is never used again.
    """

    BEGUN = "begun"
    IN_USE = "in-use"
    RETIRED = "retired"


class Order(StrEnum):
    """What an operator can tell a station, or all stations of a batch, while they work.

    PAUSE finishes the card in hand, gives the others back and waits; DRAIN does the same and ends.
    """

    PAUSE = "pause"
    DRAIN = "drain"


ROW_TRANSITIONS: Final[Mapping[RowState, frozenset[RowState]]] = {
    RowState.REJECTED: frozenset(),
    RowState.WAITING: frozenset({RowState.IN_PRODUCTION, RowState.CANCELLED}),
    RowState.IN_PRODUCTION: frozenset({RowState.WAITING, RowState.GOOD, RowState.FAILED}),
    RowState.GOOD: frozenset({RowState.WAITING, RowState.CANCELLED}),
    RowState.FAILED: frozenset({RowState.WAITING, RowState.CANCELLED}),
    RowState.CANCELLED: frozenset(),
}

BLANK_TRANSITIONS: Final[Mapping[BlankState, frozenset[BlankState]]] = {
    BlankState.IN_STOCK: frozenset({BlankState.IN_USE, BlankState.SPOILED, BlankState.SAMPLE}),
    BlankState.IN_USE: frozenset({BlankState.IN_STOCK, BlankState.BARRED, BlankState.GOOD, BlankState.SPOILED}),
    BlankState.BARRED: frozenset({BlankState.IN_STOCK, BlankState.SPOILED}),
    BlankState.GOOD: frozenset({BlankState.SPOILED}),
    BlankState.SPOILED: frozenset({BlankState.DESTROYED}),
    BlankState.SAMPLE: frozenset({BlankState.DESTROYED}),
    BlankState.DESTROYED: frozenset(),
}

RUN_TRANSITIONS: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.OPEN: frozenset({RunState.MADE, RunState.SPOILED, RunState.RELEASED}),
    RunState.MADE: frozenset({RunState.INSPECTING}),
    RunState.INSPECTING: frozenset({RunState.MADE, RunState.GOOD, RunState.SPOILED}),
    RunState.GOOD: frozenset({RunState.SPOILED, RunState.CANCELLED}),
    RunState.SPOILED: frozenset(),
    RunState.RELEASED: frozenset(),
    RunState.CANCELLED: frozenset(),
}

BATCH_TRANSITIONS: Final[Mapping[BatchState, frozenset[BatchState]]] = {
    BatchState.LOADED: frozenset({BatchState.RUNNING}),
    BatchState.RUNNING: frozenset({BatchState.STOPPED, BatchState.COMPLETE, BatchState.RUNNING}),
    BatchState.STOPPED: frozenset({BatchState.RUNNING}),
    BatchState.COMPLETE: frozenset({BatchState.STOPPED}),
}

STATION_TRANSITIONS: Final[Mapping[StationState, frozenset[StationState]]] = {
    StationState.WORKING: frozenset({StationState.PAUSED, StationState.ENDED, StationState.LOST}),
    StationState.PAUSED: frozenset({StationState.WORKING, StationState.ENDED, StationState.LOST}),
    StationState.ENDED: frozenset(),
    StationState.LOST: frozenset(),
}

SAM_TRANSITIONS: Final[Mapping[SamState, frozenset[SamState]]] = {
    SamState.BEGUN: frozenset({SamState.BEGUN, SamState.IN_USE, SamState.RETIRED}),
    SamState.IN_USE: frozenset({SamState.RETIRED}),
    SamState.RETIRED: frozenset(),
}

LIVE_STATIONS: Final = (StationState.WORKING, StationState.PAUSED)
"""Stations that may hold runs; a name is that of at most one of them in a batch."""

ACTIVE_RUNS: Final = (RunState.OPEN, RunState.MADE, RunState.INSPECTING)
"""A row and a blank are in at most one run of these states."""

LIVE_RUNS: Final = (*ACTIVE_RUNS, RunState.GOOD)
"""A permit is on at most one card of these states."""

CHIP_RUNS: Final = (*LIVE_RUNS, RunState.SPOILED, RunState.CANCELLED)
"""A chip has at most one run of these states: all but the released ones, so it never carries a second permit."""

LIVE_ROWS: Final = (RowState.WAITING, RowState.IN_PRODUCTION, RowState.GOOD, RowState.FAILED)
"""A permit number stands in at most one row of these states, over all batches."""
