"""A reader and a card on one wire: carries what one side sends to the other in virtual time.

What happens to a transmission on its way is the wire's `Disturbance`, so that both sides can be tried against loss
and damage.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from card_os.hardware.clock import VirtualClock
from card_os.transport.events import (
    Broken,
    CardEvent,
    Command,
    Completed,
    Granted,
    ReaderEvent,
    Reply,
    Transmit,
)


class Direction(Enum):
    """Who sends."""

    TO_CARD = "to the card"
    TO_READER = "to the reader"


Disturbance = Callable[[Direction, bytes], bytes]
"""What arrives of what was sent; nothing arrives of a lost transmission."""


def undisturbed(_direction: Direction, data: bytes) -> bytes:
    """All arrives as it was sent."""
    return data


class ReaderMachine(Protocol):
    """The reader's side of a protocol."""

    def exchange(self, command: bytes, /) -> ReaderEvent:
        """Begin with a command APDU."""
        ...

    def receive(self, data: bytes, /) -> ReaderEvent | None:
        """Take bytes; None = more are needed."""
        ...

    def time_out(self) -> ReaderEvent:
        """Nothing, or nothing more, came."""
        ...


class CardMachine(Protocol):
    """The card's side of a protocol."""

    @property
    def busy(self) -> bool:
        """True while a command waits for its answer."""
        ...

    def receive(self, data: bytes, /) -> CardEvent | None:
        """Take bytes; None = more are needed, or the card stays mute."""
        ...

    def time_out(self) -> Reply | None:
        """The reader stopped inside a transmission."""
        ...

    def answer(self, response: bytes, /) -> Reply:
        """Answer the command."""
        ...

    def extend(self, multiplier: int, /) -> Reply:
        """Ask for more time."""
        ...

    @property
    def waiting(self) -> bool:
        """True while the card waits for the reader to grant what it asked for."""
        ...


class Wire:
    """Both sides of a protocol on one wire.

    Args:
        reader: the reader's machine.
        card: the card's machine.
        process: executes a command APDU and returns the response.
        clock: virtual time; what is sent and waited for is spent on it.
        disturbance: what happens on the way.
        byte_ns: time of one byte on the wire, in nanoseconds.
        extension: how many waiting times the card asks for before it answers a command that it has executed in virtual
            time ``work_ns``; 0 = none.
        most: how many it can ask for at once; more are asked for one after the other.
    """

    __slots__ = (
        "_byte_ns",
        "_card",
        "_clock",
        "_disturbance",
        "_extension",
        "_left",
        "_most",
        "_process",
        "_reader",
        "_response",
    )

    def __init__(
        self,
        reader: ReaderMachine,
        card: CardMachine,
        process: Callable[[bytes], bytes],
        clock: VirtualClock,
        *,
        disturbance: Disturbance = undisturbed,
        byte_ns: int = 0,
        extension: Callable[[int], int] | None = None,
        most: int = 255,
    ) -> None:
        self._reader = reader
        self._card = card
        self._process = process
        self._clock = clock
        self._disturbance = disturbance
        self._byte_ns = byte_ns
        self._extension = extension
        self._most = most
        self._left = 0
        self._response = b""

    def transmit(self, command: bytes) -> Completed | Broken:
        """Carry one exchange to its end."""
        return self.run(self._reader.exchange(command))

    def run(self, event: ReaderEvent) -> Completed | Broken:
        """Carry on from what the reader says, such as a presence check, to the end."""
        while isinstance(event, Transmit):
            event = self._carry(event)
        return event

    def _carry(self, sent: Transmit) -> ReaderEvent:
        arrived = self._pass(Direction.TO_CARD, sent.data)
        reply = self._react(arrived) if arrived else None
        if reply is not None:
            answer = self._pass(Direction.TO_READER, reply.data)
            event = self._reader.receive(answer) if answer else None
            if event is not None:
                return event
        self._clock.spend(sent.wait_ns)
        return self._reader.time_out()

    def _pass(self, direction: Direction, data: bytes) -> bytes:
        self._clock.spend(self._byte_ns * len(data))
        return self._disturbance(direction, data)

    def _react(self, arrived: bytes) -> Reply | None:
        event = self._card.receive(arrived)
        if event is None:
            return self._card.time_out()
        if isinstance(event, Command):
            started = self._clock.now_ns
            self._response = self._process(event.apdu)
            self._left = self._extension(self._clock.now_ns - started) if self._extension is not None else 0
            return self._go_on()
        if isinstance(event, Granted):
            return self._go_on()
        return event

    def _go_on(self) -> Reply:
        """Ask for the time that is still needed, then answer."""
        sent = b""
        while self._left:
            multiplier = min(self._left, self._most)
            self._left -= multiplier
            asked = self._card.extend(multiplier)
            if self._card.waiting:
                return asked
            sent += asked.data
        answer = self._card.answer(self._response)
        return Reply(sent + answer.data) if sent else answer
