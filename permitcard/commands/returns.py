"""``permitcard batch return`` and ``open``: what the platform, the bank and the police stations get of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import CentreOption, RecipientOption, console_of, recipient_of

group = typer.Typer()


@group.command("return")
def return_batch(
    context: typer.Context,
    batch: Annotated[str | None, typer.Argument(help="Batch; the latest when absent.", metavar="BATCH")] = None,
    centre: CentreOption = Path("centre"),
) -> None:
    """Seal the return of a released batch: results and replaced cards, the bank's file, the list by police station."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.returning import write_returns

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        files = write_returns(job, identifier)
    for file in files:
        counts = ", ".join(f"{console.translate('return.table.' + name)}: {rows}" for name, rows in file.tables.items())
        console.say("return.written", path=file.path, tables=counts)
    console.say("return.open-with")
    console.result(
        {
            "batch": identifier,
            "files": {file.recipient.value: {"path": str(file.path), "rows": file.tables} for file in files},
        }
    )


@group.command("open")
def open_sealed(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Sealed file of a return.", metavar="FILE")],
    directory: Annotated[Path, typer.Argument(help="Folder for the opened tables; they hold personal data.")],
    recipient: RecipientOption = None,
    centre: CentreOption = Path("centre"),
) -> None:
    """Open a sealed return, to be sent over a protected way; the audit trail says who did."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.returning import open_file

    console = console_of(context)
    certificate = recipient_of(recipient)
    with Job.open(Centre(centre)) as job:
        whose, files = open_file(job, file, directory, certificate)
    for path in files:
        console.write(str(path))
    console.say("return.opened" if certificate is None else "letters.sealed")
    console.result({"recipient": whose.value, "files": [str(path) for path in files]})
