"""``permitcard relay``: a card offered as a virtual reader, with rules in between."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from permitcard.commands.options import console_of
from permitcard.trace_choices import Keep, OfferAs


def register(application: typer.Typer) -> None:
    """Add the command to the application."""
    application.command("relay")(relay)


def relay(
    context: typer.Context,
    card: Annotated[str, typer.Option(help="sim:FILE, pcsc:NAME or remote:HOST:PORT")],
    way: Annotated[OfferAs, typer.Option("--as", help="vpcd: slots of a PC/SC reader; tcp: our own protocol.")] = (
        OfferAs.VPCD
    ),
    rules: Annotated[
        Path | None, typer.Option(help="Rules (TOML): what is changed, answered, dropped or delayed.")
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="Write a trace of what the card was asked.")] = None,
    keep: Annotated[
        Keep, typer.Option(help="Of data in plain in that trace: safe, content or everything.")
    ] = Keep.SAFE,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port of the vpcd driver, or of the TCP server.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on, for tcp; 127.0.0.1 if absent.")] = None,
    own_service: Annotated[
        bool, typer.Option("--own-pcscd", help="Start a PC/SC service of our own instead of using the machine's.")
    ] = False,
) -> None:
    """Offer a real or simulated card to other programs until Ctrl-C, with rules on the way."""
    from permitcard.relaying import relayed
    from permitcard.serving import Offer, require_fitting, serve

    console = console_of(context)
    require_fitting(way.value, port=port, host=host, own_pcscd=own_service)
    if keep is Keep.EVERYTHING and trace is not None:
        console.warn("trace.everything")
    with relayed(card, rules, trace, keep) as connections:
        serve(connections, Offer(card, way.value, port, host, own_service), console)
    if trace is not None and trace.exists():
        console.say("relay.trace", path=trace)
