"""A run of a simulated card with every programming unit noted, command by command: what a tear sweep cuts."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from card_os.hardware.image import NvmImage
from card_os.hardware.recording import RecordingNvm
from reader_bridge.connection import ConnectionDescription, Interface
from reader_bridge.simulated import CardMaker, SimulatedConnection

_HEADER_BYTES: Final = 4
_STATUS_BYTES: Final = 2
_COMPARING: Final = frozenset({0x20, 0x24, 0x2C, 0x82})
"""VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER, EXTERNAL and MUTUAL AUTHENTICATE."""
_ISO_PROTECTED: Final = 0x0C
_CRYPTOGRAM_TAGS: Final = frozenset({0x85, 0x87})
_LENGTH_AT: Final = 4
_DATA_AT: Final = 5
_COMPARED: Final = (b"\x90\x00", b"\x63")


class CommandRecord:
    """One command of a run.

    Attributes:
        number: place in the run, from 1.
        step: where it comes from.
        header: CLA INS P1 P2; empty for power and reset.
        status: SW1 SW2; empty for power and reset.
        compares: a secret was compared: right or wrong, a try must have been spent for it.
        writes: (offset, data) of what was programmed; no data is the erase of the page there.
    """

    __slots__ = ("compares", "header", "number", "status", "step", "writes")

    def __init__(self, number: int, step: str, command: bytes, status: bytes, writes: list[tuple[int, bytes]]) -> None:
        self.number = number
        self.step = step
        self.header = command[:_HEADER_BYTES]
        self.status = status
        self.compares = _compares(command) and status.startswith(_COMPARED)
        self.writes = writes

    def units(self, word_size: int) -> int:
        """Programming units of all its writes."""
        return sum(units_of(word_size, offset, len(data)) for offset, data in self.writes)

    def __repr__(self) -> str:
        return f"CommandRecord({self.number}, {self.header.hex()}, {len(self.writes)} writes)"


def units_of(word_size: int, offset: int, length: int) -> int:
    """Units of one write of ``length`` bytes; of length 0, the erase of a page."""
    if not length:
        return 1
    return (offset + length - 1) // word_size - offset // word_size + 1


def _compares(command: bytes) -> bool:
    """A command that brings something to compare; under secure messaging it has a cryptogram."""
    if len(command) <= _DATA_AT or command[1] not in _COMPARING:
        return False
    if command[0] & _ISO_PROTECTED == _ISO_PROTECTED:
        return command[_DATA_AT] in _CRYPTOGRAM_TAGS
    return command[_LENGTH_AT] > 0


class TearRecording:
    """A card in memory that is run once.

    Args:
        image: where it starts; copied.
        make: boots the card; the same memory has to give the same card.

    Attributes:
        start: the image before the run.
        commands: what was run, in order.
        step: what the caller is at; noted with each command.
    """

    def __init__(self, image: NvmImage, make: CardMaker) -> None:
        self.start = image.snapshot()
        self.commands: list[CommandRecord] = []
        self.step = ""
        self._image = image.fork()
        self._nvm = self._image.nvm_as(RecordingNvm)
        self._card = make(self._nvm)

    def connect(self, interface: Interface = Interface.CONTACT) -> RecordedConnection:
        """A connection whose commands are noted."""
        port = self._card.contact if interface is Interface.CONTACT else self._card.contactless
        return RecordedConnection(self, SimulatedConnection(port, interface, "recorded"))

    def begin(self, step: str) -> None:
        """What follows belongs to ``step``."""
        self.step = step

    def note(self, command: bytes, status: bytes) -> None:
        """Close the record of a command; empty for power and reset."""
        writes, self._nvm.writes = self._nvm.writes, []
        self.commands.append(CommandRecord(len(self.commands) + 1, self.step, command, status, writes))

    def memory(self) -> NvmImage:
        """The image as the run left it, a copy."""
        return self._image.fork()


class RecordedConnection:
    """A `CardConnection` that notes what its card programs.

    Args:
        recording: is told.
        connection: the card.
    """

    __slots__ = ("_connection", "_recording")

    def __init__(self, recording: TearRecording, connection: SimulatedConnection) -> None:
        self._recording = recording
        self._connection = connection

    @property
    def description(self) -> ConnectionDescription:
        """What this connection is."""
        return self._connection.description

    def power_on(self) -> bytes:
        """Power the card; returns ATR or ATS."""
        answer = self._connection.power_on()
        self._recording.note(b"", b"")
        return answer

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU; returns response data and status word."""
        response = self._connection.transmit(command)
        self._recording.note(command, response[-_STATUS_BYTES:])
        return response

    def reset(self) -> bytes:
        """Reset the card; returns ATR or ATS."""
        answer = self._connection.reset()
        self._recording.note(b"", b"")
        return answer

    def power_off(self) -> None:
        """Take power away; safe to call twice."""
        self._connection.power_off()

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()
