"""VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER with the holder's PIN."""

from __future__ import annotations

import pytest

from permitcard.testing.card_under_test import CardUnderTest

HOLDER = 0x81
UNBLOCKING = 0x82


def wrong(card: CardUnderTest) -> bytes:
    """A PIN block that differs from the holder's in its last digit."""
    block = bytearray(card.target.holder_pin_block)
    block[3] ^= 0x01
    return bytes(block)


def tries_left(card: CardUnderTest) -> int:
    count = card.send(0x00, 0x20, 0x00, HOLDER).sw.tries_left
    assert count is not None
    return count


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6: VERIFY without data tells the tries left")
def test_verify_without_data_tells_the_counter(permit: CardUnderTest) -> None:
    assert 1 <= tries_left(permit) <= 15


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6: asking costs no try")
def test_asking_for_the_counter_costs_nothing(permit: CardUnderTest) -> None:
    assert tries_left(permit) == tries_left(permit)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6")
def test_the_right_pin_is_accepted(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6: 9000 when already verified")
def test_after_verify_the_empty_command_says_so(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    assert permit.send(0x00, 0x20, 0x00, HOLDER).sw == 0x9000


@pytest.mark.clause("Card specification, access table: the holder reads over contact")
@pytest.mark.parametrize("sfi", [0x01, 0x02, 0x0B, 0x0D, 0x15])
def test_the_holder_reads_own_data(permit: CardUnderTest, sfi: int) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    assert permit.send(0x00, 0xB0, 0x80 | sfi, 0x00, ne=16).sw == 0x9000


@pytest.mark.clause("Card specification, access table: the holder changes nothing")
@pytest.mark.parametrize("sfi", [0x01, 0x0D, 0x15])
def test_the_holder_writes_nothing(permit: CardUnderTest, sfi: int) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    assert permit.send(0x00, 0xD6, 0x80 | sfi, 0x00, b"\x00").sw == 0x6982


@pytest.mark.clause("ISO/IEC 7816-4:2020, 9.2: a security status ends with a reset")
def test_a_reset_ends_the_security_status(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    permit.reset()
    permit.select(permit.target.permit_aid)
    assert permit.send(0x00, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982


@pytest.mark.clause("ISO/IEC 7816-4:2020, 9.2: an application's security status ends when it is selected anew")
def test_selecting_again_ends_the_security_status(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    permit.select(permit.target.permit_aid)
    assert permit.send(0x00, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6: unknown reference data")
@pytest.mark.parametrize("reference", [0x01, 0x83, 0x9F])
def test_an_unknown_reference_is_not_found(permit: CardUnderTest, reference: int) -> None:
    assert permit.send(0x00, 0x20, 0x00, reference, bytes(8)).sw == 0x6A88


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6: P1 = 00")
@pytest.mark.parametrize("p1", [0x01, 0x7F])
def test_verify_with_another_p1_is_refused(permit: CardUnderTest, p1: int) -> None:
    assert permit.send(0x00, 0x20, p1, HOLDER, permit.target.holder_pin_block).sw == 0x6A86


@pytest.mark.clause("Card specification: a PIN over the field travels under secure messaging only")
def test_no_pin_in_plain_over_the_field(contactless: CardUnderTest) -> None:
    contactless.select(contactless.target.permit_aid)
    assert contactless.send(0x00, 0x20, 0x00, HOLDER, contactless.target.holder_pin_block).sw == 0x6982


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6: 63Cx, and the right PIN restores the counter")
def test_a_wrong_pin_costs_a_try_and_the_right_one_restores_it(permit: CardUnderTest) -> None:
    before = tries_left(permit)
    assert permit.send(0x00, 0x20, 0x00, HOLDER, wrong(permit)).sw.tries_left == before - 1
    permit.reset()
    permit.select(permit.target.permit_aid)
    assert tries_left(permit) == before - 1
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    permit.reset()
    permit.select(permit.target.permit_aid)
    assert tries_left(permit) == before


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6: a failed VERIFY ends the security status")
def test_a_wrong_pin_ends_the_security_status(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    permit.send(0x00, 0x20, 0x00, HOLDER, wrong(permit))
    refused = permit.send(0x00, 0xB0, 0x81, 0x00, ne=16).sw
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    assert refused == 0x6982


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.7: CHANGE REFERENCE DATA")
def test_the_pin_can_be_changed_and_changed_back(permit: CardUnderTest) -> None:
    old, new = permit.target.holder_pin_block, bytes.fromhex("26135790FFFFFFFF")
    permit.ok(0x00, 0x24, 0x00, HOLDER, old + new)
    accepted = permit.send(0x00, 0x20, 0x00, HOLDER, new).sw
    permit.ok(0x00, 0x24, 0x00, HOLDER, new + old)
    assert accepted == 0x9000


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.10: blocked 6983, then RESET RETRY COUNTER")
def test_a_blocked_pin_is_refused_and_can_be_unblocked(permit: CardUnderTest) -> None:
    for _ in range(tries_left(permit)):
        permit.send(0x00, 0x20, 0x00, HOLDER, wrong(permit))
    blocked = permit.send(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block).sw
    block = permit.target.unblocking_pin_block
    permit.ok(0x00, 0x2C, 0x00, HOLDER, block + permit.target.holder_pin_block)
    assert blocked == 0x6983
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
