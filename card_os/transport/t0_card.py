"""T=0, the card's side: headers and data in, commands out; responses in, procedure bytes, data and status out.

Source: ISO/IEC 7816-3:2006, clauses 10.3 and 12.2.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from card_os.iso7816.apdu import CLASS_BYTES, SecureMessagingIndication
from card_os.transport.events import CardEvent, Command, LocalProtocolError, Reply
from card_os.transport.t0_tables import (
    EXACT_LENGTH,
    HEADER_LENGTH,
    INCOMING,
    INS_ENVELOPE,
    INS_GET_RESPONSE,
    MAX_TRANSFER,
    MORE_AVAILABLE,
    NULL,
    complement,
    is_valid_instruction,
)

_OK: Final = b"\x90\x00"
_INSTRUCTION_INVALID: Final = b"\x6d\x00"
_WRONG_LENGTH: Final = b"\x67\x00"
_STATUS_LENGTH: Final = 2
_MAX_COMMAND: Final = 65_544


class State(Enum):
    """Where the card is."""

    HEADER = "waits for a header"
    DATA = "waits for command data"
    PROCESSING = "executes a command"


class T0Card:
    """The card's side of T=0 from a reset on.

    A response that is shorter than P3 asks for is kept while 6Cxx tells its length, and is given to the same command
    with that length: the command is executed once.

    Args:
        incoming: instructions whose P3 is Lc.
        bytewise: ask for and give data one byte at a time, with the complement of INS.

    Attributes:
        state: where the card is.
    """

    def __init__(self, incoming: frozenset[int] = INCOMING, *, bytewise: bool = False) -> None:
        self._incoming = incoming
        self._bytewise = bytewise
        self.state = State.HEADER
        self._buffer = bytearray()
        self._header = b""
        self._kept: tuple[bytes, bytes] | None = None
        self._envelope = bytearray()
        self._pending: tuple[bytes, bytes] | None = None

    @property
    def busy(self) -> bool:
        """True while a command waits for its answer."""
        return self.state is State.PROCESSING

    @property
    def waiting(self) -> bool:
        """False: nobody grants time, NULL is enough."""
        return False

    def receive(self, data: bytes) -> CardEvent | None:
        """Take characters from the reader; None = the card goes on waiting."""
        if self.state is State.PROCESSING:
            return None
        self._buffer += data
        if self.state is State.HEADER:
            if len(self._buffer) < HEADER_LENGTH:
                return None
            header, self._buffer = bytes(self._buffer[:HEADER_LENGTH]), self._buffer[HEADER_LENGTH:]
            return self._start(header)
        if len(self._buffer) < self._header[-1]:
            return Reply(bytes((complement(self._header[1]),))) if self._bytewise else None
        command = bytes(self._buffer)
        self._buffer.clear()
        return self._execute(self._header + command)

    def time_out(self) -> None:
        """Nothing: a card waits for as long as the reader likes."""

    def _start(self, header: bytes) -> CardEvent:
        kept, self._kept = self._kept, None
        pending, self._pending = self._pending, None
        self._header = header
        ins, p3 = header[1], header[-1]
        if not is_valid_instruction(ins):
            return Reply(_INSTRUCTION_INVALID)
        if ins != INS_ENVELOPE:
            self._envelope.clear()
        if not self._brings_data(header):
            if kept is not None and kept[0] == header:
                self.state = State.PROCESSING
                return self.answer(kept[1])
            if pending is not None and ins == INS_GET_RESPONSE:
                return self._give(*pending)
            return self._execute(header)
        if not p3:
            return self._execute(header[:-1])
        self.state = State.DATA
        self._buffer.clear()
        return Reply(bytes((complement(ins) if self._bytewise else ins,)))

    def _brings_data(self, header: bytes) -> bool:
        """P3 is Lc: by the instruction, or by the class, for secure messaging always has a data field."""
        if header[1] in self._incoming:
            return True
        decoded = CLASS_BYTES[header[0]]
        secure = decoded is not None and decoded.secure_messaging is not SecureMessagingIndication.NONE
        return secure and header[1] != INS_GET_RESPONSE

    def _execute(self, apdu: bytes) -> CardEvent:
        """Hand over the command; ENVELOPE is put together here (12.2.6)."""
        self.state = State.PROCESSING
        if apdu[1] != INS_ENVELOPE:
            return Command(apdu)
        if len(apdu) > HEADER_LENGTH:
            self._envelope += apdu[HEADER_LENGTH:]
            self.state = State.HEADER
            if len(self._envelope) <= _MAX_COMMAND:
                return Reply(_OK)
            self._envelope.clear()
            return Reply(_WRONG_LENGTH)
        command = bytes(self._envelope)
        self._envelope.clear()
        if command:
            return Command(command)
        self.state = State.HEADER
        return Reply(_WRONG_LENGTH)

    def extend(self, count: int) -> Reply:
        """NULL bytes: each begins the reader's waiting time anew.

        Raises:
            LocalProtocolError: no command is executed.
        """
        if self.state is not State.PROCESSING:
            raise LocalProtocolError(f"nothing to wait for: {self.state.value}")
        return Reply(bytes((NULL,)) * count)

    def answer(self, response: bytes) -> Reply:
        """Answer the command: data as P3 asks for it, and the status word.

        Raises:
            LocalProtocolError: no command waits for an answer.
        """
        if self.state is not State.PROCESSING:
            raise LocalProtocolError(f"no answer can be sent: {self.state.value}")
        self.state = State.HEADER
        data, status = response[:-_STATUS_LENGTH], response[-_STATUS_LENGTH:]
        if not data:
            return Reply(status)
        if self._brings_data(self._header):
            return self._announce(b"", data, status)
        ins, asked = self._header[1], self._header[-1] or MAX_TRANSFER
        if len(data) != asked:
            length = len(data) & 0xFF
            self._kept = self._header[:-1] + bytes((length,)), response
            return Reply(bytes((EXACT_LENGTH, length)))
        return Reply(self._with_procedure(ins, data) + status)

    def _with_procedure(self, ins: int, data: bytes) -> bytes:
        if self._bytewise:
            single = complement(ins)
            return b"".join(bytes((single, byte)) for byte in data)
        return bytes((ins,)) + data

    def _announce(self, sent: bytes, left: bytes, status: bytes) -> Reply:
        """Data that a command with Lc has for the reader waits for GET RESPONSE (12.2.5)."""
        if not left:
            return Reply(sent + status)
        self._pending = left, status
        return Reply(sent + bytes((MORE_AVAILABLE, len(left) & 0xFF if len(left) < MAX_TRANSFER else 0)))

    def _give(self, data: bytes, status: bytes) -> Reply:
        """GET RESPONSE for data that waits here."""
        asked = self._header[-1] or MAX_TRANSFER
        if len(data) < asked:
            self._pending = data, status
            return Reply(bytes((EXACT_LENGTH, len(data))))
        return self._announce(self._with_procedure(INS_GET_RESPONSE, data[:asked]), data[asked:], status)
