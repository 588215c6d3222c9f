"""A card over TCP: a server that offers connections and the `CardConnection` that reaches them.

Frames are a length of 4 bytes, big-endian, and a body: one byte of `Request` or `Answer`, then the payload. The
server opens with its version and a fresh challenge; the client proves that it knows the token without sending it:

```
server    01 ‖ challenge (16)
client    HELLO ‖ place (1) ‖ HMAC-SHA-256(token, "permitcard remote" ‖ challenge ‖ place)
server    OK ‖ JSON description, or FAILED ‖ JSON error
client    POWER_ON | RESET | POWER_OFF | TRANSMIT ‖ command
server    OK ‖ answer, or FAILED ‖ JSON error
```

The lowest bit of the place is the interface, 0 contact and 1 contactless; above it is the card, the first being 0.

The token keeps strangers off; what goes over the line is protected by TLS only, so use it outside one machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import secrets
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import IntEnum
from types import TracebackType
from typing import Final, Self

from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, Protocol7816, ReaderError

DEFAULT_PORT: Final = 35_964
VERSION: Final = 1
MIN_TOKEN_CHARACTERS: Final = 16

_LABEL: Final = b"permitcard remote"
_CHALLENGE: Final = 16
_PREFIX: Final = struct.Struct(">I")
_MAX_FRAME: Final = 70_000
_GREETING_SECONDS: Final = 10.0
"""How long a client may take from its call to its proof, TLS included."""

_MAX_GREETING: Final = 64
_MOST_STRANGERS: Final = 64
"""Clients that have not proved themselves yet; a further one is turned away."""

_ACCEPT_SECONDS: Final = 0.2
_JOIN_SECONDS: Final = 5.0

_log: Final = logging.getLogger(__name__)


class Request(IntEnum):
    """What a client asks."""

    HELLO = 0x10
    POWER_ON = 0x11
    RESET = 0x12
    POWER_OFF = 0x13
    TRANSMIT = 0x14


class Answer(IntEnum):
    """How a server answers."""

    OK = 0x00
    FAILED = 0x01


_NUMBERS: Final = {Interface.CONTACT: 0, Interface.CONTACTLESS: 1}
_CARD_BITS: Final = 1
MOST_CARDS: Final = 128
"""How many cards a place can tell apart."""


class _FrameError(Exception):
    """The other side left or sent what is no frame."""


class _Frames:
    """Length-framed messages on a socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def send(self, kind: int, payload: bytes = b"") -> None:
        self._link.sendall(_PREFIX.pack(len(payload) + 1) + bytes((kind,)) + payload)

    def receive(self, longest: int = _MAX_FRAME) -> tuple[int, bytes]:
        (length,) = _PREFIX.unpack(self._exactly(_PREFIX.size))
        if not 0 < length <= longest:
            raise _FrameError("length out of range")
        body = self._exactly(length)
        return body[0], body[1:]

    def _exactly(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            part = self._link.recv(length)
            if not part:
                raise _FrameError("closed")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()


def new_token() -> str:
    """A token nobody guesses, fit for a command line."""
    return secrets.token_urlsafe(24)


def _proof(token: str, challenge: bytes, place: int) -> bytes:
    return hmac.digest(token.encode(), _LABEL + challenge + bytes((place,)), hashlib.sha256)


def _place(card: int, interface: Interface) -> int:
    """Where an interface of a card is; cards are counted from 1."""
    return card - 1 << _CARD_BITS | _NUMBERS[interface]


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 or later for a server, from PEM files.

    Raises:
        ReaderError: "tls-files", they cannot be read or do not fit together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise ReaderError("tls-files", certificate=certificate, reason=type(error).__name__) from error
    return context


def client_tls(authority: str | None = None) -> ssl.SSLContext:
    """TLS for a client: the server's certificate has to chain to ``authority`` (PEM file) or to the system's.

    Raises:
        ReaderError: "tls-files", the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ReaderError("tls-files", certificate=authority, reason=type(error).__name__) from error


class RemoteServer:
    """Offers the interfaces of one card or several over TCP, one client an interface.

    Args:
        connections: what is offered: the interfaces of the first card.
        token: what a client has to know, 16 characters or more.
        host: address to listen on.
        port: 0 takes a free one; then read it from ``port``.
        tls: from `server_tls`, None for plain TCP.
        lock: held while the first card works; needed when others speak to the same card.
        more: the interfaces of further cards, up to 127.

    Raises:
        ReaderError: "token-too-short", or "port-in-use".
    """

    def __init__(
        self,
        connections: Mapping[Interface, CardConnection],
        token: str,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        tls: ssl.SSLContext | None = None,
        lock: threading.Lock | None = None,
        more: Sequence[Mapping[Interface, CardConnection]] = (),
    ) -> None:
        if len(token) < MIN_TOKEN_CHARACTERS:
            raise ReaderError("token-too-short", minimum=MIN_TOKEN_CHARACTERS)
        if len(more) >= MOST_CARDS:
            raise ValueError(f"at most {MOST_CARDS} cards")
        self._offered: dict[int, tuple[CardConnection, threading.Lock]] = {}
        for card, interfaces in enumerate((connections, *more), start=1):
            turns = lock if lock is not None and card == 1 else threading.Lock()  # a card does one thing at a time
            for interface, connection in interfaces.items():
                self._offered[_place(card, interface)] = connection, turns
        self._token = token
        self._tls = tls
        self._taken: set[int] = set()
        self._taking = threading.Lock()
        self._links: set[socket.socket] = set()
        self._clients: set[threading.Thread] = set()
        self._strangers: dict[socket.socket, float] = {}  # until when each has to have proved itself
        self._stopping = threading.Event()
        try:
            self._listener = socket.create_server((host, port))
        except OSError as error:
            raise ReaderError("port-in-use", host=host, port=port, reason=error.strerror) from error
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=f"remote-{self.port}", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._listener.settimeout(_ACCEPT_SECONDS)
        self._thread.start()

    def close(self) -> None:
        """Stop, and end what clients have open; safe to call twice."""
        self._stopping.set()
        with contextlib.suppress(OSError):  # wakes the accepting thread where the system does not do it at close
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in tuple(self._links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *self._clients):
            if thread.is_alive():
                thread.join(_JOIN_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            self._turn_away_the_slow()
            try:
                link, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if len(self._strangers) >= _MOST_STRANGERS:
                link.close()
                continue
            self._strangers[link] = time.monotonic() + _GREETING_SECONDS
            client = threading.Thread(target=self._client, args=(link,), name="remote-client", daemon=True)
            self._clients.add(client)
            client.start()

    def _client(self, link: socket.socket) -> None:
        """One client from greeting to end; whatever it sends, only its own connection suffers."""
        place: int | None = None
        self._links.add(link)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                link = tls = self._protect(link, self._tls)
                tls.do_handshake()
            frames = _Frames(link)
            place = self._greet(frames)
            del self._strangers[link]
            if place is not None:
                self._converse(frames, *self._offered[place])
        except (OSError, _FrameError) as error:
            _log.info("client left: %s", type(error).__name__)
        finally:
            self._strangers.pop(link, None)
            self._links.discard(link)
            self._clients.discard(threading.current_thread())
            link.close()
            if place is not None:
                connection, turns = self._offered[place]
                with turns:
                    connection.power_off()
                with self._taking:
                    self._taken.discard(place)

    def _protect(self, plain: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        link = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._links.discard(plain)
        self._links.add(link)
        self._strangers[link] = self._strangers.pop(plain)
        return link

    def _turn_away_the_slow(self) -> None:
        for link, until in tuple(self._strangers.items()):
            if time.monotonic() >= until:
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)

    def _greet(self, frames: _Frames) -> int | None:
        """Prove the client and give it a place; None when it gets none."""
        challenge = secrets.token_bytes(_CHALLENGE)
        frames.send(VERSION, challenge)
        kind, payload = frames.receive(_MAX_GREETING)
        place = payload[0] if payload else 0
        if kind != Request.HELLO or not hmac.compare_digest(payload[1:], _proof(self._token, challenge, place)):
            _fail(frames, ReaderError("not-allowed"))
            return None
        told = f"card {(place >> _CARD_BITS) + 1}, {list(Interface)[place & 1].value}"
        if place not in self._offered:
            _fail(frames, ReaderError("no-interface", interface=told))
            return None
        with self._taking:
            free = place not in self._taken
            if free:
                self._taken.add(place)
        if not free:
            _fail(frames, ReaderError("reader-in-use", interface=told))
            return None
        frames.send(Answer.OK, _describe(self._offered[place][0].description))
        return place

    def _converse(self, frames: _Frames, connection: CardConnection, turns: threading.Lock) -> None:
        while True:
            kind, payload = frames.receive()
            try:
                with turns:
                    answer = _execute(connection, kind, payload)
            except ReaderError as error:
                _fail(frames, error)
            else:
                frames.send(Answer.OK, answer)


def _execute(connection: CardConnection, kind: int, payload: bytes) -> bytes:
    match kind:
        case Request.TRANSMIT:
            return connection.transmit(payload)
        case Request.POWER_ON:
            return connection.power_on()
        case Request.RESET:
            return connection.reset()
        case Request.POWER_OFF:
            connection.power_off()
            return b""
        case _:
            raise ReaderError("bad-request", kind=kind)


def _fail(frames: _Frames, error: ReaderError) -> None:
    facts = {name: str(value) for name, value in error.parameters.items()}
    frames.send(Answer.FAILED, json.dumps({"code": error.code, "parameters": facts}).encode())


def _describe(description: ConnectionDescription) -> bytes:
    return json.dumps(
        {
            "name": description.name,
            "protocol": description.protocol.value,
            "max_command_data": description.max_command_data,
            "max_response_data": description.max_response_data,
            "simulated": description.simulated,
        }
    ).encode()


class RemoteConnection:
    """A `CardConnection` to one interface that a `RemoteServer` offers.

    Args:
        host: where the server is.
        port: its port.
        token: what it wants to be known.
        interface: which interface of the card.
        tls: from `client_tls`, None for plain TCP.
        timeout_seconds: how long an exchange may take.
        card: which of the server's cards, counted from 1.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        interface: Interface = Interface.CONTACT,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = 60.0,
        card: int = 1,
    ) -> None:
        self._host = host
        self._port = port
        self._token = token
        self._tls = tls
        self._timeout = timeout_seconds
        self._frames: _Frames | None = None
        self._place = _place(card, interface)
        name = f"remote:{host}:{port}" + (f"/{card}" if card > 1 else "")
        self._description = ConnectionDescription(name, interface, Protocol7816.T1, b"", simulated=False)

    @property
    def description(self) -> ConnectionDescription:
        """What this connection is; complete after `power_on`."""
        return self._description

    def power_on(self) -> bytes:
        """Reach the server and power the card; returns ATR or ATS.

        Raises:
            ReaderError: "unreachable", "not-allowed", "reader-in-use", or what the server's reader says.
        """
        return self._remember(self._ask(Request.POWER_ON))

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word."""
        if self._frames is None:
            raise ReaderError("mute", reader=self._description.name, reason="not powered")
        return self._ask(Request.TRANSMIT, command)

    def reset(self) -> bytes:
        """Reset the card; returns ATR or ATS."""
        return self._remember(self._ask(Request.RESET))

    def power_off(self) -> None:
        """Take power away; safe to call twice."""
        if self._frames is not None:
            with contextlib.suppress(ReaderError):
                self._ask(Request.POWER_OFF)

    def close(self) -> None:
        """Power off and leave the server; safe to call twice."""
        self.power_off()
        self._drop()

    def __enter__(self) -> Self:
        try:
            self.power_on()
        except ReaderError:
            self._drop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _remember(self, answer: bytes) -> bytes:
        self._description = replace(self._description, answer=answer)
        return answer

    def _ask(self, request: Request, payload: bytes = b"") -> bytes:
        frames = self._frames or self._reach()
        try:
            frames.send(request, payload)
            kind, answer = frames.receive()
        except TimeoutError as error:
            self._drop()
            raise ReaderError("time-out", reader=self._description.name) from error
        except (OSError, _FrameError) as error:
            self._drop()
            raise ReaderError("reader-removed", reader=self._description.name, reason=str(error)) from error
        return _checked(kind, answer)

    def _reach(self) -> _Frames:
        name = self._description.name
        try:
            link = socket.create_connection((self._host, self._port), timeout=self._timeout)
        except OSError as error:
            raise ReaderError("unreachable", reader=name, reason=error.strerror or str(error)) from error
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                link = self._tls.wrap_socket(link, server_hostname=self._host)
            frames = _Frames(link)
            self._greet(frames)
        except ssl.SSLError as error:
            link.close()
            raise ReaderError("tls-failed", reader=name, reason=error.reason or "") from error
        except (OSError, _FrameError, ValueError, KeyError, TypeError, RecursionError) as error:
            link.close()
            raise ReaderError("unreachable", reader=name, reason=str(error)) from error
        except ReaderError:
            link.close()
            raise
        self._frames = frames
        return frames

    def _greet(self, frames: _Frames) -> None:
        """Prove the token and learn what the other side offers."""
        version, challenge = frames.receive()
        if version != VERSION:
            raise ReaderError("remote-version", reader=self._description.name, version=version, known=VERSION)
        place = self._place
        frames.send(Request.HELLO, bytes((place,)) + _proof(self._token, challenge, place))
        self._describe(json.loads(_checked(*frames.receive())))

    def _describe(self, facts: Mapping[str, object]) -> None:
        """Take over what the server says of its connection."""
        self._description = replace(
            self._description,
            protocol=Protocol7816(facts["protocol"]),
            max_command_data=int(str(facts["max_command_data"])),
            max_response_data=int(str(facts["max_response_data"])),
            simulated=bool(facts["simulated"]),
        )

    def _drop(self) -> None:
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()


def _checked(kind: int, payload: bytes) -> bytes:
    if kind == Answer.OK:
        return payload
    try:
        failure = json.loads(payload)
        told = ReaderError(str(failure["code"]), **{name: str(value) for name, value in failure["parameters"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReaderError("transmission-failed", reason="no answer of the protocol") from error
    raise told
