"""T=1, the reader's side: commands in, blocks out; blocks in, answers out.

The rules are those of ISO/IEC 7816-3:2006, clause 11.6; what the reader does in each state with each kind of block is
a table. At most `MAX_ATTEMPTS` attempts are made to get a block; then the reader resynchronizes, at most as often; then
the card is given up and has to be reset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from card_os.transport.events import Broken, Completed, Failure, LocalProtocolError, ReaderEvent, Transmit
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

if TYPE_CHECKING:
    from card_os.transport.parameters import LineParameters
    from card_os.transport.timing import ContactTiming

MAX_ATTEMPTS: Final = 3
"""Attempts at one block, and attempts to resynchronize (11.6.3.2, rules 6.4 and 7.4)."""


class State(Enum):
    """Where the reader is."""

    IDLE = "no command is open"
    SENDING = "an I-block was sent and is not acknowledged"
    RECEIVING = "a chain of the card was acknowledged with an R-block"
    SIZING = "S(IFS request) was sent"
    ABORTING = "S(ABORT request) was sent"
    ABORTED = "the card aborted a chain; it gives the right to send back"
    RESYNCHRONIZING = "S(RESYNCH request) was sent"
    DEAD = "the card has to be reset"


class T1Reader:
    """The reader's side of T=1 with one card, from its reset on.

    Args:
        parameters: what the ATR says.
        timing: times at the negotiated rates.
        ifsd: information field that the reader wants to receive, 1..254; 32 sends no S(IFS request).
        nad: node address to send, 00 for none.

    Attributes:
        state: where the reader is.
        ifsc: greatest information field that may be sent to the card.
        ifsd: greatest information field that the card may send.
    """

    def __init__(self, parameters: LineParameters, timing: ContactTiming, *, ifsd: int = MAX_IFS, nad: int = 0) -> None:
        if not 1 <= ifsd <= MAX_IFS:
            raise ValueError("IFSD is 1 to 254")
        self._table = self._rules()
        self._framing = Framing(crc=parameters.crc, nad=nad)
        self._bwt_ns = timing.bwt_ns
        self._initial_ifsc = parameters.ifsc
        self._wanted_ifsd = ifsd
        self._command = b""
        self._reset()
        self.state = State.IDLE

    def _reset(self) -> None:
        """Sequence numbers and sizes as after a reset (rule 6.3)."""
        self._send_sequence = 0
        self._receive_sequence = 0
        self.ifsc = self._initial_ifsc
        self.ifsd = DEFAULT_IFS
        self._attempts = 0
        self._sent = 0
        self._chunk = 0
        self._incoming = bytearray()
        self._buffer = b""
        self._last = Block(0)

    def exchange(self, command: bytes) -> Transmit:
        """Begin with a command APDU, 1 to 65,544 bytes.

        Raises:
            LocalProtocolError: a command is open, or the card has to be reset.
        """
        if self.state is not State.IDLE:
            raise LocalProtocolError(f"no command can be sent: {self.state.value}")
        self._command = command
        self._sent = self._attempts = 0
        self._incoming.clear()
        self._buffer = b""
        if self.ifsd != self._wanted_ifsd:
            self.state = State.SIZING
            return self._transmit(Block(Supervisory.IFS_REQUEST, bytes((self._wanted_ifsd,))))
        return self._send_information()

    def receive(self, data: bytes, *, parity_error: bool = False) -> ReaderEvent | None:
        """Take bytes from the card; None = the block is not whole yet.

        Args:
            data: what came since the last call.
            parity_error: one of these characters had a wrong parity bit; the rest of the block was read and dropped.
        """
        if self.state in {State.IDLE, State.DEAD}:
            raise LocalProtocolError(f"no block is expected: {self.state.value}")
        self._buffer += data
        if self._framing.missing(self._buffer) > 0 and not parity_error:
            return None
        raw, self._buffer = self._buffer, b""
        if parity_error:
            return self._recover(ErrorIndication.CHECK)
        try:
            return self._dispatch(self._framing.decode(raw))
        except InvalidBlock as error:
            return self._recover(error.indication)

    def time_out(self) -> ReaderEvent:
        """The card did not answer within the time allowed, or stopped inside a block (CWT)."""
        if self.state in {State.IDLE, State.DEAD}:
            raise LocalProtocolError(f"no block is expected: {self.state.value}")
        cut_short, self._buffer = bool(self._buffer), b""
        return self._recover(ErrorIndication.CHECK if cut_short else ErrorIndication.OTHER)

    def _dispatch(self, block: Block) -> ReaderEvent:
        act = self._table.get((self.state, block.kind))
        if act is None:
            raise InvalidBlock(ErrorIndication.OTHER)
        return act(block)

    def _transmit(self, block: Block, multiplier: int = 1) -> Transmit:
        self._last = block
        return Transmit(self._framing.encode(block), self._bwt_ns * multiplier)

    def _send_information(self) -> Transmit:
        """The I-block at the current place of the command; sent again it is the same."""
        if self.state is not State.SENDING or not self._chunk:
            self._chunk = min(self.ifsc, len(self._command) - self._sent)
        self.state = State.SENDING
        end = self._sent + self._chunk
        return self._transmit(
            information_block(self._send_sequence, end < len(self._command), self._command[self._sent : end])
        )

    def _recover(self, indication: ErrorIndication) -> ReaderEvent:
        """An invalid block or none (rules 7.1 to 7.4)."""
        self._attempts += 1
        if self.state is State.RESYNCHRONIZING:
            if self._attempts >= MAX_ATTEMPTS:
                self.state = State.DEAD
                return Broken(Failure.MUTE)
            return self._transmit(self._last)
        if self._attempts >= MAX_ATTEMPTS:
            return self._resynchronize()
        if self.state in {State.SIZING, State.ABORTING} or self._last.kind is Kind.READY:
            return self._transmit(self._last)
        return self._transmit(ready_block(self._receive_sequence, indication))

    def _resynchronize(self) -> Transmit:
        self.state = State.RESYNCHRONIZING
        self._attempts = 0
        return self._transmit(Block(Supervisory.RESYNC_REQUEST))

    def _repeat(self) -> ReaderEvent:
        """The card has our block, so its own was lost: ask for it again (rule 7.2); counts as an attempt."""
        self._attempts += 1
        if self._attempts >= MAX_ATTEMPTS:
            return self._resynchronize()
        if self._last.kind is Kind.READY:
            return self._transmit(self._last)
        return self._transmit(ready_block(self._receive_sequence, ErrorIndication.OTHER))

    def _information(self, block: Block) -> ReaderEvent:
        """An I-block acknowledges ours (rule 2.1) or goes on with the card's chain (rule 2.2)."""
        unsent = self._sent + self._chunk < len(self._command)
        if (
            block.sequence != self._receive_sequence
            or len(block.information) > self.ifsd
            or (self.state is State.SENDING and unsent)
        ):
            raise InvalidBlock(ErrorIndication.OTHER)
        if self.state is State.SENDING:
            self._send_sequence ^= 1
            self._chunk = 0
        self._receive_sequence ^= 1
        self._attempts = 0
        self._incoming += block.information
        if not block.more:
            self.state = State.IDLE
            self._command = b""
            return Completed(bytes(self._incoming))
        if len(self._incoming) >= MAX_MESSAGE:
            self.state = State.ABORTING
            return self._transmit(Block(Supervisory.ABORT_REQUEST))
        self.state = State.RECEIVING
        return self._transmit(ready_block(self._receive_sequence, ErrorIndication.NONE))

    def _ready_while_sending(self, block: Block) -> ReaderEvent:
        if block.sequence == self._send_sequence:
            self._attempts += 1
            return self._resynchronize() if self._attempts >= MAX_ATTEMPTS else self._send_information()
        if self._sent + self._chunk == len(self._command):
            return self._repeat()
        self._sent += self._chunk
        self._send_sequence ^= 1
        self._chunk = self._attempts = 0
        return self._send_information()

    def _ready_while_receiving(self, _block: Block) -> ReaderEvent:
        return self._repeat()

    def _ready_after_request(self, _block: Block) -> ReaderEvent:
        return self._recover(ErrorIndication.OTHER)

    def _ready_after_abort(self, block: Block) -> ReaderEvent:
        if block.sequence != self._send_sequence:
            raise InvalidBlock(ErrorIndication.OTHER)
        return self._end(Failure.ABORTED)

    def _end(self, failure: Failure) -> Broken:
        self.state = State.IDLE
        self._command = b""
        self._incoming.clear()
        self._attempts = 0
        return Broken(failure)

    def _request_of_card(self, block: Block) -> ReaderEvent:
        """S-requests that the card may send (rules 3, 4 and 9)."""
        value = block.information[0] if block.information else 0
        match block.pcb:
            case Supervisory.WTX_REQUEST if self.state is not State.ABORTED:
                self._attempts = 0
                return self._transmit(supervisory_response(block), value)
            case Supervisory.IFS_REQUEST:
                self._attempts = 0
                self.ifsc = value
                return self._transmit(supervisory_response(block))
            case Supervisory.ABORT_REQUEST:
                if self.state is State.SENDING:
                    self._send_sequence ^= 1
                self._chunk = self._attempts = 0
                self._sent = len(self._command)
                self._incoming.clear()
                self.state = State.ABORTED
                return self._transmit(supervisory_response(block))
            case _:
                raise InvalidBlock(ErrorIndication.OTHER)

    def _size_response(self, block: Block) -> ReaderEvent:
        if block != supervisory_response(self._last)._replace(nad=block.nad):
            raise InvalidBlock(ErrorIndication.OTHER)
        self.ifsd = self._wanted_ifsd
        self._attempts = 0
        self._chunk = 0
        return self._send_information()

    def _abort_response(self, block: Block) -> ReaderEvent:
        if block.pcb != Supervisory.ABORT_RESPONSE:
            raise InvalidBlock(ErrorIndication.OTHER)
        return self._end(Failure.ABORTED)

    def _resynchronization_response(self, block: Block) -> ReaderEvent:
        if block.pcb != Supervisory.RESYNC_RESPONSE:
            raise InvalidBlock(ErrorIndication.OTHER)
        self._reset()
        return self._end(Failure.RESYNCHRONIZED)

    def _rules(self) -> Mapping[tuple[State, Kind], Callable[[Block], ReaderEvent]]:
        """What is done with a valid block in each state; a pair that is not here is an invalid block."""
        return {
            (State.SENDING, Kind.INFORMATION): self._information,
            (State.SENDING, Kind.READY): self._ready_while_sending,
            (State.SENDING, Kind.SUPERVISORY): self._request_of_card,
            (State.RECEIVING, Kind.INFORMATION): self._information,
            (State.RECEIVING, Kind.READY): self._ready_while_receiving,
            (State.RECEIVING, Kind.SUPERVISORY): self._request_of_card,
            (State.SIZING, Kind.READY): self._ready_after_request,
            (State.SIZING, Kind.SUPERVISORY): self._size_response,
            (State.ABORTING, Kind.READY): self._ready_after_request,
            (State.ABORTING, Kind.SUPERVISORY): self._abort_response,
            (State.ABORTED, Kind.INFORMATION): self._information,
            (State.ABORTED, Kind.READY): self._ready_after_abort,
            (State.ABORTED, Kind.SUPERVISORY): self._request_of_card,
            (State.RESYNCHRONIZING, Kind.SUPERVISORY): self._resynchronization_response,
        }
