"""``permitcard batch letters``: the PIN letters of a released batch, for who prints them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import CentreOption, RecipientOption, console_of, recipient_of

group = typer.Typer()


@group.command("letters")
def letters(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(help="File to write: .pdf pages to print; .csv or .xlsx for a printing house.", metavar="FILE"),
    ],
    batch: Annotated[str | None, typer.Argument(help="Batch; the latest when absent.", metavar="BATCH")] = None,
    rows: Annotated[str | None, typer.Option(help="Of these rows only, such as 2-250,252.", metavar="ROWS")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also letters that were written before.")] = False,
    recipient: RecipientOption = None,
    font: Annotated[Path | None, typer.Option(help="TrueType font of the pages.")] = None,
    centre: CentreOption = Path("centre"),
) -> None:
    """Write the PIN letters of a released batch; takes two operators, neither of whom ran it."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.lettering import Wanted, write_letters
    from permitcard.outgoing import Outgoing
    from personalization.production.row_ranges import parse_rows, write_rows

    console = console_of(context)
    chosen = None if rows is None else parse_rows(rows)
    wanted = Wanted(Outgoing(file, recipient_of(recipient)), chosen, again, font)
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        written = write_letters(job, identifier, wanted)
    console.say("letters.written", path=written.path, count=len(written.rows), rows=write_rows(written.rows))
    for row, points in written.lacking.items():
        console.say("letters.lacking", row=row, points=points)
    console.say("letters.clear" if recipient is None else "letters.sealed")
    console.result(
        {
            "batch": identifier,
            "file": str(written.path),
            "rows": list(written.rows),
            "lacking": {str(row): points for row, points in written.lacking.items()},
        }
    )
    if written.lacking:
        raise typer.Exit(1)
