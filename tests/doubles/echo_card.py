"""A card whose every answer follows from the command, so that any wrong byte on the way shows."""

from __future__ import annotations

from random import Random
from types import TracebackType
from typing import Final, Self

from card_os.answers import DEFAULT_ATR
from card_os.iso7816.apdu import CommandApdu
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816

READ, WRITE, EXCHANGE = 0xB0, 0xD6, 0xCB
_PATTERN: Final = Random(1).randbytes(0x1_0000) * 2
_CHECKED: Final = 0xFF


def answer(command: CommandApdu) -> bytes:
    """What the card answers: bytes from offset P1 P2 of a pattern, mixed with the sum of the data.

    As many as Ne says, and for EXCHANGE as many as it has data, for by T=0 a card does not see Ne behind data.
    """
    at = command.p1 << 8 | command.p2
    count = len(command.data) if command.ins == EXCHANGE else command.ne
    return _mix(_PATTERN[at : at + count], sum(command.data) & _CHECKED) + b"\x90\x00"


def _mix(data: bytes, value: int) -> bytes:
    return data.translate(bytes(byte ^ value for byte in range(256)))


class EchoCard:
    """A `CardConnection` to such a card."""

    def __init__(self, atr: bytes = DEFAULT_ATR) -> None:
        self.description = ConnectionDescription("echo", Interface.CONTACT, Protocol7816.T1, atr, simulated=True)
        self.resets = 0

    def power_on(self) -> bytes:
        return self.description.answer

    def transmit(self, command: bytes) -> bytes:
        return answer(CommandApdu.parse(command))

    def reset(self) -> bytes:
        self.resets += 1
        return self.description.answer

    def power_off(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


def commands(random: Random, count: int, longest: int = 255, longest_read: int | None = None) -> list[CommandApdu]:
    """Commands of three cases; READ gets data, WRITE brings data, EXCHANGE both."""
    most = longest + 1 if longest_read is None else longest_read
    made: list[CommandApdu] = []
    for _ in range(count):
        ins = random.choice((READ, WRITE, EXCHANGE))
        nc = 0 if ins == READ else random.randint(1, longest)
        ne = {READ: random.randint(1, most), WRITE: 0, EXCHANGE: longest + 1}[ins]
        at = random.randrange(0x1_0000)
        extended = longest > 255 and (nc > 255 or ne > 256)
        made.append(CommandApdu(0, ins, at >> 8 & 0x7F, at & 0xFF, random.randbytes(nc), ne, extended))
    return made
