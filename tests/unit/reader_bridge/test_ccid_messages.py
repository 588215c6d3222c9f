"""Frames of the serial CCID reader, whole, cut, damaged and with noise between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reader_bridge.ccid_messages import (
    CcidError,
    CommandStatus,
    Event,
    FrameReader,
    IccStatus,
    Message,
    MessageType,
    frame,
)

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


@pytest.mark.clause("USB CCID 1.1, tables 6.1-1, 6.2-1 and 6.2-2, and 6.2.6 (bStatus)")
def test_messages_and_errors_have_the_numbers_of_the_standard() -> None:
    assert {kind.name: kind.value for kind in MessageType} == {
        "SET_PARAMETERS": 0x61,
        "ICC_POWER_ON": 0x62,
        "ICC_POWER_OFF": 0x63,
        "GET_SLOT_STATUS": 0x65,
        "SECURE": 0x69,
        "ESCAPE": 0x6B,
        "GET_PARAMETERS": 0x6C,
        "RESET_PARAMETERS": 0x6D,
        "ICC_CLOCK": 0x6E,
        "XFR_BLOCK": 0x6F,
        "ABORT": 0x72,
        "DATA_BLOCK": 0x80,
        "SLOT_STATUS": 0x81,
        "PARAMETERS": 0x82,
        "ESCAPE_ANSWER": 0x83,
    }
    assert {error.name: error.value for error in CcidError} == {
        "COMMAND_NOT_SUPPORTED": 0,
        "BAD_LENGTH": 1,
        "BAD_SLOT": 5,
        "BAD_PROTOCOL": 7,
        "CMD_SLOT_BUSY": 0xE0,
        "PIN_CANCELLED": 0xEF,
        "PIN_TIMEOUT": 0xF0,
        "BUSY_WITH_AUTO_SEQUENCE": 0xF2,
        "HW_ERROR": 0xFB,
        "XFR_OVERRUN": 0xFC,
        "XFR_PARITY_ERROR": 0xFD,
        "ICC_MUTE": 0xFE,
    }
    assert [(state.name, state.value) for state in IccStatus] == [("ACTIVE", 0), ("INACTIVE", 1), ("ABSENT", 2)]
    assert [int(status) >> 6 for status in CommandStatus] == [0, 1, 2]


def test_a_frame_longer_than_any_message_is_noise() -> None:
    """dwMaxCCIDMessageLength of this kind of reader is 271: a header and 261 bytes."""
    longest, longer = (Message(MessageType.XFR_BLOCK, bytes(length), 0, 1) for length in (261, 262))
    assert events(frame(longest.encode())) == [longest]
    assert events(frame(longer.encode()) + frame(POWER_ON.encode())) == [POWER_ON]


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
