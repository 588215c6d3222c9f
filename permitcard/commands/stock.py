"""``permitcard stock``: blank cards in and their whereabouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.commands.options import CentreOption, ChipOption, console_of

group = typer.Typer(help="Receive and count blank cards.", no_args_is_help=True, rich_markup_mode=None)


@group.command("receive")
def receive(
    context: typer.Context,
    count: Annotated[int, typer.Argument(min=1, help="How many blank cards.", metavar="N")],
    centre: CentreOption = Path("centre"),
    lot: Annotated[str, typer.Option(help="Delivery lot.")] = "simulated",
    chip: ChipOption = DEFAULT_CHIP,
) -> None:
    """Make N simulated blank cards, as a chip vendor would deliver them, and take them into stock."""
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job, console.progress() as bar:
        total = job.receive_simulated(count, lot=lot, chip=chip, progress=lambda done: bar("stock", done, count))
    console.say("stock.received", count=total)
    console.result({"received": total, "lot": lot})


@group.command("show")
def show(context: typer.Context, centre: CentreOption = Path("centre")) -> None:
    """Count all blank cards by what became of them; the counts add up to what was received."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.production.stock import count_stock

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        stock = count_stock(job.journal)
    for state, number in stock.by_state.items():
        console.write(f"{console.translate('blank.' + state.value):<28}{number:>8}")
    console.write(f"{console.translate('blank.received'):<28}{stock.received:>8}")
    console.result({"received": stock.received, **{state.value: number for state, number in stock.by_state.items()}})
