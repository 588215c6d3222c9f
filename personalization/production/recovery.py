"""After a crash: every run that was open is looked at on the card itself, and brought to an end.

The journal says which cards may have been touched; the card says how far it is (`making.settle`). Dead owners are
told from living ones by the locks that the operating system frees: a station holds one as long as it lives, and each
simulated card is locked by who has it open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from filelock import Timeout

from personalization.errors import PersonalizationError
from personalization.production.journal.claims import (
    Claim,
    Stage,
    open_claims,
    record_made,
    take_over,
    undisposed,
)
from personalization.production.journal.database import Journal
from personalization.production.journal.events import Entry, What, record
from personalization.production.making import Result, Verdict, settle
from personalization.production.policy import Policy
from personalization.production.states import RunState
from personalization.production.station import dispose, record_unfinished
from personalization.production.work import HALF_MADE, Equipment

RECOVERY: Final = "recovery"
"""Name under which recovery writes the journal."""

_STATION_GRACE_S: Final = 15
"""Time that a station which lost its coordinator needs at most to finish its card and end."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What recovery found and did.

    Attributes:
        looked_at: cards that were read.
        half_made: of these, cards between their first and their last write.
        by_condition: cards by what they said of themselves; "silent" for those that did not answer.
        finished: cards that are made now.
        released: untouched cards that went back to the stock.
        spoiled: cards that were given up.
        inspections: inspections that nobody finished and that will be made again.
    """

    looked_at: int = 0
    half_made: int = 0
    by_condition: dict[str, int] = field(default_factory=dict)
    finished: int = 0
    released: int = 0
    spoiled: int = 0
    inspections: int = 0


def station_lock(batch_id: int, name: str) -> str:
    """Name of the lock that a station holds while it lives."""
    return f"batch-{batch_id}-{name}"


def needs_recovery(journal: Journal, batch_id: int) -> bool:
    """Whether any run of the batch was left open, or a spoiled card was not disposed of."""
    with journal.reading() as connection:
        return bool(open_claims(connection, batch_id) or undisposed(connection, batch_id))


def recover(
    journal: Journal,
    batch_id: int,
    equipment: Equipment,
    policy: Policy,
    progress: Callable[[int, int], None] | None = None,
) -> Recovery:
    """Bring every open run of a batch to an end; safe to be killed and started again.

    Args:
        journal: the open journal.
        batch_id: the batch.
        equipment: what a station works with.
        policy: limits.
        progress: called with cards done and cards to do.

    Raises:
        PersonalizationError: "station-alive", a station of an earlier run still works; "card-in-use".
    """
    with journal.reading() as connection:
        owners = {claim.station for claim in open_claims(connection, batch_id)}
    _wait_for_end(journal, batch_id, owners)
    with journal.transaction() as connection:
        taken = take_over(connection, RECOVERY, open_claims(connection, batch_id))
    to_do = [claim for claim in taken if claim.state is RunState.OPEN]
    results: list[Result] = []
    for claim in to_do:
        results.append(_recover_one(journal, equipment, policy, claim))
        if progress:
            progress(len(results), len(to_do))
    with journal.reading() as connection:
        leftovers = undisposed(connection, batch_id)
    for blank_id, location in leftovers:
        dispose(journal, RECOVERY, equipment, blank_id, location)
    return _summary(results, len(taken) - len(to_do))


def _recover_one(journal: Journal, equipment: Equipment, policy: Policy, claim: Claim) -> Result:
    result = settle(equipment, claim, equipment.records.record(claim.prepared_index))
    with journal.transaction() as connection:
        if result.verdict is Verdict.FINISHED:
            record_made(connection, RECOVERY, [result.outcome])
        else:
            record_unfinished(connection, RECOVERY, result, Stage.MAKE, policy.max_attempts)
        facts = {"condition": _condition(result), "verdict": result.verdict.value}
        entry = Entry(What.RECOVERED, claim.batch_id, claim.row_id, claim.blank_id, claim.run_id, facts)
        record(connection, RECOVERY, [entry])
    return result


def _wait_for_end(journal: Journal, batch_id: int, stations: Iterable[str]) -> None:
    """Make sure that these stations are dead; one that lost its coordinator ends after its card."""
    with ExitStack() as held:
        for name in sorted(stations):
            try:
                held.enter_context(journal.lock(station_lock(batch_id, name)).acquire(timeout=_STATION_GRACE_S))
            except Timeout:
                raise PersonalizationError("station-alive", exit_code=3, station=name) from None


def _condition(result: Result) -> str:
    return result.condition.value if result.condition else "silent"


def _summary(results: list[Result], inspections: int) -> Recovery:
    verdicts = Counter(result.verdict for result in results)
    return Recovery(
        len(results),
        sum(result.condition in HALF_MADE for result in results),
        dict(sorted(Counter(_condition(result) for result in results).items())),
        verdicts[Verdict.FINISHED],
        verdicts[Verdict.RELEASED] + verdicts[Verdict.BARRED],
        verdicts[Verdict.SPOILED],
        inspections,
    )
