"""The ways in which the command line offers a card or any connection to other programs, and what it says of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from permitcard.card_in_hand import serving_token
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from permitcard.console import Console
    from reader_bridge.connection import CardConnection
    from reader_bridge.offering import ConnectionServer
    from reader_bridge.serving import CardServer
    from reader_bridge.simulated import SimulatedCard

TOKEN_VARIABLE: Final = "PERMITCARD_TOKEN"  # noqa: S105 - a variable's name
_POLL_SECONDS: Final = 0.2
_PROTOCOLS: Final = {"t0": 0, "t1": 1}

Say = Callable[..., None]
"""Prints a message by its code."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the user wants.

    Attributes:
        what: card file, address or trace, for messages.
        way: vpcd or tcp, and for card files ccid-serial, phoenix or pn532.
        port: of the vpcd driver or to listen on; None for the usual or a free one.
        host: to listen on.
        own_service: start a PC/SC service of our own.
        link: device file to make; None leaves its name to the system.
        tls: certificate and key for TCP, PEM files; None for plain TCP.
    """

    what: str | Path
    way: str
    port: int | None = None
    host: str = "127.0.0.1"
    own_service: bool = False
    link: Path | None = None
    tls: tuple[Path, Path] | None = None


def offer_card(server: CardServer, offer: Offer, say: Say) -> list[str]:
    """Offer the card and say how to reach it; returns the device files that were made.

    Raises:
        ReaderError: it cannot be offered that way.
    """
    return _WAYS[offer.way](server, offer, say)


def shown_atr(text: str, card: SimulatedCard) -> bytes:
    """The ATR that a virtual reader shows.

    Args:
        text: hexadecimal, or t0 or t1 for the card's own with that protocol alone.
        card: the card.

    Raises:
        PersonalizationError: "atr-unusable", exit 2.
    """
    from card_os.iso7816.atr import AnswerError, Atr

    try:
        if text.lower() not in _PROTOCOLS:
            return Atr.parse(bytes.fromhex(text)).encode()
        number = _PROTOCOLS[text.lower()]
        with card.connect() as connection:
            own = Atr.parse(connection.description.answer)
    except (ValueError, AnswerError) as error:
        raise PersonalizationError("atr-unusable", exit_code=2, atr=text, reason=str(error)) from error
    if number not in own.protocols:
        raise PersonalizationError("atr-unusable", exit_code=2, atr=text, reason=f"the card does not offer T={number}")
    groups = tuple(group for group in own.groups if group.protocol in {None, number})
    return replace(own, groups=groups).encode()


def serve(connections: Sequence[CardConnection], offer: Offer, console: Console) -> None:
    """Offer connections that are no card file, such as a relay, until Ctrl-C.

    Args:
        connections: interfaces of one card, contact first.
        offer: how; vpcd or tcp.
        console: where the words go.

    Raises:
        ReaderError: they cannot be offered that way.
    """
    from reader_bridge.offering import ConnectionServer

    offer_any = {"vpcd": _vpcd, "tcp": _tcp}[offer.way]
    with ConnectionServer(connections) as server:
        offer_any(server, offer, console.say)
        console.result(
            {
                "card": str(offer.what),
                "as": offer.way,
                "port": server.remote_port,
                "environment": server.client_variables,
            }
        )
        wait()


def wait() -> None:
    """Until Ctrl-C or SIGTERM."""
    try:
        while True:
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        return


def _vpcd(server: ConnectionServer, offer: Offer, say: Say) -> list[str]:
    from reader_bridge.vpcd import DEFAULT_PORT

    if offer.own_service:
        server.offer_own_pcsc(offer.port)
    else:
        server.offer_pcsc(offer.port or DEFAULT_PORT)
    say("card.serving", path=offer.what)
    _say_variables(server, say)
    return []


def _ccid_serial(server: CardServer, offer: Offer, say: Say) -> list[str]:
    entries = server.offer_ccid_serial(offer.link, own_service=offer.own_service)
    say("card.serving-serial", path=offer.what)
    for entry in entries:
        if offer.own_service:
            say("card.serial-reader", name=entry.name, device=entry.device)
        else:
            say("card.serial-entry", name=entry.name, device=entry.device)
    _say_variables(server, say)
    return [entry.device for entry in entries]


def _phoenix(server: CardServer, offer: Offer, say: Say) -> list[str]:
    place = server.offer_phoenix(offer.host, offer.port or 0)
    say("card.serving-phoenix", path=offer.what, address=f"serial,phoenix:{place}")
    return [place]


def _pn532(server: CardServer, offer: Offer, say: Say) -> list[str]:
    path = server.offer_pn532(offer.link)
    say("card.serving-pn532", path=offer.what, address=f"serial,pn532:{path}")
    return [path]


def _tcp(server: ConnectionServer, offer: Offer, say: Say) -> list[str]:
    from reader_bridge.remote_server import server_tls

    tls = None if offer.tls is None else server_tls(str(offer.tls[0]), str(offer.tls[1]))
    token = serving_token(TOKEN_VARIABLE, lambda value: say("card.token", token=value))
    server.offer_remote(token, offer.host, offer.port or 0, tls)
    say("card.serving-tcp", path=offer.what, host=offer.host, port=server.remote_port, variable=TOKEN_VARIABLE)
    return []


def _say_variables(server: ConnectionServer, say: Say) -> None:
    for name, value in server.client_variables.items():
        say("card.client-variable", name=name, value=value)


_WAYS: Final[Mapping[str, Callable[[CardServer, Offer, Say], list[str]]]] = {
    "vpcd": _vpcd,
    "ccid-serial": _ccid_serial,
    "phoenix": _phoenix,
    "pn532": _pn532,
    "tcp": _tcp,
}
