"""Interface bytes as values, PPS, times and check codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.answers import DEFAULT_ATR
from card_os.iso7816.atr import AnswerError, Atr, InterfaceGroup
from card_os.transport.checks import crc_a, crc_b, lrc
from card_os.transport.parameters import LineParameters, SpecificMode, rates
from card_os.transport.pps import Pps, PpsError, Selection, answer_request, check_response, pps_length, without_pps
from card_os.transport.timing import ContactlessTiming, ContactTiming


def parameters(raw: str) -> LineParameters:
    return LineParameters.from_atr(Atr.parse(bytes.fromhex(raw)))


def test_the_atr_of_our_card_says_what_its_machines_use() -> None:
    card = LineParameters.from_atr(Atr.parse(DEFAULT_ATR))
    assert card.protocols == (0, 1)
    assert (card.ifsc, card.bwi, card.cwi, card.crc) == (254, 4, 5, False)
    assert rates(card.rate_byte) == (512, 32)
    assert card.specific is None


def test_absent_bytes_have_the_defaults_of_clauses_8_3_and_11_4() -> None:
    assert parameters("3B00") == LineParameters((0,))
    assert parameters("3B8001 81") == LineParameters((1,))


def test_every_interface_byte_is_read() -> None:
    groups = (
        InterfaceGroup(ta=0x96, tb=0x00, tc=0xFF),
        InterfaceGroup(0, ta=0x91, tc=0x20),
        InterfaceGroup(1, ta=0x80, tb=0x35, tc=0x01),
        InterfaceGroup(15, ta=0xC3, tb=0x01),
    )
    card = LineParameters.from_atr(Atr.parse(Atr(groups).encode()))
    assert card.extra_guard == 255
    assert card.specific == SpecificMode(1, fixed=True, implicit=True)
    assert (card.wi, card.ifsc, card.bwi, card.cwi, card.crc) == (32, 128, 3, 5, True)
    assert (card.clock_stop, card.classes, card.spu) == (3, 3, 1)


@pytest.mark.parametrize(
    "groups",
    [
        (InterfaceGroup(ta=0x71),),  # Fi 7 is reserved
        (InterfaceGroup(ta=0x10),),  # Di 0 is reserved
        (InterfaceGroup(), InterfaceGroup(0, tc=0)),  # WI 0
        (InterfaceGroup(), InterfaceGroup(1), InterfaceGroup(1, ta=0)),  # IFSC 0
        (InterfaceGroup(), InterfaceGroup(1), InterfaceGroup(1, ta=255)),  # IFSC 255
        (InterfaceGroup(), InterfaceGroup(1), InterfaceGroup(1, tb=0xA0)),  # BWI 10
    ],
)
def test_reserved_values_are_refused(groups: tuple[InterfaceGroup, ...]) -> None:
    with pytest.raises(AnswerError):
        LineParameters.from_atr(Atr(groups))


def test_pps_succeeds_as_in_9_3() -> None:
    card = LineParameters.from_atr(Atr.parse(DEFAULT_ATR))
    request = Pps(1, 0x96)
    assert request.encode() == bytes.fromhex("FF119678")
    answered = answer_request(card, request.encode())
    assert answered == (bytes.fromhex("FF119678"), Selection(1, 512, 32))
    assert answered is not None
    assert check_response(request, answered[0]) == Selection(1, 512, 32)


def test_rates_the_card_does_not_have_are_left_out_of_its_response() -> None:
    card = LineParameters.from_atr(Atr.parse(DEFAULT_ATR))
    request = Pps(1, 0x18)
    answered = answer_request(card, request.encode())
    assert answered == (bytes.fromhex("FF01FE"), Selection(1))
    assert answered is not None
    assert check_response(request, answered[0]) == Selection(1)


@pytest.mark.parametrize(
    "raw",
    [
        "FF1196 79",  # PCK
        "FE119679",  # PPSS
        "FF02FD",  # a protocol that the ATR does not offer
        "FF817E",  # reserved bit of PPS0
        "FF1196",  # cut short
        "FF01FE00",  # too long
    ],
)
def test_the_card_stays_mute_on_what_it_cannot_accept(raw: str) -> None:
    card = LineParameters.from_atr(Atr.parse(DEFAULT_ATR))
    assert answer_request(card, bytes.fromhex(raw)) is None


def test_in_specific_mode_there_is_no_pps() -> None:
    card = LineParameters((1,), rate_byte=0x96, specific=SpecificMode(1, fixed=True, implicit=False))
    assert answer_request(card, Pps(1).encode()) is None
    assert without_pps(card) == Selection(1, 512, 32)
    assert without_pps(LineParameters((0, 1), rate_byte=0x96)) == Selection(0)


@pytest.mark.parametrize("raw", ["FF00FF", "FF119577", "FF119679", "FF3196FFA7", "FF"])
def test_the_reader_refuses_a_response_that_its_request_does_not_allow(raw: str) -> None:
    request = Pps(1, 0x96)
    with pytest.raises(PpsError):
        check_response(request, bytes.fromhex(raw))


optional_byte = st.none() | st.integers(0, 255)


@given(st.builds(Pps, st.integers(0, 14), optional_byte, optional_byte, optional_byte))
def test_pps_round_trip(pps: Pps) -> None:
    raw = pps.encode()
    assert Pps.parse(raw) == pps
    assert pps_length(raw[:2]) == len(raw)


def test_times_of_the_contact_interface() -> None:
    """11.4.3: (11 + 2^CWI) etu, 11 etu + 2^BWI × 960 × 372 / f, 22 etu; 10.2: WI × 960 × F / f."""
    timing = ContactTiming(frequency_hz=3_720_000)
    assert timing.etu_ns(1) == 100_000
    assert (timing.cwt_etu, timing.cwt_ns) == (8203, 820_300_000)
    assert (timing.bwt_etu, timing.bwt_ns) == (11 + 15_360, 1_537_100_000)
    assert timing.bgt_ns == 2_200_000
    assert (timing.wwt_etu, timing.wwt_ns) == (9600, 960_000_000)
    assert (timing.character_etu(block_protocol=False), timing.character_etu(block_protocol=True)) == (12, 12)


def test_the_long_part_of_bwt_does_not_shrink_with_the_rate() -> None:
    slow, fast = ContactTiming(frequency_hz=3_720_000), ContactTiming(512, 32, 3_720_000)
    assert slow.bwt_ns - slow.etu_ns(11) == fast.bwt_ns - fast.etu_ns(11)
    assert fast.bwt_ns >= fast.etu_ns(fast.bwt_etu) - fast.etu_ns(1)


def test_guard_time_255_is_the_shortest() -> None:
    timing = ContactTiming(extra_guard=255)
    assert (timing.character_etu(block_protocol=False), timing.character_etu(block_protocol=True)) == (12, 11)
    assert ContactTiming(extra_guard=5).character_etu(block_protocol=True) == 17


def test_times_over_the_field() -> None:
    """ISO/IEC 14443-4, 7.2: FWI 4 is about 4.8 ms, 14 about 4,949 ms."""
    assert ContactlessTiming().fwt_ns == pytest.approx(4_833_000, rel=1e-3)
    assert ContactlessTiming(fwi=14).fwt_ns == pytest.approx(4_949_000_000, rel=1e-3)
    assert ContactlessTiming(fwi=10).extended_ns(59) == ContactlessTiming(fwi=14).fwt_ns
    assert ContactlessTiming(fwi=4).extended_ns(2) == 2 * ContactlessTiming().fwt_ns
    assert (ContactlessTiming().sfgt_ns, ContactlessTiming(sfgi=4).sfgt_ns) == (0, ContactlessTiming().fwt_ns)
    with pytest.raises(ValueError, match="0 to 14"):
        ContactlessTiming(fwi=15)


@pytest.mark.parametrize(
    ("data", "expected"), [("0000", "A01E"), ("1234", "26CF")], ids=["14443-3 annex B, first", "second"]
)
def test_crc_a(data: str, expected: str) -> None:
    assert crc_a(bytes.fromhex(data)) == bytes.fromhex(expected)


@pytest.mark.parametrize(("data", "expected"), [("000000", "CCC6"), ("0FAAFF", "FCD1"), ("0A123456", "2CF6")])
def test_crc_b(data: str, expected: str) -> None:
    """ISO/IEC 14443-3, annex B."""
    assert crc_b(bytes.fromhex(data)) == bytes.fromhex(expected)


def test_lrc() -> None:
    assert lrc(b"") == b"\x00"
    assert lrc(bytes.fromhex("00C101FE")) == b"\x3e"
