"""A reader that is not there, on a pseudo terminal: a thread takes frames from the line and reacts to each."""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, Protocol, Self, TypeVar

from reader_bridge.pseudo_terminal import PseudoTerminal

_STALE_SECONDS: Final = 1.0
"""A frame of which nothing more comes is forgotten."""
_JOIN_SECONDS: Final = 5.0

_log: Final = logging.getLogger(__name__)

Found = TypeVar("Found")
"""What a frame holds, or what is told of one that is damaged."""
Given_co = TypeVar("Given_co", covariant=True)


class Frames(Protocol[Given_co]):
    """Bytes that become frames."""

    def feed(self, data: bytes) -> None:
        """Take bytes from the line."""
        ...

    def clear(self) -> None:
        """Forget what has come."""
        ...

    def next(self) -> Given_co | None:
        """The next frame; None = more bytes are needed."""
        ...

    def __bool__(self) -> bool:
        """True while bytes of something unfinished wait."""
        ...


class TerminalReader(ABC, Generic[Found]):
    """A reader on a pseudo terminal.

    Args:
        link: a symbolic link to the device file to make, None for none.
        name: of its thread.
        frames: understands what comes.
        besides: what else runs by a thread of its own, until `_stopping` is set.

    Attributes:
        failure: what ended the thread, None while all is well.

    Raises:
        ReaderError: "link-exists" or "link-unwritable".
    """

    def __init__(
        self, link: str | os.PathLike[str] | None, name: str, frames: Frames[Found], *besides: Callable[[], None]
    ) -> None:
        self.failure: Exception | None = None
        self._line = PseudoTerminal(link)
        self._incoming = frames
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=run, name=name, daemon=True) for run in (self._run, *besides)]

    @property
    def path(self) -> str:
        """The device file."""
        return self._line.path

    def start(self) -> None:
        """Begin to serve."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; safe to call twice. For the host the reader is gone."""
        self._stopping.set()
        if any(thread.is_alive() for thread in self._threads):
            self._line.interrupt()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_JOIN_SECONDS)
        self._line.close()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                data = self._line.read(_STALE_SECONDS if self._incoming else None)
                if not data:
                    self._incoming.clear()  # the rest of a frame that never comes
                    continue
                self._incoming.feed(data)
                while (found := self._incoming.next()) is not None:
                    self._react(found)
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: tell the owner and end
            _log.error("reader on %s ended: %s", self._line.path, type(error).__name__)
            self.failure = error

    @abstractmethod
    def _react(self, found: Found) -> None:
        """Do what a frame asks for."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
