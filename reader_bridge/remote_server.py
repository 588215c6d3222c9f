"""Offers cards over TCP; see `remote_protocol`."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, ReaderError
from reader_bridge.network import listen, notice_loss, reason_of, tls_reason
from reader_bridge.remote_protocol import (
    CARD_BITS,
    CHALLENGE_LENGTH,
    DEFAULT_PORT,
    MIN_TOKEN_CHARACTERS,
    MOST_CARDS,
    VERSION,
    Answer,
    FrameError,
    Frames,
    Request,
    place_of,
    proof,
)

_GREETING_SECONDS: Final = 10.0
"""How long a client may take from its call to its proof, TLS included."""

_MAX_GREETING: Final = 64
_MOST_STRANGERS: Final = 64
"""Clients that have not proved themselves yet; a further one is turned away."""

_ACCEPT_SECONDS: Final = 0.2
_JOIN_SECONDS: Final = 5.0

_log: Final = logging.getLogger(__name__)


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    """TLS 1.2 or later for a server, from PEM files.

    Raises:
        ReaderError: "tls-files", they cannot be read or do not fit together; "tls-key-locked", the key has a
            passphrase, and nobody is there to type it when a server starts.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    asked: list[bool] = []

    def no_passphrase() -> str:
        asked.append(True)
        return ""

    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except ssl.SSLError as error:
        if asked:
            raise ReaderError("tls-key-locked", key=key) from error
        raise ReaderError("tls-files", certificate=certificate, reason=tls_reason(error)) from error
    except OSError as error:
        missing = key if Path(certificate).is_file() else certificate  # the library does not say which
        raise ReaderError("tls-files", certificate=missing, reason=reason_of(error)) from error
    return context


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

    Attributes:
        port: where it listens.
        failure: what ended its thread, None while all is well.

    Raises:
        ReaderError: "token-too-short", "port-in-use" or "address-unusable".
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
                self._offered[place_of(card, interface)] = connection, turns
        self._token = token
        self._tls = tls
        self._taken: set[int] = set()
        self._taking = threading.Lock()
        self._links: set[socket.socket] = set()
        self._clients: set[threading.Thread] = set()
        self._strangers: dict[socket.socket, float] = {}  # until when each has to have proved itself
        self._stopping = threading.Event()
        self.failure: Exception | None = None
        self._listener = listen(host, port)
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
        _join(self._thread)  # nobody is let in any more
        for link in tuple(self._links):
            _shut(link)
        for client in tuple(self._clients):
            _join(client)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        try:
            self._let_in()
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: tell the owner and end
            _log.error("server on port %d ended: %s", self.port, type(error).__name__)
            self.failure = error

    def _let_in(self) -> None:
        while not self._stopping.is_set():
            self._turn_away_the_slow()
            try:
                link, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # we stop, or the system has no room for another client just now
                _log.info("no client was let in: %s", type(error).__name__)
                self._stopping.wait(_ACCEPT_SECONDS)
                continue
            if len(self._strangers) >= _MOST_STRANGERS:
                link.close()
                continue
            self._strangers[link] = time.monotonic() + _GREETING_SECONDS
            self._links.add(link)
            client = threading.Thread(target=self._client, args=(link,), name="remote-client", daemon=True)
            self._clients.add(client)
            client.start()

    def _client(self, link: socket.socket) -> None:
        """One client from greeting to end; whatever it sends, only its own connection suffers."""
        place: int | None = None
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_loss(link)  # else a client whose machine is gone would keep its interface for ever
            if self._tls is not None:
                link = tls = self._protect(link, self._tls)
                tls.do_handshake()
            frames = Frames(link)
            place = self._greet(frames)
            if place is not None:
                del self._strangers[link]  # before it hears so: its time is over for nobody who has proved himself
                frames.send(Answer.OK, _describe(self._offered[place][0].description))
                self._converse(frames, *self._offered[place])
        except (OSError, FrameError) as error:
            _log.info("client left: %s", type(error).__name__)
        finally:
            self._strangers.pop(link, None)
            self._links.discard(link)
            link.close()
            if place is not None:
                self._release(place)
            self._clients.discard(threading.current_thread())  # last: `close` waits until the card has no power

    def _release(self, place: int) -> None:
        """Take the power away and let the next client in, also when the reader behind fails."""
        connection, turns = self._offered[place]
        try:
            with turns:
                connection.power_off()
        except ReaderError as error:
            _log.info("no power to take away: %s", error.code)
        finally:
            with self._taking:
                self._taken.discard(place)

    def _protect(self, plain: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        link = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._links.discard(plain)
        self._links.add(link)
        self._strangers[link] = self._strangers.pop(plain)
        if self._stopping.is_set():  # while the line had neither name
            _shut(link)
        return link

    def _turn_away_the_slow(self) -> None:
        for link, until in tuple(self._strangers.items()):
            if time.monotonic() >= until:
                _shut(link)

    def _greet(self, frames: Frames) -> int | None:
        """Prove the client and give it a place, of which it is to be told; None when it gets none."""
        challenge = secrets.token_bytes(CHALLENGE_LENGTH)
        frames.send(VERSION, challenge)
        kind, payload = frames.receive(_MAX_GREETING)
        place = payload[0] if payload else 0
        if kind != Request.HELLO or not hmac.compare_digest(payload[1:], proof(self._token, challenge, place)):
            _fail(frames, ReaderError("not-allowed"))
            return None
        told = f"card {(place >> CARD_BITS) + 1}, {list(Interface)[place & 1].value}"
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
        return place

    def _converse(self, frames: Frames, connection: CardConnection, turns: threading.Lock) -> None:
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


def _join(thread: threading.Thread) -> None:
    if thread.is_alive():
        thread.join(_JOIN_SECONDS)


def _shut(link: socket.socket) -> None:
    """End a line under the thread that uses it: what TLS has there stays, for that thread may be about to ask it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(link, socket.SHUT_RDWR)


def _fail(frames: Frames, error: ReaderError) -> None:
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
