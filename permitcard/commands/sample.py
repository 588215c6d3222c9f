"""``permitcard sample``: synthetic applicants."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import console_of


class SampleFormat(StrEnum):
    """Spreadsheet formats of a sample batch."""

    XLSX = "xlsx"
    XLS = "xls"
    CSV = "csv"


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("sample")(sample)


def sample(
    context: typer.Context,
    count: Annotated[int, typer.Argument(min=1, help="How many residents.", metavar="N")],
    directory: Annotated[Path, typer.Argument(help="Folder for the batch file.", metavar="DIR")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same batch, byte for byte.")] = 1,
    damaged: Annotated[bool, typer.Option("--damaged", help="Plant one of every defect.")] = False,
    table: Annotated[SampleFormat, typer.Option("--format", help="Format of the spreadsheet.")] = SampleFormat.XLSX,
    issued: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First of the 60 days on which the permits are issued."),
    ] = None,
) -> None:
    """Write a batch of synthetic applicants: valid numbers, rare characters, drawn portraits."""
    from personalization.intake.sample import FIRST_ISSUE, write_sample

    console = console_of(context)
    day = issued.date() if issued else FIRST_ISSUE
    path = write_sample(directory, count, seed, damaged=damaged, format=table.value, issued=day)
    console.say("sample.written", path=path, count=count)
    console.result({"file": str(path), "rows": count, "seed": seed, "damaged": damaged})
