"""A card through pyscard, pcscd and vpcd, beside a card that does nothing at the same place.

Wall-clock time, and three processes take turns for each exchange, so that whatever else runs on the machine is in it
too. Two cards therefore stand in two slots of one service and are read in turns, a few exchanges each, and what counts
is the ratio of neighbouring turns: both had the same machine. Half of the turns are made with the slots changed over.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from statistics import median, quantiles
from typing import ClassVar

from card_os.applet_api import Context, Instruction, instruction_table
from card_os.card import Card
from card_os.files.commands import FILE_INSTRUCTIONS
from card_os.files.spec import AccessMode, FileSpec, FileStructure
from card_os.globalplatform.registry import Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from card_os.security.access import ALWAYS
from reader_bridge.connection import CardConnection, ReaderError
from reader_bridge.pcsc import PcscConnection
from reader_bridge.pcscd import PcscService
from reader_bridge.relay import RelayConnection
from reader_bridge.simulated import SimulatedCard
from reader_bridge.vigil import Vigil
from reader_bridge.vpcd import VirtualReader

_EXCHANGES = 10  # of one card, before the other has its turn
_TURNS = 1000
_TRIES = 100
_AID = bytes.fromhex("F042454E434802")
_SELECT = CommandApdu(0, 0xA4, 4, 0, _AID, 256).encode()
_SELECT_FILE = bytes.fromhex("00A4000C020101")
_READ = bytes.fromhex("00B00000FD")
_ANSWER = bytes(253) + b"\x90\x00"
_ATR = bytes.fromhex("3B80800101")

Row = tuple[str, float, float]
Turns = list[tuple[float, float]]
Slot = Callable[[int], AbstractContextManager[None]]
"""Puts a card into the slot whose driver listens on a port."""


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


def null_card(port: int, *, awake: bool = False) -> None:
    """The least that a card program can do: every command is answered with the same bytes, until the driver goes.

    It sleeps between commands, as the least program does, or waits for them as our slots do.
    """
    link = _dial(port)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer = len(_ANSWER).to_bytes(2, "big") + _ANSWER
    atr = len(_ATR).to_bytes(2, "big") + _ATR
    acknowledge, receive, send = link.setsockopt, link.recv, link.sendall
    tcp, quickly = socket.IPPROTO_TCP, socket.TCP_QUICKACK
    waiting = b""
    wait = Vigil.over(link, threading.Lock()).wait if awake else None
    with link:
        while True:
            acknowledge(tcp, quickly, 1)
            if wait is not None:
                wait()
            part = receive(300)
            if not part:
                return
            waiting += part
            while len(waiting) > 2 and len(waiting) >= (end := 2 + (waiting[0] << 8 | waiting[1])):
                if end > 3:
                    send(answer)
                elif waiting[2] == 4:
                    send(atr)
                waiting = waiting[end:]


def _dial(port: int) -> socket.socket:
    for _ in range(_TRIES):
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", port))
        time.sleep(0.1)
    raise RuntimeError("no driver listens")


def _card(image: NvmImage) -> SimulatedCard:
    card = Card(image.nvm(), [BenchmarkApplet], randomness=SeededRandomness(1))
    card.platform.install(
        package_aid=_AID[:-1], module_aid=_AID, aid=_AID, privileges=Privilege.NONE, domain=1, life_cycle=0x07
    )
    return SimulatedCard(image, lambda _: card)


def _in_slot(connection: CardConnection) -> Slot:
    """A card of ours."""
    return lambda port: _served(connection, port)


@contextmanager
def _served(connection: CardConnection, port: int) -> Generator[None]:
    with VirtualReader([connection], port) as reader:
        reader.wait_until_inserted()
        yield


@contextmanager
def _null(port: int) -> Generator[None]:
    """The null card, in a process of its own."""
    with _null_process("--null", port):
        yield


@contextmanager
def _null_awake(port: int) -> Generator[None]:
    """The null card that stays awake as our slots do."""
    with _null_process("--null-awake", port):
        yield


@contextmanager
def _null_process(kind: str, port: int) -> Generator[None]:
    process = _ourselves(kind, str(port))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _ourselves(*arguments: str, environment: Mapping[str, str] = os.environ) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(part for part in sys.path if part)
    return subprocess.Popen(  # noqa: S603 - this file
        [sys.executable, str(Path(__file__).resolve()), *arguments],
        env={**environment, "PYTHONPATH": path},
        stdout=subprocess.PIPE if "--client" in arguments else None,
    )


def _client() -> Turns:
    """Median µs of one READ BINARY in slot 0 and in slot 1, of each turn."""
    with _connect("Virtual PCD 00 00") as first, _connect("Virtual PCD 00 01") as second:
        turns: Turns = []
        for _ in range(_TURNS // 2):
            turns.append((_measure(first), _measure(second)))
            later, sooner = _measure(second), _measure(first)
            turns.append((sooner, later))
    return turns


def _connect(reader: str) -> PcscConnection:
    """The service looks into its slots a few times a second, so that the card may not be seen at once."""
    connection = PcscConnection(reader)
    for _ in range(_TRIES):
        with suppress(ReaderError):
            connection.power_on()
            break
        time.sleep(0.1)
    connection.transmit(_SELECT)
    connection.transmit(_SELECT_FILE)
    return connection


def _measure(connection: CardConnection) -> float:
    transmit, now = connection.transmit, time.perf_counter_ns
    spent, answer = [], b""
    for _ in range(_EXCHANGES):
        start = now()
        answer = transmit(_READ)
        spent.append(now() - start)
    if answer != _ANSWER:
        raise RuntimeError("the card did not read")
    return median(spent) / 1000


def _turns(first: Slot, second: Slot) -> Turns:
    """The turns of two cards in the two slots of one service."""
    with PcscService() as service, first(service.ports[0]), second(service.ports[1]):
        # The client is a process of its own: the PC/SC library finds one service in a process.
        with _ourselves("--client", environment=service.environment) as client:
            output, _ = client.communicate()
        if client.returncode:
            raise RuntimeError("the client failed")
    turns: Turns = [(ours, theirs) for ours, theirs in json.loads(output)]
    return turns


def _compare(name: str, ours: Slot, floor: Slot) -> list[Row]:
    """The median ratio of neighbouring turns, then its quartiles, all at the median of the floor."""
    turns = _turns(ours, floor) + [(mine, least) for least, mine in _turns(floor, ours)]
    fastest = median(least for _, least in turns)
    low, middle, high = (ratio * fastest for ratio in quantiles([mine / least for mine, least in turns], n=4))
    return [
        (name, middle, fastest),
        ("  a quarter of the turns, at most", low, fastest),
        ("  a quarter of the turns, at least", high, fastest),
    ]


def run() -> list[Row]:
    """Rows of (name, ours in µs, the floor in µs): a null card, and the card itself for what stands before it."""
    with _card(NvmImage.create()) as card, _card(NvmImage.create()) as other:
        direct, relayed = _in_slot(card.connect()), _in_slot(RelayConnection(other.connect()))
        return [
            *_compare("READ BINARY of 253 B through pcscd and vpcd", direct, _null),
            *_compare("the same beside a null card that stays awake too", direct, _null_awake),
            *_compare("the same through a relay without rules, to the card", relayed, direct),
        ]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--client"]:
            print(json.dumps(_client()))
        case ["--null", number]:
            null_card(int(number))
        case ["--null-awake", number]:
            null_card(int(number), awake=True)
        case _:
            for label, ours_us, floor_us in run():
                print(f"{label:<60} {ours_us:8.2f} µs {floor_us:8.2f} µs")
