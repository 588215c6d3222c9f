"""A simulated card as the contacts of a reader meet it: a reset, then characters in and characters out.

The card answers a reset with its ATR, takes PPS, and goes on in the protocol that was agreed on. While a command is
executed longer than the reader should wait, it asks for time: NULL under T=0, S(WTX request) under T=1.

Source: ISO/IEC 7816-3:2006, clauses 6.3.1 (first character: PPS or protocol), 9, 10.3.3 and 11.6.2.3 (rule 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Final, Protocol

from card_os.iso7816.atr import AnswerError, Atr
from card_os.port import PortMute
from card_os.transport.events import Command, LocalProtocolError, Reply
from card_os.transport.parameters import LineParameters
from card_os.transport.pps import PPSS, Selection, answer_request, pps_length, without_pps
from card_os.transport.t0_card import T0Card
from card_os.transport.t1_card import T1Card
from card_os.transport.wire import CardMachine
from reader_bridge.connection import CardConnection, Interface, Protocol7816, ReaderError
from reader_bridge.contactless_atr import contactless_atr

_T1: Final = 1
_ONE_WAITING_TIME: Final = 1


class Execution(Protocol):
    """A command that is being executed."""

    def response(self) -> bytes | None:
        """The response; None = the card needs more time."""
        ...


class _Done:
    __slots__ = ("_response",)

    def __init__(self, response: bytes) -> None:
        self._response = response

    def response(self) -> bytes | None:
        return self._response


class _Running:
    __slots__ = ("_future", "_seconds")

    def __init__(self, future: Future[bytes], seconds: float) -> None:
        self._future, self._seconds = future, seconds

    def response(self) -> bytes | None:
        try:
            return self._future.result(self._seconds)
        except TimeoutError:
            return None


Execute = Callable[[Callable[[bytes], bytes], bytes], Execution]
"""Runs a command: by the card's function, at once or beside the line."""


def at_once(process: Callable[[bytes], bytes], command: bytes) -> Execution:
    """The line waits until the command is executed."""
    return _Done(process(command))


def beside_the_line(executor: Executor, seconds: float) -> Execute:
    """The command runs on another thread, and the card asks for time every so many seconds."""
    return lambda process, command: _Running(executor.submit(process, command), seconds)


def contact_atr(connection: CardConnection, answer: bytes) -> bytes:
    """The ATR that a reader with contacts shows; a contactless card gets that of PC/SC part 3."""
    return contactless_atr(answer) if connection.description.interface is Interface.CONTACTLESS else answer


class ContactCard:
    """A card at the contacts of a virtual reader.

    Args:
        connection: the card. One without contacts appears as PC/SC part 3 has it, T=1 by the reader's grace.
        execute: how commands run.

    Attributes:
        selection: protocol and rates since the last PPS or first character; None before.
        parameters: what the ATR says; None without power.
    """

    def __init__(self, connection: CardConnection, execute: Execute = at_once) -> None:
        self._connection = connection
        self._execute = execute
        self._buffer = b""
        self._machine: CardMachine | None = None
        self._execution: Execution | None = None
        self.selection: Selection | None = None
        self.parameters: LineParameters | None = None

    @property
    def name(self) -> str:
        """What the card is called, for people."""
        return self._connection.description.name

    @property
    def powered(self) -> bool:
        """True from `reset` until `deactivate` or until the card goes mute."""
        return self.parameters is not None

    def reset(self) -> bytes:
        """Give power, or pull the reset line; returns the ATR, empty when the card is mute."""
        self._forget()
        try:
            answer = contact_atr(self._connection, self._connection.reset())
            self.parameters = LineParameters.from_atr(Atr.parse(answer))
        except (ReaderError, AnswerError):
            return b""
        return answer

    def start(self, answer: bytes) -> None:
        """Begin after a reset that somebody else did, with the ATR that was shown."""
        self._forget()
        self.parameters = LineParameters.from_atr(Atr.parse(answer))

    def deactivate(self) -> None:
        """Take power away."""
        self._forget()
        self._connection.power_off()

    def _forget(self) -> None:
        self._buffer, self._machine, self._execution = b"", None, None
        self.selection = self.parameters = None

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Take characters from the reader; yields what the card sends, as it sends it. Nothing = it waits, or is mute.

        Under T=0 it may go on after NULL; under T=1 it waits for the reader after each block.
        """
        if self.parameters is None:
            return
        if self._machine is None:
            data = self._buffer + data
            if data[:1] == bytes((PPSS,)):
                yield from self._negotiate(self.parameters, data)
                return
            self._choose(self.parameters, without_pps(self.parameters))
        machine = self._machine
        if machine is not None:
            try:
                yield from self._exchange(machine, data)
            except (ReaderError, PortMute):
                self._forget()

    def _negotiate(self, parameters: LineParameters, data: bytes) -> Iterator[bytes]:
        length = pps_length(data)
        if length is None or len(data) < length:
            self._buffer = data
            return
        self._buffer = b""
        answered = answer_request(parameters, data)
        if answered is not None:
            response, selection = answered
            self._choose(parameters, selection)
            yield response  # still at the old rates

    def _choose(self, parameters: LineParameters, selection: Selection) -> None:
        self.selection = selection
        self._machine = T1Card(parameters) if selection.protocol == _T1 else T0Card()

    def _exchange(self, machine: CardMachine, data: bytes) -> Iterator[bytes]:
        event = machine.receive(data)
        if event is None:
            return
        if isinstance(event, Reply):
            yield event.data
            return
        if isinstance(event, Command):
            self._execution = self._execute(self._connection.transmit, event.apdu)
        execution = self._execution
        if execution is None:
            raise LocalProtocolError("time was granted for no command")
        while (response := execution.response()) is None:
            yield machine.extend(_ONE_WAITING_TIME).data
            if machine.waiting:
                return
        if machine.busy:
            yield machine.answer(response).data

    @property
    def protocol(self) -> Protocol7816 | None:
        """T=0 or T=1, as soon as it is known."""
        if self.selection is None:
            return None
        return Protocol7816.T1 if self.selection.protocol == _T1 else Protocol7816.T0
