"""``permitcard approve``: the second of two operators agrees to an act, before the first one does it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import CentreOption, console_of
from personalization.production.acts import Act


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("approve")(approve)


def approve(
    context: typer.Context,
    act: Annotated[Act, typer.Argument(help="What is approved.")],
    subject: Annotated[
        str,
        typer.Argument(
            help="The batch; for accept-good the delivered file, for re-make BATCH/ROW, for destroy the list of stock "
            "list, for keys rotate/KEY, export/KEY, import/KEY/CHECK_VALUE or destroy/KEY/CHECK_VALUE.",
            metavar="SUBJECT",
        ),
    ],
    centre: CentreOption = Path("centre"),
) -> None:
    """Approve an act that takes two; it holds for one day, once, and stands in the audit trail."""
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        subject = job.approve(act, subject)
        by = job.operator.name
    console.say("approve.done", act=act.value, subject=subject, by=by)
    console.result({"approved": act.value, "subject": subject, "by": by})
