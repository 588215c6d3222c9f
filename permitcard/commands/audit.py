"""``permitcard audit``: who did what with which keys, and the proof that nobody changed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permitcard.commands.options import CentreOption, console_of
from personalization.production.row_ranges import write_rows

if TYPE_CHECKING:
    from permitcard.console import Console
    from personalization.production.audit import Verdict

group = typer.Typer(help="Verify, sign and export the audit trail.", no_args_is_help=True, rich_markup_mode=None)

_FAILURES = 1


@group.command("verify")
def verify(
    context: typer.Context,
    centre: CentreOption = Path("centre"),
    export: Annotated[Path | None, typer.Option(help="Verify this export instead of a centre's journal.")] = None,
    authority: Annotated[
        Path | None, typer.Option(help="Certificates (DER) of the authority that you trust; for an export.")
    ] = None,
) -> None:
    """Find any change, gap or reordering up to the last checkpoint; say what lies after it."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.keys.authorities import authorities_of
    from personalization.production.audit import read_checkpoints, read_trail, verify_export, verify_trail

    console = console_of(context)
    if export is not None:
        verdict = verify_export(export, None if authority is None else authority.read_bytes())
    else:
        with Job.open(Centre(centre), any_journal=True) as job:
            root = authorities_of(job.keys)
            entries, head = read_trail(job.journal)
            verdict = verify_trail(entries, read_checkpoints(job.centre.checkpoints, root), head)
    _show(console, verdict)
    if verdict.findings or verdict.newest_missing:
        raise typer.Exit(_FAILURES)


def _show(console: Console, verdict: Verdict) -> None:
    for finding in verdict.findings:
        console.say(f"audit.fault.{finding.fault.value}", number=finding.number)
    console.say("audit.covered", covered=verdict.covered, checkpoints=verdict.checkpoints)
    console.say("audit.uncovered", uncovered=verdict.uncovered)
    if verdict.missing:
        console.say("audit.missing", count=len(verdict.missing), entries=write_rows(verdict.missing))
    console.result(
        {
            "genuine": not verdict.findings,
            "entries": verdict.entries,
            "covered": verdict.covered,
            "uncovered": verdict.uncovered,
            "checkpoints": verdict.checkpoints,
            "missing": list(verdict.missing),
            "findings": [{"fault": finding.fault.value, "entry": finding.number} for finding in verdict.findings],
        }
    )


@group.command("checkpoint")
def checkpoint(context: typer.Context, centre: CentreOption = Path("centre")) -> None:
    """Sign the trail as it is now; keep the file where nobody who can write the journal can write."""
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        path = job.checkpoint()
    console.say("audit.signed", path=path)
    console.result({"checkpoint": str(path)})


@group.command("export")
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON file to write; it is replaced.", metavar="FILE")],
    centre: CentreOption = Path("centre"),
) -> None:
    """Write the trail with its checkpoints for an auditor; it refers to rows and holds no personal data."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from personalization.atomic_file import write_atomically
    from personalization.production.audit import export_trail

    console = console_of(context)
    with Job.open(Centre(centre), any_journal=True) as job:
        document = export_trail(job.journal, job.centre.checkpoints, job.keys)
    write_atomically(file, json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n")
    console.say("audit.exported", path=file)
    console.result({"export": str(file)})
