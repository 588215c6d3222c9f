"""APDU cases, class bytes and unknown instructions."""

from __future__ import annotations

import pytest

from permitcard.testing.card_under_test import CardUnderTest

RESERVED_CLASSES = [*range(0x20, 0x40), *range(0xA0, 0xC0), 0xFF]
UNKNOWN_INSTRUCTIONS = [
    *(0x00, 0x02, 0x10, 0x3E, 0x5C, 0xF4, 0xFC),
    pytest.param(0x92, marks=pytest.mark.block_protocol("by T=0, 9x is a status")),
]


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.4.1, table 2: values 001x xxxx are reserved; ISO/IEC 7816-3: FF is invalid")
@pytest.mark.parametrize("cla", [0x20, 0x2F, 0x3C, 0x3F])
def test_a_reserved_class_is_not_supported(card: CardUnderTest, cla: int) -> None:
    assert card.send(cla, 0xA4, 0x04, 0x00).sw == 0x6E00


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.6, table 6: 6D00")
@pytest.mark.parametrize("ins", UNKNOWN_INSTRUCTIONS)
def test_an_unknown_instruction_is_not_supported(permit: CardUnderTest, ins: int) -> None:
    assert permit.send(0x00, ins, 0x00, 0x00).sw == 0x6D00


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.6: 6E00 or 6D00 when a class has no such instruction")
@pytest.mark.parametrize(
    "ins", [0xB0, 0xB2, 0x84, pytest.param(0x20, marks=pytest.mark.block_protocol("by T=0, P3 of VERIFY is Lc"))]
)
def test_an_interindustry_command_in_proprietary_class_is_refused(permit: CardUnderTest, ins: int) -> None:
    assert permit.send(0x80, ins, 0x00, 0x00, ne=8).sw in {0x6E00, 0x6D00}


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.4.1: channel numbers; 5.6: 6881")
@pytest.mark.parametrize("cla", [0x43, 0x4F])
def test_a_channel_that_is_not_open_is_refused(permit: CardUnderTest, cla: int) -> None:
    assert permit.send(cla, 0x84, 0x00, 0x00, ne=16).sw == 0x6881


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.2: case 4S with Lc longer than the field")
@pytest.mark.block_protocol("T=0 carries whole commands only")
@pytest.mark.parametrize(
    "raw",
    ["00A4040008F05A4A", "00A404000300", "0084000000000000", "00B000000000010203"],
    ids=["Lc too long", "Lc without data", "extended too long", "extended with half a Le"],
)
def test_lengths_that_fit_no_case_are_wrong(card: CardUnderTest, raw: str) -> None:
    assert card.raw(bytes.fromhex(raw))[-2:] == bytes.fromhex("6700")


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.5.3 and 5.2: Le = 10")
def test_case_2_short_gives_the_bytes_asked_for(permit: CardUnderTest) -> None:
    assert len(permit.ok(0x00, 0x84, 0x00, 0x00, ne=16)) == 16


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.2: case 2E is the same command as 2S")
def test_case_2_extended_gives_the_same(permit: CardUnderTest) -> None:
    assert len(permit.ok(0x00, 0x84, 0x00, 0x00, ne=16, extended=True)) == 16


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.2: case 4E of SELECT")
def test_select_in_extended_form(card: CardUnderTest) -> None:
    assert card.ok(0x00, 0xA4, 0x04, 0x00, card.target.permit_aid, ne=65_536, extended=True)[0] == 0x6F


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.3.3: command chaining with CLA bit 5")
def test_a_chained_select_is_refused_or_joined_never_half_executed(permit: CardUnderTest) -> None:
    aid = permit.target.permit_aid
    first = permit.send(0x10, 0xA4, 0x04, 0x00, aid[:3])
    assert first.sw in {0x9000, 0x6884}
    if first.sw == 0x9000:
        assert permit.send(0x00, 0xA4, 0x04, 0x00, aid[3:], ne=256).sw == 0x9000


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.3.4: GET RESPONSE only fetches what waits")
def test_get_response_without_anything_waiting_is_refused(permit: CardUnderTest) -> None:
    answer = permit.send(0x00, 0xC0, 0x00, 0x00, ne=256)
    assert answer.data == b""
    assert answer.sw in {0x6985, 0x6D00, 0x6A88}


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.3.4: a response longer than Ne waits behind 61xx")
def test_what_a_short_le_leaves_is_fetched_with_get_response(permit: CardUnderTest) -> None:
    whole = permit.ok(0x00, 0xA4, 0x04, 0x00, permit.target.permit_aid, ne=256)
    first = permit.send(0x00, 0xA4, 0x04, 0x00, permit.target.permit_aid, ne=4)
    assert first.sw.sw1 == 0x61
    rest = permit.send(0x00, 0xC0, 0x00, 0x00, ne=first.sw.sw2 or 256)
    assert (first.data + rest.data, int(rest.sw)) == (whole, 0x9000)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.3.4: another command gives up what waits")
def test_a_waiting_response_is_gone_after_another_command(permit: CardUnderTest) -> None:
    assert permit.send(0x00, 0xA4, 0x04, 0x00, permit.target.permit_aid, ne=4).sw.sw1 == 0x61
    permit.ok(0x00, 0x84, 0x00, 0x00, ne=16)
    assert permit.send(0x00, 0xC0, 0x00, 0x00, ne=256).data == b""


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.3.4 and 12.1: a reset gives up what waits")
def test_a_waiting_response_is_gone_after_a_reset(permit: CardUnderTest) -> None:
    assert permit.send(0x00, 0xA4, 0x04, 0x00, permit.target.permit_aid, ne=4).sw.sw1 == 0x61
    permit.reset()
    answer = permit.send(0x00, 0xC0, 0x00, 0x00, ne=256)
    assert answer.data == b""
    assert answer.sw in {0x6985, 0x6D00, 0x6A88}


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.3.3: the commands of a chain are alike; 5.6: 6883")
def test_another_command_ends_a_chain(permit: CardUnderTest) -> None:
    assert permit.send(0x10, 0xD6, 0x8D, 0x00, b"\x01").sw == 0x9000
    assert permit.send(0x10, 0xD6, 0x8D, 0x10, b"\x02").sw == 0x6883
    permit.ok(0x00, 0xCA, 0xDF, 0x21, ne=256)
