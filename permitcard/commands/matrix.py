"""``permitcard matrix``: every reader with every card."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import console_of


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("matrix")(matrix)


def matrix(
    context: typer.Context,
    image: Annotated[
        list[Path] | None, typer.Option(help="Card file, in all simulated readers; a specimen when there is none.")
    ] = None,
    card: Annotated[
        list[str] | None, typer.Option(help="A card at an address: pcsc:NAME, remote:HOST:PORT or sim:FILE.")
    ] = None,
    connected: Annotated[
        bool, typer.Option("--connected/--not-connected", help="All cards in readers that PC/SC knows.")
    ] = True,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--reader-model",
            help="Reader model that card files are put into; all that are made from real descriptors when absent.",
            metavar="NAME",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page.")] = None,
    results: Annotated[Path | None, typer.Option(help="Write the results (JSON).")] = None,
) -> None:
    """Run a set of checks for every reader, simulated or connected, with every card; one page of results."""
    from permitcard.matrix.page import document, page, why
    from permitcard.matrix.running import Outcome, run_matrix
    from permitcard.matrix.ways import Cards, addressed_way, connected_ways, models_of

    console = console_of(context)
    say = console.translate
    with Cards([str(path) for path in image or ()], models_of(model or ())) as cards:
        ways = [] if card and not image else cards.ways()
        ways += [addressed_way(address) for address in card or ()]
        if connected:
            ways += connected_ways(card or ())
        with console.progress() as progress:
            rows = run_matrix(ways, progress=lambda done, total: progress("matrix", done, total))
    date = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    found = document(rows, date)
    if html is not None:
        html.write_text(page(rows, date, say.language.value, say), encoding="utf-8")
    if results is not None:
        results.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for row in rows:
        marks = "".join({"passed": "+", "failed": "F", "skipped": "."}[cell.outcome.value] for cell in row.cells)
        console.write(f"{marks}  {row.card}, {row.reader}")
        for cell in row.cells:
            if cell.outcome is Outcome.FAILED:
                console.write(f"    {say(f'matrix.check.{cell.check}')}: {why(cell, say)}")
    console.say("matrix.done", passed=found["passed"], failed=found["failed"], skipped=found["skipped"])
    if html is not None:
        console.say("matrix.page", path=html)
    console.result(found)
    if found["failed"]:
        raise typer.Exit(1)
