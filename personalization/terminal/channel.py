"""How a terminal exchanges commands with a card: in plain, or under secure messaging.

Both give the same two methods, so that reading a file is written once. Status words 61xx are followed here.
"""

from __future__ import annotations

from typing import Final, Protocol

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.status import SW, StatusWord
from personalization.errors import PersonalizationError
from personalization.terminal.secure_messaging import SessionKeys, TerminalSecureMessaging, plain_bytes
from reader_bridge.connection import CardConnection

_STATUS_LENGTH: Final = 2
_MORE_AVAILABLE: Final = 0x61
_GET_RESPONSE: Final = b"\x00\xc0\x00\x00"
_MAX_ROUNDS: Final = 1024
_LARGEST_READ: Final = 8192 - 1
"""Bytes of one READ BINARY where the connection allows extended length: a portrait at once; padded, they fill whole
blocks."""
_LARGEST_WRITE: Final = 2048 - 1
"""Bytes of one UPDATE BINARY likewise: what a card changes in one transaction."""


class CardRefused(PersonalizationError):
    """A command did not end with 9000; code "card-refused".

    Attributes:
        status: what the card answered.
    """

    def __init__(self, command: str, status: StatusWord) -> None:
        super().__init__("card-refused", command=command, sw=str(status), meaning=status.text)
        self.status = status


class CardChannel(Protocol):
    """A way to a card's selected application."""

    max_read: int
    """Most plain bytes that one response carries."""

    max_write: int
    """Most plain bytes that one command carries."""

    def exchange(self, command: CommandApdu) -> ResponseApdu:
        """Send one plain command; returns plain data and the status word, whatever it is."""
        ...


def transmit(channel: CardChannel, command: CommandApdu, name: str) -> bytes:
    """Send one command that has to succeed; returns the response data.

    Raises:
        CardRefused: any status word but 9000.
    """
    response = channel.exchange(command)
    if response.sw != SW.OK:
        raise CardRefused(name, response.sw)
    return response.data


def collect(connection: CardConnection, command: bytes) -> bytes:
    """Send command bytes and fetch what the card offers by 61xx.

    Raises:
        PersonalizationError: "response-not-authentic": no status word, or a response that does not end.
    """
    response = connection.transmit(command)
    parts: list[bytes] = []
    for _ in range(_MAX_ROUNDS):
        if len(response) < _STATUS_LENGTH:
            raise PersonalizationError("response-not-authentic", reason="no status word")
        if response[-2] != _MORE_AVAILABLE:
            return b"".join(parts) + response if parts else response
        parts.append(response[:-2])
        response = connection.transmit(_GET_RESPONSE + response[-1:])
    raise PersonalizationError("response-not-authentic", reason="the response does not end")


class PlainChannel:
    """Commands as they are.

    Args:
        connection: a powered card.
    """

    __slots__ = ("_connection", "max_read", "max_write")

    def __init__(self, connection: CardConnection) -> None:
        self._connection = connection
        description = connection.description
        self.max_read = min(description.max_response_data, _LARGEST_READ)
        self.max_write = min(description.max_command_data, _LARGEST_WRITE)

    def exchange(self, command: CommandApdu) -> ResponseApdu:
        """Send one command and split the response."""
        return ResponseApdu.parse(collect(self._connection, command.encode()))


class ProtectedChannel:
    """Commands under secure messaging; a response that is not authentic is never taken for an answer.

    Args:
        connection: a powered card.
        keys: session keys of the authentication that was just done.
    """

    __slots__ = ("_connection", "_messaging", "max_read", "max_write")

    def __init__(self, connection: CardConnection, keys: SessionKeys) -> None:
        self._connection = connection
        self._messaging = TerminalSecureMessaging(keys)
        description = connection.description
        self.max_read = min(plain_bytes(description.max_response_data), _LARGEST_READ)
        self.max_write = min(plain_bytes(description.max_command_data), _LARGEST_WRITE)

    @property
    def alive(self) -> bool:
        """False after a response that was not authentic."""
        return self._messaging.alive

    def exchange(self, command: CommandApdu) -> ResponseApdu:
        """Send one command under secure messaging.

        Raises:
            PersonalizationError: "response-not-authentic" or "session-over".
        """
        return self._messaging.open(collect(self._connection, self._messaging.protect(command)))
