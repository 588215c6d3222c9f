"""The record of what was said to a card: names, lengths, status words and times, and no data.

A packed trace is a compressed sequence of entries of 20 bytes: interface (1; 0 contact, 1 contactless) ‖ command
header CLA INS P1 P2 (4) ‖ command length (4) ‖ response length (4) ‖ SW (2) ‖ microseconds (4) ‖ reserved (1), all
big-endian.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from struct import Struct
from time import perf_counter_ns
from types import TracebackType
from typing import Final, NamedTuple, Self

from reader_bridge.connection import CardConnection, ConnectionDescription, Interface
from reader_bridge.trace.commands import command_name

_ENTRY: Final = Struct(">B4sII2sIx")
_FASTEST: Final = 1
_NS_PER_US: Final = 1000
_MAX_US: Final = 0xFFFFFFFF
_INTERFACES: Final = (Interface.CONTACT, Interface.CONTACTLESS)


class TraceEntry(NamedTuple):
    """One exchange.

    Attributes:
        interface: where it happened.
        header: CLA INS P1 P2.
        command_length: bytes of the command APDU.
        response_length: bytes of the response with its status word.
        status: SW1 SW2.
        microseconds: time until the response was there.
    """

    interface: Interface
    header: bytes
    command_length: int
    response_length: int
    status: bytes
    microseconds: int

    @property
    def name(self) -> str:
        """Name of the command in its standard, or its INS as hex."""
        return command_name(self.header[0], self.header[1])


class Trace:
    """Collects the exchanges of one stage of one card."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[bytes] = []

    @property
    def empty(self) -> bool:
        """Whether no command has been answered."""
        return not self._entries

    def follow(self, connection: CardConnection) -> TracedConnection:
        """The same connection, its exchanges written down here."""
        return TracedConnection(connection, self._entries)

    def pack(self) -> bytes:
        """See the module's text for the form."""
        return zlib.compress(b"".join(self._entries), _FASTEST)


class TracedConnection:
    """A `CardConnection` that writes down what passes, without data."""

    __slots__ = ("_append", "_connection", "_interface")

    def __init__(self, connection: CardConnection, entries: list[bytes]) -> None:
        self._connection = connection
        self._append = entries.append
        self._interface = _INTERFACES.index(connection.description.interface)

    @property
    def description(self) -> ConnectionDescription:
        """The connection's own."""
        return self._connection.description

    def power_on(self) -> bytes:
        """Power the card."""
        return self._connection.power_on()

    def transmit(self, command: bytes) -> bytes:
        """Pass one command on and write down its header, the lengths, the status word and the time."""
        started = perf_counter_ns()
        response = self._connection.transmit(command)
        took = (perf_counter_ns() - started) // _NS_PER_US
        self._append(
            _ENTRY.pack(self._interface, command[:4], len(command), len(response), response[-2:], min(took, _MAX_US))
        )
        return response

    def reset(self) -> bytes:
        """Reset the card."""
        return self._connection.reset()

    def power_off(self) -> None:
        """Take power away."""
        self._connection.power_off()

    def __enter__(self) -> Self:
        self._connection.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.power_off()


def unpack_trace(packed: bytes) -> Iterator[TraceEntry]:
    """Entries of a packed trace."""
    raw = zlib.decompress(packed)
    for interface, header, command_length, response_length, status, microseconds in _ENTRY.iter_unpack(raw):
        yield TraceEntry(_INTERFACES[interface], header, command_length, response_length, status, microseconds)


class StepTimer:
    """Times named steps, one after the other."""

    __slots__ = ("_since", "_step", "_times")

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._step = ""
        self._since = 0

    def enter(self, step: str) -> None:
        """``step`` begins and the one before ends; a step may come again."""
        now = perf_counter_ns()
        if self._step:
            self._times[self._step] = self._times.get(self._step, 0) + now - self._since
        self._step, self._since = step, now

    def finish(self) -> str:
        """End the last step; a JSON object of microseconds by step."""
        self.enter("")
        return json.dumps({step: took // _NS_PER_US for step, took in self._times.items()})
