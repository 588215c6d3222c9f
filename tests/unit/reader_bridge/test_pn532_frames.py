"""Frames of the PN532, whole, cut, damaged and with noise between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reader_bridge.pn532_frames import (
    ACK,
    ERROR,
    HOST_TO_MODULE,
    MODULE_TO_HOST,
    NACK,
    WAKE_UP,
    Command,
    Event,
    FrameReader,
    frame,
)

GET_FIRMWARE = bytes((Command.GET_FIRMWARE_VERSION,))


def events(data: bytes, piece: int = 0, direction: int = HOST_TO_MODULE) -> list[bytes | Event]:
    reader, found = FrameReader(direction), list[bytes | Event]()
    size = piece or len(data) or 1
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
        while (event := reader.next()) is not None:
            found.append(event)
    return found


@pytest.mark.clause("UM0701-02, 6.2.1.1 and 7.2.2: frame of GetFirmwareVersion and its answer")
def test_frames_have_the_bytes_of_the_manual() -> None:
    assert frame(GET_FIRMWARE, HOST_TO_MODULE).hex() == "0000ff02fed4022a00"
    answer = bytes.fromhex("0332010607")
    assert frame(answer, MODULE_TO_HOST).hex() == "0000ff06fad50332010607e800"


@pytest.mark.parametrize("piece", [0, 1, 3])
def test_everything_is_told_in_its_order(piece: int) -> None:
    data = WAKE_UP + frame(GET_FIRMWARE, HOST_TO_MODULE) + ACK + NACK + ERROR + frame(bytes(264), HOST_TO_MODULE)
    assert events(data, piece) == [GET_FIRMWARE, Event.ACK, Event.NACK, Event.ERROR, bytes(264)]


@pytest.mark.parametrize("place", [3, 4, 5, 6, 7])
def test_a_damaged_frame_is_told_and_the_next_one_is_whole(place: int) -> None:
    damaged = bytearray(frame(GET_FIRMWARE, HOST_TO_MODULE))
    damaged[place] ^= 0x10
    found = events(bytes(damaged) + frame(GET_FIRMWARE, HOST_TO_MODULE))
    assert found[0] is Event.DAMAGED
    assert found[-1] == GET_FIRMWARE


def test_a_frame_of_the_other_direction_is_damaged() -> None:
    assert events(frame(GET_FIRMWARE, MODULE_TO_HOST)) == [Event.DAMAGED]


@given(st.binary(min_size=1, max_size=264), st.integers(1, 300))
def test_any_data_comes_back_in_any_pieces(data: bytes, piece: int) -> None:
    assert events(frame(data, HOST_TO_MODULE) * 2, piece) == [data, data]


@given(st.binary(max_size=600))
def test_any_bytes_are_cut_without_a_failure_and_without_an_end(data: bytes) -> None:
    assert len(events(data)) <= len(data)
