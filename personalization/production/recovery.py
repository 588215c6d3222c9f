"""After a crash: every run that nobody alive has in hand is looked at on the card itself, and brought to an end.

The journal says which cards may have been touched; the card says how far it is (`making.settle`). Who is dead, a lock
on this machine or a lease in the journal tells (`lives`). A card that cannot be reached stays in doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from personalization.errors import PersonalizationError
from personalization.production.journal.claims import (
    Claim,
    Stage,
    claim_doubtful,
    open_claims,
    record_made,
    record_unreachable,
)
from personalization.production.journal.database import Journal
from personalization.production.journal.spoiled import undisposed
from personalization.production.journal.stations import Progress
from personalization.production.lease import Lease
from personalization.production.lives import LeaseWatch
from personalization.production.making import UNREACHABLE, Result, Verdict, settle
from personalization.production.policy import Policy
from personalization.production.states import RunState
from personalization.production.station import (
    SILENT,
    dispose,
    give_up_the_lost,
    record_looked_at,
    record_unfinished,
)
from personalization.production.work import HALF_MADE, Equipment

RECOVERY: Final = "recovery"
"""Name under which recovery writes the journal."""


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
        in_doubt: cards that could not be reached.
    """

    looked_at: int = 0
    half_made: int = 0
    by_condition: dict[str, int] = field(default_factory=dict)
    finished: int = 0
    released: int = 0
    spoiled: int = 0
    inspections: int = 0
    in_doubt: int = 0


def needs_recovery(journal: Journal, batch_id: int) -> bool:
    """Whether the dead have left any run of the batch open, or a spoiled card that was not disposed of."""
    give_up_the_lost(journal, RECOVERY, batch_id, LeaseWatch(journal))
    return journal.read(lambda connection: bool(open_claims(connection, batch_id) or undisposed(connection, batch_id)))


def recover(
    journal: Journal,
    batch_id: int,
    equipment: Equipment,
    policy: Policy,
    progress: Callable[[int, int], None] | None = None,
) -> Recovery:
    """Bring every run that the dead left open to an end; safe to be killed and started again.

    Args:
        journal: the open journal.
        batch_id: the batch.
        equipment: what a station works with.
        policy: limits.
        progress: called with cards done and cards to do.

    Raises:
        PersonalizationError: what the journal or the prepared file met.
    """
    give_up_the_lost(journal, RECOVERY, batch_id, LeaseWatch(journal))
    left = journal.read(lambda connection: open_claims(connection, batch_id))
    inspections = sum(claim.state is RunState.INSPECTING for claim in left)
    lease = Lease.join(journal, batch_id, RECOVERY, policy.lease_s)
    word = "crashed"
    try:
        results, unreachable = _look_at_all(journal, batch_id, equipment, policy, lease, len(left), progress)
        for card in journal.read(lambda connection: undisposed(connection, batch_id)):
            dispose(journal, RECOVERY, equipment, card)
        word = "done"
    finally:
        lease.leave(word)
    return _summary(results, inspections, len(unreachable))


def _look_at_all(
    journal: Journal,
    batch_id: int,
    equipment: Equipment,
    policy: Policy,
    lease: Lease,
    count: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Result], list[int]]:
    """Results, and runs whose cards could not be reached; a card at a time, so that a kill loses no look."""
    results: list[Result] = []
    unreachable: list[int] = []

    def take(connection: Connection) -> list[Claim]:
        return claim_doubtful(connection, batch_id, RECOVERY, count, seat=lease.station_id, without=unreachable)

    while count and (claims := journal.write(take)):
        for claim in claims:
            lease.hold()
            try:
                results.append(_recover_one(journal, equipment, policy, claim, lease))
            except PersonalizationError as error:
                if error.code not in UNREACHABLE:
                    raise
                unreachable.append(claim.run_id)
                journal.write(lambda connection, claim=claim: record_unreachable(connection, claim))  # type: ignore[misc]
            if progress:
                progress(len(results), count)
    return results, unreachable


def _recover_one(journal: Journal, equipment: Equipment, policy: Policy, claim: Claim, lease: Lease) -> Result:
    result = settle(equipment, claim, equipment.records.record(claim.prepared_index), hold=lease.hold)

    def work(connection: Connection) -> None:
        finished = result.verdict is Verdict.FINISHED
        if finished:
            record_made(connection, RECOVERY, [result.outcome])
        else:
            record_unfinished(connection, RECOVERY, result, Stage.MAKE, policy.max_attempts)
        record_looked_at(connection, RECOVERY, [result])
        lease.renew(connection, Progress(made=int(finished), spoiled=int(result.verdict is Verdict.SPOILED)))

    journal.write(work)
    return result


def _condition(result: Result) -> str:
    return result.condition.value if result.condition else SILENT


def _summary(results: list[Result], inspections: int, in_doubt: int) -> Recovery:
    verdicts = Counter(result.verdict for result in results)
    return Recovery(
        len(results),
        sum(result.condition in HALF_MADE for result in results),
        dict(sorted(Counter(_condition(result) for result in results).items())),
        verdicts[Verdict.FINISHED],
        verdicts[Verdict.RELEASED] + verdicts[Verdict.BARRED],
        verdicts[Verdict.SPOILED],
        inspections,
        in_doubt,
    )
