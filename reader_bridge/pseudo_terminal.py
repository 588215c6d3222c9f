"""A serial line that ends in this program: the other end is a device file that anybody opens like a serial port.

POSIX systems only.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import tty
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from reader_bridge.connection import ReaderError

_CHUNK: Final = 65_536


class PseudoTerminal:
    """A pair of which the outer end is a device file.

    Args:
        link: a symbolic link to the device file to make, None for none. It is removed at the end.

    Attributes:
        path: the device file, or the link to it.

    Raises:
        ReaderError: "link-exists", something else is there; "link-unwritable", the link cannot be made.
    """

    def __init__(self, link: str | os.PathLike[str] | None = None) -> None:
        self._inner, self._outer = pty.openpty()
        tty.setraw(self._outer)
        os.set_blocking(self._inner, False)
        self._wake_reader, self._wake_writer = os.pipe()
        self._link = None if link is None else Path(link)
        self.path = os.ttyname(self._outer)
        if self._link is not None:
            try:
                self._make_link(self._link)
            except ReaderError:
                self._link = None
                self.close()
                raise
            self.path = str(self._link)

    def _make_link(self, link: Path) -> None:
        try:
            if link.is_symlink() and not link.exists():  # what a killed program left
                link.unlink()
            link.symlink_to(self.path)
        except FileExistsError as error:
            raise ReaderError("link-exists", path=link) from error
        except OSError as error:
            raise ReaderError("link-unwritable", path=link, reason=error.strerror) from error

    @property
    def inner(self) -> int:
        """The descriptor of the inner end."""
        return self._inner

    def read(self, seconds: float | None = None) -> bytes:
        """What has come; nothing after so many seconds, or when `interrupt` was called."""
        ready, _, _ = select.select([self._inner, self._wake_reader], [], [], seconds)
        if self._inner not in ready:
            return b""
        try:
            return os.read(self._inner, _CHUNK)
        except OSError:  # nobody has the other end open, where the system says so
            return b""

    def write(self, data: bytes, seconds: float = 5.0) -> None:
        """Send; what nobody reads within so many seconds is dropped, as on a line without a listener."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._inner, view) :]
            except BlockingIOError:
                _, ready, _ = select.select([self._wake_reader], [self._inner], [], seconds)
                if not ready:
                    return
            except OSError:
                return

    def discard(self) -> None:
        """Forget what has come and what nobody has read."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._inner, termios.TCIOFLUSH)

    def waiting(self) -> bool:
        """True when something has come that nobody has read here."""
        return bool(select.select([self._inner], [], [], 0)[0])

    def withdraw(self) -> None:
        """Take back what was sent and the host has not read; what came from it stays."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._outer, termios.TCIFLUSH)

    def interrupt(self) -> None:
        """Make a waiting `read` return, from any thread, now and from now on."""
        os.write(self._wake_writer, b"\x00")

    def close(self) -> None:
        """Close both ends and remove the link; safe to call twice."""
        descriptors = (self._inner, self._outer, self._wake_reader, self._wake_writer)
        if self._inner < 0:
            return
        self._inner = -1
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.unlink()
        for descriptor in descriptors:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
