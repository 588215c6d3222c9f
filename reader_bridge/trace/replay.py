"""A trace as a card: it answers what was answered when the trace was taken.

Strict, it answers the commands of the trace in their order and nothing else. Tolerant, it takes the next command of the
trace that says the same but for what varies (challenges, cryptograms, MACs), looks ahead, begins again when the reader
does, and answers 6F00 to what the trace does not know.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from card_os.iso7816.status import SW
from reader_bridge.connection import ConnectionDescription, ReaderError
from reader_bridge.trace.comparison import comparable_command, same_octets
from reader_bridge.trace.record import EXCHANGES, STARTS, Entry, Octets, Trace
from reader_bridge.trace.text import command_text

_UNKNOWN: Final = SW.NO_PRECISE_DIAGNOSIS.encode()


class ReplayConnection:
    """A `CardConnection` whose card is a trace.

    Args:
        trace: the trace.
        strict: order and bytes of the commands must be those of the trace.

    Raises:
        ReaderError: "trace-hidden": an answer has hidden bytes, which no card can send; or "trace-empty".

    Attributes:
        unknown: commands that a tolerant replay did not find.
    """

    def __init__(self, trace: Trace, *, strict: bool = False) -> None:
        entries = trace.exchanges()
        self._answers: list[Entry] = [entry for entry in entries if entry.kind in EXCHANGES]
        if not self._answers:
            raise ReaderError("trace-empty")
        for number, entry in enumerate(self._answers, start=1):
            if entry.received.hidden:
                raise ReaderError("trace-hidden", number=number)
        self._starts = [entry.received.data for entry in entries if entry.kind in STARTS and not entry.failure]
        header = trace.header
        self._description = ConnectionDescription(
            f"replay of {header.reader or 'a trace'}",
            header.interface,
            header.protocol,
            header.answer or (self._starts[0] if self._starts else b""),
            simulated=True,
        )
        self._strict = strict
        self._next = 0
        self._powered = False
        self.unknown = 0

    @property
    def description(self) -> ConnectionDescription:
        """What the trace was taken from."""
        return self._description

    def power_on(self) -> bytes:
        """The ATR or ATS of the trace."""
        self._powered = True
        return self._description.answer

    def reset(self) -> bytes:
        """The same; a strict replay goes on where it was, as the trace does."""
        return self.power_on()

    def power_off(self) -> None:
        """Nothing is lost; safe to call twice."""
        self._powered = False

    def transmit(self, command: bytes) -> bytes:
        """What was answered.

        Raises:
            ReaderError: "mute" without power, "replay-differs" when a strict replay gets another command, "replay-over"
                when it gets one more, "replay-failure" where the trace has no answer.
        """
        if not self._powered:
            raise ReaderError("mute", reader=self._description.name, reason="the card has no power")
        entry = self._strictly(command) if self._strict else self._tolerantly(command)
        if entry is None:
            self.unknown += 1
            return _UNKNOWN
        if entry.failure:
            raise ReaderError("replay-failure", number=self._next, failure=entry.failure)
        return entry.received.data

    def _strictly(self, command: bytes) -> Entry:
        if self._next >= len(self._answers):
            raise ReaderError("replay-over", number=self._next)
        entry = self._answers[self._next]
        if not same_octets(entry.sent, command):
            raise ReaderError(
                "replay-differs",
                number=self._next + 1,
                expected=command_text(entry.sent)[:_HEADER_TEXT],
                found=command[:4].hex().upper(),
            )
        self._next += 1
        return entry

    def _tolerantly(self, command: bytes) -> Entry | None:
        """From here to the end, then from the beginning; the very same command counts before a similar one."""
        wanted = comparable_command(command)
        order: list[int] = [*range(self._next, len(self._answers)), *range(self._next)]
        for exact in (True, False):
            for at in order:
                entry = self._answers[at]
                if same_octets(entry.sent, command) if exact else self._similar(entry.sent, wanted):
                    self._next = at + 1
                    return entry
        return None

    @staticmethod
    def _similar(sent: Octets, wanted: bytes) -> bool:
        return same_octets(Octets(comparable_command(sent.data), sent.hidden), wanted)

    @property
    def finished(self) -> bool:
        """True when the last command of the trace was answered."""
        return self._next >= len(self._answers)

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


_HEADER_TEXT: Final = 8
"""Characters of a command's header, which may be shown: data may hold secrets."""
