"""The issuer domain's data and status."""

from __future__ import annotations

import pytest

from card_os.iso7816.tlv import Tlv, find, parse_all
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.scp03_session import Channel, initialize


@pytest.fixture
def channel(card: CardUnderTest) -> Channel:
    return initialize(card).authenticate()


def entries(channel: Channel, scope: int) -> list[Tlv]:
    """All E3 entries of GET STATUS in TLV format, over as many answers as it takes."""
    found: list[Tlv] = []
    for occurrence in range(16):
        answer = channel.send(0x80, 0xF2, scope, 0x02 | bool(occurrence), bytes.fromhex("4F00"), ne=256)
        found += parse_all(answer.data)
        if answer.sw != 0x6310:
            assert answer.sw == 0x9000
            return found
    raise AssertionError("GET STATUS does not end")


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.4.2: the issuer domain's entry and the card's life cycle")
def test_get_status_tells_that_the_card_is_secured(channel: Channel) -> None:
    (entry,) = entries(channel, 0x80)
    assert find(entry.value, 0x4F) == channel.card.target.issuer_domain_aid
    assert find(entry.value, 0x9F70) == b"\x0f"


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.4.2: applications")
def test_get_status_lists_the_permit_as_personalized(channel: Channel) -> None:
    by_aid = {find(entry.value, 0x4F): find(entry.value, 0x9F70) for entry in entries(channel, 0x40)}
    assert by_aid[channel.card.target.permit_aid] == b"\x0f"


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.4.3: nothing matches")
def test_get_status_for_an_unknown_name(channel: Channel) -> None:
    assert channel.send(0x80, 0xF2, 0x40, 0x02, bytes.fromhex("4F05A0000000FF"), ne=256).sw == 0x6A88


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.3 and H.2: card recognition data names SCP03")
def test_card_recognition_data_names_scp03(card: CardUnderTest) -> None:
    card.select(card.target.issuer_domain_aid)
    data = card.ok(0x00, 0xCA, 0x00, 0x66, ne=256)
    assert bytes.fromhex("2A864886FC6B040370") in data


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.3.3.1: key information template")
def test_the_key_information_lists_our_set_and_no_factory_set(channel: Channel) -> None:
    data = channel.send(0x80, 0xCA, 0x00, 0xE0, ne=256).data
    keys = [item.value for item in parse_all(find(data, 0xE0) or b"")]
    assert {(key[0], key[1]) for key in keys} == {(1, 1), (2, 1), (3, 1)}


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.3: CPLC inside a session")
def test_the_production_data_has_42_bytes(channel: Channel) -> None:
    data = channel.send(0x80, 0xCA, 0x9F, 0x7F, ne=256).data
    assert len(find(data, 0x9F7F) or b"") == 42


@pytest.mark.clause("Card specification, privacy: CPLC is closed to anyone once the card is SECURED")
def test_the_production_data_is_closed_without_a_session(card: CardUnderTest) -> None:
    card.select(card.target.issuer_domain_aid)
    assert card.send(0x80, 0xCA, 0x9F, 0x7F, ne=256).sw in {0x6982, 0x6985}


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.3: an unknown data object")
def test_an_unknown_data_object_is_not_found(card: CardUnderTest) -> None:
    card.select(card.target.issuer_domain_aid)
    assert card.send(0x80, 0xCA, 0x7F, 0x7F, ne=256).sw == 0x6A88


@pytest.mark.clause("GlobalPlatform 2.3.1, 5.1.1: a card does not go back from SECURED")
def test_the_card_life_cycle_does_not_go_back(channel: Channel) -> None:
    assert channel.send(0x80, 0xF0, 0x80, 0x07).sw in {0x6985, 0x6A80}


@pytest.mark.clause("Card specification: a personalized permit takes no more personalization data")
def test_a_personalized_permit_refuses_store_data(channel: Channel) -> None:
    aid = channel.card.target.permit_aid
    selected = channel.send(0x80, 0xE6, 0x20, 0x00, b"\x00\x00" + bytes((len(aid),)) + aid + b"\x00\x00\x00", ne=256).sw
    stored = channel.send(0x80, 0xE2, 0x88, 0x00, bytes.fromhex("9F010141"), ne=256).sw
    assert (selected.ok, int(stored)) in {(False, 0x6985), (True, 0x6985), (False, 0x6A80), (False, 0x6982)}


@pytest.mark.clause("GlobalPlatform 2.3.1, 11.2: DELETE of an application that is not there")
def test_deleting_what_is_not_there_is_refused(channel: Channel) -> None:
    assert channel.send(0x80, 0xE4, 0x00, 0x00, bytes.fromhex("4F05A0000000FF"), ne=256).sw == 0x6A88
