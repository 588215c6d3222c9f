"""The ways in which ``permitcard card serve`` offers a card, and what it says of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from permitcard.card_in_hand import serving_token

if TYPE_CHECKING:
    from reader_bridge.serving import CardServer

TOKEN_VARIABLE: Final = "PERMITCARD_TOKEN"  # noqa: S105 - a variable's name

Say = Callable[..., None]
"""Prints a message by its code."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the user wants.

    Attributes:
        card: the card file, for messages.
        way: vpcd, ccid-serial, phoenix, pn532 or tcp.
        port: of the vpcd driver or to listen on; None for the usual or a free one.
        host: to listen on.
        link: device file to make; None leaves its name to the system.
        own_service: start a PC/SC service of our own.
        tls: certificate and key for TCP, PEM files; None for plain TCP.
    """

    card: Path
    way: str
    port: int | None
    host: str
    link: Path | None
    own_service: bool
    tls: tuple[Path, Path] | None = None


def offer_card(server: CardServer, offer: Offer, say: Say) -> list[str]:
    """Offer the card and say how to reach it; returns the device files that were made.

    Raises:
        ReaderError: it cannot be offered that way.
    """
    return _WAYS[offer.way](server, offer, say)


def _vpcd(server: CardServer, offer: Offer, say: Say) -> list[str]:
    from reader_bridge.vpcd import DEFAULT_PORT

    if offer.own_service:
        server.offer_own_pcsc(offer.port)
    else:
        server.offer_pcsc(offer.port or DEFAULT_PORT)
    say("card.serving", path=offer.card)
    _say_variables(server, say)
    return []


def _ccid_serial(server: CardServer, offer: Offer, say: Say) -> list[str]:
    entries = server.offer_ccid_serial(offer.link, own_service=offer.own_service)
    say("card.serving-serial", path=offer.card)
    for entry in entries:
        if offer.own_service:
            say("card.serial-reader", name=entry.name, device=entry.device)
        else:
            say("card.serial-entry", name=entry.name, device=entry.device)
    _say_variables(server, say)
    return [entry.device for entry in entries]


def _phoenix(server: CardServer, offer: Offer, say: Say) -> list[str]:
    place = server.offer_phoenix(offer.host, offer.port or 0)
    say("card.serving-phoenix", path=offer.card, address=f"serial,phoenix:{place}")
    return [place]


def _pn532(server: CardServer, offer: Offer, say: Say) -> list[str]:
    path = server.offer_pn532(offer.link)
    say("card.serving-pn532", path=offer.card, address=f"serial,pn532:{path}")
    return [path]


def _tcp(server: CardServer, offer: Offer, say: Say) -> list[str]:
    from reader_bridge.remote import server_tls

    tls = None if offer.tls is None else server_tls(str(offer.tls[0]), str(offer.tls[1]))
    token = serving_token(TOKEN_VARIABLE, lambda value: say("card.token", token=value))
    server.offer_remote(token, offer.host, offer.port or 0, tls)
    say("card.serving-tcp", path=offer.card, host=offer.host, port=server.remote_port, variable=TOKEN_VARIABLE)
    return []


def _say_variables(server: CardServer, say: Say) -> None:
    for name, value in server.client_variables.items():
        say("card.client-variable", name=name, value=value)


_WAYS: Final[Mapping[str, Callable[[CardServer, Offer, Say], list[str]]]] = {
    "vpcd": _vpcd,
    "ccid-serial": _ccid_serial,
    "phoenix": _phoenix,
    "pn532": _pn532,
    "tcp": _tcp,
}
