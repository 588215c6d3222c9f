"""Writes a trace while something else works: around a connection, inside a stack, and on the line of a simulated card.

One recorder can watch several levels of the same card at once. An entry has its place from the moment at which it
begins, so that an APDU stands before the TPDUs and blocks that it caused.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Final, Self

from card_os.hardware.clock import VirtualClock
from card_os.transport.wire import Direction, Disturbance, undisturbed
from reader_bridge.connection import CardConnection, ConnectionDescription, ReaderError
from reader_bridge.trace.hiding import Cover, Hiding
from reader_bridge.trace.line import LineHiding
from reader_bridge.trace.record import Entry, Header, Hidden, Kind, Moment, Octets, Trace
from reader_bridge.trace.text import to_text

_NS_PER_US: Final = 1000
_NOTHING: Final = Cover(command=False, response=False)
_WAYS: Final = {Direction.TO_CARD: Kind.TO_CARD, Direction.TO_READER: Kind.TO_READER}
EVERYTHING_HIDDEN: Final = Hidden.SECRETS | Hidden.CONTENT


class TraceRecorder:
    """Collects the entries of one trace.

    Args:
        hidden: what is left out; ``Hidden.NOTHING`` records PINs and keys that go in plain, at the owner's own risk.
        clock: virtual clock of the line, None when there is none.
        now_ns: the clock on the wall, for durations.
        today: the date, for the header.
    """

    def __init__(
        self,
        hidden: Hidden = EVERYTHING_HIDDEN,
        clock: VirtualClock | None = None,
        now_ns: Callable[[], int] = perf_counter_ns,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.hidden = hidden
        self._clock = clock
        self._now_ns = now_ns
        self._begin_ns = now_ns()
        self._begin_virtual_ns = 0 if clock is None else clock.now_ns
        self._begun = today().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._entries: list[Entry] = []
        self._description: ConnectionDescription | None = None
        self._line = LineHiding()
        self._cover = _NOTHING
        self._outermost: RecordingConnection | None = None

    def watch(self, connection: CardConnection, kind: Kind = Kind.APDU) -> RecordingConnection:
        """The same connection, its exchanges written down as entries of ``kind``.

        Stacks are built from inside to outside; the connection that is watched last writes down power and reset.
        """
        self._outermost = RecordingConnection(connection, self, kind)
        return self._outermost

    def is_outermost(self, connection: RecordingConnection) -> bool:
        """True for the connection that was watched last."""
        return connection is self._outermost

    def disturbance(self, inner: Disturbance = undisturbed) -> Disturbance:
        """A disturbance that does what ``inner`` does and writes down what was sent and what arrived."""

        def pass_on(direction: Direction, data: bytes) -> bytes:
            index = self.begin(_WAYS[direction], self._line.hide(direction, data, self._cover))
            arrived = inner(direction, data)
            failure = "" if arrived == data else "damaged" if arrived else "lost"
            changed = Octets() if arrived == data else self._line.like(self._entries[index].sent, arrived)
            self.end(index, changed, failure)
            return arrived

        return pass_on

    def line_seen(self, direction: Direction, data: bytes) -> None:
        """Write down bytes that no disturbance touches: PPS, activation."""
        self.end(self.begin(_WAYS[direction], Octets(data)), Octets())

    def begin(self, kind: Kind, sent: Octets = Octets(), cover: Cover | None = None) -> int:  # noqa: B008 - frozen
        """An entry begins; returns its place."""
        if cover is not None:
            self._cover = cover
            self._line.begin_exchange()
        moment = Moment((self._now_ns() - self._begin_ns) // _NS_PER_US, 0, self._virtual())
        self._entries.append(Entry(kind, sent, moment=moment))
        return len(self._entries) - 1

    def end(self, index: int, received: Octets, failure: str = "") -> None:
        """The entry at ``index`` is over."""
        entry = self._entries[index]
        moment = entry.moment or Moment()
        now = (self._now_ns() - self._begin_ns) // _NS_PER_US
        virtual = self._virtual()
        ended = Moment(
            moment.wall_start,
            max(now - moment.wall_start, 0),
            moment.virtual_start,
            0 if virtual is None or moment.virtual_start is None else virtual - moment.virtual_start,
        )
        self._entries[index] = replace(entry, received=received, failure=failure, moment=ended)

    def note(self, description: ConnectionDescription) -> None:
        """What the header says; the first connection that got power counts."""
        if self._description is None or not self._description.answer:
            self._description = description

    def restart_line(self, description: ConnectionDescription) -> None:
        """Power or reset: the line protocol begins anew."""
        self._line.restart(description)
        self._cover = _NOTHING

    def _virtual(self) -> int | None:
        return None if self._clock is None else (self._clock.now_ns - self._begin_virtual_ns) // _NS_PER_US

    def trace(self, profile: str = "") -> Trace:
        """What was written down so far."""
        description = self._description
        if description is None:
            return Trace(Header(profile=profile, hidden=self.hidden, begun=self._begun), tuple(self._entries))
        header = Header(
            description.name,
            description.interface,
            description.protocol,
            description.answer,
            profile,
            self.hidden,
            self._begun,
        )
        return Trace(header, tuple(self._entries))


class RecordingConnection:
    """A `CardConnection` whose exchanges are written down.

    Args:
        inner: the connection inside.
        recorder: where to.
        kind: `Kind.APDU` outside a stack, `Kind.TPDU` inside.
    """

    __slots__ = ("_hiding", "_inner", "_kind", "_on", "_recorder")

    def __init__(self, inner: CardConnection, recorder: TraceRecorder, kind: Kind = Kind.APDU) -> None:
        self._inner = inner
        self._recorder = recorder
        self._kind = kind
        self._hiding = Hiding(recorder.hidden)
        self._on = False

    @property
    def description(self) -> ConnectionDescription:
        """What the connection inside is."""
        return self._inner.description

    def power_on(self) -> bytes:
        """Power the card; returns ATR or ATS. Asking again for the answer of a card that is on is no entry."""
        return self._inner.power_on() if self._on else self._start(Kind.POWER_ON, self._inner.power_on)

    def reset(self) -> bytes:
        """Reset the card; returns ATR or ATS."""
        return self._start(Kind.RESET, self._inner.reset)

    def _start(self, kind: Kind, act: Callable[[], bytes]) -> bytes:
        recorder = self._recorder
        recorder.restart_line(self._inner.description)
        self._hiding.reset()
        self._on = False
        if not recorder.is_outermost(self):
            return act()
        index = recorder.begin(kind)
        try:
            answer = act()
        except ReaderError as error:
            recorder.end(index, Octets(), error.code)
            raise
        recorder.end(index, Octets(answer))
        self._on = True
        recorder.note(self._inner.description)
        return answer

    def transmit(self, command: bytes) -> bytes:
        """Send and write down."""
        recorder, hiding = self._recorder, self._hiding
        cover = hiding.cover(command)
        index = recorder.begin(self._kind, hiding.hide_command(command, cover), cover)
        try:
            response = self._inner.transmit(command)
        except ReaderError as error:
            self._on = False
            recorder.end(index, Octets(), error.code)
            raise
        hiding.answered(command, response)
        recorder.end(index, hiding.hide_response(response, cover))
        return response

    def power_off(self) -> None:
        """Take power away."""
        self._inner.power_off()
        self._note_power_off()

    def _note_power_off(self) -> None:
        self._on = False
        if self._recorder.is_outermost(self):
            self._recorder.end(self._recorder.begin(Kind.POWER_OFF), Octets())

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._note_power_off()
        self._inner.__exit__(kind, error, traceback)


def require_new(path: Path) -> None:
    """Refuse a place where something is already, or where no file can be.

    Raises:
        ReaderError: "trace-exists" or "trace-unwritable".
    """
    if path.exists():
        raise ReaderError("trace-exists", path=str(path))
    if not path.parent.is_dir():
        raise ReaderError("trace-unwritable", path=str(path), reason="the folder is missing")


def save(trace: Trace, path: Path, *, times: bool = True) -> None:
    """Write a trace file, whole or not at all.

    Raises:
        ReaderError: "trace-exists" or "trace-unwritable".
    """
    require_new(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ReaderError("trace-unwritable", path=str(path), reason=error.strerror or "") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(to_text(trace, times=times))
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise ReaderError("trace-unwritable", path=str(path), reason=error.strerror or "") from error
