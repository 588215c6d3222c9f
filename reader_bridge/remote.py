"""The `CardConnection` to a card that a server offers over TCP; see `remote_protocol`."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.network import dial, notice_loss, place_name, reason_of, tls_reason
from reader_bridge.remote_protocol import VERSION, Answer, FrameError, Frames, Request, place_of, proof

_STATUS_LENGTH: Final = 2


def client_tls(authority: str | None = None) -> ssl.SSLContext:
    """TLS for a client: the server's certificate has to chain to ``authority`` (PEM file) or to the system's.

    Raises:
        ReaderError: "tls-files", the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        raise ReaderError("tls-files", certificate=authority, reason=tls_reason(error)) from error
    except OSError as error:
        raise ReaderError("tls-files", certificate=authority, reason=reason_of(error)) from error


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
        self._frames: Frames | None = None
        self._place = place_of(card, interface)
        name = f"remote:{place_name(host, port)}" + (f"/{card}" if card > 1 else "")
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
        response = self._ask(Request.TRANSMIT, command)
        if len(response) < _STATUS_LENGTH:
            reason = "a response without a status word"
            raise ReaderError("transmission-failed", reader=self._description.name, reason=reason)
        return response

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
        except (OSError, FrameError) as error:
            self._drop()
            raise ReaderError("reader-removed", reader=self._description.name, reason=str(error)) from error
        return _checked(kind, answer)

    def _reach(self) -> Frames:
        name = self._description.name
        try:
            link = dial(self._host, self._port, self._timeout)
        except (OSError, UnicodeError) as error:  # UnicodeError: what no name of a machine can be
            raise ReaderError("unreachable", reader=name, reason=reason_of(error)) from error
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_loss(link)
            if self._tls is not None:
                link = self._tls.wrap_socket(link, server_hostname=self._host)
            frames = Frames(link)
            self._greet(frames)
        except ssl.SSLError as error:
            link.close()
            raise ReaderError("tls-failed", reader=name, reason=tls_reason(error)) from error
        except (OSError, FrameError, ValueError, KeyError, TypeError, RecursionError) as error:
            link.close()
            raise ReaderError("unreachable", reader=name, reason=str(error)) from error
        except ReaderError:
            link.close()
            raise
        self._frames = frames
        return frames

    def _greet(self, frames: Frames) -> None:
        """Prove the token and learn what the other side offers."""
        version, challenge = frames.receive()
        if version != VERSION:
            raise ReaderError("remote-version", reader=self._description.name, version=version, known=VERSION)
        place = self._place
        frames.send(Request.HELLO, bytes((place,)) + proof(self._token, challenge, place))
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
