from __future__ import annotations

from functools import reduce
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.answers import default_atr, default_ats
from card_os.iso7816.atr import (
    AnswerError,
    Atr,
    Ats,
    Capabilities,
    CompactObject,
    CompactTag,
    Convention,
    HistoricalBytes,
    InterfaceGroup,
    missing_bytes,
)

BYTE = st.one_of(st.none(), st.integers(0, 255))
GROUPS = st.builds(InterfaceGroup, st.integers(0, 15), BYTE, BYTE, BYTE)


# ATRs of cards in the field, from public lists: protocols, length of the historical bytes.
@pytest.mark.parametrize(
    ("raw", "protocols", "historical"),
    [
        ("3B00", (0,), 0),  # the shortest ATR
        ("3B800181", (1,), 0),
        ("3B80800101", (0, 1), 0),
        ("3F2F008069AF020401310000000E833E9F16", (0,), 15),  # inverse convention
        ("3B6800000073C84013009000", (0,), 8),
        ("3BF81300008131FE454A434F5076323431B7", (1,), 8),
        ("3B8F8001804F0CA000000306030001000000006A", (0, 1), 15),
    ],
)
def test_answers_to_reset_of_the_field(raw: str, protocols: tuple[int, ...], historical: int) -> None:
    atr = Atr.parse(bytes.fromhex(raw))
    assert atr.protocols == protocols
    assert len(atr.historical) == historical
    assert atr.encode() == bytes.fromhex(raw)


@given(
    st.builds(InterfaceGroup, st.none(), BYTE, BYTE, BYTE),
    st.lists(GROUPS, max_size=3),
    st.binary(max_size=15),
    st.sampled_from(Convention),
)
def test_round_trip_of_an_atr(
    first: InterfaceGroup, others: list[InterfaceGroup], historical: bytes, convention: Convention
) -> None:
    atr = Atr((first, *others), historical, convention)
    assert Atr.parse(atr.encode()) == atr


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "3B",
        "3A00",  # TS
        "3B01",  # historical byte missing
        "3B10",  # TA1 missing
        "3B80",  # TD1 missing
        "3B8001",  # TCK missing
        "3B800180",  # TCK wrong
        "3B0000",  # byte too many
    ],
)
def test_what_is_no_atr(raw: str) -> None:
    with pytest.raises(AnswerError):
        Atr.parse(bytes.fromhex(raw))


@pytest.mark.parametrize("atr", [Atr(()), Atr(historical=bytes(16))])
def test_what_no_atr_can_say(atr: Atr) -> None:
    with pytest.raises(ValueError, match="ATR"):
        atr.encode()


def test_an_atr_has_at_most_33_bytes() -> None:
    full = InterfaceGroup(1, 1, 1, 1)
    with pytest.raises(ValueError, match="33 bytes"):
        Atr((InterfaceGroup(None, 1, 1, 1), full, full, full, full), bytes(15)).encode()


@given(
    st.integers(0, 8),
    st.one_of(st.none(), st.integers(0, 255)),
    st.integers(0, 14),
    st.integers(0, 14),
    st.booleans(),
    st.booleans(),
    st.binary(max_size=15),
)
def test_round_trip_of_an_ats(
    fsci: int, rates: int | None, fwi: int, sfgi: int, cid: bool, nad: bool, historical: bytes
) -> None:
    ats = Ats(fsci, rates, fwi, sfgi, cid, nad, historical)
    assert Ats.parse(ats.encode()) == ats


def test_defaults_of_an_ats_without_interface_bytes() -> None:
    assert Ats.parse(b"\x01") == Ats(2, None, 4, 0, cid=True, nad=False, historical=b"")
    assert Ats.parse(bytes.fromhex("0205")).frame_size == 64
    assert Ats.parse(bytes.fromhex("0678807002AA")).historical == b"\xaa"


@pytest.mark.parametrize("raw", ["", "00", "0300", "0210", "0378AA"])
def test_what_is_no_ats(raw: str) -> None:
    with pytest.raises(AnswerError):
        Ats.parse(bytes.fromhex(raw))


@pytest.mark.parametrize("ats", [Ats(fsci=9), Ats(fwi=15), Ats(sfgi=15), Ats(historical=bytes(16))])
def test_what_no_ats_can_say(ats: Ats) -> None:
    with pytest.raises(ValueError, match=r"FSCI|historical"):
        ats.encode()


@given(
    st.lists(st.builds(CompactObject, st.integers(0, 15), st.binary(max_size=2)), max_size=3),
    st.one_of(st.just(b""), st.binary(min_size=3, max_size=3)),
)
def test_round_trip_of_historical_bytes(objects: list[CompactObject], status: bytes) -> None:
    historical = HistoricalBytes(tuple(objects), status)
    encoded = historical.encode()
    assert encoded[0] == (0x00 if status else 0x80)
    assert HistoricalBytes.parse(encoded) == historical


@pytest.mark.parametrize("raw", ["", "31", "8031", "8073AABB", "00", "009000", "10AA"])
def test_what_are_no_compact_historical_bytes(raw: str) -> None:
    with pytest.raises(AnswerError):
        HistoricalBytes.parse(bytes.fromhex(raw))


@pytest.mark.parametrize(
    "historical",
    [
        HistoricalBytes((CompactObject(16, b""),)),
        HistoricalBytes((CompactObject(1, bytes(16)),)),
        HistoricalBytes((CompactObject(1, bytes(14)), CompactObject(2, b""))),
        HistoricalBytes((), b"\x90\x00"),
    ],
)
def test_what_no_historical_bytes_can_say(historical: HistoricalBytes) -> None:
    with pytest.raises(ValueError, match=r"compact|historical"):
        historical.encode()


@pytest.mark.parametrize("channels", range(1, 9))
def test_round_trip_of_capabilities(channels: int) -> None:
    capabilities = Capabilities(0xDE, 0x21, True, False, True, False, channels)
    assert Capabilities.parse(capabilities.encode()) == capabilities


def test_capabilities_may_be_cut_short() -> None:
    assert Capabilities.parse(b"\xde") == Capabilities(0xDE, 0, False, False, False, False, 1)
    with pytest.raises(AnswerError):
        Capabilities.parse(b"")
    with pytest.raises(ValueError, match="channels"):
        Capabilities(0, 0, False, False, False, False, 9).encode()


def test_the_card_announces_what_it_can_do() -> None:
    """12.1.1.9, table 119: b8 chaining, b7 extended length, b5 b4 who assigns channels, b3-b1 channels less one."""
    atr, ats = Atr.parse(default_atr()), Ats.parse(default_ats())
    assert atr.protocols == (0, 1)
    assert reduce(xor, default_atr()[1:]) == 0
    assert ats.frame_size == 256
    for raw in (atr.historical, ats.historical):
        value = HistoricalBytes.parse(raw).find(CompactTag.CAPABILITIES)
        assert value is not None
        assert value[2] == 0b1101_1111
        found = HistoricalBytes.parse(raw).capabilities
        assert found is not None
        assert (found.chaining, found.extended, found.channels) == (True, True, 8)


@pytest.mark.clause("ISO/IEC 7816-3, 8.2: T0 and TD say how many bytes follow")
@pytest.mark.parametrize("raw", ["3B00", "3B800181", "3B80800101", "3F2F008069AF020401310000000E833E9F16"])
def test_a_reader_knows_how_many_bytes_an_atr_lacks(raw: str) -> None:
    atr = bytes.fromhex(raw)
    received = b""
    while (missing := missing_bytes(received)) > 0:
        assert len(received) + missing <= len(atr)
        received = atr[: len(received) + missing]
    assert received == atr
