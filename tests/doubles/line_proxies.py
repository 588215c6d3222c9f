"""What stands between a host and a reader, and can cut, silence or spoil the line in the middle of a command."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from reader_bridge.pseudo_terminal import PseudoTerminal

_TURN_SECONDS = 0.05
_CHUNK = 4096


class Pump:
    """Carries bytes both ways by a thread; ``garbage`` sends noise to the host instead, without an end."""

    def __init__(self) -> None:
        self.garbage = False
        self.deaf = False
        self._stopping = threading.Event()
        self._random = Random(11)

    def pump(self, host: int, reader: int) -> None:
        """Until one side ends or we stop."""
        while not self._stopping.is_set():
            sides = [reader] if self.deaf else [host, reader]
            ready, _, _ = select.select(sides, [], [], _TURN_SECONDS)
            if self.garbage:
                with contextlib.suppress(OSError):
                    os.write(host, self._random.randbytes(64))
            for side in ready:
                if side == host and self.deaf:  # since it began to wait
                    continue
                data = os.read(side, _CHUNK)
                if not data:
                    return
                if side == host or not self.garbage:
                    os.write(reader if side == host else host, data)


class TerminalProxy(Pump):
    """Between two pseudo terminals: the host opens ``path``."""

    def __init__(self, link: Path, reader_path: str) -> None:
        super().__init__()
        self._line = PseudoTerminal(link)
        self.path = str(link)
        self._reader = os.open(reader_path, os.O_RDWR | os.O_NOCTTY)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            self.pump(self._line.inner, self._reader)

    def close(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join(10)
        self._line.close()
        os.close(self._reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class TcpProxy(Pump):
    """Between a client and a server: the client dials ``port``; each connection is carried until it is cut."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_TURN_SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self._links: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                self._links = [client, server]
                with contextlib.suppress(OSError):
                    self.pump(client.fileno(), server.fileno())
                self._links = []

    def cut(self) -> None:
        """End the connection that is open."""
        for link in self._links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stopping.set()
        self.cut()
        self._thread.join(10)
        self._listener.close()
