from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.errors import WrongLength
from card_os.iso7816.status import SW, StatusWord

HEADER = bytes.fromhex("00A40102")


def command(nc: int, ne: int, *, extended: bool = False) -> CommandApdu:
    return CommandApdu(0x00, 0xA4, 0x01, 0x02, bytes(index & 0xFF for index in range(nc)), ne, extended)


# Case, Nc, Ne, extended, and what stands around the data (7816-3, 12.1.3, table 12).
CASES = [
    ("1", 0, 0, False, "", ""),
    ("2S", 0, 1, False, "01", ""),
    ("2S", 0, 255, False, "FF", ""),
    ("2S", 0, 256, False, "00", ""),
    ("3S", 1, 0, False, "01", ""),
    ("3S", 255, 0, False, "FF", ""),
    ("4S", 1, 1, False, "01", "01"),
    ("4S", 255, 255, False, "FF", "FF"),
    ("4S", 255, 256, False, "FF", "00"),
    ("2E", 0, 1, True, "000001", ""),
    ("2E", 0, 256, True, "000100", ""),
    ("2E", 0, 257, True, "000101", ""),
    ("2E", 0, 65_535, True, "00FFFF", ""),
    ("2E", 0, 65_536, True, "000000", ""),
    ("3E", 1, 0, True, "000001", ""),
    ("3E", 255, 0, True, "0000FF", ""),
    ("3E", 256, 0, True, "000100", ""),
    ("3E", 65_535, 0, True, "00FFFF", ""),
    ("4E", 1, 1, True, "000001", "0001"),
    ("4E", 255, 256, True, "0000FF", "0100"),
    ("4E", 256, 257, True, "000100", "0101"),
    ("4E", 65_535, 65_535, True, "00FFFF", "FFFF"),
    ("4E", 65_535, 65_536, True, "00FFFF", "0000"),
]


@pytest.mark.parametrize(("case", "nc", "ne", "extended", "before", "after"), CASES)
def test_seven_cases(case: str, nc: int, ne: int, extended: bool, before: str, after: str) -> None:
    apdu = command(nc, ne, extended=extended)
    raw = HEADER + bytes.fromhex(before) + apdu.data + bytes.fromhex(after)
    assert apdu.encode() == raw
    assert CommandApdu.parse(raw) == apdu
    assert CommandApdu.parse(raw).case == apdu.case == case


@pytest.mark.parametrize(("nc", "ne"), [(256, 0), (256, 256), (0, 257), (1, 257), (65_535, 65_536)])
def test_what_does_not_fit_short_form_is_extended_by_itself(nc: int, ne: int) -> None:
    raw = command(nc, ne).encode()
    assert raw[4] == 0
    assert CommandApdu.parse(raw) == command(nc, ne, extended=True)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "00",
        "00A4",
        "00A401",
        "00A4010200" + "01",  # 00 and one byte: no length field of two bytes
        "00A4010201",  # reads as case 2S
        "00A4010202AA",  # Lc 2, one byte
        "00A4010201AA0000",  # two bytes after the data
        "00A40102000001",  # reads as case 2E
        "00A40102000002AA",  # extended Lc 2, one byte
        "00A40102000001AA00",  # extended Lc with a short Le
        "00A40102000001AA000000",  # three bytes after the data
        "00A40102000000AA",  # extended Lc 0 with data
        "00A4010200000000",  # extended Lc 0 and one more byte
    ],
)
def test_bytes_that_fit_no_case(raw: str) -> None:
    encoded = bytes.fromhex(raw)
    if len(encoded) in (5, 7):
        assert CommandApdu.parse(encoded).data == b""
        return
    with pytest.raises(WrongLength):
        CommandApdu.parse(encoded)


@pytest.mark.parametrize(("nc", "ne"), [(65_536, 0), (0, 65_537), (0, -1)])
def test_what_no_form_can_carry(nc: int, ne: int) -> None:
    with pytest.raises(ValueError, match="not encodable"):
        command(nc, ne).encode()


@given(
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=600),
    st.integers(0, 65_536),
    st.booleans(),
)
def test_round_trip(cla: int, ins: int, data: bytes, ne: int, extended: bool) -> None:
    apdu = CommandApdu(cla, ins, 1, 2, data, ne, extended)
    again = CommandApdu.parse(apdu.encode())
    assert again[:6] == apdu[:6]


@given(st.binary(max_size=40))
def test_any_bytes_are_one_command_or_6700(raw: bytes) -> None:
    try:
        apdu = CommandApdu.parse(raw)
    except WrongLength:
        return
    assert apdu.encode() == raw


def test_a_representation_shows_no_data() -> None:
    assert repr(CommandApdu(0, 0x20, 0, 0x81, b"1234")) == "CommandApdu(00 20 00 81, Nc=4, Ne=0)"
    assert repr(ResponseApdu(b"secret", SW.OK)) == "ResponseApdu(Nr=6, 9000)"


def test_responses_are_data_and_status() -> None:
    assert ResponseApdu.parse(bytes.fromhex("01029000")) == ResponseApdu(b"\x01\x02", SW.OK)
    assert ResponseApdu(b"\x01", StatusWord(0x6282)).encode() == bytes.fromhex("016282")
    with pytest.raises(ValueError, match="two status bytes"):
        ResponseApdu.parse(b"\x90")
