"""Records that are SIMPLE-TLV data objects, and their identifiers (ISO/IEC 7816-4, 6.2, 7.3.3 and 11.4.2)."""

from __future__ import annotations

import pytest

from card_os.files.spec import FileSpec, FileStructure, structure_of
from card_os.hardware.image import NvmImage
from card_os.iso7816.tlv import encode, is_simple
from card_os.port import Port
from tests.doubles.ruled_card import boot, new_ruled_image, send

SELECT, CREATE, READ, UPDATE, APPEND, PART = 0xA4, 0xE0, 0xB2, 0xDC, 0xE2, 0xDD
OPEN = encode(0x8C, bytes.fromhex("7F00000000000000"))
FIRST, LAST, NEXT, PREVIOUS, NUMBER = range(5)


@pytest.fixture
def image() -> NvmImage:
    return new_ruled_image()


@pytest.fixture(params=[FileStructure.LINEAR_VARIABLE, FileStructure.LINEAR_FIXED, FileStructure.CYCLIC])
def port(image: NvmImage, request: pytest.FixtureRequest) -> Port:
    """A current EF with room for four records of 4 bytes; A1 twice, A2 between them, A3 last."""
    port = boot(image.nvm()).contact
    port.power_on()
    spec = FileSpec(0x0101, request.param, 16, record_length=4, record_count=4, attributes=OPEN, simple_tlv=True)
    assert send(port, CREATE, 0, spec.encode())[1] == 0x9000
    for record in ("A1021111", "A2022222", "A1023333", "A3024444"):
        assert send(port, APPEND, 0, bytes.fromhex(record))[1] == 0x9000
    send(port, SELECT, 0x000C, b"\x01\x01")
    if request.param is FileStructure.CYCLIC:  # the most recent record is number 1: turn the order round
        for record in ("A3024444", "A1023333", "A2022222", "A1021111"):
            assert send(port, APPEND, 0, bytes.fromhex(record))[1] == 0x9000
        send(port, SELECT, 0x000C, b"\x01\x01")
    return port


def read(port: Port, identifier: int, mode: int) -> str:
    data, sw = send(port, READ, identifier << 8 | mode, ne=256)
    return data.hex().upper() if sw == 0x9000 else f"{sw:04X}"


def test_first_last_next_and_previous_occurrence(port: Port) -> None:
    assert read(port, 0xA1, FIRST) == "A1021111"
    assert read(port, 0xA1, NEXT) == "A1023333"
    assert read(port, 0xA1, NEXT) == "6A83"
    assert read(port, 0xA2, PREVIOUS) == "A2022222"
    assert read(port, 0xA1, PREVIOUS) == "A1021111"
    assert read(port, 0xA1, PREVIOUS) == "6A83"
    assert read(port, 0xA1, LAST) == "A1023333"
    assert read(port, 0xA4, FIRST) == "6A83"
    assert read(port, 0x00, LAST) == "A3024444"


def test_without_a_current_record_next_is_first_and_previous_is_last(port: Port) -> None:
    assert read(port, 0xA1, NEXT) == "A1021111"
    send(port, SELECT, 0x000C, b"\x01\x01")
    assert read(port, 0xA1, PREVIOUS) == "A1023333"


def test_a_record_is_updated_by_its_identifier(port: Port) -> None:
    assert send(port, UPDATE, 0xA300 | FIRST, bytes.fromhex("A5025555"))[1] == 0x9000
    assert read(port, 0xA3, FIRST) == "6A83"
    assert read(port, 0xA5, LAST) == "A5025555"


@pytest.mark.parametrize("record", ["A10111", "00021111", "FF021111", "A1031111", "A1FF0001"])
def test_what_is_no_data_object_is_6a85(port: Port, record: str) -> None:
    assert send(port, UPDATE, 0x0100 | NUMBER, bytes.fromhex(record.ljust(8, "0")))[1] == 0x6A85
    assert send(port, PART, 0x0100 | NUMBER, bytes.fromhex("540101" + "530103"))[1] == 0x6A85
    assert read(port, 0xA1, FIRST) == "A1021111"


@pytest.mark.parametrize("number", [1, 2, 4, 5])
def test_other_files_have_no_identifiers(image: NvmImage, number: int) -> None:
    port = boot(image.nvm()).contact
    port.power_on()
    spec = FileSpec(0x0101, FileStructure.LINEAR_FIXED, 8, record_length=4, record_count=2, attributes=OPEN)
    assert send(port, CREATE, 0, spec.encode())[1] == 0x9000
    assert send(port, APPEND, 0, bytes((0xA1, 2, number, number)))[1] == 0x9000
    assert read(port, 0xA1, FIRST) == "6A81"


def test_the_descriptor_byte_says_it() -> None:
    """Table 12: 03, 05 and 07 are the SIMPLE-TLV structures; the FCP comes back as it was."""
    assert structure_of(0x05) == (FileStructure.LINEAR_VARIABLE, True)
    assert structure_of(0x39) == (FileStructure.TLV, False)
    spec = FileSpec(0x0101, FileStructure.CYCLIC, 8, record_length=4, record_count=2, simple_tlv=True)
    assert FileSpec.parse(spec.encode()) == spec
    with pytest.raises(ValueError, match="9"):
        structure_of(0x09)


@pytest.mark.parametrize(
    ("raw", "simple"),
    [
        ("", False),
        ("01", False),
        ("0100", True),
        ("FE00", True),
        ("010141", True),
        ("01FF000141", True),
        ("01FF00", False),
    ],
)
def test_simple_data_objects(raw: str, simple: bool) -> None:
    assert is_simple(bytes.fromhex(raw)) is simple
