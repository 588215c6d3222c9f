"""PIN entry at the reader behind any connection, where the reader has a keypad."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from reader_bridge.connection import CardConnection, ReaderError
from reader_bridge.pin_entry import verification
from reader_bridge.stack import Wrapper

_SECONDS: Final = 30


@runtime_checkable
class PinPad(Protocol):
    """A connection whose reader may have a keypad."""

    def has_pin_pad(self) -> bool:
        """True when a PIN can be typed at it."""
        ...

    def verify_pin(self, structure: bytes) -> bytes:
        """Let somebody type; returns the card's status word, or 6400 (nobody typed) or 6401 (cancelled)."""
        ...


def pin_pad_of(connection: CardConnection) -> PinPad:
    """The keypad of the reader that a connection, or what it wraps, goes through.

    Raises:
        ReaderError: "no-pin-pad".
    """
    found: object = connection
    while isinstance(found, Wrapper):
        found = found.inner
    if isinstance(found, PinPad) and found.has_pin_pad():
        return found
    raise ReaderError("no-pin-pad", reader=connection.description.name)


def verify_at(pad: PinPad, command: bytes) -> bytes:
    """Send a VERIFY whose PIN block of format 2 is filled in by whoever types; returns the status word."""
    return pad.verify_pin(verification(command, _SECONDS))
