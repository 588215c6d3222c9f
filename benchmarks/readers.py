"""A card through pyscard, pcscd and vpcd, beside a card that does nothing at the same place.

Wall-clock time: three processes take turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from card_os.applet_api import Context, Instruction, instruction_table
from card_os.card import Card
from card_os.files.commands import FILE_INSTRUCTIONS
from card_os.files.spec import AccessMode, FileSpec, FileStructure
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.security.access import ALWAYS
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.pcsc import PcscConnection
from reader_bridge.pcscd import PcscService
from reader_bridge.relay import RelayConnection
from reader_bridge.simulated import SimulatedCard
from reader_bridge.vpcd import VirtualReader

_ROUNDS = 25  # short enough that nothing else has its turn in many of them
_REPEATS = 400
_TRIES = 100
_AID = bytes.fromhex("F042454E434802")
_SELECT = CommandApdu(0, 0xA4, 4, 0, _AID, 256).encode()
_READ = bytes.fromhex("00B08100FD")
_ANSWER = 253  # bytes of data, 255 with the status word
_ATR = bytes.fromhex("3B80800101")

Row = tuple[str, float, float]


class BenchmarkApplet:
    """One file that anyone reads."""

    package_aid: ClassVar[bytes] = _AID[:-1]
    module_aid: ClassVar[bytes] = _AID
    instructions: ClassVar[Mapping[tuple[bool, int], Instruction]] = instruction_table(*FILE_INSTRUCTIONS)

    def install(self, context: Context, parameters: bytes) -> None:  # noqa: ARG002 - the protocol's arguments
        """Create the file."""
        context.files.create(
            FileSpec(0x0101, FileStructure.TRANSPARENT, size=1024, sfi=1, rules={AccessMode.READ: ALWAYS})
        )

    def select(self, context: Context) -> bytes:  # noqa: ARG002 - the protocol's arguments
        """Answer nothing."""
        return b""

    def deselect(self, context: Context) -> None:
        """Keep nothing."""

    def store_data(self, context: Context, identifier: int, value: bytes, *, last: bool) -> None:
        """Take nothing."""


class NullCard:
    """Answers every command with the same bytes."""

    description = ConnectionDescription("null", Interface.CONTACT, Protocol7816.T1, _ATR)

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def power_on(self) -> bytes:
        """The ATR."""
        return _ATR

    def transmit(self, command: bytes) -> bytes:  # noqa: ARG002 - whatever it is
        """The answer."""
        return self._answer

    def reset(self) -> bytes:
        """The ATR."""
        return _ATR

    def power_off(self) -> None:
        """Nothing to do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to do."""


def _card(image: NvmImage) -> SimulatedCard:
    card = Card(image.nvm(), [BenchmarkApplet], randomness=SeededRandomness(1))
    card.platform.install(
        package_aid=_AID[:-1], module_aid=_AID, aid=_AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    return SimulatedCard(image, lambda _: card)


def _client() -> tuple[float, float]:
    """Least µs of one READ BINARY in slot 0 and in slot 1, measured in turns."""
    with _connect("Virtual PCD 00 00") as card, _connect("Virtual PCD 00 01") as null:
        times = [(_measure(card), _measure(null)) for _ in range(_REPEATS)]
    ours, floors = zip(*times, strict=True)
    return min(ours), min(floors)  # other work on the machine only adds


def _connect(reader: str) -> PcscConnection:
    """The service looks into its slots a few times a second, so that the card may not be seen at once."""
    connection = PcscConnection(reader)
    for _ in range(_TRIES):
        with suppress(ReaderError):
            connection.power_on()
            break
        time.sleep(0.1)
    connection.transmit(_SELECT)
    return connection


def _measure(connection: CardConnection) -> float:
    start = time.perf_counter_ns()
    for _ in range(_ROUNDS):
        answer = connection.transmit(_READ)
    spent = (time.perf_counter_ns() - start) / _ROUNDS / 1000
    if len(answer) != _ANSWER + 2 or answer[-2:] != b"\x90\x00":
        raise RuntimeError("the card did not read")
    return spent


def _slots(first: CardConnection, second: CardConnection) -> tuple[float, float]:
    """Least µs of one READ BINARY of each, in two slots of one reader."""
    with PcscService() as service, VirtualReader([first, second], service.port) as reader:
        reader.wait_until_inserted()
        # The client is a process of its own: the PC/SC library finds one service in a process.
        command = [sys.executable, str(Path(__file__).resolve()), "--client"]
        path = os.pathsep.join(part for part in sys.path if part)
        done = subprocess.run(  # noqa: S603 - ourselves
            command, env={**service.environment, "PYTHONPATH": path}, stdout=subprocess.PIPE, check=True
        )
    ours, floor = json.loads(done.stdout)
    return ours, floor


def run() -> list[Row]:
    """Rows of (name, ours in µs, the floor in µs): a null card, and the card itself for what stands before it."""
    null = NullCard(bytes(_ANSWER) + b"\x90\x00")
    with _card(NvmImage.create()) as card, _card(NvmImage.create()) as other:
        plain = _slots(card.connect(), null)
        relayed = _slots(RelayConnection(other.connect()), card.connect())
    return [
        ("READ BINARY of 253 B through pcscd and vpcd", *plain),
        ("the same through a relay without rules, to the card", *relayed),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        print(json.dumps(_client()))
    else:
        for name, ours_us, floor_us in run():
            print(f"{name:<52} {ours_us:8.2f} µs {floor_us:8.2f} µs {floor_us / ours_us:6.1%} of the rate")
