"""A card in a reader, as the checks see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.atr import AnswerError, Atr, Ats, Capabilities, HistoricalBytes
from reader_bridge.connection import CardConnection

_CONTACTLESS_ATR: Final = b"\x80\x01"


class CheckFailed(Exception):
    """The card, the reader, or both do not do what they should.

    Args:
        code: key of the words, below "matrix.why".
        parameters: facts for them; never data of a card's holder.
    """

    def __init__(self, code: str, **parameters: object) -> None:
        super().__init__(code, parameters)
        self.code = code
        self.parameters = parameters


class CheckSkipped(Exception):
    """The check says nothing about this card in this reader.

    Args:
        code: key of the words, below "matrix.why".
        parameters: facts for them.
    """

    def __init__(self, code: str, **parameters: object) -> None:
        super().__init__(code, parameters)
        self.code = code
        self.parameters = parameters


@dataclass
class Subject:
    """A card in a reader, powered.

    Attributes:
        raw: the connection as the reader gives it.
        host: the same behind what hosts put around it: 61xx, 6Cxx, chains.
        answer: ATR or ATS.
        known_aid: an application that is on the card; empty when none is known.
        open_file: makes a file of at least 1,024 bytes readable and returns its short identifier; None when nobody
            knows how.
    """

    raw: CardConnection
    host: CardConnection
    answer: bytes
    known_aid: bytes
    open_file: Callable[[CardConnection], int] | None = None

    @property
    def aid(self) -> bytes:
        """An application that is on the card.

        Raises:
            CheckSkipped: none is known.
        """
        if not self.known_aid:
            raise CheckSkipped("no-application")
        return self.known_aid

    @cached_property
    def historical(self) -> bytes:
        """Historical bytes of the ATR or ATS.

        Raises:
            CheckFailed: the answer cannot be read.
        """
        try:
            if self.answer[:1] == bytes((len(self.answer),)):
                return Ats.parse(self.answer).historical
            return Atr.parse(self.answer).historical
        except AnswerError as error:
            raise CheckFailed("answer", reason=str(error)) from error

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the card says that it can do.

        Raises:
            CheckSkipped: it says nothing of that.
        """
        try:
            found = HistoricalBytes.parse(self.historical).capabilities
        except AnswerError as error:
            raise CheckSkipped("no-capabilities") from error
        if found is None:
            raise CheckSkipped("no-capabilities")
        return found

    def send(
        self, cla: int, ins: int, p1: int, p2: int, data: bytes = b"", ne: int = 0, *, extended: bool = False
    ) -> ResponseApdu:
        """One command through the host's stack."""
        return ResponseApdu.parse(self.host.transmit(CommandApdu(cla, ins, p1, p2, data, ne, extended).encode()))

    def select(self, cla: int = 0x00) -> ResponseApdu:
        """SELECT the application by its name."""
        return self.send(cla, 0xA4, 0x04, 0x00, self.aid, 256)

    def need(self, response: ResponseApdu) -> bytes:
        """Response data of a command that has to work.

        Raises:
            CheckFailed: another status word than 9000.
        """
        if not response.sw.ok:
            raise CheckFailed("status", sw=str(response.sw), meaning=response.sw.text)
        return response.data
