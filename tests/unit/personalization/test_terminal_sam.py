"""A SAM that answers with another number of bytes is not believed: keys that are cut short are no keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.terminal.authentication import MESSAGE_LENGTH
from personalization.terminal.sam import CARD_NUMBER_LENGTH, CONCEALED_LENGTH, SamSession


@dataclass
class Answering:
    """A channel whose card answers every command with so many bytes."""

    length: int

    def exchange(self, command: CommandApdu) -> ResponseApdu:
        del command
        return ResponseApdu(bytes(self.length), SW.OK)


def prepare(session: SamSession) -> object:
    return session.prepare(bytes(CONCEALED_LENGTH), 1, bytes(8))


def prepare_external(session: SamSession) -> object:
    return session.prepare_external(bytes(CONCEALED_LENGTH), 1, bytes(8))


def complete(session: SamSession) -> object:
    return session.complete(bytes(MESSAGE_LENGTH))


def uses_left(session: SamSession) -> object:
    return session.uses_left()


@pytest.mark.parametrize(
    ("ask", "length"),
    [
        (prepare, CARD_NUMBER_LENGTH + MESSAGE_LENGTH),
        (prepare_external, CARD_NUMBER_LENGTH + 16),
        (complete, 32),
        (uses_left, 8),
    ],
)
def test_an_answer_of_another_length_is_refused(ask: Callable[[SamSession], object], length: int) -> None:
    def session(answered: int) -> SamSession:
        return SamSession(cast("Any", Answering(answered)))

    ask(session(length))
    for false in (0, length - 1, length + 1):
        with pytest.raises(PersonalizationError, match="sam-answer-malformed") as caught:
            ask(session(false))
        assert caught.value.parameters["length"] == false
