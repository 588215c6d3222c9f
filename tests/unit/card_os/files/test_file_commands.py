from __future__ import annotations

import pytest

from card_os.applet_api import ALWAYS
from card_os.card import Card
from card_os.files.spec import AccessMode, FileSpec, FileStructure
from card_os.iso7816.errors import SecurityStatusNotSatisfied
from card_os.port import Port
from tests.doubles.recording_applet import FIRST, RULES, RecordingApplet, blank_memory, install, make_card

OK = "9000"


@pytest.fixture
def card() -> Card:
    card = make_card(blank_memory().nvm(), RecordingApplet())
    install(card, FIRST)
    return card


@pytest.fixture
def port(card: Card) -> Port:
    card.contact.power_on()
    assert card.contact.process(b"\x00\xa4\x04\x0c" + bytes((len(FIRST),)) + FIRST) == b"\x90\x00"
    return card.contact


def send(port: Port, text: str) -> str:
    return port.process(bytes.fromhex(text)).hex().upper()


# ---- SELECT (7816-4, 11.2.2)


def test_select_by_identifier_answers_control_information(port: Port) -> None:
    fcp = send(port, "00A40004020101" + "00")
    assert fcp[:2] == "62"
    assert "8002012C" in fcp
    assert "820101" in fcp
    assert "83020101" in fcp
    assert "880108" in fcp
    assert "8A0105" in fcp
    assert send(port, "00A4000002010100")[:2] == "6F"
    assert send(port, "00A4000C020101") == OK


def test_the_size_is_told_to_who_may_read_or_update(card: Card, port: Port) -> None:
    assert "80020010" in send(port, "00A4000402010500")
    assert "80020010" not in send(port, "00A4000402010600")
    card.contactless.power_on()
    card.contactless.process(b"\x00\xa4\x04\x0c" + bytes((len(FIRST),)) + FIRST)
    assert "80020010" not in send(card.contactless, "00A4000402010500")


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("00A4000C02FFFE", "6A82"),
        ("00A4000C0101", "6700"),
        ("00A4000C03010101", "6700"),
        ("00A40010020101", "6A86"),
        ("00A40002020101", "6A86"),
        ("00A4050C020101", "6A86"),
        ("00A4010C020101", "6A82"),  # an EF is no DF
        ("00A4030C020101", "6700"),
        ("00A4090C", "6700"),
        ("00A4080C03010101", "6700"),
        ("00A4080C0401010102", "6A82"),  # below an EF
    ],
)
def test_wrong_selections(port: Port, command: str, sw: str) -> None:
    assert send(port, command) == sw


@pytest.mark.parametrize("command", ["00A4000C020102", "00A4020C020102", "00A4080C020102", "00A4090C020102"])
def test_an_ef_below_the_application(port: Port, command: str) -> None:
    assert send(port, command) == OK
    assert send(port, "00B0000001") == "6981"


@pytest.mark.parametrize("command", ["00A4000C", "00A4000C023F00", "00A4000C023FFF", "00A4030C"])
def test_back_to_the_application(port: Port, command: str) -> None:
    send(port, "00A4000C020101")
    assert send(port, command) == OK
    assert send(port, "00B0000001") == "6986"


def test_the_application_has_control_parameters(port: Port) -> None:
    assert send(port, "00A4000400") == "620F" + "820138" + "8407" + FIRST.hex().upper() + "8A0105" + OK


def test_a_failed_selection_keeps_the_file(port: Port) -> None:
    send(port, "00A4000C020101")
    assert send(port, "00A4000C02FFFE") == "6A82"
    assert send(port, "00B0000001") == "00" + OK


# ---- transparent files (11.3)


def test_update_and_read(port: Port) -> None:
    send(port, "00A4000C020101")
    assert send(port, "00D6000A04CAFEBABE") == OK
    assert send(port, "00B0000904") == "00CAFEBA" + OK
    assert send(port, "00B0010004") == "00000000" + OK


def test_a_short_identifier_selects_too(port: Port) -> None:
    assert send(port, "00D6810202BEEF") == OK
    assert send(port, "00B0000003") == "0000BE" + OK
    assert send(port, "00B0810202") == "BEEF" + OK
    assert send(port, "00B08A0001") == "6A82"
    assert send(port, "00B0C10001") == "6A86"


def test_the_end_of_the_file(port: Port) -> None:
    send(port, "00A4000C020101")  # 300 bytes
    assert send(port, "00B0012B01") == "00" + OK
    assert send(port, "00B0012B02") == "00" + "6282"
    assert send(port, "00B0012C01") == "6B00"
    assert send(port, "00B07FFF01") == "6B00"


def test_le_zero_reads_what_there_is(port: Port) -> None:
    """5.2: a coded zero asks for all there is, up to 256 or 65,536 bytes."""
    send(port, "00A4000C020101")
    assert send(port, "00B0000000") == "00" * 256 + OK
    assert send(port, "00B0010000") == "00" * 44 + OK
    assert send(port, "00B00000000000") == "00" * 300 + OK
    assert send(port, "00B00000000100") == "00" * 256 + OK
    assert send(port, "00B0010000" + "0100") == "00" * 44 + "6282"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("00B00000", "6700"),
        ("00B0000001AA01", "6700"),
        ("00D60000", "6700"),
        ("00D6012C01AA", "6B00"),
        ("00D6012B02AABB", "6A84"),
    ],
)
def test_wrong_binary_commands(port: Port, command: str, sw: str) -> None:
    send(port, "00A4000C020101")
    assert send(port, command) == sw
    assert send(port, "00B0012B01") == "00" + OK


def test_no_file_is_selected(port: Port) -> None:
    for command in (
        "00B0000001",
        "00D6000001AA",
        "00B2010401",
        "00DC010401AA",
        "00E2000001AA",
        "00B1000003540100" + "00",
        "00440000",
        "00040000",
        "00E40000",
    ):
        assert send(port, command) == "6986"


def test_an_update_may_be_chained_and_extended(port: Port) -> None:
    assert send(port, "10D6810002AABB") == OK
    assert send(port, "00D6810001CC") == OK
    assert send(port, "00B0810003") == "AABBCC" + OK
    whole = bytes(index & 0xFF for index in range(300))
    assert port.process(b"\x00\xd6\x81\x00\x00\x01\x2c" + whole) == b"\x90\x00"
    assert port.process(bytes.fromhex("00B08100000000")) == whole + b"\x90\x00"


def test_odd_instructions_carry_the_offset_as_an_object(port: Port) -> None:
    assert send(port, "00D7010106" + "54010A" + "5301AA") == OK
    assert send(port, "00B1000003" + "54010A" + "03") == "5301AA" + OK
    assert send(port, "00B1000104" + "5402010A" + "04") == "53020000" + OK
    assert send(port, "00B1010104" + "5402012B" + "05") == "530100" + "6282"
    assert send(port, "00B1010104" + "5402012C" + "03") == "6B00"
    assert send(port, "00B1010103" + "540100" + "00")[:6] == "5381FD"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("00B1010100", "6A80"),
        ("00B1010102540000", "6A80"),
        ("00B10101035401", "6700"),
        ("00B1010103540200" + "00", "6A85"),
        ("00D7010103" + "540100", "6A80"),
        ("00D7010105" + "540100" + "5300", "6700"),
        ("00B1010203" + "540100" + "00", "6981"),
        ("00B1999903" + "540100" + "00", "6A82"),
        ("00B1010103" + "540100", "6700"),
    ],
)
def test_wrong_odd_commands(port: Port, command: str, sw: str) -> None:
    assert send(port, command) == sw


# ---- access rules of files


def test_a_rule_decides_by_interface_and_proof(card: Card, port: Port) -> None:
    send(port, "00A4000C020105")
    assert send(port, "00B0000001") == "00" + OK
    assert send(port, "00D6000001AA") == "6982"
    assert isinstance(port.last_error, SecurityStatusNotSatisfied)
    assert port.last_error.reason == "missing PIN 1"
    send(port, "80220000")
    assert send(port, "00D6000001AA") == OK
    card.contactless.power_on()
    card.contactless.process(b"\x00\xa4\x04\x0c" + bytes((len(FIRST),)) + FIRST)
    assert send(card.contactless, "00B0850001") == "6982"
    send(card.contactless, "80220000")
    assert send(card.contactless, "00D6850001AA") == "6982"


def test_no_rule_means_never_and_tells_nothing_of_the_size(port: Port) -> None:
    send(port, "00A4000C020106")
    for command in ("00B0000001", "00B07FFF01", "00D6000001AA", "00D67FFF01AA"):
        assert send(port, command) == "6982"
    assert port.last_error is not None
    assert port.last_error.reason == "no access rule for updating in this life-cycle state"


def test_an_application_cannot_reach_the_files_of_another(card: Card, port: Port) -> None:
    other = bytes.fromhex("F0000000D00109")
    install(card, other)
    port.reset()
    port.process(b"\x00\xa4\x04\x0c\x07" + FIRST)
    assert send(port, "00D6810001AA") == OK
    port.process(b"\x00\xa4\x04\x0c\x07" + other)
    assert send(port, "00B0810001") == "00" + OK


# ---- records: clause 11.4


def test_records_are_appended_read_and_updated(port: Port) -> None:
    send(port, "00A4000C020102")
    assert send(port, "00B2010408") == "6A83"
    for number in range(1, 6):
        assert send(port, "00E2000008" + f"{number:02X}" * 8) == OK
    assert send(port, "00E2000008" + "06" * 8) == "6A84"
    assert send(port, "00B2030408") == "03" * 8 + OK
    assert send(port, "00DC030408" + "33" * 8) == OK
    assert send(port, "00B2030408") == "33" * 8 + OK
    assert send(port, "00B2060408") == "6A83"
    assert send(port, "00DC060408" + "00" * 8) == "6A83"
    assert send(port, "00B2040500") == "04" * 8 + "05" * 8 + OK
    assert send(port, "00B2040600") == "05" * 8 + "04" * 8 + OK
    assert send(port, "00B2010409") == "01" * 8 + "6282"
    assert send(port, "00B2010404") == "01" * 4 + OK


def test_a_record_by_short_identifier(port: Port) -> None:
    assert send(port, "00E2001008" + "AA" * 8) == OK
    assert send(port, "00B2011408") == "AA" * 8 + OK
    assert send(port, "00B2010408") == "AA" * 8 + OK


def test_the_record_pointer(port: Port) -> None:
    send(port, "00A4000C020102")
    assert send(port, "00B2000208") == "6A83"
    assert send(port, "00B2000408") == "6A83"
    for number in range(1, 4):
        send(port, "00E2000008" + f"{number:02X}" * 8)
    assert send(port, "00B2000408") == "03" * 8 + OK  # the appended one is current
    assert send(port, "00B2000008") == "01" * 8 + OK
    assert send(port, "00B2000208") == "02" * 8 + OK
    assert send(port, "00B2000208") == "03" * 8 + OK
    assert send(port, "00B2000208") == "6A83"
    assert send(port, "00B2000308") == "02" * 8 + OK
    assert send(port, "00B2000108") == "03" * 8 + OK
    send(port, "00A4000C020102")
    assert send(port, "00B2000308") == "03" * 8 + OK
    send(port, "00A4000C020102")
    assert send(port, "00B2000208") == "01" * 8 + OK
    assert send(port, "00DC000208" + "22" * 8) == OK
    assert send(port, "00B2020408") == "22" * 8 + OK


def test_variable_records_keep_their_length(port: Port) -> None:
    send(port, "00A4000C020103")
    assert send(port, "00E2000003AABBCC") == OK
    assert send(port, "00E200000C" + "11" * 12) == OK
    assert send(port, "00E200000D" + "11" * 13) == "6700"
    assert send(port, "00E20000") == "6700"
    assert send(port, "00B2010400") == "AABBCC" + OK
    assert send(port, "00DC010401DD") == OK
    assert send(port, "00B2010500") == "DD" + "11" * 12 + OK


def test_a_cyclic_file_overwrites_the_oldest(port: Port) -> None:
    """11.4.1: record 1 of a cyclic file is the most recent one."""
    send(port, "00A4000C020104")
    for number in range(1, 8):
        assert send(port, "00E2000004" + f"{number:02X}" * 4) == OK
        newest_first = range(number, max(number - 3, 0), -1)
        assert send(port, "00B2010500") == "".join(f"{value:02X}" * 4 for value in newest_first) + OK
    assert send(port, "00DC020404" + "FF" * 4) == OK
    assert send(port, "00B2010500") == "07" * 4 + "FF" * 4 + "05" * 4 + OK


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("00B20104", "6700"),
        ("00B2010401AA00", "6700"),
        ("00B2010708", "6A86"),
        ("00B201FC08", "6A86"),
        ("00B2010008", "6A81"),
        ("00B2010C08", "6981"),
        ("00DC010508" + "00" * 8, "6A86"),
        ("00DC010407" + "00" * 7, "6700"),
        ("00E2010008" + "00" * 8, "6A86"),
        ("00E2000408" + "00" * 8, "6A86"),
        ("00E2000007" + "00" * 7, "6700"),
        ("00E2000801" + "00", "6981"),
        ("00B0000001", "6981"),
        ("00D6000001AA", "6981"),
    ],
)
def test_wrong_record_commands(port: Port, command: str, sw: str) -> None:
    send(port, "00A4000C020101")
    send(port, "00A4000C020102")
    send(port, "00E2000008" + "AA" * 8)
    assert send(port, command) == sw


def test_appending_needs_its_own_rule(card: Card) -> None:
    platform = card.platform
    application = platform.registry.by_aid(FIRST)
    assert application is not None
    files = platform.context_of(application).files
    rules = {AccessMode.READ: ALWAYS, AccessMode.UPDATE: ALWAYS}
    files.create(FileSpec(0x0107, FileStructure.LINEAR_FIXED, 4, 7, record_length=2, record_count=2, rules=rules))
    port = card.contact
    port.power_on()
    port.process(b"\x00\xa4\x04\x0c\x07" + FIRST)
    send(port, "00A4000C020107")
    assert send(port, "00E2000002AABB") == "6982"


# ---- management, after 7816-9


def test_create_select_and_delete(port: Port) -> None:
    spec = FileSpec(0x0777, FileStructure.TRANSPARENT, 8, rules=RULES).encode()
    create = "00E00000" + f"{len(spec):02X}" + spec.hex()
    assert send(port, create) == OK
    assert send(port, "00B0000008") == "00" * 8 + OK
    assert send(port, create) == "6A89"
    assert send(port, "00E40000020777") == OK
    assert send(port, "00B0000001") == "6986"
    assert send(port, "00A4000C020777") == "6A82"
    assert send(port, create) == OK


def test_files_in_a_df(port: Port) -> None:
    df = FileSpec(0x5000, FileStructure.DF, rules=RULES).encode()
    ef = FileSpec(0x0101, FileStructure.TRANSPARENT, 2, 1, rules=RULES).encode()
    assert send(port, f"00E00000{len(df):02X}{df.hex()}") == OK
    assert send(port, f"00E00000{len(ef):02X}{ef.hex()}") == OK
    assert send(port, "00D6000002AAAA") == OK
    assert send(port, "00B0810002") == "AAAA" + OK  # the short identifier of the current DF
    assert send(port, "00A4000C023F00") == OK
    assert send(port, "00B0810002") == "0000" + OK
    assert send(port, "00A4080C0450000101") == OK
    assert send(port, "00B0000002") == "AAAA" + OK
    assert send(port, "00A4000C025000") == OK  # itself, seen from below
    assert send(port, "00A4000C020102") == OK  # beside it, in the application
    assert send(port, "00A4010C025000") == OK
    assert send(port, "00A4030C") == OK
    assert send(port, "00A4010C025000") == OK
    assert send(port, "00A4010C025000") == "6A82"
    assert send(port, "00A4090C020101") == OK
    assert send(port, "00A4000C") == OK
    assert send(port, "00E40000025000") == OK
    assert send(port, "00A4080C0450000101") == "6A82"
    assert send(port, "00B0810002") == "0000" + OK


def test_a_df_without_a_rule_takes_no_files(port: Port) -> None:
    df = FileSpec(0x5000, FileStructure.DF).encode()
    ef = FileSpec(0x0101, FileStructure.TRANSPARENT, 2).encode()
    send(port, f"00E00000{len(df):02X}{df.hex()}")
    assert send(port, f"00E00000{len(ef):02X}{ef.hex()}") == "6982"
    assert send(port, "00A4000C") == OK
    assert send(port, "00E40000025000") == "6982"


@pytest.mark.parametrize(
    ("body", "sw"),
    [
        ("6200", "6A80"),
        ("62", "6A85"),
        ("62158002FFFF820101830208888800" + "8A0105" + "860401000000", "6A85"),
        ("620B" + "80020001820101" + "83020101", "6A89"),
        ("620E" + "80020001820101" + "83020888" + "880108", "6A89"),
    ],
)
def test_wrong_creations(port: Port, body: str, sw: str) -> None:
    assert send(port, f"00E00000{len(body) // 2:02X}{body}") == sw
    assert send(port, "00A4000C020888") == "6A82"


def test_a_deactivated_file_can_be_selected_and_activated_only(port: Port) -> None:
    send(port, "00A4000C020101")
    assert send(port, "00040000") == OK
    assert send(port, "00B0000001") == "6985"
    assert send(port, "00D6000001AA") == "6985"
    assert send(port, "00B1000003540100" + "00") == "6985"
    assert send(port, "00A4000C020101") == "6283"
    assert send(port, "00A4000402010100")[-4:] == "6283"
    assert send(port, "0044000002" + "0101") == OK
    assert send(port, "00B0000001") == "00" + OK


@pytest.mark.parametrize("command", ["00E40000020106", "00440000020106", "00040000020106"])
def test_management_asks_the_rule_of_the_file(port: Port, command: str) -> None:
    assert send(port, command) == "6982"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("00E40000", "6986"),
        ("00E4000102" + "0101", "6A86"),
        ("00E400000101", "6700"),
        ("00E40000020999", "6A82"),
        ("00E00100026200", "6A86"),
    ],
)
def test_wrong_management(port: Port, command: str, sw: str) -> None:
    assert send(port, command) == sw


def test_what_was_written_is_there_after_power_comes_back(card: Card, port: Port) -> None:
    send(port, "00D6810002CAFE")
    send(port, "00E2001008" + "AA" * 8)
    port.power_off()
    again = make_card(card.nvm)
    again.contact.power_on()
    again.contact.process(b"\x00\xa4\x04\x0c\x07" + FIRST)
    assert send(again.contact, "00B0810002") == "CAFE" + OK
    assert send(again.contact, "00B2011408") == "AA" * 8 + OK


def test_no_command_here_is_a_fault(card: Card, port: Port) -> None:
    for ins in (0xA4, 0xB0, 0xB1, 0xD6, 0xD7, 0xB2, 0xDC, 0xE2, 0xE0, 0xE4, 0x44, 0x04):
        for p1 in range(0, 256, 5):
            for p2 in (0, 1, 4, 5, 6, 7, 0x0C, 0x0F, 0x14, 0x1C, 0x24, 0x80, 0xF8, 0xFF):
                for tail in (b"", b"\x00", b"\x02\x01\x01", b"\x02\x01\x03\x00"):
                    port.process(bytes((0x00, ins, p1, p2)) + tail)
    assert card.faults == 0
