"""SELECT by DF name, by file identifier, and what is selected after power-on."""

from __future__ import annotations

import pytest

from card_os.iso7816.tlv import encode, parse_all, parse_one
from permitcard.testing.card_under_test import CardUnderTest

FILES = ["0101", "0102", "0103", "0104", "0105", "0201", "0202", "0203", "0204", "0205", "0301"]


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2: SELECT by DF name answers the FCI template")
def test_select_answers_an_fci_with_the_df_name(either: CardUnderTest) -> None:
    fci = parse_one(either.select(either.target.permit_aid))
    assert fci.tag == 0x6F
    assert (0x84, either.target.permit_aid) in fci.children()


@pytest.mark.clause("Card specification, names: the FCI is the same on every card and in every state")
def test_the_fci_is_that_of_the_specification(either: CardUnderTest) -> None:
    name = either.target.permit_aid
    label = encode(0xA5, encode(0x50, b"RESIDENCE PERMIT"))
    assert either.select(name) == encode(0x6F, encode(0x84, name), label)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2: P2 = 0C, no response data")
def test_select_without_answer(either: CardUnderTest) -> None:
    assert either.send(0x00, 0xA4, 0x04, 0x0C, either.target.permit_aid).encode() == bytes.fromhex("9000")


@pytest.mark.clause("ISO/IEC 7816-4:2020, 12.2.3: selection by the beginning of a DF name")
@pytest.mark.parametrize("length", [5, 6])
def test_select_by_partial_name(card: CardUnderTest, length: int) -> None:
    fci = parse_one(card.select(card.target.permit_aid[:length]))
    assert (0x84, card.target.permit_aid) in fci.children()


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2: next occurrence ends with 6A82")
def test_next_occurrence_ends(card: CardUnderTest) -> None:
    card.select(card.target.permit_aid)
    assert card.send(0x00, 0xA4, 0x04, 0x02, card.target.permit_aid, ne=256).sw == 0x6A82


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2: unknown DF name")
@pytest.mark.parametrize("name", ["F05A4A4A5A7F01", "A0000000031010", "F05A4A4A5A010177"])
def test_an_unknown_application_is_not_found(either: CardUnderTest, name: str) -> None:
    assert either.send(0x00, 0xA4, 0x04, 0x00, bytes.fromhex(name), ne=256).sw == 0x6A82


@pytest.mark.clause("ISO/IEC 7816-4:2020, 12.2.3: a failed selection leaves the current application")
def test_a_failed_select_leaves_the_application_selected(permit: CardUnderTest) -> None:
    assert permit.send(0x00, 0xA4, 0x04, 0x00, bytes.fromhex("F05A4A4A5A7F01"), ne=256).sw == 0x6A82
    permit.ok(0x00, 0xCA, 0xDF, 0x21, ne=256)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2: P1 not of the table")
@pytest.mark.parametrize("p1", [0x05, 0x07, 0x10, 0x80, 0xFF])
def test_select_with_an_unknown_p1(permit: CardUnderTest, p1: int) -> None:
    assert permit.send(0x00, 0xA4, p1, 0x00, bytes.fromhex("0101"), ne=256).sw in {0x6A86, 0x6A81}


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2: select an EF by identifier")
@pytest.mark.parametrize(
    "fid", ["0101", "0102", "0103", "0104", "0105", "0201", "0202", "0203", "0204", "0205", "0301"]
)
def test_each_file_of_the_profile_is_there(permit: CardUnderTest, fid: str) -> None:
    assert permit.send(0x00, 0xA4, 0x02, 0x0C, bytes.fromhex(fid)).sw == 0x9000


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2 and 7.4: FCP template")
@pytest.mark.parametrize("fid", ["0101", "0102", "0202", "0301"])
def test_an_fcp_names_the_file(permit: CardUnderTest, fid: str) -> None:
    fcp = parse_one(permit.ok(0x00, 0xA4, 0x02, 0x04, bytes.fromhex(fid), ne=256))
    assert fcp.tag == 0x62
    assert (0x83, bytes.fromhex(fid)) in fcp.children()


@pytest.mark.clause("ISO/IEC 7816-4:2020, 7.4.5, table 12: structure of a linear fixed file")
def test_the_fcp_of_a_record_file_tells_its_structure(permit: CardUnderTest) -> None:
    fcp = parse_one(permit.ok(0x00, 0xA4, 0x02, 0x04, bytes.fromhex("0202"), ne=256))
    descriptor = next(item.value for item in parse_all(fcp.value) if item.tag == 0x82)
    assert descriptor[0] & 0x07 == 0x02


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2: unknown file identifier")
def test_an_unknown_file_is_not_found(permit: CardUnderTest) -> None:
    assert permit.send(0x00, 0xA4, 0x02, 0x0C, bytes.fromhex("7FF1")).sw == 0x6A82


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.2.2: a file identifier has two bytes")
@pytest.mark.parametrize("fid", ["01", "010100"])
def test_a_file_identifier_of_another_length_is_refused(permit: CardUnderTest, fid: str) -> None:
    assert permit.send(0x00, 0xA4, 0x02, 0x0C, bytes.fromhex(fid)).sw in {0x6700, 0x6A82, 0x6A87}


@pytest.mark.clause("GlobalPlatform 2.3.1, 6.4.1: the issuer domain answers over contact")
def test_the_issuer_domain_is_selectable_over_contact(card: CardUnderTest) -> None:
    assert card.send(0x00, 0xA4, 0x04, 0x00, card.target.issuer_domain_aid, ne=256).sw == 0x9000


@pytest.mark.clause("Card specification, privacy: no issuer domain over the field once SECURED")
def test_the_issuer_domain_is_not_found_over_the_field(contactless: CardUnderTest) -> None:
    assert contactless.send(0x00, 0xA4, 0x04, 0x00, contactless.target.issuer_domain_aid, ne=256).sw == 0x6A82


@pytest.mark.clause("ISO/IEC 7816-4:2020, 12.1: a reset brings back the default selection")
def test_a_reset_forgets_the_selection(permit: CardUnderTest) -> None:
    permit.reset()
    assert permit.send(0x00, 0xCA, 0xDF, 0x21, ne=256).sw != 0x9000
