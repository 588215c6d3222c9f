from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816 import tlv
from card_os.iso7816.tlv import Tlv, TlvError

# A tag of one byte whose low bits are not 11111, or of two bytes beginning with 5F or 7F.
TAGS = st.one_of(
    st.integers(0x01, 0xFE).filter(lambda tag: tag & 0x1F != 0x1F),
    st.integers(0x1F, 0x7F).map(lambda low: 0x5F00 | low),
    st.integers(0x1F, 0x7F).map(lambda low: 0x7F00 | low),
)


@pytest.mark.parametrize(
    ("length", "field"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7F"),
        (128, "8180"),
        (255, "81FF"),
        (256, "820100"),
        (65_535, "82FFFF"),
        (65_536, "83010000"),
        (16_777_216, "8401000000"),
    ],
)
def test_lengths_take_the_shortest_form(length: int, field: str) -> None:
    assert tlv.encode_length(length) == bytes.fromhex(field)
    assert tlv.parse_length(bytes.fromhex(field), 0) == (length, len(field) // 2)


@pytest.mark.parametrize(
    ("tag", "field"), [(0x5A, "5A"), (0x7F49, "7F49"), (0x5F20, "5F20"), (0x9F7F, "9F7F"), (0xDF8101, "DF8101")]
)
def test_tags_of_one_to_three_bytes(tag: int, field: str) -> None:
    assert tlv.encode_tag(tag) == bytes.fromhex(field)
    assert tlv.parse_tag(bytes.fromhex(field), 0) == (tag, len(field) // 2)


@given(st.lists(st.tuples(TAGS, st.binary(max_size=300)), max_size=6))
def test_round_trip(objects: list[tuple[int, bytes]]) -> None:
    items = [Tlv(tag, value) for tag, value in objects]
    assert tlv.parse_all(tlv.encode_all(items)) == items


@given(st.binary(max_size=60))
def test_any_bytes_are_objects_or_an_error(raw: bytes) -> None:
    try:
        items = tlv.parse_all(raw)
    except TlvError:
        return
    assert sum(len(item.value) for item in items) <= len(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "5A",  # no length
        "5F",  # half a tag
        "5F80",  # tag goes on
        "5F808080",  # tag of more than three bytes
        "5A01",  # no value
        "5A0211",
        "5A81",  # length cut short
        "5A8201",
        "5A80",  # indefinite length
        "5A850000000001AA",  # five length bytes
    ],
)
def test_malformed_objects(raw: str) -> None:
    with pytest.raises(TlvError):
        tlv.parse_all(bytes.fromhex(raw))


def test_padding_between_objects_is_skipped_only_when_asked() -> None:
    raw = bytes.fromhex("0000 5A0111 FF 5B00 00")
    assert tlv.parse_all(raw, padding=True) == [Tlv(0x5A, b"\x11"), Tlv(0x5B, b"")]
    with pytest.raises(TlvError):
        tlv.parse_all(bytes.fromhex("FF"))


def test_nested_objects() -> None:
    raw = tlv.encode(0x6F, tlv.encode(0x84, b"\xa0\x00"), tlv.encode(0xA5, b""))
    outer = tlv.parse_one(raw)
    assert outer.constructed
    assert outer.children() == [Tlv(0x84, b"\xa0\x00"), Tlv(0xA5, b"")]
    assert not Tlv(0x5F20, b"").constructed
    assert Tlv(0x7F49, b"").constructed
    assert tlv.find(outer.value, 0x84) == b"\xa0\x00"
    assert tlv.find(outer.value, 0x85) is None


@pytest.mark.parametrize("raw", ["", "5A005B00"])
def test_exactly_one_object(raw: str) -> None:
    with pytest.raises(TlvError):
        tlv.parse_one(bytes.fromhex(raw))


def test_a_representation_shows_no_value() -> None:
    assert repr(Tlv(0x5A, b"6217")) == "Tlv(5A, 4 bytes)"
