"""``permitcard batch scan``: cards that were printed before, each made when its barcode is read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.options import CentreOption, SamOption, console_of, report_words

if TYPE_CHECKING:
    from permitcard.console import Console
    from personalization.production.scanned import Scan

group = typer.Typer()

_FAILURES: Final = 1


@group.command("scan")
def scan(
    context: typer.Context,
    batch: Annotated[str | None, typer.Argument(help="Batch; the latest when absent.", metavar="BATCH")] = None,
    centre: CentreOption = Path("centre"),
    sam: SamOption = None,
) -> None:
    """Read barcodes of pre-printed cards from standard input, a line each, and make and inspect each card.

    A line is the code, and behind a blank the chip number where a reader tells it; else the next blank of the stock.
    """
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.scanning import scan_batch

    console = console_of(context)
    with Job.open(Centre(centre), sam or ()) as job:
        job.require_sams(1)
        identifier = batch or job.latest()
        result, scans = scan_batch(
            job,
            identifier,
            sys.stdin,
            lambda found: _tell(console, found),
            lambda: console.say("scan.ready", batch=identifier),
        )
    status = result.status
    good = sum(found.good for found in scans)
    console.say("scan.done", read=len(scans), good=good, left=status.left)
    console.result(
        {
            "batch": identifier,
            "state": status.batch.state.value,
            "left": status.left,
            "scans": [_document(console, found) for found in scans],
        }
    )
    if good < len(scans):
        raise typer.Exit(_FAILURES)


def _tell(console: Console, found: Scan) -> None:
    if found.error is not None:
        console.write(console.translate(found.error.code, **found.error.parameters))
    elif found.good:
        console.say("scan.good", row=found.row)
    else:
        console.say("scan.lost", row=found.row, reason=report_words(console).reason(found.reason))


def _document(console: Console, found: Scan) -> dict[str, object]:
    error = None
    if found.error is not None:
        facts = {name: str(value) for name, value in found.error.parameters.items()}
        error = {"code": found.error.code, "parameters": facts}
        error["text"] = console.translate(found.error.code, **found.error.parameters)
    return {"row": found.row or None, "good": found.good, "reason": found.reason, "error": error}
