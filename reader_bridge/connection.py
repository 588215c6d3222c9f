"""The one seam between everything that talks to a card and everything that is one.

Personalization, inspection, conformance tests and tools see a `CardConnection` and nothing else; what works on the
simulator works on a reader, unchanged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol, Self, runtime_checkable


class Interface(Enum):
    """The physical interface a connection runs over."""

    CONTACT = "contact"
    CONTACTLESS = "contactless"


class Protocol7816(Enum):
    """The transmission protocol in use."""

    T0 = "T=0"
    T1 = "T=1"
    TCL = "T=CL"


@dataclass(frozen=True, slots=True)
class ConnectionDescription:
    """What a connection is.

    Attributes:
        name: reader name or address, for people.
        interface: contact or contactless.
        protocol: transmission protocol.
        answer: ATR, or ATS for a contactless card, as the reader reports it.
        max_command_data: largest Nc of one command APDU; up to 255 means short only.
        max_response_data: largest Ne; 256 means short only.
        simulated: True when the card is a simulated one.
    """

    name: str
    interface: Interface
    protocol: Protocol7816
    answer: bytes
    max_command_data: int = 65_535
    max_response_data: int = 65_536
    simulated: bool = False


@runtime_checkable
class CardConnection(Protocol):
    """A card that can be powered and spoken to; not thread-safe."""

    @property
    def description(self) -> ConnectionDescription:
        """What this connection is; ``answer`` is filled after `power_on`."""
        ...

    def power_on(self) -> bytes:
        """Power the card; returns ATR or ATS. Does nothing but return the answer when it is on already.

        Raises:
            ReaderError: no reader, no card, mute card.
        """
        ...

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU (≥ 4 bytes); returns response data and status word (≥ 2 bytes).

        Raises:
            ReaderError: the exchange did not complete; the card may or may not have executed the command.
        """
        ...

    def reset(self) -> bytes:
        """Reset the card (volatile state is lost); returns ATR or ATS."""
        ...

    def power_off(self) -> None:
        """Take power away; safe to call twice."""
        ...

    def __enter__(self) -> Self:
        """Power on."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Power off and release the reader."""
        ...


class PoweredWhileUsed(ABC):
    """The ``with`` statement of a connection that holds a reader or a line: power inside, nothing held behind."""

    @abstractmethod
    def power_on(self) -> bytes:
        """Power the card; returns ATR or ATS."""

    @abstractmethod
    def power_off(self) -> None:
        """Take power away; safe to call twice."""

    @abstractmethod
    def close(self) -> None:
        """Give the reader back; safe to call twice."""

    def __enter__(self) -> Self:
        """Power the card; a reader that cannot is given back."""
        try:
            self.power_on()
        except ReaderError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Power off and give the reader back."""
        self.power_off()
        self.close()


class ReaderError(Exception):
    """Something between us and the card failed; the card itself said nothing.

    Args:
        code: stable identifier such as "no-reader", "no-card", "card-removed", "mute", "time-out"; the front door
            turns it into words.
        parameters: facts for the message; never APDU data.
    """

    def __init__(self, code: str, **parameters: object) -> None:
        super().__init__(code, parameters)
        self.code = code
        self.parameters = parameters

    def __str__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.code}: {facts}" if facts else self.code
