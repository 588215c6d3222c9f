"""Logical channels: MANAGE CHANNEL, and that nothing proved on one channel holds on another."""

from __future__ import annotations

import pytest

from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.terminal import terminal

INSPECTION, HOLDER = 0x81, 0x81


def open_channel(card: CardUnderTest) -> int:
    """MANAGE CHANNEL; the number that the card chose, one of those that the class byte holds in two bits."""
    (number,) = card.ok(0x00, 0x70, 0x00, 0x00, ne=1)
    assert 1 <= number <= 3
    return number


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.1.2: a channel is opened, used and closed")
def test_a_channel_is_opened_and_closed(either: CardUnderTest) -> None:
    number = open_channel(either)
    either.ok(number, 0xA4, 0x04, 0x00, either.target.permit_aid, ne=256)
    either.ok(number, 0xCA, 0xDF, 0x21, ne=256)
    either.ok(0x00, 0x70, 0x80, number)
    assert either.send(number, 0xCA, 0xDF, 0x21, ne=256).sw == 0x6881


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.5: the basic channel is always open")
def test_the_basic_channel_stays(permit: CardUnderTest) -> None:
    assert not permit.send(0x00, 0x70, 0x80, 0x00).sw.ok
    permit.ok(0x00, 0xCA, 0xDF, 0x21, ne=256)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.5: a channel has a selection of its own")
def test_a_channel_selects_for_itself(permit: CardUnderTest) -> None:
    number = open_channel(permit)
    assert permit.send(number, 0xCA, 0xDF, 0x21, ne=256).sw != 0x9000
    permit.ok(number, 0xA4, 0x04, 0x00, permit.target.issuer_domain_aid, ne=256)
    permit.ok(0x00, 0xCA, 0xDF, 0x21, ne=256)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.5 and 9.2: a channel has a security status of its own")
@pytest.mark.holder_pin
def test_a_pin_holds_on_its_channel_only(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    number = open_channel(permit)
    permit.ok(number, 0xA4, 0x04, 0x00, permit.target.permit_aid, ne=256)
    assert permit.send(number, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982
    permit.ok(number, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    permit.ok(0x00, 0x70, 0x80, number)
    again = open_channel(permit)
    permit.ok(again, 0xA4, 0x04, 0x00, permit.target.permit_aid, ne=256)
    assert permit.send(again, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982
    permit.ok(0x00, 0xB0, 0x81, 0x00, ne=16)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.5 and 9.2: a role under secure messaging holds on its channel only")
def test_a_session_holds_on_its_channel_only(either: CardUnderTest) -> None:
    terminal(either, INSPECTION)
    number = open_channel(either)
    either.ok(number, 0xA4, 0x04, 0x00, either.target.permit_aid, ne=256)
    assert either.send(number, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982


@pytest.mark.clause("ISO/IEC 7816-4:2020, 5.3.4 and 5.5: a response waits on its channel")
def test_a_waiting_response_is_not_fetched_on_another_channel(permit: CardUnderTest) -> None:
    number = open_channel(permit)
    assert permit.send(0x00, 0xA4, 0x04, 0x00, permit.target.permit_aid, ne=4).sw.sw1 == 0x61
    assert permit.send(number, 0xC0, 0x00, 0x00, ne=256).data == b""


@pytest.mark.clause("ISO/IEC 7816-4:2020, 12.1: a reset closes all channels but the basic one")
def test_a_reset_closes_channels(card: CardUnderTest) -> None:
    number = open_channel(card)
    card.reset()
    assert card.send(number, 0xCA, 0xDF, 0x21, ne=256).sw == 0x6881
