"""Offers connections to other programs: as slots of a virtual PC/SC reader, or over TCP.

What is offered is any `CardConnection`: a relay, a replay, something that records.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from reader_bridge.connection import CardConnection, Interface
from reader_bridge.remote_server import RemoteServer
from reader_bridge.vpcd import DEFAULT_PORT, VirtualReader


class Offered(Protocol):
    """A reader, a service or a server that works beside its owner."""

    @property
    def failure(self) -> Exception | None:
        """What ended it, None while all is well."""
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""
        ...


_OWN_SERVICE_SECONDS: Final = 30.0
"""The driver listens: on a machine that is busy it takes its time, and it looks at its slots."""

_SLOTS_A_CARD: Final = 2
"""Of a driver: contact and contactless."""

OfferedT = TypeVar("OfferedT", bound=Offered)


class ConnectionServer:
    """Offers connections until it is closed.

    Args:
        connections: interfaces of one card, contact first; one or two. The caller closes them afterwards.
        atr: ATR that contact slots show instead of the card's own; it chooses the protocol of hosts.

    Attributes:
        client_variables: what a client needs in its environment; empty when the machine's own service is used.
        remote_port: port of the TCP server, None when there is none.
    """

    def __init__(self, connections: Sequence[CardConnection] = (), *, atr: bytes | None = None) -> None:
        self._connections = tuple(connections)
        self._atr = atr
        self.client_variables: dict[str, str] = {}
        self.remote_port: int | None = None
        self._stack = ExitStack()
        self._offers: list[Offered] = []

    def _offer(self, offered: OfferedT) -> OfferedT:
        """Begin to offer something, until `close`."""
        self._offers.append(self._stack.enter_context(offered))
        return offered

    @property
    def failure(self) -> Exception | None:
        """What ended an offer, such as a service of our own that was killed; None while all is well."""
        return next((offer.failure for offer in self._offers if offer.failure is not None), None)

    def _in_slots(self) -> Sequence[CardConnection]:
        """What stands in the slots of a virtual reader."""
        return self._connections

    def _further_cards(self) -> Sequence[Sequence[CardConnection]]:
        """What stands in the slots of further virtual readers, which only a service of our own has."""
        return ()

    def _over_tcp(self) -> Sequence[Mapping[Interface, CardConnection]]:
        """The cards that a TCP server has."""
        return [{connection.description.interface: connection for connection in self._connections}]

    def offer_pcsc(self, port: int = DEFAULT_PORT, timeout_seconds: float = 10.0) -> None:
        """Put the connections into the slots of a virtual reader whose driver listens on ``port`` and the next.

        Raises:
            ReaderError: "no-virtual-reader", no driver listens there.
        """
        reader = self._offer(VirtualReader(self._in_slots(), port, atr=self._atr))
        reader.wait_until_inserted(timeout_seconds)

    def offer_own_pcsc(self, port: int | None = None, folder: str | os.PathLike[str] | None = None) -> None:
        """Start a PC/SC service of our own and put the connections into its virtual readers, two slots a card.

        Args:
            port: of its first slot; a free one when None.
            folder: for its socket, configuration and log, so that clients know the socket before there is a service;
                a temporary one when None.

        Raises:
            ReaderError: packages are missing, or the service does not come up.
        """
        from reader_bridge.pcscd import CLIENT_VARIABLE, PcscService  # there is one on POSIX systems only

        further = self._further_cards()
        service = self._offer(PcscService(port, folder=folder, slots=_SLOTS_A_CARD * (1 + len(further))))
        self.client_variables = {CLIENT_VARIABLE: service.socket_path}
        self.offer_pcsc(service.port, _OWN_SERVICE_SECONDS)
        for connections, first in zip(further, service.ports[_SLOTS_A_CARD::_SLOTS_A_CARD], strict=True):
            self._offer(VirtualReader(connections, first)).wait_until_inserted(_OWN_SERVICE_SECONDS)

    def offer_remote(
        self, token: str, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """Offer the connections over TCP.

        Raises:
            ReaderError: the port is taken, this machine has no such address, or the token is too short.
        """
        first, *more = self._over_tcp()
        server = self._offer(RemoteServer(first, token, host, port, tls=tls, more=more))
        self.remote_port = server.port

    def close(self) -> None:
        """End all offers; safe to call twice."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
