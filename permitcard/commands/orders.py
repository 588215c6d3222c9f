"""``permitcard batch pause``, ``drain``, ``doubt`` and ``spoil``: steering a batch while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permitcard.commands.options import CentreOption, console_of

if TYPE_CHECKING:
    from personalization.production.states import Order

group = typer.Typer()

BatchArgument = Annotated[str | None, typer.Argument(help="Batch identifier; the latest when absent.", metavar="BATCH")]


@group.command("pause")
def pause(context: typer.Context, batch: BatchArgument = None, centre: CentreOption = Path("centre")) -> None:
    """Let all stations finish the card in hand and wait; batch resume lets them go on."""
    from personalization.production.states import Order

    _tell(context, batch, centre, Order.PAUSE)


@group.command("drain")
def drain(context: typer.Context, batch: BatchArgument = None, centre: CentreOption = Path("centre")) -> None:
    """Let all stations finish the card in hand and end, and the batch stop; batch resume goes on later."""
    from personalization.production.states import Order

    _tell(context, batch, centre, Order.DRAIN)


def _tell(context: typer.Context, batch: str | None, centre: Path, order: Order) -> None:
    from permitcard.centre import Centre
    from permitcard.floor import tell_batch
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        tell_batch(job, identifier, order)
    console.say("batch.told", batch=identifier)
    console.result({"batch": identifier, "order": order.value})


@group.command("doubt")
def doubt(context: typer.Context, batch: BatchArgument = None, centre: CentreOption = Path("centre")) -> None:
    """List the cards in doubt: a station that is gone had them in hand, and nobody has read them since."""
    from permitcard.centre import Centre
    from permitcard.floor import doubtful_cards
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        found = doubtful_cards(job, identifier)
    for claim in found:
        console.say(
            "batch.doubtful", row=claim.row_number, card_id=claim.card_number.upper(), location=claim.location,
            station=claim.station,
        )  # fmt: skip
    if not found:
        console.say("batch.no-doubt", batch=identifier)
    cards = [
        {"row": claim.row_number, "card_id": claim.card_number, "location": claim.location, "station": claim.station}
        for claim in found
    ]
    console.result({"batch": identifier, "in_doubt": cards})


@group.command("spoil")
def spoil(
    context: typer.Context,
    row: Annotated[int, typer.Option("--row", min=1, help="Row of the delivered sheet, as batch doubt shows it.")],
    batch: BatchArgument = None,
    centre: CentreOption = Path("centre"),
) -> None:
    """Give up a card in doubt that cannot be read: it is spoilt and barred for ever, its row gets another one."""
    from permitcard.centre import Centre
    from permitcard.floor import give_up
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        claim = give_up(job, identifier, row)
    console.say("batch.spoilt", row=row, card_id=claim.card_number.upper())
    console.result({"batch": identifier, "row": row, "card_id": claim.card_number})
