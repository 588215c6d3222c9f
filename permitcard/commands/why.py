"""``permitcard card why``: which rule refused a command, and what was missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import console_of


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("why")(why)


def why(
    context: typer.Context,
    card: Annotated[Path, typer.Argument(help="Card file; a copy of it is asked.", metavar="CARD")],
    commands: Annotated[Path, typer.Argument(help="A script, a listing, or a trace.", metavar="COMMANDS")],
    field: Annotated[bool, typer.Option("--field", help="Over the field instead of the contacts.")] = False,
) -> None:
    """Give a list of commands to a copy of a card, and tell of each why the card refused it."""
    from permitcard.refusals import ask_why
    from permitcard.tracing import read_commands
    from reader_bridge.connection import Interface

    console = console_of(context)
    to_send, hidden = read_commands(commands)
    answers = ask_why(card, to_send, Interface.CONTACTLESS if field else Interface.CONTACT)
    for row, answer in enumerate(answers, start=1):
        console.write(f"{row:>4}  {answer.title}  → {answer.status}")
        if answer.reason:
            console.write(f"        {answer.reason}")
    if hidden:
        console.say("trace.left-out", count=hidden, path=commands)
    console.result(
        {
            "card": str(card),
            "answers": [{"command": row.title, "status": row.status, "reason": row.reason or None} for row in answers],
            "left_out": hidden,
        }
    )
