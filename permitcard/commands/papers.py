"""``permitcard batch receipt`` and ``order``: papers with the day by which the cards are due."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permitcard.commands.options import CentreOption, console_of

if TYPE_CHECKING:
    from permitcard.job import Job
    from permitcard.translation import Translator

group = typer.Typer()

BatchArgument = Annotated[str | None, typer.Argument(help="Batch; the latest when absent.", metavar="BATCH")]
DaysOption = Annotated[
    int, typer.Option("--working-days", min=1, max=250, help="Working days from receipt, which is not counted.")
]


@group.command("receipt")
def receipt(
    context: typer.Context, batch: BatchArgument = None, centre: CentreOption = Path("centre"), days: DaysOption = 15
) -> None:
    """Write the customer's receipt of a batch: what came, what was accepted, when the cards are due."""
    from permitcard.paperwork import write_receipt

    _write(context, batch, centre, lambda job, name, words: write_receipt(job, name, days, words))


@group.command("order")
def order(
    context: typer.Context, batch: BatchArgument = None, centre: CentreOption = Path("centre"), days: DaysOption = 15
) -> None:
    """Write the work order of a batch: cards, blanks, keys, and the day by which it has to be done."""
    from permitcard.paperwork import write_order

    _write(context, batch, centre, lambda job, name, words: write_order(job, name, days, words))


def _write(
    context: typer.Context, batch: str | None, centre: Path, write: Callable[[Job, str, Translator], Path]
) -> None:
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        path = write(job, batch or job.latest(), console.translate)
    document = json.loads(path.read_bytes())["document"]
    page = path.with_suffix(".html")
    console.say("paper.provisional" if document["due_provisional"] else "paper.written", path=page, due=document["due"])
    console.result({"document": document, "signed": str(path), "page": str(page)})
