"""``permitcard batch remake``: a good card that turned out bad is barred, and its row made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import CentreOption, console_of
from personalization.production.reject_reason import RejectReason

group = typer.Typer()


@group.command("remake")
def remake(
    context: typer.Context,
    row: Annotated[int, typer.Option("--row", min=1, help="Row of the delivered sheet.")],
    reason: Annotated[RejectReason, typer.Option("--reason", help="Why the card is rejected.")],
    batch: Annotated[str | None, typer.Argument(help="Batch; the latest when absent.", metavar="BATCH")] = None,
    centre: CentreOption = Path("centre"),
) -> None:
    """Reject a good card that is back in the centre, bar and terminate it, and have its row made again; takes two."""
    from permitcard import stockroom
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        rejected = stockroom.remake(job, identifier, row, reason)
        destroyed = stockroom.destroyed_master(job, rejected)
    card_id = rejected.card_number.upper()
    console.say("remake.rejected", batch=identifier, row=row, card_id=card_id)
    code = "master-destroyed" if destroyed else rejected.disposal.value
    console.say(f"remake.{code}", batch=identifier, card_id=card_id, check_value=destroyed)
    console.result(
        {
            "batch": identifier,
            "row": row,
            "card_id": card_id,
            "terminated": rejected.terminated,
            "disposal": rejected.disposal.value,
            "master_destroyed": destroyed,
        }
    )
