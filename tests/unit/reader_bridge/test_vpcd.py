from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reader_bridge.connection import Interface, ReaderError
from reader_bridge.contactless_atr import contactless_atr
from reader_bridge.network import dial
from reader_bridge.vpcd import VirtualReader, VirtualSlot

ATR = bytes.fromhex("3B80800101")


class Driver:
    """The driver's end of a slot."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        self.links: list[socket.socket] = []
        self.port: int = self.listener.getsockname()[1]

    def accept(self) -> None:
        self.link, _ = self.listener.accept()
        self.link.settimeout(60)
        self.links.append(self.link)

    def close(self) -> None:
        for link in (self.listener, *self.links):
            link.close()

    def send(self, message: bytes, *, split: bool = False) -> None:
        frame = struct.pack(">H", len(message)) + message
        for part in [frame[i : i + 1] for i in range(len(frame))] if split else [frame]:
            self.link.sendall(part)

    def receive(self) -> bytes:
        length = struct.unpack(">H", self._exactly(2))[0]
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.link.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()


@pytest.fixture
def card(recording: Any) -> Any:
    return recording(lambda command: b"" if command[0] == 0xFF else command + b"\x90\x00")


@pytest.fixture
def slot(driver: Driver, card: Any) -> Iterator[VirtualSlot]:
    slot = VirtualSlot(card, driver.port)
    slot.start()
    driver.accept()
    yield slot
    slot.close()


def test_requests_reach_the_card_and_only_what_has_an_answer_is_answered(
    slot: VirtualSlot, driver: Driver, card: Any
) -> None:
    for request in (b"\x01", b"\x02", b"\x04"):
        driver.send(request)
    assert driver.receive() == ATR
    driver.send(b"\0\xa4\4\0")
    assert driver.receive() == b"\0\xa4\4\0\x90\x00"
    driver.send(b"\x00")
    driver.send(b"\0\xb0\0\0")
    assert driver.receive() == b"\0\xb0\0\0\x90\x00"
    assert card.events == ["on", "reset", "off"]


def test_a_card_is_in_when_the_driver_has_asked_for_it_and_gone_when_the_slot_ends(
    slot: VirtualSlot, driver: Driver
) -> None:
    """The service looks at its slots by asking for the ATR; it knows of a card whose ATR it has read under power."""
    driver.send(b"\x04")
    assert driver.receive() == ATR
    driver.send(b"\x05")
    assert driver.receive() == b"\x67\x00"  # whatever the slot does behind an answer is done before the next one
    assert not slot.wait_until_inserted(0)
    driver.send(b"\x01")
    driver.send(b"\x04")
    assert driver.receive() == ATR
    assert slot.wait_until_inserted(60)
    slot.insert_card()
    assert slot.wait_until_inserted(0), "it was never taken out"
    slot.close()
    assert f"vpcd-{driver.port}" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(EOFError):
        driver.receive()


def test_asking_whether_a_card_is_there_gives_it_no_power(slot: VirtualSlot, driver: Driver, card: Any) -> None:
    """A card that the service switched off stays off, however often the service looks for it."""
    for request in (b"\x04", b"\x01", b"\x04", b"\x00", b"\x04", b"\x04"):
        driver.send(request)
        assert request != b"\x04" or driver.receive() == ATR
    assert card.events == ["on", "off", "on", "off"]


def test_messages_in_pieces_and_in_bursts_are_whole(slot: VirtualSlot, driver: Driver) -> None:
    driver.send(b"\0\xa4\4\0", split=True)
    driver.send(b"\0\xd6\0\0" + bytes(60_000))
    driver.send(b"\0\xb0\0\0")
    assert [len(driver.receive()) for _ in range(3)] == [6, 60_006, 6]


@pytest.mark.clause("vpcd: a length of two bytes; a response of 65,536 bytes and its status word is longer")
def test_an_answer_that_the_driver_cannot_carry_is_refused_and_the_slot_goes_on(
    card: Any, slot: VirtualSlot, driver: Driver
) -> None:
    for length, answered in ((65_533, 65_535), (65_534, 2), (65_536, 2)):
        card.answers = lambda _command, count=length: bytes(count) + b"\x90\x00"
        driver.send(b"\0\xb0\0\0\0\0\0")
        assert len(driver.receive()) == answered
    driver.send(b"\x04")
    assert driver.receive() == ATR


def test_a_byte_that_is_no_request_is_a_command_too_short(slot: VirtualSlot, driver: Driver) -> None:
    """The driver has no other requests: a host sent it, and the driver would wait for the answer for ever."""
    driver.send(b"")
    for byte in (0x03, 0x05, 0x09, 0xFF):
        driver.send(bytes((byte,)))
        assert driver.receive() == b"\x67\x00"
    driver.send(b"\x04")
    assert driver.receive() == ATR


def test_a_mute_card_leaves_the_slot_and_comes_again(slot: VirtualSlot, driver: Driver, card: Any) -> None:
    driver.send(b"\xff\0\0\0")
    with pytest.raises(EOFError):
        driver.receive()
    driver.link.close()
    driver.accept()
    driver.send(b"\x04")
    assert driver.receive() == ATR
    assert "off" in card.events


def test_a_driver_that_goes_is_dialled_again(slot: VirtualSlot, driver: Driver) -> None:
    driver.link.close()
    driver.accept()
    driver.send(b"\x04")
    assert driver.receive() == ATR


def test_a_missing_driver_is_said(recording: Any, nobodys_port: int) -> None:
    reader = VirtualReader([recording(lambda _: b"\x90\x00")], nobodys_port)
    with reader, pytest.raises(ReaderError, match=f"no-virtual-reader: port={nobodys_port}"):
        reader.wait_until_inserted(0.2)


def test_a_card_that_is_taken_out_while_its_slot_dials_is_not_shown(
    driver: Driver, card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled, taken_out = threading.Event(), threading.Event()

    def slowly(host: str, port: int, seconds: float) -> socket.socket:
        link = dial(host, port, seconds)
        dialled.set()
        assert taken_out.wait(60)
        return link

    monkeypatch.setattr("reader_bridge.vpcd.dial", slowly)
    slot = VirtualSlot(card, driver.port)
    slot.start()
    driver.accept()
    assert dialled.wait(60)
    slot.remove_card()
    taken_out.set()
    with pytest.raises(EOFError):
        driver.receive()
    slot.insert_card()
    driver.accept()
    driver.send(b"\x04")
    assert driver.receive() == ATR
    slot.close()


def test_a_bug_in_the_card_is_told_to_the_owner(driver: Driver, recording: Any) -> None:
    def broken(command: bytes) -> bytes:
        raise LookupError

    reader = VirtualReader([recording(broken)], driver.port)
    with reader:
        driver.accept()
        driver.send(b"\0\0\0\0")
        with pytest.raises(EOFError):
            driver.receive()
        driver.link.close()
    assert isinstance(reader.failure, LookupError)


@pytest.mark.clause("PC/SC part 3, 3.1.3.2.3.1")
@pytest.mark.parametrize(
    ("ats", "atr"),
    [
        ("01", "3B80800101"),
        ("0578807002", "3B80800101"),
        ("0A78807002112233445566"[:20], "3B8580010122334455"),
        ("0375AA", "3B80800101"),
    ],
)
def test_a_contactless_card_shows_its_historical_bytes(ats: str, atr: str) -> None:
    raw = contactless_atr(bytes.fromhex(ats))
    assert raw[0] == 0x3B
    assert raw[1] >> 4 == 8
    assert raw[1] & 15 == len(raw) - 5
    assert raw[2:4] == b"\x80\x01"
    check = 0
    for byte in raw[1:]:
        check ^= byte
    assert check == 0


def test_an_atr_that_another_reader_made_stays_as_it_is() -> None:
    atr = bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")
    assert contactless_atr(atr) == atr


def test_a_contactless_slot_answers_with_an_atr(driver: Driver, recording: Any) -> None:
    card = recording(lambda _: b"\x90\x00", interface=Interface.CONTACTLESS)
    card.power_on = lambda: bytes.fromhex("0778807002AABB")
    slot = VirtualSlot(card, driver.port)
    slot.start()
    driver.accept()
    driver.send(b"\x04")
    assert driver.receive() == bytes.fromhex("3B828001AABB12")
    slot.close()
