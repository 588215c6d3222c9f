"""A line on the loopback that carries bytes both ways and keeps all of them."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

_PIECE = 1 << 16


class RecordingProxy:
    """Listens on a port of its own; what each connection carries each way is in a file of its own.

    Args:
        folder: for the files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.target: Future[tuple[str, int]] = Future()
        """Whom to connect to; connections wait until it is known."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._numbers = itertools.count(1)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._start(self._listen)

    @property
    def address(self) -> str:
        """Where it listens."""
        return "tcp://{}:{}".format(*self._listener.getsockname())

    def connect_to(self, address: str) -> None:
        """Tell whom to connect to, such as ``tcp://127.0.0.1:8786``."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self.target.set_result((host, int(port)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self.target.cancel()
        for line in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # a method of ours
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._carry, caller, next(self._numbers))

    def _carry(self, caller: socket.socket, number: int) -> None:
        with caller, contextlib.suppress(Exception), socket.create_connection(self.target.result()) as called:
            self._open |= {caller, called}
            there = threading.Thread(target=self._pump, args=(caller, called, f"{number}-there"), daemon=True)
            there.start()
            self._pump(called, caller, f"{number}-back")
            there.join()
            self._open -= {caller, called}

    def _pump(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        with (self.folder / name).open("wb", buffering=0) as record, contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                record.write(piece)
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
