"""Tells of readers and cards as they come and go."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, Self

from reader_bridge.pcsc import binding

_NEW_READERS: Final = "\\\\?PnP?\\Notification"
"""The name that stands for "another reader" in SCardGetStatusChange."""
_FULL: Final = 16
"""How many readers pcsc-lite has room for, and how many names it watches in one call: a full service has no next."""
_EVENT_BITS: Final = 16
_TURN_SECONDS: Final = 1.0
"""Longest single wait: where the service does not know the name above, new readers are seen then."""


class ReaderChange(Enum):
    """What happened."""

    READER_ADDED = "reader-added"
    READER_REMOVED = "reader-removed"
    CARD_INSERTED = "card-inserted"
    CARD_REMOVED = "card-removed"


@dataclass(frozen=True, slots=True)
class ReaderEvent:
    """One change.

    Attributes:
        change: what happened.
        reader: name of the reader.
        answer: ATR of the card that came; empty otherwise.
    """

    change: ReaderChange
    reader: str
    answer: bytes = b""


class PcscMonitor:
    """Watches the service; what is there at the beginning is told as if it came then.

    Not thread-safe, but for `cancel`.
    """

    def __init__(self) -> None:
        self._scard = binding.load()
        self._context: int | None = None
        self._known: dict[str, tuple[int, bool]] = {}
        self._waiting: list[ReaderEvent] = []
        self._cancelled = False

    def next(self, seconds: float) -> ReaderEvent | None:
        """The next change; None when nothing changed for so long, or after `cancel`.

        Raises:
            ReaderError: "no-service", the service is not there or has ended.
        """
        deadline = time.monotonic() + seconds
        while not self._waiting and not self._cancelled:
            left = deadline - time.monotonic()
            self._look(max(min(left, _TURN_SECONDS), 0))
            if left <= 0:
                break
        return self._waiting.pop(0) if self._waiting else None

    def _look(self, seconds: float) -> None:
        scard = self._scard
        context = self._open()
        names = binding.reader_names(scard, context)
        self._compare(names)
        for name in names:
            if not binding.is_watchable(name):
                self._take(name, *binding.look(scard, context, name))
                seconds = 0 if self._waiting else seconds
        states = [(name, self._known[name][0]) for name in names if binding.is_watchable(name)]
        milliseconds = int(seconds * 1000)
        if len(states) != _FULL:
            states.append((_NEW_READERS, 0))
        code, changed = scard.SCardGetStatusChange(context, milliseconds, states)
        problem = binding.code_of(scard, code)
        if problem in {"time-out", "no-reader"} or code == scard.SCARD_E_CANCELLED:
            return
        if problem is not None:
            self._drop()
            binding.check(scard, code)
        for name, state, atr in changed:
            if name in self._known:
                self._take(name, state, bytes(atr))

    def _take(self, name: str, state: int, atr: bytes) -> None:
        scard = self._scard
        before, present = self._known[name]
        if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE | scard.SCARD_STATE_IGNORE):
            return  # the next list is without it
        now = bool(state & scard.SCARD_STATE_PRESENT) and not state & scard.SCARD_STATE_MUTE
        # The high half counts insertions and removals: a card that went and came between two looks is two changes.
        moved = before >> _EVENT_BITS and state >> _EVENT_BITS != before >> _EVENT_BITS
        if present and (not now or moved):
            self._waiting.append(ReaderEvent(ReaderChange.CARD_REMOVED, name))
        if now and (not present or moved):
            self._waiting.append(ReaderEvent(ReaderChange.CARD_INSERTED, name, atr))
        self._known[name] = state & ~scard.SCARD_STATE_CHANGED, now

    def _compare(self, names: list[str]) -> None:
        for name in [known for known in self._known if known not in names]:
            if self._known.pop(name)[1]:
                self._waiting.append(ReaderEvent(ReaderChange.CARD_REMOVED, name))
            self._waiting.append(ReaderEvent(ReaderChange.READER_REMOVED, name))
        for name in names:
            if name not in self._known:
                self._known[name] = int(self._scard.SCARD_STATE_UNAWARE), False
                self._waiting.append(ReaderEvent(ReaderChange.READER_ADDED, name))

    def _open(self) -> int:
        context = self._context if self._context is not None else binding.establish(self._scard)
        self._context = context
        return context

    def cancel(self) -> None:
        """Make a waiting `next` return, from any thread, now and from now on."""
        self._cancelled = True
        if self._context is not None:
            self._scard.SCardCancel(self._context)

    def _drop(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            self._scard.SCardReleaseContext(context)

    def close(self) -> None:
        """Leave the service; safe to call twice."""
        self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
