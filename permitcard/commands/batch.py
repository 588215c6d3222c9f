"""``permitcard batch``: from a delivered file to verified cards."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.commands.options import (
    CentreOption,
    ChipOption,
    RecipientOption,
    SamOption,
    console_of,
    recipient_of,
    report_words,
)
from permitcard.terminal_text import at_left

if TYPE_CHECKING:
    from permitcard.console import Console
    from permitcard.job import Job
    from permitcard.next_steps import Step
    from personalization.intake.receipt import Receipt
    from personalization.production.journal.batches import BatchStatus
    from personalization.production.run import RunResult

group = typer.Typer(help="Check, make, resume and report batches.", no_args_is_help=True, rich_markup_mode=None)

FileArgument = Annotated[Path, typer.Argument(help="The delivered zip.", metavar="FILE")]
BatchArgument = Annotated[str | None, typer.Argument(help="Batch identifier; the latest when absent.", metavar="BATCH")]
StationsOption = Annotated[
    int,
    typer.Option("--stations", min=0, max=64, help="Stations, one process each; 0 leaves the work to those that join."),
]

ArticleOption = Annotated[
    bool, typer.Option("--first-article", help="Make one card; the others wait until somebody else has approved it.")
]

_FAILURES: Final = 1


@group.command("check")
def check(
    context: typer.Context,
    file: FileArgument,
    centre: CentreOption = Path("centre"),
    html: Annotated[Path | None, typer.Option(help="Also write the findings as a page.")] = None,
) -> None:
    """Check a delivered file and say everything that is wrong with it; make nothing."""
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        receipt = job.check(file)
    bad = _show_receipt(console, receipt, file, html)
    console.result(_findings(console, receipt))
    if bad:
        raise typer.Exit(_FAILURES)
    console.say("batch.accepted", name=file.name, rows=receipt.row_count)


@group.command("run")
def run(
    context: typer.Context,
    file: FileArgument,
    centre: CentreOption = Path("centre"),
    stations: StationsOption = 2,
    accept_good: Annotated[
        bool, typer.Option("--accept-good", help="Go on with the good rows; the bad ones go to an encrypted file.")
    ] = False,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Make simulated blanks as needed, instead of taking them from stock.")
    ] = False,
    chip: ChipOption = DEFAULT_CHIP,
    html: Annotated[Path | None, typer.Option(help="Write the findings as a page.")] = None,
    first_article: ArticleOption = False,
    sam: SamOption = None,
) -> None:
    """Check, prepare, make and inspect a batch, and write its report."""
    from permitcard.centre import Centre
    from permitcard.floor import policy_of
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre), sam or ()) as job:
        job.require_sams(stations)
        receipt = job.check(file)
        bad = _show_receipt(console, receipt, file, html)
        if bad and not accept_good:
            console.say("batch.refused-whole")
            console.result(_findings(console, receipt))
            raise typer.Exit(_FAILURES)
        rejects: Path | None = None
        with console.progress() as bar:
            total = len(receipt.applicants)
            prepared = job.load(receipt, accept_good=accept_good, progress=lambda done: bar("prepare", done, total))
            if bad:
                rejects = job.rejects(prepared.identifier)
                console.say("batch.rejects", path=rejects)
            if simulate:
                job.stock_up(total, chip=chip)
            with _reported(console, job, prepared.identifier):
                result = job.run(prepared.identifier, policy_of(job, stations), bar, first_article=first_article)
        _finish(console, job, result, rejects)


@group.command("resume")
def resume(
    context: typer.Context,
    batch: BatchArgument = None,
    centre: CentreOption = Path("centre"),
    stations: StationsOption = 2,
    first_article: ArticleOption = False,
    sam: SamOption = None,
) -> None:
    """Go on with a batch that was stopped or killed: half-made cards first, then what is left."""
    from permitcard.centre import Centre
    from permitcard.floor import go_on, policy_of
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre), sam or ()) as job, console.progress() as bar:
        identifier = batch or job.latest()
        if go_on(job, identifier):
            console.say("batch.told", batch=identifier)
            console.result({"batch": identifier, "order": None})
            return
        job.require_sams(stations)
        with _reported(console, job, identifier):
            result = job.resume(identifier, policy_of(job, stations), bar, first_article=first_article)
        console.say("batch.recovered", looked_at=result.recovery.looked_at, half_made=result.recovery.half_made)
        _finish(console, job, result)


@group.command("status")
def status(context: typer.Context, batch: BatchArgument = None, centre: CentreOption = Path("centre")) -> None:
    """Say where a batch stands: what was made, what was not, what may be done now. Needs no key."""
    from permitcard.centre import Centre
    from permitcard.journal_view import latest_batch, look_at_journal
    from permitcard.next_steps import next_steps
    from personalization.production.journal.batches import batch_status, reasons_of_unfinished

    console, place = console_of(context), Centre(centre)
    with look_at_journal(place) as journal:
        found = batch_status(journal, batch or latest_batch(journal, place))
        steps = next_steps(journal, found)
        reasons = reasons_of_unfinished(journal, found.batch.id)
    _show_status(console, found, steps=steps, reasons=reasons)


@group.command("rejects")
def rejects(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Sealed file of refused rows.", metavar="FILE")],
    directory: Annotated[Path, typer.Argument(help="Folder for the opened delivery; it holds personal data.")],
    recipient: RecipientOption = None,
    centre: CentreOption = Path("centre"),
) -> None:
    """Open a sealed file of refused rows, to correct them and send them in again."""
    from permitcard.centre import Centre
    from permitcard.job import Job
    from permitcard.returning import open_refused

    console = console_of(context)
    certificate = recipient_of(recipient)
    with Job.open(Centre(centre)) as job:
        path = open_refused(job, file, directory, certificate)
    console.say("batch.reopened", path=path)
    console.result({"file": str(path)})


@group.command("release")
def release(context: typer.Context, batch: BatchArgument = None, centre: CentreOption = Path("centre")) -> None:
    """Give a complete batch out; takes two operators, neither of whom ran it."""
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        identifier = batch or job.latest()
        by = job.release(identifier)
        name = job.operator.name
    console.say("batch.released" if by else "batch.released-alone", batch=identifier, by=name, approved_by=by)
    console.result({"batch": identifier, "released_by": name, "approved_by": by})


@group.command("erase")
def erase(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(help="Batch identifier.", metavar="BATCH")],
    centre: CentreOption = Path("centre"),
    where: Annotated[
        list[Path] | None,
        typer.Option("--input", help="File or folder in which the delivered file may lie; may be given again."),
    ] = None,
) -> None:
    """Destroy a batch's keys and everything personal of it, and certify that; takes two operators."""
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        page = job.erase(batch, where or [], console.translate)
        alone = job.roster.alone
    console.say("batch.erased-alone" if alone else "batch.erased", batch=batch, path=page)
    console.result({"batch": batch, "certificate": str(page.with_suffix(".json")), "page": str(page)})


@group.command("report")
def report(context: typer.Context, batch: BatchArgument = None, centre: CentreOption = Path("centre")) -> None:
    """Write the report of a batch again, with a page for each card."""
    from permitcard.centre import Centre
    from permitcard.job import Job

    console = console_of(context)
    with Job.open(Centre(centre)) as job:
        path = job.report(batch or job.latest(), console.translate)
    console.say("batch.report", path=path)
    console.result({"report": str(path)})


@contextmanager
def _reported(console: Console, job: Job, identifier: str) -> Generator[None]:
    """Write the report also when the stations were stopped: it says why cards failed."""
    from personalization.errors import PersonalizationError
    from personalization.production.station import Ending

    try:
        yield
    except PersonalizationError as error:
        if error.code in set(Ending):
            console.say("batch.report", path=job.report(identifier, console.translate))
        raise


def _finish(console: Console, job: Job, result: RunResult, rejects_path: Path | None = None) -> None:
    """Write the report, show where the batch stands, and fail when not every accepted row has a good card."""
    found = result.status
    path = job.report(found.batch.identifier, console.translate)
    _show_status(console, found, path, rejects_path)
    console.say("batch.report", path=path)
    if result.drained:
        console.complain("interrupted")
    if found.good < found.accepted:
        raise typer.Exit(_FAILURES)


def _findings(console: Console, receipt: Receipt) -> dict[str, object]:
    """What intake found, for programs."""
    from personalization.intake.findings_report import findings_json

    document: dict[str, object] = json.loads(findings_json(receipt, console.translate.language.value))
    return document


def _show_receipt(console: Console, receipt: Receipt, file: Path, html: Path | None) -> bool:
    """Show findings; returns True when any row is refused."""
    from personalization.intake.findings_report import findings_html, findings_text

    if html is not None:
        html.write_text(findings_html(receipt, console.translate.language.value), encoding="utf-8")
    if receipt.findings:
        console.write(findings_text(receipt, console.translate.language.value))
    if not receipt.error_count:
        return False
    console.say(
        "batch.rejected",
        name=file.name,
        findings=receipt.error_count,
        bad_rows=sum(row.source is not None for row in receipt.rejected),
        rows=receipt.row_count,
    )
    return True


def _show_status(
    console: Console,
    found: BatchStatus,
    report_path: Path | None = None,
    rejects_path: Path | None = None,
    steps: Sequence[Step] = (),
    reasons: Mapping[str, int] = MappingProxyType({}),
) -> None:
    console.say("batch.title", name=found.batch.identifier, state=console.translate("state." + found.batch.state.value))
    for state, number in found.rows.items():
        if number:
            console.write(f"    {at_left(console.translate('row.' + state.value), 28)}{number:>8}")
    said = report_words(console)
    for reason, number in reasons.items():
        console.say("batch.unfinished", number=number, reason=said.reason(reason))
    console.say("batch.done", good=found.good, made=found.made, left=found.left, rate=found.cards_per_second)
    for step in steps:
        console.say(f"next.{step.code}", **step.facts)
    console.result(
        {
            "batch": found.batch.identifier,
            "state": found.batch.state.value,
            "rows": {state.value: number for state, number in found.rows.items()},
            "stock": {state.value: number for state, number in found.stock.items()},
            "accepted": found.accepted,
            "good": found.good,
            "left": found.left,
            "seconds": round(found.seconds, 3),
            "cards_per_second": round(found.cards_per_second, 1),
            "recovered": found.recovered,
            "report": None if report_path is None else str(report_path),
            "rejects": None if rejects_path is None else str(rejects_path),
            "reasons": dict(reasons),
            "next": [step.code for step in steps],
        }
    )
