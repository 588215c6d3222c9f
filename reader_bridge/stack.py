"""What a host does around an exchange, as small wrappers that each hold a connection.

`standard_stack` puts them in the order that works: fit the command to the reader, collect the response, correct Le,
and trace what really went over the line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from types import TracebackType
from typing import Final, Self

from card_os.iso7816.apdu import MAX_EXTENDED_NE, MAX_SHORT_NC, MAX_SHORT_NE, CommandApdu
from card_os.iso7816.errors import WrongLength
from card_os.iso7816.status import SW
from reader_bridge.connection import CardConnection, ConnectionDescription, Protocol7816, ReaderError

MAX_ROUNDS: Final = 300
"""GET RESPONSE commands for one response; 65,536 bytes in pieces of 256 take 256."""

_MORE_AVAILABLE: Final = 0x61
_EXACT_LENGTH: Final = 0x6C
_HEADER: Final = 4
_GET_RESPONSE: Final = 0xC0
_CHAINED: Final = 0x10
_FURTHER_INTERINDUSTRY: Final = 0x40
_BASIC_CHANNELS: Final = 0x03
_FURTHER_CHANNELS: Final = 0x0F


class Wrapper:
    """Passes everything on; a wrapper overrides `transmit`.

    Args:
        inner: the connection inside.
    """

    __slots__ = ("inner",)

    def __init__(self, inner: CardConnection) -> None:
        self.inner = inner

    @property
    def description(self) -> ConnectionDescription:
        """What the connection inside is."""
        return self.inner.description

    def power_on(self) -> bytes:
        """Power the card; returns ATR or ATS."""
        return self.inner.power_on()

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word."""
        return self.inner.transmit(command)

    def reset(self) -> bytes:
        """Reset the card; returns ATR or ATS."""
        return self.inner.reset()

    def power_off(self) -> None:
        """Take power away."""
        self.inner.power_off()

    def __enter__(self) -> Self:
        self.inner.__enter__()
        if type(self).power_on is not Wrapper.power_on:  # what it says of the card's answer counts here too
            try:
                self.power_on()
            except BaseException:
                self.inner.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.inner.__exit__(kind, error, traceback)


class RightLength(Wrapper):
    """Sends a command again with the length that 6Cxx tells, once.

    Source: ISO/IEC 7816-4:2020, clause 5.6, table 5: the command was not executed.
    """

    __slots__ = ()

    def transmit(self, command: bytes) -> bytes:
        """Send, and send again after 6Cxx."""
        response = self.inner.transmit(command)
        if response[-2] != _EXACT_LENGTH:
            return response
        try:
            parsed = CommandApdu.parse(command)
        except WrongLength:
            return response
        if not parsed.ne:
            return response
        return self.inner.transmit(parsed._replace(ne=response[-1] or MAX_SHORT_NE).encode())


class GetResponse(Wrapper):
    """Collects a response that the card announces with 61xx; bounded.

    Source: ISO/IEC 7816-4:2020, clause 11.7.1 (GET RESPONSE), clause 5.3.4 (response chaining).
    """

    __slots__ = ()

    def transmit(self, command: bytes) -> bytes:
        """Send, then GET RESPONSE on the same channel until no more is announced.

        Raises:
            ReaderError: "response-too-long", the card never ends.
        """
        response = self.inner.transmit(command)
        if response[-2] != _MORE_AVAILABLE:
            return response
        parts: list[bytes] = []
        cla = _plain_class(command[0])
        total = 0
        for _ in range(MAX_ROUNDS):
            parts.append(response[:-2])
            total += len(response) - 2
            if response[-2] != _MORE_AVAILABLE:
                parts.append(response[-2:])
                return b"".join(parts)
            if total > MAX_EXTENDED_NE:
                break
            response = self.inner.transmit(bytes((cla, _GET_RESPONSE, 0, 0, response[-1])))
        raise ReaderError("response-too-long", reader=self.description.name)


def _plain_class(cla: int) -> int:
    """The class byte of the same channel without secure messaging and chaining."""
    if cla & _FURTHER_INTERINDUSTRY:
        return _FURTHER_INTERINDUSTRY | cla & _FURTHER_CHANNELS
    return cla & _BASIC_CHANNELS


class CommandFit(Wrapper):
    """Sends a command as what the reader can carry.

    A reader without extended length gets a chain of short commands and a response in pieces, one with a smaller buffer
    a chain of shorter ones; T=0 gets no Le behind data. `GetResponse` outside collects what the card then announces.

    Source: ISO/IEC 7816-4:2020, clause 5.3.3 (command chaining); ISO/IEC 7816-3:2006, clause 12.2.5 (case 4 by T=0).
    """

    __slots__ = ()

    def transmit(self, command: bytes) -> bytes:
        """Send as it is when the reader can; else as a chain, which a status other than 9000 ends."""
        limits = self.inner.description
        byte_oriented = limits.protocol is Protocol7816.T0
        if _is_short(command) and not byte_oriented and limits.max_command_data >= MAX_SHORT_NC:
            return self.inner.transmit(command)
        try:
            parsed = CommandApdu.parse(command)
        except WrongLength:
            return self.inner.transmit(command)
        if not parsed.extended and len(parsed.data) <= limits.max_command_data:
            if byte_oriented and parsed.data and parsed.ne:
                command = command[:-1]
            return self.inner.transmit(command)
        fits = len(parsed.data) <= limits.max_command_data and parsed.ne <= limits.max_response_data
        if fits and limits.max_command_data > MAX_SHORT_NC:
            return self.inner.transmit(command)
        last = parsed._replace(ne=0 if byte_oriented and parsed.data else min(parsed.ne, MAX_SHORT_NE), extended=False)
        return self._chain(last, min(limits.max_command_data, MAX_SHORT_NC))

    def _chain(self, last: CommandApdu, step: int) -> bytes:
        """Data in pieces of ``step`` bytes; ``last`` is the command that ends the chain, with all of the data."""
        data = last.data
        for at in range(0, len(data) - step, step):
            link = last._replace(cla=last.cla | _CHAINED, data=data[at : at + step], ne=0)
            response = self.inner.transmit(link.encode())
            if response[-2:] != SW.OK.encode():
                return response
        rest = (len(data) - 1) // step * step if data else 0
        return self.inner.transmit(last._replace(data=data[rest:]).encode())


def _is_short(command: bytes) -> bool:
    """True for a header alone, and for what has a length field of one byte."""
    return len(command) <= _HEADER + 1 or (command[_HEADER] != 0 and len(command) <= _HEADER + MAX_SHORT_NC + 2)


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One exchange, or a reset when ``command_length`` is 0.

    Attributes:
        number: counted from 1 on this connection.
        name: what the name hook says, such as "READ BINARY".
        cla: class byte.
        ins: instruction byte.
        p1: first parameter.
        p2: second parameter.
        command_length: bytes of the whole command.
        response_length: bytes of response data.
        status: SW1-SW2, 0 when there was no answer.
        microseconds: as the host saw it.
        command: the bytes, only when data was asked for.
        response: same.
    """

    number: int
    name: str
    cla: int
    ins: int
    p1: int
    p2: int
    command_length: int
    response_length: int
    status: int
    microseconds: float
    command: bytes | None = field(default=None, repr=False)
    response: bytes | None = field(default=None, repr=False)


class Tracing(Wrapper):
    """Tells a sink of every exchange; never of data unless asked.

    Args:
        inner: the connection inside.
        sink: gets one record an exchange, also of one that failed.
        name_of: names a command from its header, CLA INS P1 P2.
        data: put command and response bytes into the records. They may hold personal data and secrets.
    """

    __slots__ = ("_data", "_name_of", "_number", "_sink")

    def __init__(
        self,
        inner: CardConnection,
        sink: Callable[[TraceRecord], None],
        name_of: Callable[[bytes], str] | None = None,
        *,
        data: bool = False,
    ) -> None:
        super().__init__(inner)
        self._sink = sink
        self._name_of = name_of
        self._data = data
        self._number = 0

    def transmit(self, command: bytes) -> bytes:
        """Send and record."""
        response = b""
        start = perf_counter_ns()
        try:
            response = self.inner.transmit(command)
            return response
        finally:
            self._record(command, response, perf_counter_ns() - start)

    def reset(self) -> bytes:
        """Reset and record."""
        start = perf_counter_ns()
        answer = self.inner.reset()
        self._number += 1
        self._sink(
            TraceRecord(self._number, "RESET", 0, 0, 0, 0, 0, len(answer), 0, (perf_counter_ns() - start) / 1_000)
        )
        return answer

    def _record(self, command: bytes, response: bytes, elapsed_ns: int) -> None:
        self._number += 1
        header = command[:4].ljust(4, b"\x00")
        self._sink(
            TraceRecord(
                self._number,
                self._name_of(header) if self._name_of else "",
                header[0],
                header[1],
                header[2],
                header[3],
                len(command),
                max(len(response) - 2, 0),
                int.from_bytes(response[-2:], "big"),
                elapsed_ns / 1_000,
                command if self._data else None,
                response if self._data else None,
            )
        )


def standard_stack(
    connection: CardConnection,
    sink: Callable[[TraceRecord], None] | None = None,
    name_of: Callable[[bytes], str] | None = None,
) -> CardConnection:
    """What hosts want around a connection: whole commands in, whole responses out.

    Args:
        connection: any connection.
        sink: traces what goes over the line, without data.
        name_of: names a command from its header.
    """
    if sink is not None:
        connection = Tracing(connection, sink, name_of)
    return GetResponse(CommandFit(RightLength(connection)))
