"""How the command line offers a connection that is no card file: a relay, a replay, a recording."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from permitcard.card_in_hand import serving_token
from permitcard.trace_choices import OfferAs
from reader_bridge.offering import ConnectionServer
from reader_bridge.vpcd import DEFAULT_PORT

if TYPE_CHECKING:
    from permitcard.console import Console
    from reader_bridge.connection import CardConnection

TOKEN_VARIABLE: Final = "PERMITCARD_TOKEN"  # noqa: S105 - a variable's name
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Offer:
    """What the user wants.

    Attributes:
        way: virtual reader or TCP.
        port: of the vpcd driver or of the TCP server; None for the usual one.
        host: to listen on, for TCP.
        own_service: start a PC/SC service of our own.
    """

    way: OfferAs = OfferAs.VPCD
    port: int | None = None
    host: str = "127.0.0.1"
    own_service: bool = False


def serve(connections: Sequence[CardConnection], offer: Offer, what: str, console: Console) -> None:
    """Offer connections until Ctrl-C.

    Args:
        connections: interfaces of one card, contact first.
        offer: how.
        what: for people, such as an address.
        console: where the words go.

    Raises:
        ReaderError: they cannot be offered that way.
    """
    with ExitStack() as stack:
        server = stack.enter_context(ConnectionServer(connections))
        if offer.way is OfferAs.TCP:
            token = serving_token(TOKEN_VARIABLE, lambda value: console.say("card.token", token=value))
            server.offer_remote(token, offer.host, offer.port or 0)
            console.say(
                "card.serving-tcp", path=what, host=offer.host, port=server.remote_port, variable=TOKEN_VARIABLE
            )
        else:
            if offer.own_service:
                server.offer_own_pcsc(offer.port)
            else:
                server.offer_pcsc(offer.port or DEFAULT_PORT)
            console.say("offer.serving", what=what)
            for name, value in server.client_variables.items():
                console.say("card.client-variable", name=name, value=value)
        console.result(
            {"card": what, "as": offer.way.value, "port": server.remote_port, "environment": server.client_variables}
        )
        wait()


def wait() -> None:
    """Until Ctrl-C or SIGTERM."""
    try:
        while True:
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        return
