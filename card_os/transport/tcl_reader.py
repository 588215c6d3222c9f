"""The half-duplex protocol over the field, the reader's side (PCD), after activation.

At most `MAX_ATTEMPTS` attempts are made to get a block, and an I-block is sent at most as often; then the reader
deselects the card, with as many attempts, and gives it up: there is no resynchronization, the card has to be
activated again.

Source: ISO/IEC 14443-4:2018, clause 7.5; rules 1 to 8, A and B.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final

from card_os.transport.events import Broken, Completed, Failure, LocalProtocolError, ReaderEvent, Transmit
from card_os.transport.tcl_blocks import Block, BlockCodec, ContactlessType, InvalidBlock, Kind, wtxm
from card_os.transport.timing import MAX_WTXM

if TYPE_CHECKING:
    from card_os.transport.timing import ContactlessTiming

MAX_ATTEMPTS: Final = 3
MAX_RESPONSE: Final = 65_538


class State(Enum):
    """Where the reader is."""

    IDLE = "no command is open"
    SENDING = "an I-block was sent and is not acknowledged"
    RECEIVING = "a chain of the card was acknowledged with R(ACK)"
    CHECKING = "R(NAK) was sent to see whether the card is there"
    DESELECTING = "S(DESELECT) was sent"
    DESELECTED = "the card has to be activated again"


class TclReader:
    """The reader's side with one activated card.

    Args:
        timing: FWI and SFGI of the card.
        frame_size: FSC, greatest frame the card takes, in bytes.
        kind: type A or B.
        cid: the card's identifier when CIDs are used.
        nad: node address to send, None for none.

    Attributes:
        state: where the reader is.
    """

    def __init__(
        self,
        timing: ContactlessTiming,
        frame_size: int,
        *,
        kind: ContactlessType = ContactlessType.A,
        cid: int | None = None,
        nad: int | None = None,
    ) -> None:
        self._codec = BlockCodec(kind)
        self._timing = timing
        self._cid = cid
        self._nad = nad
        self._room = frame_size - BlockCodec.overhead(cid, nad)
        self._number = 0
        self._command = b""
        self._sent = 0
        self._incoming = bytearray()
        self._attempts = 0
        self._repetitions = 0
        self._last = Block(Kind.DESELECT)
        self._failure: Failure | None = None
        self._table = self._rules()
        self.state = State.IDLE

    def exchange(self, command: bytes) -> Transmit:
        """Begin with a command APDU.

        Raises:
            LocalProtocolError: a command is open, or the card was deselected.
        """
        self._require_idle()
        self._command = command
        self._sent = self._attempts = self._repetitions = 0
        self._incoming.clear()
        self.state = State.SENDING
        return self._send_information()

    def check_presence(self) -> Transmit:
        """See whether the card is still there, by R(NAK) (clause 7.5.6, method 2); ends with an empty `Completed`."""
        self._require_idle()
        self._attempts = 0
        self.state = State.CHECKING
        return self._transmit(self._ready(Kind.NAK))

    def deselect(self) -> Transmit:
        """Send the card to its HALT state; ends with an empty `Completed` or with `Broken`."""
        self._require_idle()
        return self._deselect(None)

    def _require_idle(self) -> None:
        if self.state is not State.IDLE:
            raise LocalProtocolError(f"nothing can be sent: {self.state.value}")

    def receive(self, frame: bytes) -> ReaderEvent:
        """Take a frame from the card, CRC included; a frame with a wrong parity bit is no frame."""
        if self.state in {State.IDLE, State.DESELECTED}:
            raise LocalProtocolError(f"no frame is expected: {self.state.value}")
        try:
            block = self._codec.decode(frame)
            return self._dispatch(block)
        except InvalidBlock:
            return self._recover()

    def time_out(self) -> ReaderEvent:
        """No frame came within the frame waiting time."""
        if self.state in {State.IDLE, State.DESELECTED}:
            raise LocalProtocolError(f"no frame is expected: {self.state.value}")
        return self._recover()

    def _dispatch(self, block: Block) -> ReaderEvent:
        act = self._table.get((self.state, block.kind))
        if act is None or block.cid != self._cid:
            raise InvalidBlock("not expected here")
        return act(block)

    def _transmit(self, block: Block, wait_ns: int | None = None) -> Transmit:
        self._last = block
        return Transmit(self._codec.encode(block), self._timing.fwt_ns if wait_ns is None else wait_ns)

    def _ready(self, kind: Kind) -> Block:
        return Block(kind, self._number, cid=self._cid)

    def _send_information(self) -> Transmit:
        end = self._sent + self._room
        nad = self._nad if not self._sent else None
        part = self._command[self._sent : end]
        return self._transmit(Block(Kind.INFORMATION, self._number, part, end < len(self._command), self._cid, nad))

    def _recover(self) -> ReaderEvent:
        """Nothing, or nothing that makes sense (rules 4, 5 and 8)."""
        self._attempts += 1
        if self._attempts >= MAX_ATTEMPTS:
            if self.state is not State.DESELECTING:
                return self._deselect(Failure.MUTE)
            self.state = State.DESELECTED
            return Broken(Failure.MUTE)
        if self.state is State.DESELECTING:
            return self._transmit(self._last, self._timing.activation_ns)
        return self._transmit(self._ready(Kind.ACK if self.state is State.RECEIVING else Kind.NAK))

    def _deselect(self, failure: Failure | None) -> Transmit:
        self.state, self._failure, self._attempts = State.DESELECTING, failure, 0
        self._command = b""
        self._incoming.clear()
        return self._transmit(Block(Kind.DESELECT, cid=self._cid), self._timing.activation_ns)

    def _information(self, block: Block) -> ReaderEvent:
        """An I-block with the current number: the answer, or a part of it (rules 2 and B)."""
        unsent = self.state is State.SENDING and self._sent + self._room < len(self._command)
        if block.number != self._number or unsent:
            raise InvalidBlock("block number")
        self._number ^= 1
        self._attempts = 0
        self._incoming += block.information
        if len(self._incoming) > MAX_RESPONSE:
            return self._deselect(Failure.PROTOCOL)
        if block.more:
            self.state = State.RECEIVING
            return self._transmit(self._ready(Kind.ACK))
        return self._complete()

    def _complete(self) -> Completed:
        self.state = State.IDLE
        self._command = b""
        response = bytes(self._incoming)
        self._incoming.clear()
        return Completed(response)

    def _acknowledged(self, block: Block) -> ReaderEvent:
        """R(ACK): on with the chain (rules 7 and B), or the I-block was lost (rule 6)."""
        if block.number != self._number:
            self._attempts = 0
            self._repetitions += 1
            return self._deselect(Failure.MUTE) if self._repetitions >= MAX_ATTEMPTS else self._send_information()
        if self._sent + self._room >= len(self._command):
            raise InvalidBlock("R(ACK) for the last block of a chain")
        self._number ^= 1
        self._attempts = self._repetitions = 0
        self._sent += self._room
        return self._send_information()

    def _present(self, _block: Block) -> ReaderEvent:
        return self._complete()

    def _extension(self, block: Block) -> ReaderEvent:
        """S(WTX): grant it (rule 3); 0 and 60 to 63 are reserved."""
        multiplier = wtxm(block)
        if not 1 <= multiplier <= MAX_WTXM:
            raise InvalidBlock("WTXM")
        self._attempts = 0
        return self._transmit(
            Block(Kind.WTX, information=bytes((multiplier,)), cid=self._cid), self._timing.extended_ns(multiplier)
        )

    def _deselected(self, _block: Block) -> ReaderEvent:
        self.state = State.DESELECTED
        return Completed(b"") if self._failure is None else Broken(self._failure)

    def _rules(self) -> Mapping[tuple[State, Kind], Callable[[Block], ReaderEvent]]:
        """What is done with a valid block in each state; a pair that is not here is an invalid block."""
        return {
            (State.SENDING, Kind.INFORMATION): self._information,
            (State.SENDING, Kind.ACK): self._acknowledged,
            (State.SENDING, Kind.WTX): self._extension,
            (State.RECEIVING, Kind.INFORMATION): self._information,
            (State.RECEIVING, Kind.WTX): self._extension,
            (State.CHECKING, Kind.ACK): self._present,
            (State.DESELECTING, Kind.DESELECT): self._deselected,
        }
