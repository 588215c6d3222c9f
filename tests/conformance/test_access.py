"""What a reader without authentication is refused, and that it learns nothing that traces a card."""

from __future__ import annotations

import pytest

from card_os.iso7816.apdu import ResponseApdu
from permitcard.testing.card_under_test import CardUnderTest

TRANSPARENT = [0x01, 0x02, 0x03, 0x04, 0x05, 0x0B, 0x0D, 0x0E, 0x0F, 0x15]
"""Short identifiers of all transparent files of the permit."""

ENDORSEMENTS = 0x0C
"""Short identifier of the record file."""


@pytest.mark.clause("Card specification, access table: no file is readable without authentication")
@pytest.mark.parametrize("sfi", TRANSPARENT)
def test_no_file_is_readable_without_authentication(either: CardUnderTest, sfi: int) -> None:
    either.select(either.target.permit_aid)
    assert either.send(0x00, 0xB0, 0x80 | sfi, 0x00, ne=256) == ResponseApdu.parse(bytes.fromhex("6982"))


@pytest.mark.clause("Card specification, access table: no file is writable without authentication")
@pytest.mark.parametrize("sfi", TRANSPARENT)
def test_no_file_is_writable_without_authentication(either: CardUnderTest, sfi: int) -> None:
    either.select(either.target.permit_aid)
    assert either.send(0x00, 0xD6, 0x80 | sfi, 0x00, b"\x00").sw == 0x6982


@pytest.mark.clause("Card specification, access table: endorsement records")
@pytest.mark.parametrize(("ins", "data", "ne"), [(0xB2, b"", 256), (0xDC, bytes(32), 0)], ids=["READ", "UPDATE"])
def test_no_record_is_open_without_authentication(either: CardUnderTest, ins: int, data: bytes, ne: int) -> None:
    either.select(either.target.permit_aid)
    assert either.send(0x00, ins, 0x01, ENDORSEMENTS << 3 | 4, data, ne=ne).sw == 0x6982


@pytest.mark.clause("Card specification: INTERNAL AUTHENTICATE reveals the public key and so needs a role")
def test_no_chip_signature_without_authentication(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    assert either.send(0x00, 0x88, 0x00, 0xA0, bytes(16), ne=256).sw == 0x6982


@pytest.mark.clause("Card specification: files are created in personalization only")
def test_no_file_is_created_after_personalization(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    fcp = bytes.fromhex("620C8002001082010183027F11880100")[:14]
    assert either.send(0x00, 0xE0, 0x00, 0x00, fcp).sw in {0x6982, 0x6985, 0x6D00}


@pytest.mark.clause("Card specification: the concealed card number is fresh each time")
def test_the_concealed_number_never_repeats(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    answers = {either.ok(0x00, 0xCA, 0xDF, 0x20, ne=256) for _ in range(8)}
    assert len(answers) == 8
    assert {len(answer) for answer in answers} == {40}


@pytest.mark.clause("Card specification, privacy: nothing before authentication traces a card")
def test_nothing_readable_over_the_field_repeats_the_card_number(contactless: CardUnderTest) -> None:
    number = contactless.target.card_number
    answers = [contactless.answer, contactless.select(contactless.target.permit_aid)]
    answers += [
        contactless.send(0x00, 0xCA, p1, p2, ne=256).data
        for p1, p2 in [(0x00, 0x42), (0x00, 0x45), (0x9F, 0x7F), (0x00, 0xE0), (0xDF, 0x20), (0xDF, 0x21)]
    ]
    assert not any(number in answer or number[-4:] in answer for answer in answers)


@pytest.mark.clause("Card specification: EF.STATUS can be told a date by an authenticated terminal only")
def test_no_date_without_authentication(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    assert either.send(0x00, 0xDA, 0xDF, 0x22, b"20990101").sw == 0x6982


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.4.2: an unknown data object")
def test_an_unknown_data_object_is_not_found(permit: CardUnderTest) -> None:
    assert permit.send(0x00, 0xCA, 0xDF, 0x7E, ne=256).sw == 0x6A88


@pytest.mark.clause("Card specification: profile name and version are public and the same on each card")
def test_the_profile_name_is_public(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    assert len(either.ok(0x00, 0xCA, 0xDF, 0x21, ne=256)) > 4


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.11: STORE DATA needs a secure channel")
def test_no_store_data_in_plain(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    assert either.send(0x80, 0xE2, 0x80, 0x00, bytes.fromhex("9F010100")).sw in {0x6982, 0x6985, 0x6D00, 0x6E00}
