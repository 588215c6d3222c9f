"""What tests of the wire share: scripted and random disturbances, and an application that knows what it executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from card_os.transport.wire import Direction


class Fault(Enum):
    LOST = "lost"
    DAMAGED = "damaged"


def damage(data: bytes, random: Random) -> bytes:
    """One wrong byte: what every check code detects."""
    at = random.randrange(len(data))
    return data[:at] + bytes((data[at] ^ random.randrange(1, 256),)) + data[at + 1 :]


@dataclass
class Script:
    """Disturbs the transmissions with the numbers given, and writes down all that was sent."""

    faults: Mapping[int, Fault]
    describe: Callable[[bytes], str]
    sent: list[str] = field(default_factory=list)

    def __call__(self, direction: Direction, data: bytes) -> bytes:
        fault = self.faults.get(len(self.sent))
        self.sent.append(("> " if direction is Direction.TO_CARD else "< ") + self.describe(data))
        if fault is Fault.LOST:
            return b""
        return data[:-1] + bytes((data[-1] ^ 0x5A,)) if fault is Fault.DAMAGED else data


@dataclass
class Noise:
    """Loses and damages at random."""

    random: Random
    loss: float
    damage: float

    def __call__(self, direction: Direction, data: bytes) -> bytes:
        dice = self.random.random()
        if dice < self.loss:
            return b""
        return damage(data, self.random) if dice < self.loss + self.damage else data


@dataclass
class Application:
    """Answers every command with what only this execution can answer."""

    executed: list[bytes] = field(default_factory=list)

    def __call__(self, command: bytes) -> bytes:
        self.executed.append(command)
        return self.answer_to(command)

    @staticmethod
    def answer_to(command: bytes) -> bytes:
        return bytes(byte ^ 0xFF for byte in reversed(command)) + b"\x90\x00"
