"""The virtual CCID reader on its line, seen by a host that gives up: what nobody waits for is not sent."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from reader_bridge import virtual_ccid
from reader_bridge.ccid_messages import NAK_FRAME, FrameReader, IccStatus, Message, MessageType, frame
from reader_bridge.line_history import LineHistory
from reader_bridge.virtual_ccid import FIRMWARE, VirtualCcidReader
from tests.doubles.echo_card import EchoCard

PATIENCE_SECONDS = 60
SECRET = bytes.fromhex("31323334FFFFFFFF")
CONTENT = bytes.fromhex("CAFECAFECAFECAFE")
"""Not digits alone, which the times of a history have, too."""


class WaitingCard(EchoCard):
    """Begins a command and goes on when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.executed: list[bytes] = []
        self.response = b"\x90\x00"

    def transmit(self, command: bytes) -> bytes:
        self.executed.append(command)
        self.begun.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        return self.response


class Host:
    """The driver's end: what it has sent and what comes."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self._frames = FrameReader()

    def send(self, *messages: Message) -> None:
        os.write(self.descriptor, b"".join(frame(message.encode()) for message in messages))

    def has_unread(self, seconds: float) -> bool:
        """True when something comes within the time; it stays unread."""
        return bool(select.select([self.descriptor], [], [], seconds)[0])

    def next(self) -> Message:
        """The next message that is no time extension."""
        while True:
            found = self._frames.next()
            if isinstance(found, Message) and found.parameters[0] & 0xC0 != 0x80:
                return found
            if found is None:
                assert self.has_unread(PATIENCE_SECONDS)
                self._frames.feed(os.read(self.descriptor, 4096))

    def raw(self, length: int) -> bytes:
        """So many bytes as they come."""
        data = b""
        while len(data) < length:
            assert self.has_unread(PATIENCE_SECONDS)
            data += os.read(self.descriptor, length - len(data))
        return data

    def ask(self, message: Message) -> Message:
        """Echo and answer."""
        self.send(message)
        assert self.next().kind == message.kind
        return self.next()


@pytest.fixture
def card() -> WaitingCard:
    return WaitingCard()


@pytest.fixture
def reader(card: WaitingCard) -> Iterator[VirtualCcidReader]:
    with VirtualCcidReader(card) as reader:
        yield reader
        card.go_on.set()
    assert reader.failure is None


@pytest.fixture
def host(reader: VirtualCcidReader) -> Iterator[Host]:
    host = Host(reader.path)
    assert host.ask(Message(MessageType.ICC_POWER_ON, sequence=1)).icc == IccStatus.ACTIVE
    yield host
    os.close(host.descriptor)


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def verify(sequence: int) -> Message:
    """VERIFY as a TPDU of T=0."""
    return Message(MessageType.XFR_BLOCK, b"\x00\x20\x00\x81\x08" + SECRET, sequence=sequence)


@pytest.mark.clause("GemPC Twin: the first two frames after a command are its echo and its answer")
def test_a_late_answer_is_not_sent_to_a_host_that_has_gone_on(
    reader: VirtualCcidReader, host: Host, card: WaitingCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_ccid, "_PATIENCE_SECONDS", 0)
    host.send(verify(2))
    assert card.begun.wait(PATIENCE_SECONDS)
    assert host.has_unread(PATIENCE_SECONDS)
    host.send(Message(MessageType.GET_SLOT_STATUS, sequence=3))
    wait_for(reader._line.waiting)  # pyright: ignore[reportPrivateUsage] - the kernel takes its time on the line
    card.go_on.set()
    wait_for(lambda: any("host: 65 seq 3" in line for line in reader.history.lines()))
    echo, answer = host.next(), host.next()
    assert (echo.kind, echo.sequence) == (MessageType.GET_SLOT_STATUS, 3)
    assert (answer.kind, answer.sequence) == (MessageType.SLOT_STATUS, 3)
    assert any("has given up: echo and answer 2" in line for line in reader.history.lines())


@pytest.mark.clause("GemPC Twin: 03 15 16 asks for the last frame again, and is the answer to a damaged one")
def test_a_frame_that_was_damaged_is_sent_again(host: Host, card: WaitingCard) -> None:
    card.go_on.set()
    answer = host.ask(verify(2))
    os.write(host.descriptor, NAK_FRAME)
    assert host.next() == answer
    damaged = bytearray(frame(verify(3).encode()))
    damaged[-1] ^= 1
    os.write(host.descriptor, damaged)
    assert host.raw(len(NAK_FRAME)) == NAK_FRAME
    assert host.ask(verify(3)).data == b"\x90\x00"
    assert len(card.executed) == 2, "neither was executed twice"


@pytest.mark.clause("GemPC Twin: 50 02 and 50 03 tell card movements, between the echo and the answer")
def test_a_card_movement_is_told_once_with_the_next_answer(
    reader: VirtualCcidReader, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtual_ccid, "_EXTENSION_SECONDS", 3_600)  # of a reader that is kept from its work
    question = Message(MessageType.GET_SLOT_STATUS, sequence=2)
    echo = frame(question.encode())
    for move, told, icc in (
        (reader.remove_card, b"\x50\x02", IccStatus.ABSENT),
        (reader.insert_card, b"\x50\x03", IccStatus.INACTIVE),
        (lambda: None, b"", IccStatus.INACTIVE),
    ):
        move()
        host.send(question)
        expected = frame(Message(MessageType.SLOT_STATUS, sequence=2, parameters=bytes((icc, 0, 0))).encode())
        assert host.raw(len(echo + told + expected)) == echo + told + expected


def test_a_command_behind_which_the_next_stands_is_not_executed(
    reader: VirtualCcidReader, host: Host, card: WaitingCard
) -> None:
    host.send(verify(2), Message(MessageType.ESCAPE, b"\x02", sequence=3))
    assert (host.next().sequence, host.next().data) == (3, FIRMWARE)
    assert card.executed == []
    assert any("has given up: 2 is not executed" in line for line in reader.history.lines())


def test_the_history_tells_headers_and_times_and_no_data(
    reader: VirtualCcidReader, host: Host, card: WaitingCard
) -> None:
    card.go_on.set()
    assert host.ask(verify(2)).data == b"\x90\x00"
    text = "\n".join(reader.history.lines())
    assert "host: 6F seq 2, 13 bytes, 000000 0020008108" in text
    assert SECRET[:4].hex() not in text


def test_the_history_has_nothing_of_what_a_card_tells(reader: VirtualCcidReader, host: Host, card: WaitingCard) -> None:
    """An answer by T=0 has no header: its first bytes are the card's content."""
    card.go_on.set()
    card.response = CONTENT + b"\x90\x00"
    read = Message(MessageType.XFR_BLOCK, bytes.fromhex("00B0000008"), sequence=2)
    assert host.ask(read).data == card.response
    text = "\n".join(reader.history.lines())
    assert "reader: 80 seq 2, 10 bytes" in text
    assert "CAFE" not in text.upper()


def test_a_history_keeps_the_last_entries_and_their_pauses() -> None:
    times = iter((0, 5, 2_000_000_005, 3_000_000_005))
    history = LineHistory(2, lambda: next(times))
    for word in ("first", "second", "third"):
        history.note("{}", word)
    assert [line.split() for line in history.lines()] == [
        ["-3.000000", "s", "+0.000000", "s", "second"],
        ["-1.000000", "s", "+2.000000", "s", "third"],
    ]
