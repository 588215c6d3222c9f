"""``permitcard tear``: cut power at every programming unit of a script."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from permitcard.commands.options import console_of

if TYPE_CHECKING:
    from permitcard.console import Console
    from reader_bridge.tear_report import TearReport


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("tear")(tear)


def tear(
    context: typer.Context,
    script: Annotated[Path, typer.Argument(help="Script: APDUs and steps, one a line.", metavar="SCRIPT")],
    card: Annotated[
        str, typer.Option(help="sim:FILE, specimen or blank; a file is copied and let alone.")
    ] = "specimen",
    centre: Annotated[
        Path | None, typer.Option(help="Issuing centre that made the card file; published test keys when absent.")
    ] = None,
    twice: Annotated[
        bool, typer.Option("--twice", help="Cut the boot after each cut too, at every unit that it programs.")
    ] = False,
) -> None:
    """Cut power at every programming unit of a script, at four moments each, and check the card after every cut."""
    from permitcard.tearing.script import TearScript
    from permitcard.tearing.sweeping import open_card_to_tear, sweep_script
    from personalization.errors import PersonalizationError

    console = console_of(context)
    try:
        text = script.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PersonalizationError("script-encoding", exit_code=2, path=str(script)) from error
    parsed = TearScript.parse(text)
    opened = open_card_to_tear(card, centre)
    begin = time.perf_counter()
    with console.progress() as progress:
        report = sweep_script(parsed, opened, lambda done, total: progress("tear", done, total), twice=twice)
    seconds = time.perf_counter() - begin
    _tell(console, report, seconds)
    console.result(
        {"script": str(script), "card": card, **report.document(), "cuts_per_second": round(report.cuts / seconds)}
    )
    if report.found:
        raise typer.Exit(1)


def _tell(console: Console, report: TearReport, seconds: float) -> None:
    console.say(
        "tear.done",
        commands=report.commands,
        writing=report.writing,
        units=report.units,
        cuts=report.cuts,
        memories=report.memories,
        rate=report.cuts / seconds,
    )
    for violation in report.violations:
        console.say(
            "tear.violation" if violation.moment else "tear.violation-always",
            kind=console.translate(f"tear.kind.{violation.problem.kind.value}"),
            detail=violation.problem.detail,
            command=violation.command,
            step=violation.step,
            header=violation.header.hex(" ").upper(),
            unit=violation.unit,
            units=violation.units,
            moment=console.translate(f"tear.moment.{violation.moment.value}") if violation.moment else "",
        )
    console.say("tear.found" if report.found else "tear.none", found=report.found, shown=len(report.violations))
