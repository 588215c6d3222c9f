"""The card that the shared suite talks to, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from permitcard.testing.target import Target
from reader_bridge.connection import CardConnection, Interface


@dataclass(slots=True)
class CardUnderTest:
    """One interface of the card, powered and freshly reset.

    Attributes:
        connection: where the bytes go.
        target: keys, PINs and identity of this card.
        answer: ATR or ATS of the last reset.
    """

    connection: CardConnection
    target: Target
    answer: bytes

    @property
    def interface(self) -> Interface:
        """Contact or contactless."""
        return self.connection.description.interface

    def raw(self, command: bytes) -> bytes:
        """Exchange bytes as they are."""
        return self.connection.transmit(command)

    def send(
        self, cla: int, ins: int, p1: int, p2: int, data: bytes = b"", *, ne: int = 0, extended: bool = False
    ) -> ResponseApdu:
        """Exchange one command; the status word is for the test to judge."""
        command = CommandApdu(cla, ins, p1, p2, data, ne, extended)
        return ResponseApdu.parse(self.connection.transmit(command.encode()))

    def ok(
        self, cla: int, ins: int, p1: int, p2: int, data: bytes = b"", *, ne: int = 0, extended: bool = False
    ) -> bytes:
        """Exchange one command that must end with 9000; returns the response data."""
        response = self.send(cla, ins, p1, p2, data, ne=ne, extended=extended)
        if response.sw != 0x9000:  # noqa: PLR2004 - the one status word that means done
            raise UnexpectedStatus(f"{cla:02X} {ins:02X} {p1:02X} {p2:02X} ended with {response.sw}, not 9000")
        return response.data

    def select(self, name: bytes) -> bytes:
        """SELECT by DF name; returns the FCI."""
        return self.ok(0x00, 0xA4, 0x04, 0x00, name, ne=256)

    def reset(self) -> bytes:
        """Reset the card."""
        self.answer = self.connection.reset()
        return self.answer


class UnexpectedStatus(AssertionError):
    """A command that had to succeed did not."""
