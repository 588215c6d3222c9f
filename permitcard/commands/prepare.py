"""``permitcard batch prepare``: from a delivered file of any size to a batch that waits to be made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from permitcard.commands.batch import FileArgument
from permitcard.commands.options import CentreOption, console_of, report_words

if TYPE_CHECKING:
    from permitcard.console import Console
    from personalization.preparation.bulk.verdict import Verdict

group = typer.Typer(rich_markup_mode=None)

_FAILURES: Final = 1
_FEW_ROWS: Final = 4096


@group.command("prepare")
def prepare(
    context: typer.Context,
    file: FileArgument,
    centre: CentreOption = Path("centre"),
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=0, max=256, help="Processes; 0 works in this one. All processors for a large delivery."
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            help="Dask scheduler whose workers prepare, such as tcp://10.0.0.1:8786; they see the same folders.",
            metavar="ADDRESS",
        ),
    ] = None,
    accept_good: Annotated[
        bool, typer.Option("--accept-good", help="Go on with the good rows; the bad ones go to encrypted files.")
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Forget a preparation of this delivery that was begun: keys and files.")
    ] = False,
    findings: Annotated[
        Path | None, typer.Option("--findings", help="File for all findings, one JSON object a line.", metavar="FILE")
    ] = None,
) -> None:
    """Check and prepare a delivery in chunks, on all processors or many machines; make no card yet.

    A preparation that was interrupted goes on where it stopped when the same command is given again.
    """
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.preparing import Loaded, Staff
    from permitcard.preparing import prepare as prepare_delivery
    from permitcard.processors import usable_processors
    from personalization.preparation.bulk.delivered import DeliveredFiles

    console = console_of(context)
    if discard:
        _discard(console, centre, file)
        return
    if workers is None:
        declared = DeliveredFiles.of(file).name.count
        workers = usable_processors() if declared > _FEW_ROWS else 0
    with Job.open(Centre(centre)) as job, console.progress() as bar:
        found = prepare_delivery(
            job, file, Staff(workers, scheduler), accept_good=accept_good, findings=findings, progress=bar
        )
    _show_verdict(console, file, found.verdict)
    document: dict[str, object] = {
        "batch": found.identifier,
        "rows": found.verdict.rows,
        "good_rows": found.verdict.good,
        "errors": found.verdict.errors,
        "rules": dict(found.verdict.rules),
    }
    if not isinstance(found, Loaded):
        console.say("batch.refused-whole")
        console.result({**document, "prepared": 0})
        raise typer.Exit(_FAILURES)
    console.say("batch.prepared", batch=found.identifier, rows=found.rows, path=found.manifest)
    for path in found.rejects:
        console.say("batch.rejects", path=path)
    rejects = [str(path) for path in found.rejects]
    console.result({**document, "prepared": found.rows, "manifest": str(found.manifest), "rejects": rejects})


def _discard(console: Console, centre: Path, file: Path) -> None:
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.preparing import abandon

    with Job.open(Centre(centre)) as job:
        batch = abandon(job, file)
    console.say("batch.discarded" if batch else "batch.nothing-to-discard", batch=batch, name=file.name)
    console.result({"discarded": batch})


def _show_verdict(console: Console, file: Path, verdict: Verdict) -> None:
    """The first findings, how often each rule was broken, and what that means."""
    from personalization.intake.findings_report import finding_lines

    if verdict.shown:
        console.write("\n".join(finding_lines(verdict.shown, console.translate.language.value)))
    said = report_words(console)
    for rule, count in sorted(verdict.rules.items()):
        console.say("batch.rule", count=count, rule=said.code(rule), name=rule)
    if verdict.errors:
        bad = verdict.rows - verdict.good
        console.say("batch.rejected", name=file.name, findings=verdict.errors, bad_rows=bad, rows=verdict.rows)
