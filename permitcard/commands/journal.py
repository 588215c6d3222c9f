"""``permitcard journal``: the database in which a centre keeps what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from permitcard.commands.options import CentreOption, console_of

group = typer.Typer(help="Choose and show the journal's database.", no_args_is_help=True, rich_markup_mode=None)

_USAGE: Final = 2


@group.command("use")
def use(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Argument(
            help="postgresql://user@host:port/database, without a password; "
            "that comes from PERMITCARD_JOURNAL_PASSWORD, …_FILE or ~/.pgpass.",
            metavar="URL",
        ),
    ],
    centre: CentreOption = Path("centre"),
) -> None:
    """Keep the journal of a new centre in a PostgreSQL database, which several machines can share."""
    from permitcard.centre import Centre
    from personalization.errors import PersonalizationError
    from personalization.production.journal import HEAD_REVISION, open_journal

    console = console_of(context)
    place = Centre(centre)
    for file in (place.journal_file, place.journal):
        if file.exists():
            raise PersonalizationError("journal-exists", exit_code=_USAGE, file=str(file))
    place.make_root()
    open_journal(place.journal_on_server(url)).close()
    place.name_journal(url)
    console.say("journal.used", url=url)
    console.result({"journal": url, "revision": HEAD_REVISION})


@group.command("show")
def show(context: typer.Context, centre: CentreOption = Path("centre")) -> None:
    """Say where the journal is, and whether it answers."""
    from permitcard.centre import Centre
    from personalization.production.journal import HEAD_REVISION, open_journal

    console = console_of(context)
    place = Centre(centre).journal_place()
    open_journal(place).close()
    console.say("journal.there", place=place.shown)
    console.result({"journal": place.shown, "revision": HEAD_REVISION})
