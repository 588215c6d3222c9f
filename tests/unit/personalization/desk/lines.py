"""Lines between a terminal and a card that are listened to, cut, or played from a tape."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from reader_bridge.connection import CardConnection, ConnectionDescription, ReaderError


class Line:
    """A connection that hands everything on and keeps what was said."""

    def __init__(self, inner: CardConnection) -> None:
        self.inner = inner
        self.tape: list[tuple[bytes, bytes]] = []

    @property
    def description(self) -> ConnectionDescription:
        return self.inner.description

    def power_on(self) -> bytes:
        return self.inner.power_on()

    def transmit(self, command: bytes) -> bytes:
        response = self.inner.transmit(command)
        self.tape.append((command, response))
        return response

    def reset(self) -> bytes:
        return self.inner.reset()

    def power_off(self) -> None:
        self.inner.power_off()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


class Losing(Line):
    """Loses the response of the n-th command: the card has executed it."""

    def __init__(self, inner: CardConnection, lose: int) -> None:
        super().__init__(inner)
        self._lose = lose

    @property
    def commands(self) -> int:
        return len(self.tape)

    def transmit(self, command: bytes) -> bytes:
        response = super().transmit(command)
        if self.commands == self._lose:
            raise ReaderError("card-removed", reader="bench")
        return response


class Playing(Line):
    """A copy of a card that knows nothing but what a card once said: it says it again."""

    def __init__(self, inner: CardConnection, tape: list[tuple[bytes, bytes]]) -> None:
        super().__init__(inner)
        self._answers = [response for _, response in tape]

    def transmit(self, command: bytes) -> bytes:
        response = self._answers.pop(0)
        self.tape.append((command, response))
        return response
