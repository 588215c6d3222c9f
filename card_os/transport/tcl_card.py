"""The half-duplex protocol over the field, the card's side (PICC), after activation.

A card answers errors with silence: recovery is the reader's.

Source: ISO/IEC 14443-4:2018, clause 7.5; rules 2, 3, 9 to 13 and C to E.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from card_os.transport.events import CardEvent, Command, Granted, LocalProtocolError, Reply
from card_os.transport.tcl_blocks import Block, BlockCodec, ContactlessType, InvalidBlock, Kind, wtxm
from card_os.transport.timing import MAX_WTXM

_MAX_COMMAND: Final = 65_544
_SAD: Final = 0x07


class State(Enum):
    """Where the card is."""

    RECEIVING = "waits for a command, or for the rest of one"
    PROCESSING = "executes a command"
    REQUESTING = "S(WTX) was sent while a command is executed"
    SENDING = "an I-block of a chain was sent"
    HALTED = "was deselected"


class TclCard:
    """The card's side from activation on.

    Args:
        frame_size: FSD, greatest frame the reader takes, in bytes.
        kind: type A or B.
        cid: identifier that the reader gave; 0 also answers blocks without CID.
        cid_supported: False = blocks with a CID are not for this card, and all without one are, whatever it was given.
        nad_supported: False = blocks with a NAD are ignored.

    Attributes:
        state: where the card is.
        begun: a block was taken, so that there is no PPS any more.
    """

    def __init__(
        self,
        frame_size: int,
        *,
        kind: ContactlessType = ContactlessType.A,
        cid: int = 0,
        cid_supported: bool = True,
        nad_supported: bool = False,
    ) -> None:
        self._codec = BlockCodec(kind)
        self._frame_size = frame_size
        self._cid = cid if cid_supported else 0
        self._cid_supported = cid_supported
        self._nad_supported = nad_supported
        self._number = 1
        self._incoming = bytearray()
        self._answer = b""
        self._sent = 0
        self._part = 0
        self._last: Block | None = None
        self._reply_cid: int | None = None
        self._nad: int | None = None
        self._multiplier = 0
        self._table = self._rules()
        self.begun = False
        self.state = State.RECEIVING

    @property
    def busy(self) -> bool:
        """True while a command waits for its answer; a DESELECT takes it away."""
        return self.state in {State.PROCESSING, State.REQUESTING}

    @property
    def waiting(self) -> bool:
        """True while the reader has not granted the time that the card asked for."""
        return self.state is State.REQUESTING

    def receive(self, frame: bytes) -> CardEvent | None:
        """Take a frame from the reader, CRC included; None = the card stays mute."""
        try:
            block = self._codec.decode(frame)
        except InvalidBlock:
            return None
        act = self._table.get((self.state, block.kind))
        if act is None or not self._is_for_us(block):
            return None
        self.begun = True
        self._reply_cid = block.cid
        return act(block)

    def time_out(self) -> None:
        """Nothing: a card waits for as long as there is a field."""

    def _is_for_us(self, block: Block) -> bool:
        if block.nad is not None and not self._nad_supported:
            return False
        if block.cid is None:
            return not self._cid
        return self._cid_supported and block.cid == self._cid

    def answer(self, response: bytes) -> Reply:
        """Answer the command.

        Raises:
            LocalProtocolError: no command waits for an answer.
        """
        if self.state is not State.PROCESSING:
            raise LocalProtocolError(f"no answer can be sent: {self.state.value}")
        self._answer, self._sent, self._part = response, 0, 0
        return self._send_information()

    def extend(self, multiplier: int) -> Reply:
        """Ask for ``multiplier`` (1..59) frame waiting times; `Granted` follows."""
        if self.state is not State.PROCESSING or not 1 <= multiplier <= MAX_WTXM:
            raise LocalProtocolError(f"no extension of {multiplier}: {self.state.value}")
        self.state, self._multiplier = State.REQUESTING, multiplier
        return self._reply(Block(Kind.WTX, information=bytes((multiplier,)), cid=self._reply_cid))

    def _reply(self, block: Block) -> Reply:
        self._last = block
        return Reply(self._codec.encode(block))

    def _send_information(self) -> Reply:
        """The next part of the answer; the NAD goes with the first one."""
        nad = self._nad if not self._sent else None
        self._part = self._frame_size - BlockCodec.overhead(self._reply_cid, nad)
        part = self._answer[self._sent : self._sent + self._part]
        more = self._sent + self._part < len(self._answer)
        self.state = State.SENDING if more else State.RECEIVING
        return self._reply(Block(Kind.INFORMATION, self._number, part, more, self._reply_cid, nad))

    def _information(self, block: Block) -> CardEvent | None:
        """An I-block: a part of a command (rules 2, 10 and D)."""
        if not self._incoming:
            self._nad = None if block.nad is None else block.nad >> 4 | (block.nad & _SAD) << 4
        if len(self._incoming) + len(block.information) > _MAX_COMMAND:
            return None
        self._number ^= 1
        self._incoming += block.information
        if block.more:
            return self._reply(Block(Kind.ACK, self._number, cid=self._reply_cid))
        command = bytes(self._incoming)
        self._incoming.clear()
        if not command:  # presence check by an empty I-block, 7.5.6 method 1
            return self._reply(Block(Kind.INFORMATION, self._number, cid=self._reply_cid))
        self.state = State.PROCESSING
        return Command(command)

    def _ready(self, block: Block) -> CardEvent:
        """R(ACK) and R(NAK): again (rule 11), R(ACK) (rule 12), or on with the chain (rules 13 and E)."""
        if block.number == self._number and self._last is not None:
            return self._reply(self._last._replace(cid=block.cid))
        if block.kind is Kind.NAK:
            # Not remembered as the last block: it says only what was not received.
            return Reply(self._codec.encode(Block(Kind.ACK, self._number, cid=block.cid)))
        self._number ^= 1
        self._sent += self._part
        return self._send_information()

    def _ready_outside_chain(self, block: Block) -> CardEvent | None:
        """R(ACK) goes on with a chain only; with the current number it repeats the last block (rule 11)."""
        return None if block.number != self._number or self._last is None else self._ready(block)

    def _granted(self, block: Block) -> CardEvent | None:
        if wtxm(block) != self._multiplier:
            return None
        self.state = State.PROCESSING
        return Granted()

    def _deselected(self, block: Block) -> CardEvent:
        """Answer S(DESELECT) and halt; a halted card answers nothing, so a second one stays without answer."""
        self.state = State.HALTED
        self._incoming.clear()
        self._answer = b""
        return self._reply(Block(Kind.DESELECT, cid=block.cid))

    def _rules(self) -> Mapping[tuple[State, Kind], Callable[[Block], CardEvent | None]]:
        """What is done with a valid block in each state; with any other the card stays mute."""
        return {
            (State.RECEIVING, Kind.INFORMATION): self._information,
            (State.RECEIVING, Kind.ACK): self._ready_outside_chain,
            (State.RECEIVING, Kind.NAK): self._ready,
            (State.RECEIVING, Kind.DESELECT): self._deselected,
            (State.PROCESSING, Kind.DESELECT): self._deselected,
            (State.REQUESTING, Kind.WTX): self._granted,
            (State.REQUESTING, Kind.ACK): self._ready_outside_chain,
            (State.REQUESTING, Kind.NAK): self._ready,
            (State.REQUESTING, Kind.DESELECT): self._deselected,
            (State.SENDING, Kind.ACK): self._ready,
            (State.SENDING, Kind.NAK): self._ready,
            (State.SENDING, Kind.DESELECT): self._deselected,
        }
