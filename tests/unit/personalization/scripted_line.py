"""Cards, makers and inspectors of a few bytes, to drive the production engine without cryptography.

A scripted card is a file of 16 bytes: card number (10) ‖ condition (1) ‖ row (4) ‖ behaviour (1); each write is one
``pwrite``, so that a killed process leaves what it had written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from personalization.keys.keystore import KeyName
from personalization.production.fence import Fence
from personalization.production.journal import Journal
from personalization.production.journal.batches import BatchEntry, BatchFacts, RejectedRow, RowEntry, register_batch
from personalization.production.results import Results
from personalization.production.stock import NewBlank, receive_blanks
from personalization.production.work import (
    CardFault,
    Condition,
    EnterStep,
    Equipment,
    Interfaces,
    KeysRefused,
    Look,
    WrongBlank,
)
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, Protocol7816, ReaderError

CONDITIONS = tuple(Condition)
HONEST, OTHER_KEYS, FAULTY, SILENT, MISREAD, STUBBORN, MUTE_ONCE, ABSENT = range(8)
"""Behaviours: as it should; unknown keys; fails in the middle; never answers; fails inspection; cannot be terminated;
is silent at the first power-on; is not in its reader."""

CONDITION_AT, ROW_AT, BEHAVIOUR_AT, SIZE = 10, 11, 15, 16
READ, WRITE = 0xB0, 0xD6


def new_card(path: Path, number: int, behaviour: int = HONEST) -> NewBlank:
    card_number = b"CARD" + number.to_bytes(6, "big")
    path.write_bytes(card_number + bytes((CONDITIONS.index(Condition.UNTOUCHED),)) + bytes(4) + bytes((behaviour,)))
    return NewBlank(card_number, str(path))


def card_state(path: str | Path) -> tuple[Condition, int]:
    raw = Path(path).read_bytes()
    return CONDITIONS[raw[CONDITION_AT]], int.from_bytes(raw[ROW_AT:BEHAVIOUR_AT], "big")


def set_card(path: str | Path, condition: Condition, row: int = 0) -> None:
    raw = bytearray(Path(path).read_bytes())
    raw[CONDITION_AT] = CONDITIONS.index(condition)
    raw[ROW_AT:BEHAVIOUR_AT] = row.to_bytes(4, "big")
    Path(path).write_bytes(raw)


class ScriptedConnection:
    """READ BINARY and UPDATE BINARY over the card's file."""

    def __init__(self, descriptor: int, interface: Interface, delay_s: float) -> None:
        self._descriptor = descriptor
        self._delay_s = delay_s
        self.description = ConnectionDescription("scripted", interface, Protocol7816.T1, b"\x3b\x00", simulated=True)

    def power_on(self) -> bytes:
        behaviour = os.pread(self._descriptor, 1, BEHAVIOUR_AT)[0]
        if behaviour == MUTE_ONCE:
            os.pwrite(self._descriptor, bytes((HONEST,)), BEHAVIOUR_AT)
        if behaviour == ABSENT:
            raise ReaderError("no-card")
        if behaviour in {SILENT, MUTE_ONCE}:
            raise ReaderError("mute")
        return b"\x3b\x00"

    def transmit(self, command: bytes) -> bytes:
        if self._delay_s:
            time.sleep(self._delay_s)
        if command[1] == READ:
            return os.pread(self._descriptor, SIZE, 0) + b"\x90\x00"
        os.pwrite(self._descriptor, command[5:], command[3])
        return b"\x90\x00"

    def reset(self) -> bytes:
        return b"\x3b\x00"

    def power_off(self) -> None:
        pass

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


@dataclass(frozen=True)
class Connect:
    delay_s: float = 0.0

    @contextmanager
    def __call__(self, location: str) -> Iterator[Interfaces]:
        lock = FileLock(location + ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ReaderError("card-in-use", location=location) from None
        descriptor = os.open(location, os.O_RDWR)
        try:
            yield Interfaces(
                ScriptedConnection(descriptor, Interface.CONTACT, self.delay_s),
                ScriptedConnection(descriptor, Interface.CONTACTLESS, self.delay_s),
            )
        finally:
            os.close(descriptor)
            lock.release()


class ScriptedMaker:
    """Keyed, started, personalized, finished: one write each."""

    def look(self, card: CardConnection) -> Look:
        raw = card.transmit(bytes((0, READ, 0, 0, SIZE)))
        condition = CONDITIONS[raw[CONDITION_AT]]
        if raw[BEHAVIOUR_AT] == OTHER_KEYS:
            raise KeysRefused("look", 0, untouched=condition is Condition.UNTOUCHED)
        return Look(raw[:CONDITION_AT], condition)

    def make(
        self,
        card: CardConnection,
        record: object,
        card_number: bytes | None,
        enter: EnterStep,
        fence: Fence | None = None,
    ) -> bytes:
        assert isinstance(record, int)
        enter("look")
        look = self.look(card)
        if card_number is not None and look.card_number != card_number:
            raise WrongBlank(look.card_number.hex())
        raw = card.transmit(bytes((0, READ, 0, 0, SIZE)))
        for condition in (Condition.KEYED, Condition.STARTED, Condition.PERSONALIZED, Condition.FINISHED):
            enter(condition.value)
            if condition is Condition.STARTED and raw[BEHAVIOUR_AT] == FAULTY:
                raise CardFault(condition.value, "status-word", 0x6F00)
            state = bytes((CONDITIONS.index(condition),)) + record.to_bytes(4, "big")
            card.transmit(bytes((0, WRITE, 0, CONDITION_AT, len(state))) + state)
        return look.card_number

    def terminate(self, card: CardConnection, card_number: bytes) -> bool:
        raw = card.transmit(bytes((0, READ, 0, 0, SIZE)))
        if raw[:CONDITION_AT] != card_number:
            raise WrongBlank(raw[:CONDITION_AT].hex())
        if raw[BEHAVIOUR_AT] == STUBBORN:
            return False
        card.transmit(bytes((0, WRITE, 0, CONDITION_AT, 1, CONDITIONS.index(Condition.TERMINATED))))
        return True


@dataclass(frozen=True)
class ScriptedCheck:
    name: str
    passed: bool
    interface: str
    shown: str
    expected: str = ""


@dataclass(frozen=True)
class ScriptedInspection:
    passed: bool
    checks: tuple[ScriptedCheck, ...]


class ScriptedInspector:
    """The card is finished and holds the row it should."""

    def inspect(
        self, contact: CardConnection, contactless: CardConnection | None, row_number: int, enter: EnterStep
    ) -> ScriptedInspection:
        enter("inspect")
        checks: list[ScriptedCheck] = []
        for connection in (contact, contactless):
            assert connection is not None
            connection.power_on()
            raw = connection.transmit(bytes((0, READ, 0, 0, SIZE)))
            row = int.from_bytes(raw[ROW_AT:BEHAVIOUR_AT], "big")
            finished = CONDITIONS[raw[CONDITION_AT]] is Condition.FINISHED
            passed = finished and row == row_number and raw[BEHAVIOUR_AT] not in {MISREAD, STUBBORN}
            name = connection.description.interface.value
            checks.append(ScriptedCheck("field.row", passed, name, f"***{row % 10}"))
        return ScriptedInspection(all(check.passed for check in checks), tuple(checks))


class ScriptedSealing:
    """What is sealed here is opened for the same row and card only; it hides nothing."""

    def seal(self, name: KeyName, plaintext: bytes, associated: bytes) -> bytes:
        return sha256(name.encode() + associated).digest() + plaintext

    def unseal(self, name: KeyName, sealed: bytes, associated: bytes) -> bytes:
        assert sealed[:32] == sha256(name.encode() + associated).digest()
        return sealed[32:]


RESULTS = Results(ScriptedSealing())


@dataclass(frozen=True)
class Records:
    """The prepared record of row n + 1 is the number n + 1."""

    def record(self, index: int) -> int:
        return index + 1


@dataclass(frozen=True)
class Outfit:
    """Picklable maker of the scripted equipment."""

    delay_s: float = 0.0

    @contextmanager
    def __call__(self) -> Iterator[Equipment]:
        yield Equipment(ScriptedMaker(), ScriptedInspector(), Records(), Connect(self.delay_s), RESULTS)


def digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def load_batch(
    journal: Journal,
    rows: int,
    identifier: str = "batch",
    *,
    citizens: Iterable[str] | None = None,
    rejected: int = 0,
) -> BatchFacts:
    """A batch with the rows 1 to ``rows``; each permit and, unless given, each citizen is its own."""
    names = list(citizens) if citizens else [f"{identifier}-{number}" for number in range(1, rows + 1)]
    entries = [
        RowEntry(number, number - 1, digest(f"permit {identifier} {number}"), digest(names[number - 1]))
        for number in range(1, rows + 1)
    ]
    refused = [RejectedRow(rows + 1 + number, "name-missing") for number in range(rejected)]
    delivered = rows + rejected
    source = digest(identifier)
    entry = BatchEntry(identifier, source, "330381", delivered, "prepared", "source", entries, refused)
    return register_batch(journal, entry, "operator")


def receive(journal: Journal, folder: Path, behaviours: Iterable[int], first: int = 1) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []

    def make() -> Iterator[NewBlank]:
        for number, behaviour in enumerate(behaviours, first):
            path = folder / f"{number:04}.card"
            paths.append(path)
            yield new_card(path, number, behaviour)

    receive_blanks(journal, make(), lot=f"lot-{first}", who="operator")
    return paths
