"""What connections to cards in serial readers have in common: the port, who is behind it, and how it is given back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from reader_bridge.connection import ConnectionDescription, PoweredWhileUsed, ReaderError
from reader_bridge.serial_ports.port import SerialPort

_STATUS_LENGTH: Final = 2


class SerialConnection(PoweredWhileUsed):
    """A connection over a serial port, which is opened when the card is powered.

    Args:
        place: the serial port.
        description: what the connection is, before there is a card.
    """

    def __init__(self, place: str, description: ConnectionDescription) -> None:
        self._place = place
        self._description = description
        self._port: SerialPort | None = None

    @property
    def description(self) -> ConnectionDescription:
        """What this connection is; complete after `power_on`."""
        return self._description

    @abstractmethod
    def _forget(self) -> None:
        """Nothing is known of the card any more."""

    @contextmanager
    def _identifying(self) -> Generator[None]:
        """While a port that was opened is asked who is behind it.

        Raises:
            ReaderError: "no-reader-answers" when nobody does; the port is given back.
        """
        try:
            yield
        except ReaderError as error:
            self.close()
            if error.code == "time-out":
                raise ReaderError("no-reader-answers", reader=self._place) from error
            raise

    def _whole(self, response: bytes) -> bytes:
        """The response of a card, which has a status word.

        Raises:
            ReaderError: "transmission-failed".
        """
        if len(response) < _STATUS_LENGTH:
            raise ReaderError("transmission-failed", reader=self._place, reason="a response without a status word")
        return response

    def _mute(self, reason: str) -> ReaderError:
        return ReaderError("mute", reader=self._place, reason=reason)

    def close(self) -> None:
        """Give the port back; safe to call twice."""
        self._forget()
        port, self._port = self._port, None
        if port is not None:
            port.close()
