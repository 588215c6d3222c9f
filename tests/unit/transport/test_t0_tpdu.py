"""T=0 at TPDU level: the reader follows procedure bytes and leaves the rest to its host."""

from __future__ import annotations

import pytest

from card_os.transport.events import Broken, Completed, Failure, Transmit
from card_os.transport.t0_tpdu import T0Tpdu, TpduError
from card_os.transport.timing import ContactTiming

READ, WRITE = bytes.fromhex("00B0000003"), bytes.fromhex("00D6000002AABB")


@pytest.fixture
def tpdu() -> T0Tpdu:
    return T0Tpdu(ContactTiming())


def test_the_header_goes_first_and_the_waiting_time_is_that_of_the_protocol(tpdu: T0Tpdu) -> None:
    assert tpdu.exchange(WRITE) == Transmit(WRITE[:5], ContactTiming().wwt_ns)


@pytest.mark.clause("ISO/IEC 7816-3, 10.3.3: ACK, NULL and SW1")
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("B00102039000", "0102039000"),
        ("60B0010203606090 00", "0102039000"),
        ("4F014F024F039000", "0102039000"),
        ("6C02", "6C02"),
        ("60606A82", "6A82"),
    ],
    ids=["all at once", "NULL before and behind", "one by one", "exact length is the host's", "error"],
)
@pytest.mark.parametrize("piece", [1, 2, 300])
def test_data_comes_as_procedure_bytes_say(tpdu: T0Tpdu, sent: str, expected: str, piece: int) -> None:
    tpdu.exchange(READ)
    data = bytes.fromhex(sent)
    events = [tpdu.receive(data[at : at + piece]) for at in range(0, len(data), piece)]
    assert events[:-1] == [None] * (len(events) - 1)
    assert events[-1] == Completed(bytes.fromhex(expected))


def test_data_goes_as_procedure_bytes_say(tpdu: T0Tpdu) -> None:
    tpdu.exchange(WRITE)
    assert tpdu.receive(b"\xd6") == Transmit(b"\xaa\xbb", ContactTiming().wwt_ns)
    assert tpdu.receive(b"\x61\x05") == Completed(b"\x61\x05")
    tpdu.exchange(WRITE)
    assert tpdu.receive(b"\x29") == Transmit(b"\xaa", ContactTiming().wwt_ns)
    assert tpdu.receive(b"\x60\x29") == Transmit(b"\xbb", ContactTiming().wwt_ns)
    assert tpdu.extensions == 1
    assert tpdu.receive(b"\x90\x00") == Completed(b"\x90\x00")


def test_256_bytes_are_asked_for_with_00_and_none_with_four_bytes(tpdu: T0Tpdu) -> None:
    tpdu.exchange(bytes.fromhex("00B0000000"))
    assert tpdu.receive(b"\xb0" + bytes(256) + b"\x90\x00") == Completed(bytes(256) + b"\x90\x00")
    assert tpdu.exchange(bytes.fromhex("00B00000")).data == bytes.fromhex("00B0000000")
    assert tpdu.receive(b"\xb0") == Broken(Failure.PROTOCOL)


@pytest.mark.parametrize("sent", ["01", "B0010203B0", "B001020390 0000", "D6"])
def test_what_is_no_procedure_byte_breaks_the_exchange(tpdu: T0Tpdu, sent: str) -> None:
    tpdu.exchange(READ)
    assert tpdu.receive(bytes.fromhex(sent)) == Broken(Failure.PROTOCOL)


def test_silence_is_a_mute_card(tpdu: T0Tpdu) -> None:
    tpdu.exchange(READ)
    assert tpdu.time_out() == Broken(Failure.MUTE)


@pytest.mark.parametrize("raw", ["", "00B000", "00D6000002AA", "00D6000001AABB"])
def test_what_is_no_tpdu_is_refused(tpdu: T0Tpdu, raw: str) -> None:
    with pytest.raises(TpduError):
        tpdu.exchange(bytes.fromhex(raw))
