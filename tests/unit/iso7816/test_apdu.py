from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.errors import WrongLength
from card_os.iso7816.status import SW, StatusWord
from card_os.port import Port
from test_vectors.expected import INTERFACES, read_table
from tests.doubles.recording_applet import FIRST, blank_memory, install, make_card

HEADER = bytes.fromhex("00A40102")


def command(nc: int, ne: int, *, extended: bool = False) -> CommandApdu:
    return CommandApdu(0x00, 0xA4, 0x01, 0x02, bytes(index & 0xFF for index in range(nc)), ne, extended)


TABLE = read_table("apdu_cases")
CASES = [(case["case"], *row) for case in TABLE["case"] for row in case["rows"]]
WRONG = [
    (HEADER * 2)[: row.get("header", len(HEADER))] + bytes.fromhex(row["body"]) + b"\x5a" * row["more"]
    for wrong in TABLE["wrong"]
    for row in wrong["rows"]
]
ECHO = bytes.fromhex("80100000")
PRODUCE = bytes.fromhex("8012")


def test_the_table_has_every_case_at_the_ends_of_its_range() -> None:
    """7816-3, 12.1.3: Nc 1 to 255 or 65,535, Ne 1 to 256 or 65,536."""
    ends: dict[str, tuple[set[int], set[int]]] = {}
    for case, nc, ne, _, _ in CASES:
        lengths = ends.setdefault(case, (set(), set()))
        lengths[0].add(nc)
        lengths[1].add(ne)
    assert set(ends) == {"1", "2S", "3S", "4S", "2E", "3E", "4E"}
    for case, (sent, asked) in ends.items():
        short = case.endswith("S")
        if case[0] in "34":
            assert {1, 255 if short else 65_535} <= sent
        if case[0] in "24":
            assert {1, 255, 256} <= asked
            assert short or {65_535, 65_536} <= asked


@pytest.mark.parametrize(("case", "nc", "ne", "before", "after"), CASES)
def test_seven_cases(case: str, nc: int, ne: int, before: str, after: str) -> None:
    apdu = command(nc, ne, extended=case.endswith("E"))
    raw = HEADER + bytes.fromhex(before) + apdu.data + bytes.fromhex(after)
    assert apdu.encode() == raw
    assert CommandApdu.parse(raw) == apdu
    assert CommandApdu.parse(raw).case == apdu.case == case


@pytest.fixture(params=INTERFACES)
def port(request: pytest.FixtureRequest) -> Port:
    card = make_card(blank_memory().nvm())
    install(card, FIRST)
    port = card.contact if request.param == "contact" else card.contactless
    port.power_on()
    assert port.process(b"\x00\xa4\x04\x0c\x07" + FIRST) == b"\x90\x00"
    return port


@pytest.mark.parametrize(("case", "nc", "ne", "before", "after"), CASES)
def test_a_card_takes_every_case(port: Port, case: str, nc: int, ne: int, before: str, after: str) -> None:
    """The data comes back, as much of it as Ne has room for; a command without data is answered with 300 bytes."""
    data = bytes(index * 7 & 0xFF for index in range(nc))
    header = ECHO if nc else PRODUCE + (300).to_bytes(2, "big")
    available = data if nc else bytes(index & 0xFF for index in range(300))
    answer = port.process(header + bytes.fromhex(before) + data + bytes.fromhex(after))
    left = len(available) - ne
    assert answer[:-2] == available[:ne]
    assert answer[-2:] == (b"\x90\x00" if left <= 0 else bytes((0x61, left if left < 256 else 0)))


@pytest.mark.parametrize("raw", WRONG, ids=lambda raw: f"{len(raw)} bytes {raw[4:7].hex()}")
def test_what_fits_no_case_is_6700(port: Port, raw: bytes) -> None:
    with pytest.raises(WrongLength):
        CommandApdu.parse(raw)
    assert port.process(raw) == b"\x67\x00"


@pytest.mark.parametrize(("nc", "ne"), [(256, 0), (256, 256), (0, 257), (1, 257), (65_535, 65_536)])
def test_what_does_not_fit_short_form_is_extended_by_itself(nc: int, ne: int) -> None:
    raw = command(nc, ne).encode()
    assert raw[4] == 0
    assert CommandApdu.parse(raw) == command(nc, ne, extended=True)


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
