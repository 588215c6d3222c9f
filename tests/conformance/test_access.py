"""What a reader without authentication is refused, and that it learns nothing that traces a card."""

from __future__ import annotations

import pytest

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.tlv import parse_all, parse_one
from permitcard.products import permit_profile
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.terminal import terminal

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
    """Asked twice: what is drawn anew each time may hold four bytes of the number once, by chance."""
    number = contactless.target.card_number
    first, second = (_told_without_proof(contactless) for _ in range(2))
    assert not any(number[-4:] in answer and number[-4:] in again for answer, again in zip(first, second, strict=True))
    assert not any(number in answer for answer in first + second)


def _told_without_proof(card: CardUnderTest) -> list[bytes]:
    answers = [card.answer, card.select(card.target.permit_aid)]
    answers += [
        card.send(0x00, 0xCA, p1, p2, ne=256).data
        for p1, p2 in [(0x00, 0x42), (0x00, 0x45), (0x9F, 0x7F), (0x00, 0xE0), (0xDF, 0x20), (0xDF, 0x21)]
    ]
    return answers


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


@pytest.mark.clause("Card specification, access table: a rule holds for every form of a command")
@pytest.mark.parametrize(
    ("command", "refused"),
    [
        ("00B0000010", {"6982"}),
        ("00B100000354010000", {"6982", "6D00"}),
        ("00D600000100", {"6982"}),
        ("00D7000006540100530100", {"6982", "6D00"}),
        ("00D000000100", {"6982", "6D00"}),
        ("000E0000", {"6982", "6D00"}),
        ("00A000000100", {"6982", "6D00"}),
    ],
    ids=["READ B0", "READ B1", "UPDATE D6", "UPDATE D7", "WRITE D0", "ERASE 0E", "SEARCH A0"],
)
def test_a_selected_file_is_closed_in_every_form(either: CardUnderTest, command: str, refused: set[str]) -> None:
    either.select(either.target.permit_aid)
    for fid in ("0101", "0103", "0203", "0301"):
        either.ok(0x00, 0xA4, 0x02, 0x0C, bytes.fromhex(fid))
        assert either.raw(bytes.fromhex(command)).hex().upper() in refused, fid


@pytest.mark.clause("Card specification, access table: a rule holds for every form of a command")
@pytest.mark.parametrize(
    ("command", "refused"),
    [
        ("00B2010520", {"6982"}),
        ("00B2010020", {"6982", "6A81"}),
        ("00B300040354010020", {"6982", "6D00"}),
        ("00E20000 20" + 32 * "00", {"6982"}),
        ("00D20104 20" + 32 * "00", {"6982", "6D00"}),
        ("000C0104", {"6982", "6D00"}),
        ("00A20104 01 00 00", {"6982", "6D00"}),
    ],
    ids=["READ all", "READ by identifier", "READ B3", "APPEND", "WRITE", "ERASE", "SEARCH"],
)
def test_selected_records_are_closed_in_every_form(either: CardUnderTest, command: str, refused: set[str]) -> None:
    either.select(either.target.permit_aid)
    either.ok(0x00, 0xA4, 0x02, 0x0C, bytes.fromhex("0202"))
    assert either.raw(bytes.fromhex(command)).hex().upper() in refused


@pytest.mark.clause("Card specification, file control parameters: a length would trace a card")
@pytest.mark.parametrize(
    ("ins", "p1p2", "data", "ne"),
    [(0xB0, 0x7FFF, b"", 16), (0xD6, 0x7FFF, b"\x00", 0), (0xD6, 0x0000, bytes(255), 0)],
    ids=["read beyond", "update beyond", "update longer"],
)
def test_a_refusal_tells_no_length(either: CardUnderTest, ins: int, p1p2: int, data: bytes, ne: int) -> None:
    either.select(either.target.permit_aid)
    either.ok(0x00, 0xA4, 0x02, 0x0C, bytes.fromhex("0204"))
    assert either.send(0x00, ins, *divmod(p1p2, 256), data, ne=ne).sw == 0x6982


@pytest.mark.clause("Card specification, file control parameters; ISO/IEC 7816-4:2020, 7.4.3, table 11")
def test_the_fcp_tells_anyone_all_but_the_size(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    for row in permit_profile().files:
        whole = parse_one(permit_profile().fcp(row, row.size or 1)).children()
        expected = [item for item in whole if item.tag != 0x80]
        for p2, tag in ((0x04, 0x62), (0x00, 0x6F)):
            told = parse_one(either.ok(0x00, 0xA4, 0x02, p2, row.fid.to_bytes(2, "big"), ne=256))
            assert (told.tag, parse_all(told.value)) == (tag, expected), row.name


@pytest.mark.clause("Card specification, file control parameters: tag 80 to who may read or update the file")
@pytest.mark.parametrize(("reference", "told", "hidden"), [(0x81, 0x0101, 0x0301), (0x83, 0x0301, 0x0101)])
def test_the_fcp_tells_the_size_to_who_may_read(either: CardUnderTest, reference: int, told: int, hidden: int) -> None:
    channel = terminal(either, reference).channel
    found = [
        parse_one(channel.exchange(CommandApdu(0x00, 0xA4, 0x02, 0x04, fid.to_bytes(2, "big"), 256)).data)
        for fid in (told, hidden)
    ]
    assert [any(item.tag == 0x80 for item in template.children()) for template in found] == [True, False]


@pytest.mark.clause("Card specification, commands: the date and its bound are told under secure messaging only")
def test_what_terminals_told_is_closed_without_authentication(either: CardUnderTest) -> None:
    either.select(either.target.permit_aid)
    for tag in (0xDF22, 0xDF26, 0xDF27):
        answer = either.send(0x00, 0xCA, *divmod(tag, 256), ne=256)
        assert (answer.data, int(answer.sw)) == (b"", 0x6982), f"{tag:04X}"


@pytest.mark.clause("Card specification, privacy: the issuer domain is closed over the field, selected or not")
@pytest.mark.parametrize("opened", [False, True], ids=["basic channel", "opened channel"])
def test_no_domain_is_selected_implicitly_over_the_field(contactless: CardUnderTest, opened: bool) -> None:
    """CPLC, diversification data, keys, provider number, image number, INITIALIZE UPDATE."""
    number = contactless.ok(0x00, 0x70, 0x00, 0x00, ne=1)[0] if opened else 0
    for command in (
        *("80CA9F7F00", "80CA00CF00", "80CA00E000", "00CA004200", "80CA004500"),
        "8050000008010203040506070800",
    ):
        raw = bytearray.fromhex(command)
        raw[0] |= number
        answer = contactless.raw(bytes(raw))
        assert len(answer) == 2, command
        assert answer != bytes.fromhex("9000"), command


@pytest.mark.clause("Card specification, privacy: the issuer domain has no other name over the field")
@pytest.mark.parametrize("name", ["", "A000000151", "A0000001510000"])
def test_the_issuer_domain_is_not_found_by_a_part_of_its_name(contactless: CardUnderTest, name: str) -> None:
    answer = contactless.send(0x00, 0xA4, 0x04, 0x00, bytes.fromhex(name), ne=256)
    assert answer.data == b""
    assert answer.sw in {0x6A82, 0x6985, 0x6700, 0x6A86}
