"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.console import Console

CentreOption = Annotated[
    Path,
    typer.Option(
        "--centre", envvar="PERMITCARD_CENTRE", help="The issuing centre's folder (keys, journal, cards, reports)."
    ),
]

ChipOption = Annotated[
    str,
    typer.Option("--chip", help="Chip of new cards; those named mapped erase pages and level wear.", metavar="NAME"),
]


SamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sam",
        help="Reader with a SAM (pcsc:NAME, serial:PORT, …), given again for each station; sams.toml when absent.",
        metavar="ADDRESS",
    ),
]

ReaderModelOption = Annotated[
    str | None,
    typer.Option("--reader-model", help="Reader between card and program; its limits hold.", metavar="NAME"),
]


def console_of(context: typer.Context) -> Console:
    """The console that the frame made for this command."""
    console = context.find_root().obj
    if not isinstance(console, Console):
        raise TypeError("the frame has made no console")
    return console
