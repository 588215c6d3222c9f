"""``permitcard readers``: what is connected."""

from __future__ import annotations

import typer

from permitcard.commands.options import console_of


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("readers")(readers)


def readers(context: typer.Context) -> None:
    """List the readers that PC/SC knows, real or virtual, and the cards in them."""
    from reader_bridge.readers import list_readers

    console = console_of(context)
    found = list_readers()
    if not found:
        console.say("readers.none")
    for reader in found:
        answer = reader.answer.hex(" ").upper() if reader.answer else "-"
        console.write(f"{reader.name}\n    pcsc:{reader.name}\n    ATR {answer}")
    console.result({"readers": [{"name": r.name, "atr": r.answer.hex() if r.answer else None} for r in found]})
