from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import pytest

from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError

ATR = bytes.fromhex("3B80800101")
Answers = Callable[[bytes], bytes]


class RecordingConnection:
    """Answers by a function and keeps all commands."""

    def __init__(
        self,
        answers: Answers,
        limit: int = 65_535,
        interface: Interface = Interface.CONTACT,
        protocol: Protocol7816 = Protocol7816.T1,
    ) -> None:
        self.answers = answers
        self.commands: list[bytes] = []
        self.events: list[str] = []
        self.description = ConnectionDescription("double", interface, protocol, ATR, limit, limit + 1)

    def power_on(self) -> bytes:
        self.events.append("on")
        return ATR

    def transmit(self, command: bytes) -> bytes:
        self.commands.append(command)
        answer = self.answers(command)
        if not answer:
            raise ReaderError("mute", reader="double")
        return answer

    def reset(self) -> bytes:
        self.events.append("reset")
        return ATR

    def power_off(self) -> None:
        self.events.append("off")

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


@pytest.fixture
def nobodys_port() -> Iterator[int]:
    """A port of this machine on which nobody listens, and nobody will: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def recording() -> type[RecordingConnection]:
    return RecordingConnection
