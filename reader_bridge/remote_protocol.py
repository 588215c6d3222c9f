"""A card over TCP: what a server that offers connections and a client that reaches them say to each other.

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
import os
import secrets
import socket
import struct
from enum import IntEnum
from typing import Final

from reader_bridge.connection import Interface

DEFAULT_PORT: Final = 35_964
VERSION: Final = 1
MIN_TOKEN_CHARACTERS: Final = 16

CHALLENGE_LENGTH: Final = 16
_LABEL: Final = b"permitcard remote"
_PREFIX: Final = struct.Struct(">I")
_MAX_FRAME: Final = 70_000


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
CARD_BITS: Final = 1
"""Bits of a place below the card's number."""

MOST_CARDS: Final = 128
"""How many cards a place can tell apart."""


class FrameError(Exception):
    """The other side left or sent what is no frame."""


class Frames:
    """Length-framed messages on a socket."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def send(self, kind: int, payload: bytes = b"") -> None:
        """One message.

        Raises:
            OSError: the link has failed.
        """
        self._link.sendall(_PREFIX.pack(len(payload) + 1) + bytes((kind,)) + payload)

    def receive(self, longest: int = _MAX_FRAME) -> tuple[int, bytes]:
        """The next message: its first byte, and the payload.

        Raises:
            FrameError: the other side left, or the length is not 1 to ``longest``.
            OSError: the link has failed.
        """
        (length,) = _PREFIX.unpack(self._exactly(_PREFIX.size))
        if not 0 < length <= longest:
            raise FrameError("length out of range")
        body = self._exactly(length)
        return body[0], body[1:]

    def _exactly(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            part = self._link.recv(length)
            if not part:
                raise FrameError("closed")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """End the link."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()


def new_token() -> str:
    """A token nobody guesses, fit for a command line."""
    return secrets.token_urlsafe(24)


def proof(token: str, challenge: bytes, place: int) -> bytes:
    """HMAC-SHA-256 (32 bytes) by which a client knows the token (its bytes, which need not be text)."""
    return hmac.digest(os.fsencode(token), _LABEL + challenge + bytes((place,)), hashlib.sha256)


def place_of(card: int, interface: Interface) -> int:
    """Where an interface of a card is; cards are counted from 1."""
    return card - 1 << CARD_BITS | _NUMBERS[interface]
