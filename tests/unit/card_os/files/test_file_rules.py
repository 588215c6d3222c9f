"""Access rules of files in the forms of the standard: 8C, AB, 8B with EF.ARR, A1, 8D (ISO/IEC 7816-4, 7.4.3, 9.3)."""

from __future__ import annotations

import pytest

from applet.file_system.sample import MF_RULES
from card_os.files.spec import FileStructure, Tag
from card_os.hardware.image import NvmImage
from card_os.iso7816.tlv import encode, parse_one
from card_os.port import Port
from tests.doubles.ruled_card import boot, control_parameters, new_ruled_image, send, verify

SELECT, READ, UPDATE, CREATE, DELETE = 0xA4, 0xB0, 0xD6, 0xE0, 0xE4
APPEND_RECORD, UPDATE_RECORD, ACTIVATE, DEACTIVATE, GET_DATA, PUT_DATA = 0xE2, 0xDC, 0x44, 0x04, 0xCA, 0xDA
GRANTED, REFUSED, WRONG_DATA = 0x9000, 0x6982, 0x6A80
PIN_1_OBJECT = bytes.fromhex("A406830181950108")
PIN_2_OBJECT = bytes.fromhex("A406830182950108")
ALWAYS_OBJECT = bytes.fromhex("9000")
READ_ALWAYS = bytes.fromhex("800101") + ALWAYS_OBJECT
READ_PIN_1 = bytes.fromhex("800101") + PIN_1_OBJECT
UPDATE_PIN_2 = bytes.fromhex("800102") + PIN_2_OBJECT
ADMINISTRATION = bytes.fromhex("800178") + ALWAYS_OBJECT  # delete, terminate, activate, deactivate


@pytest.fixture
def image() -> NvmImage:
    return new_ruled_image()


@pytest.fixture
def port(image: NvmImage) -> Port:
    port = boot(image.nvm()).contact
    port.power_on()
    return port


def create(
    port: Port,
    fid: int,
    attributes: bytes,
    *,
    size: int = 32,
    structure: FileStructure = FileStructure.TRANSPARENT,
    more: bytes = b"",
) -> int:
    template = control_parameters(fid, attributes, size=size, structure=structure, more=more)
    return send(port, CREATE, 0, template)[1]


def reading(port: Port, fid: int = 0x0101) -> int:
    send(port, SELECT, 0x000C, fid.to_bytes(2, "big"))
    return send(port, READ, 0, ne=1)[1]


def updating(port: Port, fid: int = 0x0101) -> int:
    send(port, SELECT, 0x000C, fid.to_bytes(2, "big"))
    return send(port, UPDATE, 0, b"\x01")[1]


def why(port: Port) -> str:
    error = port.last_error
    return "" if error is None else error.reason


def new_ef_arr(
    port: Port, *records: bytes, fid: int = 0x2F06, open_to: bytes = READ_ALWAYS + bytes.fromhex("8001069000")
) -> None:
    """An EF.ARR that everybody may change, for tests only."""
    attributes = encode(Tag.EXPANDED_RULES, open_to)
    structure = FileStructure.LINEAR_VARIABLE
    assert create(port, fid, attributes, size=64, structure=structure) == GRANTED
    for record in records:
        assert send(port, APPEND_RECORD, 0, record)[1] == GRANTED


def test_compact_rules_are_asked(port: Port) -> None:
    """9.3.2: bits of the access mode byte from b7 down, one condition byte each; what has none is never."""
    assert create(port, 0x0101, bytes.fromhex("8C03031000")) == GRANTED
    assert reading(port) == GRANTED
    assert updating(port) == REFUSED
    assert why(port) == "missing PIN 1"
    verify(port, 1)
    assert updating(port) == GRANTED
    assert send(port, DELETE, 0, b"\x01\x01")[1] == REFUSED
    assert why(port) == "no access rule for deleting in this life-cycle state"


def test_expanded_rules_are_asked(port: Port) -> None:
    attributes = encode(Tag.EXPANDED_RULES, READ_PIN_1, UPDATE_PIN_2)
    assert create(port, 0x0101, attributes) == GRANTED
    assert (reading(port), updating(port)) == (REFUSED, REFUSED)
    verify(port, 1)
    assert (reading(port), updating(port)) == (GRANTED, REFUSED)
    assert why(port) == "missing PIN 2"
    verify(port, 2)
    assert updating(port) == GRANTED


def test_own_rules_and_those_of_the_standard_are_alternatives(port: Port) -> None:
    pin_2 = bytes.fromhex("8606 01 01 00000200")
    assert create(port, 0x0101, pin_2 + bytes.fromhex("8C020110")) == GRANTED
    assert reading(port) == REFUSED
    assert why(port) == "missing PIN 1, or PIN 2"
    verify(port, 2)
    assert reading(port) == GRANTED


@pytest.mark.parametrize("form", [0x00, 0x04])
def test_the_answer_of_select_shows_what_was_given(port: Port, form: int) -> None:
    """7.4.3: FCI and FCP carry the attributes as they came, in their order, also after a reboot."""
    attributes = bytes.fromhex("8C03031000") + bytes.fromhex("8B032F0601") + encode(Tag.EXPANDED_RULES, READ_PIN_1)
    assert create(port, 0x0101, attributes) == GRANTED
    for _ in range(2):
        answer, sw = send(port, SELECT, form, b"\x01\x01", 256)
        assert sw == GRANTED
        assert parse_one(answer).value.endswith(attributes)
        port.reset()


def test_rules_in_ef_arr_are_asked_and_compiled_again_when_it_changes(port: Port, image: NvmImage) -> None:
    """9.3.4: record 1 of 2F06; a change of the record holds from the next command on, also after a reboot."""
    new_ef_arr(port, READ_PIN_1)
    assert create(port, 0x0101, bytes.fromhex("8B032F0601")) == GRANTED
    assert reading(port) == REFUSED
    assert why(port) == "missing PIN 1"
    send(port, SELECT, 0x000C, b"\x2f\x06")
    assert send(port, UPDATE_RECORD, 0x0104, READ_ALWAYS)[1] == GRANTED
    assert reading(port) == GRANTED
    again = boot(image.nvm()).contact
    again.power_on()
    assert reading(again) == GRANTED
    send(again, SELECT, 0x000C, b"\x2f\x06")
    assert send(again, UPDATE_RECORD, 0x0104, READ_PIN_1)[1] == GRANTED
    assert reading(again) == REFUSED


def test_a_record_that_is_appended_brings_its_rule(port: Port) -> None:
    new_ef_arr(port, READ_PIN_1)
    assert create(port, 0x0101, bytes.fromhex("8B0102")) == GRANTED
    assert reading(port) == REFUSED
    assert why(port) == "no access rule for reading in this life-cycle state"
    send(port, SELECT, 0x000C, b"\x2f\x06")
    assert send(port, APPEND_RECORD, 0, READ_ALWAYS)[1] == GRANTED
    assert reading(port) == GRANTED


def test_ef_arr_that_is_made_after_the_file_brings_its_rules(port: Port) -> None:
    assert create(port, 0x0101, bytes.fromhex("8B032F0601")) == GRANTED
    assert reading(port) == REFUSED
    new_ef_arr(port, READ_ALWAYS)
    assert reading(port) == GRANTED


def test_ef_arr_that_is_deleted_or_not_in_use_denies(port: Port) -> None:
    new_ef_arr(port, READ_ALWAYS, open_to=READ_ALWAYS + bytes.fromhex("80017E9000"))
    assert create(port, 0x0101, bytes.fromhex("8B032F0601")) == GRANTED
    assert reading(port) == GRANTED
    assert send(port, DEACTIVATE, 0, b"\x2f\x06")[1] == GRANTED
    assert reading(port) == REFUSED
    assert send(port, ACTIVATE, 0, b"\x2f\x06")[1] == GRANTED
    assert reading(port) == GRANTED
    assert send(port, DELETE, 0, b"\x2f\x06")[1] == GRANTED
    assert reading(port) == REFUSED


@pytest.mark.parametrize(
    "record",
    [
        bytes.fromhex("8001"),
        bytes.fromhex("800101"),
        bytes.fromhex("9000"),
        bytes.fromhex("8001019001FF"),
        bytes.fromhex("800101A7029000"),
        READ_ALWAYS + bytes.fromhex("800100") + ALWAYS_OBJECT,
    ],
    ids=["cut short", "no condition", "no mode", "always with a value", "negation", "a second rule without a mode"],
)
def test_a_broken_record_denies_everything(port: Port, record: bytes) -> None:
    new_ef_arr(port, record)
    assert create(port, 0x0101, bytes.fromhex("8C020200") + bytes.fromhex("8B032F0601")) == GRANTED
    assert (reading(port), updating(port)) == (REFUSED, REFUSED)
    assert why(port).startswith("the access rules do not hold: ")
    send(port, SELECT, 0x000C, b"\x2f\x06")
    assert send(port, UPDATE_RECORD, 0x0104, READ_ALWAYS)[1] == GRANTED
    assert (reading(port), updating(port)) == (GRANTED, GRANTED)


def test_ef_arr_is_looked_for_upwards_from_the_df(port: Port) -> None:
    """The nearest EF.ARR holds: that of the DF before that of the MF."""
    new_ef_arr(port, READ_PIN_1)
    compact = bytes.fromhex("8C03060000")
    assert create(port, 0x5000, compact, structure=FileStructure.DF) == GRANTED
    assert create(port, 0x0101, bytes.fromhex("8B032F0601")) == GRANTED
    assert reading(port) == REFUSED
    send(port, SELECT, 0x000C, b"\x50\x00")
    new_ef_arr(port, READ_ALWAYS)
    assert reading(port) == GRANTED


def test_the_reference_by_environment_takes_that_of_the_default_one(port: Port) -> None:
    """Pairs of environment and record: only environment 1 is ever current."""
    new_ef_arr(port, READ_PIN_1, READ_ALWAYS)
    assert create(port, 0x0101, bytes.fromhex("8B062F0602020101")) == GRANTED
    assert reading(port) == REFUSED
    assert why(port) == "missing PIN 1"


def test_rules_by_life_cycle_state_and_interface(image: NvmImage) -> None:
    """A1: in the creation state everybody updates; activated, reading over contact only."""
    card = boot(image.nvm())
    contact, field = card.contact, card.contactless
    contact.power_on()
    creation = encode(Tag.RULES_BY_STATE, bytes.fromhex("8A01018C03030000"))
    activated = encode(Tag.RULES_BY_STATE, bytes.fromhex("8A01059101018C020100"))
    managed = bytes.fromhex("8C021000")
    assert create(contact, 0x0101, creation + activated + managed, more=bytes.fromhex("8A0101")) == GRANTED
    assert (reading(contact), updating(contact)) == (GRANTED, GRANTED)
    assert send(contact, ACTIVATE, 0, b"\x01\x01")[1] == GRANTED
    assert (reading(contact), updating(contact)) == (GRANTED, REFUSED)
    assert why(contact) == "no access rule for updating in this life-cycle state"
    field.power_on()
    assert reading(field) == REFUSED
    assert why(field) == "missing the contact interface"


def test_environments_of_a_df_say_what_condition_bytes_mean(port: Port) -> None:
    """8D names the EF with templates 7B; condition byte 13 is user authentication as environment 3 has it: PIN 2."""
    template = encode(0x7B, bytes.fromhex("800103"), PIN_2_OBJECT)
    df = bytes.fromhex("8C030600008D02000A")
    assert create(port, 0x5000, df, structure=FileStructure.DF) == GRANTED
    assert create(port, 0x0101, bytes.fromhex("8C020113")) == GRANTED
    verify(port, 1)
    assert reading(port) == REFUSED
    assert create(port, 0x000A, bytes.fromhex("8C03030000")) == GRANTED
    assert send(port, UPDATE, 0, template)[1] == GRANTED
    assert reading(port) == REFUSED
    assert why(port) == "missing PIN 2"
    verify(port, 2)
    assert reading(port) == GRANTED
    send(port, SELECT, 0x000C, b"\x00\x0a")
    assert send(port, UPDATE, 0, template * 2)[1] == GRANTED
    assert reading(port) == REFUSED
    assert why(port) == "the rule is never"
    send(port, SELECT, 0x000C, b"\x00\x0a")
    assert send(port, UPDATE, 0, template + bytes(len(template)))[1] == GRANTED
    assert reading(port) == GRANTED


@pytest.mark.parametrize(
    "attributes",
    ["8C0101", "8C02010F", "8C030110FF", "AB028001", "AB0480010190", "8B00", "8B052F06010102", "A1028000", "8D02000A"],
)
def test_malformed_attributes_create_nothing(port: Port, attributes: str) -> None:
    assert create(port, 0x0101, bytes.fromhex(attributes)) == WRONG_DATA
    assert send(port, SELECT, 0x000C, b"\x01\x01")[1] == 0x6A82


def test_a_df_tells_apart_what_is_created_in_it(port: Port) -> None:
    """Table for DFs: b3 creating a DF, b2 creating an EF, b1 deleting a file in it."""
    assert create(port, 0x5000, bytes.fromhex("8C040710FF00"), structure=FileStructure.DF) == GRANTED
    assert create(port, 0x0101, bytes.fromhex("8C020100")) == REFUSED
    verify(port, 1)
    assert create(port, 0x5001, b"", structure=FileStructure.DF) == GRANTED
    send(port, SELECT, 0x000C, b"\x50\x00")
    assert create(port, 0x0101, bytes.fromhex("8C020100")) == REFUSED
    assert why(port) == "the rule is never"
    assert send(port, DELETE, 0x0100, b"\x50\x01")[1] == GRANTED


def test_a_rule_of_a_file_that_names_a_command_decides_it_alone(port: Port) -> None:
    """AB with 84 (INS): READ BINARY with PIN 1 only, although the access mode byte lets everybody read."""
    named = bytes.fromhex("8401B0") + PIN_1_OBJECT
    attributes = encode(Tag.EXPANDED_RULES, bytes.fromhex("800103") + ALWAYS_OBJECT, named)
    assert create(port, 0x0101, attributes) == GRANTED
    assert (reading(port), updating(port)) == (REFUSED, GRANTED)
    assert why(port) == ""
    assert send(port, 0xB1, 0, bytes.fromhex("540100"), 8)[1] == GRANTED  # the odd instruction is another command
    verify(port, 1)
    assert reading(port) == GRANTED


def test_a_rule_of_a_df_that_names_a_command_is_asked_by_the_dispatcher(port: Port) -> None:
    """VERIFY of PIN 2 in the DF needs PIN 1; elsewhere it is free."""
    verify_2 = bytes.fromhex("85022082") + PIN_1_OBJECT
    attributes = bytes.fromhex("8C03060000") + encode(Tag.EXPANDED_RULES, verify_2)
    assert create(port, 0x5000, attributes, structure=FileStructure.DF) == GRANTED
    assert send(port, 0x20, 0x82)[1] == REFUSED
    assert why(port) == "the current DF's rule for this command: missing PIN 1"
    assert send(port, 0x20, 0x81)[1] == 0x63C3
    send(port, SELECT, 0x000C, b"\x3f\x00")
    assert send(port, 0x20, 0x82)[1] == 0x63C3
    send(port, SELECT, 0x000C, b"\x50\x00")
    verify(port, 1)
    assert send(port, 0x20, 0x82)[1] == 0x63C3


def test_a_df_whose_rules_are_broken_lets_nobody_do_anything_but_leave(port: Port) -> None:
    """What the record named is not known: VERIFY of PIN 2, which it bound to PIN 1, does not become free."""
    rule = bytes.fromhex("85022082") + PIN_1_OBJECT
    new_ef_arr(port, rule)
    attributes = bytes.fromhex("8C03060000") + bytes.fromhex("8B032F0601")
    assert create(port, 0x5000, attributes, structure=FileStructure.DF) == GRANTED
    assert send(port, 0x20, 0x82)[1] == REFUSED
    send(port, SELECT, 0x000C, b"\x2f\x06")
    assert send(port, UPDATE_RECORD, 0x0104, rule[:-1])[1] == GRANTED
    assert send(port, SELECT, 0x000C, b"\x50\x00")[1] == GRANTED
    for command in ((0x20, 0x82), (0x20, 0x81), (GET_DATA, 0x0050), (READ, 0)):
        assert send(port, *command, ne=1)[1] == REFUSED
        assert why(port).startswith("the access rules of the current DF do not hold: ")
    assert send(port, SELECT, 0x000C, b"\x3f\x00")[1] == GRANTED
    assert send(port, 0x20, 0x82)[1] == 0x63C3
    send(port, SELECT, 0x000C, b"\x2f\x06")
    assert send(port, UPDATE_RECORD, 0x0104, rule)[1] == GRANTED
    send(port, SELECT, 0x000C, b"\x50\x00")
    assert send(port, 0x20, 0x81)[1] == 0x63C3


def test_the_dispatcher_asks_in_the_class_of_the_command_whatever_the_channel(port: Port) -> None:
    get_data = bytes.fromhex("8C0200CA") + bytes.fromhex("9700")
    attributes = bytes.fromhex("8C03060000") + encode(Tag.EXPANDED_RULES, get_data)
    assert create(port, 0x5000, attributes, structure=FileStructure.DF) == GRANTED
    assert send(port, GET_DATA, 0x0050, ne=256)[1] == REFUSED
    assert port.process(bytes.fromhex("0070000001"))[-2:] == b"\x90\x00"
    assert port.process(bytes.fromhex("01A4000C025000"))[-2:] == b"\x90\x00"
    assert port.process(bytes.fromhex("01CA005000"))[-2:] == b"\x69\x82"


def test_a_command_that_is_rolled_back_leaves_the_old_rule(port: Port) -> None:
    """An UPDATE of EF.ARR that is refused changes nothing, also not what was compiled."""
    new_ef_arr(port, READ_PIN_1)
    assert create(port, 0x0101, bytes.fromhex("8B032F0601")) == GRANTED
    send(port, SELECT, 0x000C, b"\x2f\x06")
    assert send(port, UPDATE_RECORD, 0x0904, READ_ALWAYS)[1] == 0x6A83
    assert send(port, UPDATE_RECORD, 0x0104, bytes(200))[1] == 0x6700
    assert reading(port) == REFUSED


def test_the_mf_takes_attributes_in_its_install_parameters() -> None:
    own = encode(Tag.SECURITY, bytes.fromhex("01") + b"\x01" + bytes(4))
    parameters = own + bytes.fromhex("8C03061010")
    port = boot(new_ruled_image(parameters).nvm()).contact
    port.power_on()
    assert create(port, 0x0101, bytes.fromhex("8C020100")) == REFUSED
    verify(port, 1)
    assert create(port, 0x0101, bytes.fromhex("8C020100")) == GRANTED
    answer, _ = send(port, SELECT, 0x0004, b"\x3f\x00", 256)
    assert parse_one(answer).value.endswith(parameters)


def test_a_file_without_attributes_is_stored_as_it_ever_was() -> None:
    """Cards of earlier releases and ours have the same bytes where nothing new is used."""
    image = new_ruled_image(MF_RULES)
    port = boot(image.nvm()).contact
    port.power_on()
    before = image.snapshot().count(b"\x03\x01\x05")
    assert create(port, 0x0101, b"") == GRANTED
    assert image.snapshot().count(b"\x02\x01\x05\x00\x01\x01") == 1
    assert image.snapshot().count(b"\x03\x01\x05") == before


@pytest.mark.parametrize(
    ("modes", "updated", "appended"),
    [("8C020200", GRANTED, REFUSED), ("8C020400", REFUSED, GRANTED), ("8C03060000", GRANTED, GRANTED)],
    ids=["update", "write and append", "both"],
)
def test_updating_the_previous_record_of_a_ring_is_updating(
    port: Port, modes: str, updated: int, appended: int
) -> None:
    """7816-4, 11.4.5 and table 26: the rule of updating decides, though a record is appended."""
    ring = encode(0x62, bytes.fromhex("82050621000402 83020101 8800" + modes))
    assert send(port, CREATE, 0, ring)[1] == GRANTED
    assert send(port, UPDATE_RECORD, 0x0003, bytes(4))[1] == updated
    assert send(port, APPEND_RECORD, 0, bytes(4))[1] == appended
