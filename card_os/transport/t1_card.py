"""T=1, the card's side: blocks in, commands out; answers in, blocks out.

A card never gives up: it stays in reception mode until a valid block or a reset (ISO/IEC 7816-3:2006, clause 11.6.3).
After `MAX_ATTEMPTS` invalid blocks in a row it stays mute, so that the reader's time runs out and it resynchronizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING

from card_os.transport.events import CardEvent, Command, Granted, LocalProtocolError, Reply
from card_os.transport.parameters import DEFAULT_IFS, MAX_IFS
from card_os.transport.t1_blocks import (
    MAX_MESSAGE,
    Block,
    ErrorIndication,
    Framing,
    InvalidBlock,
    Kind,
    Supervisory,
    information_block,
    ready_block,
    supervisory_response,
)
from card_os.transport.t1_reader import MAX_ATTEMPTS

if TYPE_CHECKING:
    from card_os.transport.parameters import LineParameters


class State(Enum):
    """Where the card is."""

    RECEIVING = "waits for a command, or for the rest of one"
    PROCESSING = "executes a command"
    REQUESTING = "S(WTX request) or S(IFS request) was sent while a command is executed"
    SENDING = "an I-block of the answer was sent"
    ABORTING = "S(ABORT request) was sent"


class T1Card:
    """The card's side of T=1 from a reset on.

    Args:
        parameters: what this card's ATR says.
        nad: node address to send, 00 for none.
        max_command: longest command APDU in bytes; a longer chain is aborted.

    Attributes:
        state: where the card is.
        ifsc: greatest information field that the reader may send.
        ifsd: greatest information field that the reader takes.
    """

    def __init__(self, parameters: LineParameters, *, nad: int = 0, max_command: int = MAX_MESSAGE) -> None:
        self._table = self._rules()
        self._framing = Framing(crc=parameters.crc, nad=nad)
        self._initial_ifsc = parameters.ifsc
        self._max_command = max_command
        self._reset()

    def _reset(self) -> None:
        self._send_sequence = 0
        self._receive_sequence = 0
        self.ifsc = self._initial_ifsc
        self.ifsd = DEFAULT_IFS
        self.state = State.RECEIVING
        self._incoming = bytearray()
        self._answer = b""
        self._sent = 0
        self._chunk = 0
        self._failures = 0
        self._buffer = b""
        self._request = Block(0)
        self._abort_answered = False

    @property
    def busy(self) -> bool:
        """True while a command waits for its answer; a RESYNCH takes it away."""
        return self.state in {State.PROCESSING, State.REQUESTING}

    @property
    def waiting(self) -> bool:
        """True while the reader has not granted what the card asked for."""
        return self.state is State.REQUESTING

    def receive(self, data: bytes, *, parity_error: bool = False) -> CardEvent | None:
        """Take bytes from the reader; None = the block is not whole yet, or the card stays mute.

        Args:
            data: what came since the last call.
            parity_error: one of these characters had a wrong parity bit; the rest of the block was read and dropped.
        """
        self._buffer += data
        if self._framing.missing(self._buffer) > 0 and not parity_error:
            return None
        raw, self._buffer = self._buffer, b""
        if parity_error:
            return self._refuse(ErrorIndication.CHECK)
        try:
            event = self._dispatch(self._framing.decode(raw))
        except InvalidBlock as error:
            return self._refuse(error.indication)
        self._failures = 0
        return event

    def time_out(self) -> Reply | None:
        """The reader stopped inside a block (CWT); nothing happens between blocks."""
        if not self._buffer:
            return None
        self._buffer = b""
        return self._refuse(ErrorIndication.CHECK)

    def answer(self, response: bytes) -> Reply:
        """Answer the command.

        Raises:
            LocalProtocolError: no command waits for an answer.
        """
        if self.state is not State.PROCESSING:
            raise LocalProtocolError(f"no answer can be sent: {self.state.value}")
        self._answer, self._sent, self._chunk = response, 0, 0
        self.state = State.SENDING
        return self._send_information()

    def extend(self, multiplier: int) -> Reply:
        """Ask for more time, ``multiplier`` (1..255) block waiting times; `Granted` follows."""
        return self._ask(Block(Supervisory.WTX_REQUEST, bytes((multiplier,))))

    def announce_ifsc(self, size: int) -> Reply:
        """Ask the reader to send information fields of up to ``size`` (1..254) bytes; `Granted` follows."""
        if not 1 <= size <= MAX_IFS:
            raise ValueError("IFSC is 1 to 254")
        return self._ask(Block(Supervisory.IFS_REQUEST, bytes((size,))))

    def _ask(self, request: Block) -> Reply:
        if self.state is not State.PROCESSING:
            raise LocalProtocolError(f"nothing can be asked: {self.state.value}")
        self.state, self._request = State.REQUESTING, request
        return self._reply(request)

    def abort(self) -> Reply:
        """Abort instead of answering: the reader gets no answer to its command.

        Raises:
            LocalProtocolError: no command waits for an answer.
        """
        return self._start_abort() if self.state is State.PROCESSING else self._no_abort()

    def _no_abort(self) -> Reply:
        raise LocalProtocolError(f"nothing to abort: {self.state.value}")

    def _start_abort(self) -> Reply:
        self._incoming.clear()
        self._answer = b""
        self.state, self._request = State.ABORTING, Block(Supervisory.ABORT_REQUEST)
        return self._reply(self._request)

    def _reply(self, block: Block) -> Reply:
        return Reply(self._framing.encode(block))

    def _refuse(self, indication: ErrorIndication) -> Reply | None:
        """An invalid block: ask for it again (rules 7.1 to 7.3), then stay mute."""
        self._failures += 1
        if self._failures > MAX_ATTEMPTS:
            return None
        if self.state in {State.REQUESTING, State.ABORTING}:
            return self._reply(self._request)
        return self._reply(ready_block(self._receive_sequence, indication))

    def _send_information(self) -> Reply:
        if not self._chunk:
            self._chunk = min(self.ifsd, len(self._answer) - self._sent)
        end = self._sent + self._chunk
        return self._reply(
            information_block(self._send_sequence, end < len(self._answer), self._answer[self._sent : end])
        )

    @property
    def _unsent(self) -> bool:
        return self._sent + self._chunk < len(self._answer)

    def _dispatch(self, block: Block) -> CardEvent | None:
        act = self._table.get((self.state, block.kind))
        if act is None:
            raise InvalidBlock(ErrorIndication.OTHER)
        return act(block)

    def _information(self, block: Block) -> CardEvent:
        """An I-block: a part of a command; the first after an answer acknowledges the answer (rule 2.1)."""
        if (
            block.sequence != self._receive_sequence
            or len(block.information) > self.ifsc
            or (self.state is State.SENDING and self._unsent)
        ):
            raise InvalidBlock(ErrorIndication.OTHER)
        if self.state is State.SENDING:
            self._acknowledged()
        self._receive_sequence ^= 1
        self._incoming += block.information
        self._abort_answered = False
        if len(self._incoming) > self._max_command:
            return self._start_abort()
        if block.more:
            self.state = State.RECEIVING
            return self._reply(ready_block(self._receive_sequence, ErrorIndication.NONE))
        command = bytes(self._incoming)
        self._incoming.clear()
        self.state = State.PROCESSING
        return Command(command)

    def _acknowledged(self) -> None:
        """The I-block that was sent has arrived."""
        self._send_sequence ^= 1
        self._sent += self._chunk
        self._chunk = 0

    def _ready_while_receiving(self, _block: Block) -> CardEvent:
        return self._reply(ready_block(self._receive_sequence, ErrorIndication.NONE))

    def _ready_while_sending(self, block: Block) -> CardEvent:
        """Again (rule 7.1), on with the chain (rule 2.2), or it was our R-block that was lost."""
        if block.sequence == self._send_sequence:
            return self._send_information()
        if not self._unsent:
            return self._reply(ready_block(self._receive_sequence, ErrorIndication.OTHER))
        self._acknowledged()
        return self._send_information()

    def _ready_after_request(self, _block: Block) -> CardEvent:
        return self._reply(self._request)

    def _request_of_reader(self, block: Block) -> CardEvent:
        match block.pcb:
            case Supervisory.RESYNC_REQUEST:
                self._reset()
            case Supervisory.IFS_REQUEST if not self.busy:
                self.ifsd = block.information[0]
            case Supervisory.ABORT_REQUEST if self._abort_answered or self._in_chain:
                self._drop_chain()
            case _:
                raise InvalidBlock(ErrorIndication.OTHER)
        return self._reply(supervisory_response(block))

    @property
    def _in_chain(self) -> bool:
        return bool(self._incoming) if self.state is State.RECEIVING else self._unsent

    def _drop_chain(self) -> None:
        if self.state is State.SENDING:
            self._acknowledged()
        self._incoming.clear()
        self._answer, self._sent = b"", 0
        self.state = State.RECEIVING
        self._abort_answered = True

    def _response_of_reader(self, block: Block) -> CardEvent:
        """The response to our request; the reader may also resynchronize instead."""
        if block.pcb == Supervisory.RESYNC_REQUEST:
            return self._request_of_reader(block)
        if block.pcb != supervisory_response(self._request).pcb or block.information != self._request.information:
            raise InvalidBlock(ErrorIndication.OTHER)
        if self.state is State.ABORTING:
            self.state = State.RECEIVING
            return self._reply(ready_block(self._receive_sequence, ErrorIndication.NONE))
        if block.pcb == Supervisory.IFS_RESPONSE:
            self.ifsc = block.information[0]
        self.state = State.PROCESSING
        return Granted()

    def _rules(self) -> Mapping[tuple[State, Kind], Callable[[Block], CardEvent | None]]:
        """What is done with a valid block in each state; a pair that is not here is an invalid block."""
        return {
            (State.RECEIVING, Kind.INFORMATION): self._information,
            (State.RECEIVING, Kind.READY): self._ready_while_receiving,
            (State.RECEIVING, Kind.SUPERVISORY): self._request_of_reader,
            (State.PROCESSING, Kind.SUPERVISORY): self._request_of_reader,
            (State.REQUESTING, Kind.READY): self._ready_after_request,
            (State.REQUESTING, Kind.SUPERVISORY): self._response_of_reader,
            (State.SENDING, Kind.INFORMATION): self._information,
            (State.SENDING, Kind.READY): self._ready_while_sending,
            (State.SENDING, Kind.SUPERVISORY): self._request_of_reader,
            (State.ABORTING, Kind.READY): self._ready_after_request,
            (State.ABORTING, Kind.SUPERVISORY): self._response_of_reader,
        }
