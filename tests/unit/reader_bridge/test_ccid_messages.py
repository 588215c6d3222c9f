"""Frames of the serial CCID reader, whole, cut, damaged and with noise between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reader_bridge.ccid_messages import Event, FrameReader, Message, MessageType, frame

POWER_ON = Message(MessageType.ICC_POWER_ON, b"", 0, 8, b"\x01\x00\x00")


def events(data: bytes, piece: int = 0) -> list[Message | Event]:
    reader, found = FrameReader(), list[Message | Event]()
    size = piece or len(data) or 1
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
        while (event := reader.next()) is not None:
            found.append(event)
    return found


@pytest.mark.clause("USB CCID 1.1, 6.1.1: IccPowerOn")
def test_a_message_has_the_bytes_of_the_standard() -> None:
    assert POWER_ON.encode().hex() == "62000000000008010000"
    assert frame(POWER_ON.encode()).hex() == "0306620000000000080100006e"
    assert Message.parse(POWER_ON.encode()) == POWER_ON


def test_an_answer_says_how_it_went() -> None:
    answer = Message(MessageType.DATA_BLOCK, b"", 0, 1, bytes((0x42, 0xFE, 0)))
    assert (answer.icc, answer.status, answer.error) == (2, 0x40, 0xFE)


def test_the_data_is_not_in_the_repr() -> None:
    assert "deadbeef" not in repr(Message(MessageType.XFR_BLOCK, bytes.fromhex("deadbeef")))


@pytest.mark.parametrize("piece", [0, 1, 2, 7])
def test_everything_that_comes_over_the_line_is_told_in_its_order(piece: int) -> None:
    data = b"\x50\x03" + frame(POWER_ON.encode()) + b"\x03\x15\x16" + b"\x81" + b"\x50\x02" + frame(POWER_ON.encode())
    expected = [Event.INSERTED, POWER_ON, Event.NAK, Event.TIME, Event.REMOVED, POWER_ON]
    assert events(data, piece) == expected


@pytest.mark.parametrize(
    "noise", ["00", "0303", "0305", "031500", "0306ff ffffffff 0000000000", "50", "5001", "030650"]
)
def test_noise_before_a_frame_is_passed_over(noise: str) -> None:
    whole = frame(POWER_ON.encode())
    found = events(bytes.fromhex(noise) + whole + whole)
    assert POWER_ON in found


def test_a_wrong_check_byte_is_told() -> None:
    damaged = bytearray(frame(POWER_ON.encode()))
    damaged[-1] ^= 1
    assert events(bytes(damaged) + frame(POWER_ON.encode())) == [Event.DAMAGED, POWER_ON]


@given(st.binary(max_size=261), st.integers(0, 255), st.binary(min_size=3, max_size=3), st.integers(1, 300))
def test_any_message_comes_back_in_any_pieces(data: bytes, sequence: int, own: bytes, piece: int) -> None:
    message = Message(MessageType.XFR_BLOCK, data, 0, sequence, own)
    assert events(frame(message.encode()) * 2, piece) == [message, message]


@given(st.binary(max_size=600))
def test_any_bytes_are_cut_without_a_failure_and_without_an_end(data: bytes) -> None:
    assert len(events(data)) <= len(data)
