"""``permitcard batch faces``: what is printed on the cards of a batch, for who prints them elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import CentreOption, RecipientOption, console_of, recipient_of

group = typer.Typer()


@group.command("faces")
def faces(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write, .zip.", metavar="FILE")],
    batch: Annotated[str | None, typer.Argument(help="Batch; the latest when absent.", metavar="BATCH")] = None,
    rows: Annotated[str | None, typer.Option(help="Of these rows only, such as 2-250,252.", metavar="ROWS")] = None,
    recipient: RecipientOption = None,
    centre: CentreOption = Path("centre"),
) -> None:
    """Write what is printed on the cards of a batch: a table with portraits and barcodes, for a printing house."""
    from permitcard.card_faces import write_faces
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.outgoing import Outgoing
    from personalization.production.row_ranges import parse_rows, write_rows

    console = console_of(context)
    chosen = None if rows is None else parse_rows(rows)
    outgoing = Outgoing(file, recipient_of(recipient))
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        written = write_faces(job, identifier, outgoing, chosen)
    console.say("faces.written", path=outgoing.target, count=len(written), rows=write_rows(written))
    console.say("return.opened" if recipient is None else "letters.sealed")
    console.result({"batch": identifier, "file": str(outgoing.target), "rows": list(written)})
