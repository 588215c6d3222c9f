"""``permitcard batch rehearse``: the whole batch on simulated cards first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from card_os.hardware.chip import DEFAULT_CHIP
from permitcard.commands.options import ChipOption, console_of, report_words

if TYPE_CHECKING:
    from permitcard.console import Console

group = typer.Typer()

_FAILURES: Final = 1
_SHOWN: Final = 20


@group.command("rehearse")
def rehearse(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The delivered zip.", metavar="FILE")],
    chip: ChipOption = DEFAULT_CHIP,
    reader: Annotated[str, typer.Option("--reader-model", help="Reader at the stations.", metavar="NAME")] = "ideal",
    protocol: Annotated[str, typer.Option("--protocol", help="T=0 or T=1, over contact.")] = "T=1",
    stations: Annotated[int, typer.Option("--stations", min=1, max=64, help="Stations of the line.")] = 2,
    handling: Annotated[
        int, typer.Option("--handling-ms", min=0, max=600_000, help="Time to put a card in and out.")
    ] = 0,
    rows: Annotated[int | None, typer.Option("--rows", min=1, help="Rehearse so many rows, spread over all.")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, max=256, help="Processes; 0 works in this one. All processors for many rows."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page.")] = None,
) -> None:
    """Rehearse a batch under keys of its own on simulated cards: time, wear, yield, room, and what would fail.

    No key store, journal or stock is opened, and no card file is written.
    """
    from permitcard.rehearsal.findings import Setting, rehearsal_document
    from permitcard.rehearsal.rehearse import rehearse as work

    console = console_of(context)
    setting = Setting(chip, reader, protocol, handling, stations)
    with console.progress() as bar:
        found = work(
            file, setting, most=rows, workers=workers, progress=lambda done, total: bar("rehearse", done, total)
        )
    document: dict[str, Any] = rehearsal_document(found)
    _show(console, document)
    if html is not None:
        from personalization.reports.rehearsal_page import rehearsal_page

        language = console.translate.language.value
        html.write_text(rehearsal_page(document, console.translate, language=language), encoding="utf-8")
        console.say("rehearsal.page", path=html)
    console.result(document)
    if document["good"] < document["rehearsed"] or document["refused"]:
        raise typer.Exit(_FAILURES)


def _show(console: Console, document: dict[str, Any]) -> None:
    words = {name: value for name, value in document.items() if not isinstance(value, dict | list)}
    console.say("rehearsal.setting", **words)
    console.say("rehearsal.yield", **words)
    for stage in ("make", "inspect"):
        console.say(f"rehearsal.{stage}", **document[stage])
    console.say("rehearsal.time", **words)
    console.say("rehearsal.memory", **words)
    said = report_words(console)
    for cause, count in document["failures"].items():
        console.say("rehearsal.failure", cause=said.reason(cause), count=count)
    for row in document["failed_rows"][:_SHOWN]:
        why = said.failed_row(row["stage"], row["reason"], row["facts"])
        console.say("rehearsal.row", row=row["row"], stage=said(f"report.rehearsal.stage-{row['stage']}"), reason=why)
    for rule, count in document["refused_by_rule"].items():
        console.say("rehearsal.refused", rule=said.code(rule), count=count)
