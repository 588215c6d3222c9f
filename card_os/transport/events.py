"""What the machines of the transmission protocols say: bytes to send, a command, an answer, a failure.

A machine never waits and never sends. Whoever drives it carries bytes both ways, watches the time that `Transmit`
allows, and tells the machine what came, or that nothing came.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Failure(Enum):
    """Why a reader gave an exchange up; the card may or may not have executed the command."""

    RESYNCHRONIZED = "resynchronized"
    """The exchange failed and both sides start again; the next command can be sent."""
    ABORTED = "aborted"
    """A chain was aborted; the next command can be sent."""
    MUTE = "mute"
    """The card does not answer or makes no sense; it has to be reset."""
    PROTOCOL = "protocol"
    """The card broke the protocol in a way that has no recovery; it has to be reset."""


class Transmit(NamedTuple):
    """Bytes for the reader to send.

    Attributes:
        data: the bytes.
        wait_ns: how long the card may take to its first character or frame, in nanoseconds.
    """

    data: bytes
    wait_ns: int

    def __repr__(self) -> str:
        """Length and time only: the bytes may hold secrets."""
        return f"Transmit({len(self.data)} bytes, {self.wait_ns} ns)"


class Completed(NamedTuple):
    """The exchange is over: the card's answer."""

    response: bytes

    def __repr__(self) -> str:
        """Length only: the answer may hold secrets."""
        return f"Completed({len(self.response)} bytes)"


class Broken(NamedTuple):
    """The exchange is over without an answer."""

    failure: Failure

    @property
    def needs_reset(self) -> bool:
        """True when no further command can be sent before a reset or a new activation."""
        return self.failure in {Failure.MUTE, Failure.PROTOCOL}


ReaderEvent = Transmit | Completed | Broken


class Reply(NamedTuple):
    """Bytes for the card to send."""

    data: bytes

    def __repr__(self) -> str:
        """Length only: the answer may hold secrets."""
        return f"Reply({len(self.data)} bytes)"


class Command(NamedTuple):
    """A whole command APDU has arrived; the card executes it, then gives the machine its answer."""

    apdu: bytes

    def __repr__(self) -> str:
        """Length only: the command may hold secrets."""
        return f"Command({len(self.apdu)} bytes)"


class Granted(NamedTuple):
    """The reader granted what the card asked for (more time, another block size); the card goes on working."""


CardEvent = Reply | Command | Granted


class LocalProtocolError(RuntimeError):
    """The program that drives a machine called it in a state that does not allow the call."""
