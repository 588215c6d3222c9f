"""What a card tells of itself, read from bytes (GPC 2.3.1, clauses 11.3, 11.4 and H.2 to H.4)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.globalplatform.production_data import ProductionData
from card_os.iso7816 import tlv
from personalization.errors import PersonalizationError
from personalization.globalplatform import card_data
from personalization.globalplatform.card_data import KeyEntry
from personalization.globalplatform.commands import StatusScope
from personalization.globalplatform.handshake import SecureChannelOption
from personalization.globalplatform.registry import RegistryEntry, life_cycle_name, parse_entries, parse_old_entries
from tests.doubles.issuer_card import PortConnection, boot, issuer_image

AID = bytes.fromhex("A000000003000000")
TODAY = dt.date(2026, 11, 26)


def test_recognition_data_of_our_card() -> None:
    with PortConnection(boot(issuer_image()).contact) as connection:
        told = card_data.parse_recognition_data(connection.transmit(bytes.fromhex("80CA006600"))[:-2])
    assert told.version == (2, 3, 1)
    assert told.secure_channels == (SecureChannelOption(3, 0x70),)
    assert told.implementation(3) == 0x70
    assert told.implementation(2) is None


FORMAT_1 = (
    "664C734A06072A864886FC6B01600C060A2A864886FC6B02020101630906072A864886FC6B03640B06092A864886FC6B"
    "040215650B06092B8510864864020103660C060A2B060104012A026E0102"
)
"""A published answer: SCP02 i = 15, GlobalPlatform 2.1.1, Java Card details in 65 and 66 (widely printed JCOP data)."""


def test_recognition_data_in_format_1() -> None:
    told = card_data.parse_recognition_data(bytes.fromhex(FORMAT_1))
    assert told.version == (2, 1, 1)
    assert told.secure_channels == (SecureChannelOption(2, 0x15),)
    assert str(told.preferred) == "SCP02 i=15"


def test_recognition_data_in_format_2_and_without_its_tag() -> None:
    def option(text: str) -> bytes:
        return tlv.encode(0x06, bytes.fromhex("2A864886FC6B04") + bytes.fromhex(text))

    template = tlv.encode(0x73, tlv.encode(0x64, option("0255") + option("0370") + option("038171")))
    told = card_data.parse_recognition_data(template)
    assert [str(item) for item in told.secure_channels] == ["SCP02 i=55", "SCP03 i=70", "SCP03 i=F1"]
    assert told.preferred == SecureChannelOption(3, 0x70)


def test_capability() -> None:
    scp02 = bytes.fromhex("A007 800102 81021555".replace(" ", ""))
    scp03 = bytes.fromhex("A00A 800103 81021070 820107".replace(" ", ""))
    rest = bytes.fromhex("8103FFFE80 82031E0600 83020102".replace(" ", ""))
    told = card_data.parse_capability(tlv.encode(0x67, scp02, scp03, rest))
    assert [str(item) for item in told.secure_channels] == ["SCP02 i=15", "SCP02 i=55", "SCP03 i=10", "SCP03 i=70"]
    assert told.aes_lengths == (128, 192, 256)
    assert (told.domain_privileges.hex(), told.application_privileges.hex()) == ("fffe80", "1e0600")
    assert told.hashes == ("SHA-1", "SHA-256")


def test_key_information_basic() -> None:
    entries = card_data.parse_key_information(bytes.fromhex("E012C00401FF8010C00402FF8010C00403FF8010"))
    assert entries == [KeyEntry(number, 0xFF, ((0x80, 16),)) for number in (1, 2, 3)]
    assert entries[0].type_name == "DES"
    assert card_data.key_versions(entries) == [0xFF]


def test_key_information_of_a_key_with_components() -> None:
    (entry,) = card_data.parse_key_information(bytes.fromhex("E008C0060173A180A003"))
    assert entry == KeyEntry(1, 0x73, ((0xA1, 0x80), (0xA0, 3)))
    assert entry.type_name == "RSA-MODULUS"


def test_key_information_extended() -> None:
    (entry,) = card_data.parse_key_information(bytes.fromhex("E00CC00A0130FF88001001180100"))
    assert entry == KeyEntry(1, 0x30, ((0x88, 16),), b"\x18", b"\x00")


def test_an_unknown_key_type_is_shown_as_it_is() -> None:
    assert KeyEntry(1, 1, ((0x42, 8),)).type_name == "42"


@pytest.mark.parametrize("raw", ["E003C00101", "E005C003010180", "E009C0070130FF880010FF", "E0", "E006C0040130"])
def test_malformed_key_information(raw: str) -> None:
    with pytest.raises(PersonalizationError, match=r"card-data-malformed.*E0"):
        card_data.parse_key_information(bytes.fromhex(raw))


def test_cplc() -> None:
    production = ProductionData(ic_fabricator=0x4790, ic_serial_number=0x01020304, ic_fabrication_date=0x6123)
    for raw in (production.encode(), tlv.encode(0x9F7F, production.encode())):
        told = card_data.parse_production_life_cycle(raw)
        assert (told.ic_fabricator, told.ic_serial_number, told.ic_fabrication_date) == (0x4790, 0x01020304, 0x6123)


@pytest.mark.parametrize("length", [0, 41, 43])
def test_cplc_of_another_length(length: int) -> None:
    with pytest.raises(PersonalizationError, match="card-data-malformed"):
        card_data.parse_production_life_cycle(tlv.encode(0x9F7F, bytes(length)))


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (0x6123, dt.date(2026, 5, 3)),
        (0x6330, dt.date(2026, 11, 26)),
        (0x6331, dt.date(2016, 11, 26)),
        (0x7001, dt.date(2017, 1, 1)),
        (0x4366, dt.date(2024, 12, 31)),
        (0x5366, None),
        (0x0000, None),
        (0x6000, None),
        (0x6367, None),
        (0xFFFF, None),
        (0x6A12, None),
    ],
)
def test_dates_of_cplc(told: int, found: dt.date | None) -> None:
    """The latest day with that last digit and number that is not in the future; day 366 in leap years only."""
    assert card_data.date(told, TODAY) == found


def test_the_other_data_objects() -> None:
    listing = tlv.encode(0x61, tlv.encode(0x4F, AID)) + tlv.encode(0x61, tlv.encode(0x4F, AID + b"\x01"))
    assert card_data.parse_application_list(listing) == [AID, AID + b"\x01"]
    resources = card_data.parse_resources(bytes.fromhex("FF210B8101048203012000830107".replace(" ", "")))
    assert resources == (4, 0x012000, 7)
    assert card_data.parse_number(bytes.fromhex("4203010203"), 0x42) == b"\x01\x02\x03"
    assert card_data.parse_number(b"\x00\x2a", 0xC1) == b"\x00\x2a"


PARSERS: list[Callable[[bytes], object]] = [
    card_data.parse_recognition_data,
    card_data.parse_capability,
    card_data.parse_key_information,
    card_data.parse_production_life_cycle,
    card_data.parse_application_list,
    card_data.parse_resources,
    parse_entries,
]


def code_of(parse: Callable[[bytes], object], raw: bytes) -> str:
    """The code of its error, empty when it read the bytes."""
    try:
        parse(raw)
    except PersonalizationError as error:
        return error.code
    return ""


@given(st.binary(max_size=80))
def test_any_bytes_are_data_or_an_error(raw: bytes) -> None:
    codes = {code_of(parse, raw) for parse in PARSERS}
    assert codes <= {"", "card-data-malformed", "registry-malformed"}


# ---- the registry (clause 11.4.3)


def test_a_full_entry() -> None:
    entry = tlv.encode(
        0xE3,
        tlv.encode(0x4F, AID),
        tlv.encode(0x9F70, b"\x0f"),
        tlv.encode(0xC5, b"\x9e\xfe\x80"),
        tlv.encode(0xCF, b"\x40"),
        tlv.encode(0xCE, b"\x01\x03"),
        tlv.encode(0xCC, AID),
    )
    (told,) = parse_entries(entry)
    assert told == RegistryEntry(AID, 0x0F, b"\x9e\xfe\x80", b"", AID, (), b"\x01\x03", b"\x40")
    assert told.is_domain
    assert life_cycle_name(StatusScope.ISSUER_DOMAIN, told) == "secured"
    assert life_cycle_name(StatusScope.APPLICATIONS, told) == "personalized"


def test_the_form_without_tags() -> None:
    """GlobalPlatform 2.1.1, tables 9-22 and 9-23."""
    applications = parse_old_entries(
        bytes.fromhex("08A000000003000000 07 02 05A000000001 87 00"), StatusScope.APPLICATIONS
    )
    assert applications == [
        RegistryEntry(AID, 0x07, b"\x02"),
        RegistryEntry(bytes.fromhex("A000000001"), 0x87, b"\x00"),
    ]
    assert [life_cycle_name(StatusScope.APPLICATIONS, entry) for entry in applications] == ["selectable", "locked"]
    packages = bytes.fromhex("05A000000001 01 00 02 06A00000000101 06A00000000102")
    (package,) = parse_old_entries(packages, StatusScope.PACKAGES_AND_MODULES)
    assert package.modules == (bytes.fromhex("A00000000101"), bytes.fromhex("A00000000102"))
    assert parse_old_entries(bytes.fromhex("05A000000001 01 00"), StatusScope.PACKAGES)[0].privileges == b""


@pytest.mark.parametrize("raw", ["04A0000000", "05A000", "05A00000000107", "11" + "00" * 20])
def test_a_malformed_form_without_tags(raw: str) -> None:
    with pytest.raises(PersonalizationError, match="registry-malformed"):
        parse_old_entries(bytes.fromhex(raw), StatusScope.APPLICATIONS)


@pytest.mark.parametrize(
    ("scope", "state", "privileges", "name"),
    [
        (StatusScope.PACKAGES, 0x01, "", "loaded"),
        (StatusScope.PACKAGES, 0x03, "", "03"),
        (StatusScope.ISSUER_DOMAIN, 0x7F, "9E0000", "card-locked"),
        (StatusScope.ISSUER_DOMAIN, 0x55, "9E0000", "55"),
        (StatusScope.APPLICATIONS, 0x03, "000000", "installed"),
        (StatusScope.APPLICATIONS, 0x0F, "000000", "application-specific"),
        (StatusScope.APPLICATIONS, 0x05, "000000", "05"),
        (StatusScope.APPLICATIONS, 0x8F, "800000", "locked"),
    ],
)
def test_life_cycles_have_names(scope: StatusScope, state: int, privileges: str, name: str) -> None:
    assert life_cycle_name(scope, RegistryEntry(AID, state, bytes.fromhex(privileges))) == name
