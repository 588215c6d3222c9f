"""``permitcard card change-pin``: what a holder does first with the PIN of the letter."""

from __future__ import annotations

from typing import Annotated

import typer

from permitcard.commands.options import NewPinOption, asked, console_of
from personalization.errors import PersonalizationError

group = typer.Typer()


@group.command("change-pin")
def change_pin(
    context: typer.Context,
    card: Annotated[str, typer.Option("--card", help="The card: sim:FILE, pcsc:NAME or remote:HOST:PORT.")],
    old: Annotated[
        str | None, typer.Option(envvar="PERMITCARD_PIN", help="PIN until now; asked for when absent.")
    ] = None,
    new: NewPinOption = None,
) -> None:
    """As the holder, over contact, change the PIN; that of the letter is of no use before."""
    from permitcard.products import permit_profile
    from permitcard.reaching import card_factory
    from personalization.terminal.holder import HolderSession, pin_block

    console = console_of(context)
    old = asked(console, old, "ask.pin")
    new = asked(console, new, "ask.new-pin", "ask.again")
    if pin_block(old) == pin_block(new):  # a PIN of another form is refused before a card is looked for, too
        raise PersonalizationError("pin-same", exit_code=2)
    with card_factory().connect(card) as connection:
        HolderSession.open(connection, permit_profile()).change(old, new)
    console.say("card.pin-changed")
    console.result({"card": card, "changed": True})
