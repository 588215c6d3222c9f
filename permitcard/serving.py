"""The ways in which the command line offers a card or any connection to other programs, and what it says of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from permitcard.card_in_hand import serving_token
from permitcard.reaching import TOKEN_VARIABLE
from personalization.errors import PersonalizationError

if TYPE_CHECKING:
    from permitcard.console import Console
    from reader_bridge.connection import CardConnection
    from reader_bridge.offering import ConnectionServer
    from reader_bridge.serving import CardServer
    from reader_bridge.simulated import SimulatedCard

_POLL_SECONDS: Final = 0.2
_PROTOCOLS: Final = {"t0": 0, "t1": 1}
_LAST_PORT: Final = 65_535
_HERE: Final = "127.0.0.1"

_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "--port": ("vpcd", "tcp", "phoenix"),
    "--host": ("tcp", "phoenix"),
    "--own-pcscd": ("vpcd", "ccid-serial"),
    "--link": ("ccid-serial", "pn532"),
    "--atr": ("vpcd",),
    "--certificate": ("tcp",),
    "--key": ("tcp",),
}
"""Which ways of offering take an option."""

Say = Callable[..., None]
"""Prints a message by its code."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the user wants.

    Attributes:
        what: card file, address or trace, for messages.
        way: vpcd or tcp, and for card files ccid-serial, phoenix or pn532.
        port: of the vpcd driver or to listen on; None for the usual or a free one.
        host: to listen on; None for this machine alone.
        own_service: start a PC/SC service of our own.
        link: device file to make; None leaves its name to the system.
        tls: certificate and key for TCP, PEM files; None for plain TCP.
    """

    what: str | Path
    way: str
    port: int | None = None
    host: str | None = None
    own_service: bool = False
    link: Path | None = None
    tls: tuple[Path, Path] | None = None


def require_fitting(way: str, **given: object) -> None:
    """Refuse options that would do nothing: who gives a TLS key must not be served in plain.

    Args:
        way: vpcd, tcp, ccid-serial, phoenix or pn532.
        given: options by name, ``own_pcscd`` for ``--own-pcscd``; None or False was not given.

    Raises:
        PersonalizationError: exit 2: "option-useless", "port-last" or "key-alone".
    """
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if value not in {None, False} and way not in _FOR[option]:
            raise PersonalizationError(
                "option-useless", exit_code=2, option=option, way=way, ways=", ".join(_FOR[option])
            )
    if way == "vpcd" and given.get("port") == _LAST_PORT:
        raise PersonalizationError("port-last", exit_code=2, port=_LAST_PORT)
    if given.get("key") is not None and given.get("certificate") is None:
        raise PersonalizationError("key-alone", exit_code=2)


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
        wait(server)


def wait(server: ConnectionServer) -> None:
    """Until Ctrl-C or SIGTERM.

    Raises:
        ReaderError: an offer has ended, such as a service of our own that was killed: nobody reaches the card any more.
    """
    try:
        while (failure := server.failure) is None:
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        return
    raise failure


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
    place = server.offer_phoenix(offer.host or _HERE, offer.port or 0)
    say("card.serving-phoenix", path=offer.what, address=f"serial,phoenix:{place}")
    return [place]


def _pn532(server: CardServer, offer: Offer, say: Say) -> list[str]:
    path = server.offer_pn532(offer.link)
    say("card.serving-pn532", path=offer.what, address=f"serial,pn532:{path}")
    return [path]


def _tcp(server: ConnectionServer, offer: Offer, say: Say) -> list[str]:
    from reader_bridge.network import place_name
    from reader_bridge.remote_server import server_tls

    tls = None if offer.tls is None else server_tls(str(offer.tls[0]), str(offer.tls[1]))
    made: list[str] = []
    token = serving_token(TOKEN_VARIABLE, made.append)
    host = offer.host or _HERE
    server.offer_remote(token, host, offer.port or 0, tls)
    for value in made:
        say("card.token", token=value)
        server.client_variables[TOKEN_VARIABLE] = value
    place = place_name(host, server.remote_port or 0)
    say("card.serving-tcp", path=offer.what, place=place, variable=TOKEN_VARIABLE)
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
