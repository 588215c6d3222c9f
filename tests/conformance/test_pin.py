"""VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER with the holder's PIN."""

from __future__ import annotations

import pytest

from card_os.iso7816.apdu import CommandApdu
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.terminal import terminal

pytestmark = pytest.mark.holder_pin

HOLDER = 0x81
INSPECTION = 0x81
"""Reference of the inspection key; keys and PINs have numbers of their own."""
BANK = 0x15
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
@pytest.mark.parametrize("ins", [0x20, 0x24, 0x2C], ids=["VERIFY", "CHANGE", "RESET RETRY COUNTER"])
def test_no_pin_in_plain_over_the_field(contactless: CardUnderTest, ins: int) -> None:
    """Every command is right, so that a card which takes it is as it was."""
    holder, unblocking = contactless.target.holder_pin_block, contactless.target.unblocking_pin_block
    contactless.select(contactless.target.permit_aid)
    data = {0x20: holder, 0x24: holder + holder, 0x2C: unblocking + holder}[ins]
    assert contactless.send(0x00, ins, 0x00, HOLDER, data).sw == 0x6982


@pytest.mark.clause("Card specification, interfaces: each interface has its own proofs")
def test_a_verified_pin_is_nothing_on_the_other_interface(card: CardUnderTest, contactless: CardUnderTest) -> None:
    card.select(card.target.permit_aid)
    card.ok(0x00, 0x20, 0x00, HOLDER, card.target.holder_pin_block)
    channel = terminal(contactless, INSPECTION).channel
    assert channel.exchange(CommandApdu(0x00, 0xB0, 0x80 | BANK, 0x00, b"", 16)).sw == 0x6982


@pytest.mark.clause("Card specification, keys and PINs: a PIN of a protected session ends with it")
def test_a_pin_under_secure_messaging_ends_with_its_session(either: CardUnderTest) -> None:
    read = CommandApdu(0x00, 0xB0, 0x80 | BANK, 0x00, b"", 16)
    channel = terminal(either, INSPECTION).channel
    assert channel.exchange(CommandApdu(0x00, 0x20, 0x00, HOLDER, either.target.holder_pin_block)).sw == 0x9000
    assert channel.exchange(read).sw == 0x9000
    assert either.raw(read.encode()) == bytes.fromhex("6982")
    assert terminal(either, INSPECTION).channel.exchange(read).sw == 0x6982


@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.6: P1 = FF sets the status to not verified")
def test_who_is_told_to_be_logged_out_is(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    logged_out = permit.send(0x00, 0x20, 0xFF, HOLDER).sw
    assert logged_out in {0x9000, 0x6A86}
    expected = 0x6982 if logged_out == 0x9000 else 0x9000
    assert permit.send(0x00, 0xB0, 0x81, 0x00, ne=16).sw == expected


@pytest.mark.destructive
@pytest.mark.clause("ISO 9564-1, format 2: all digits and their number are the PIN")
def test_the_right_digits_and_more_are_another_pin(permit: CardUnderTest) -> None:
    digits = permit.target.holder_pin_block.hex().upper()
    length = int(digits[1], 16)
    longer = f"2{length + 1:X}{digits[2 : 2 + length]}0".ljust(16, "F")
    shorter = f"2{length - 1:X}{digits[2 : 1 + length]}".ljust(16, "F")
    others = [block for block, fits in ((longer, length < 12), (shorter, length > 4)) if fits]
    answers = [permit.send(0x00, 0x20, 0x00, HOLDER, bytes.fromhex(block)).sw for block in others]
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    assert all(answer.tries_left is not None for answer in answers)


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PINs: what is no PIN block is no try")
@pytest.mark.parametrize(
    "block", ["362468 02FFFFFFFF", "2624680AFFFFFFFF", "2624680212345678", "2D12345678901234", "26246802FFFFFF", "26"]
)
def test_what_is_no_pin_block_is_refused_and_costs_no_try(permit: CardUnderTest, block: str) -> None:
    before = tries_left(permit)
    assert permit.send(0x00, 0x20, 0x00, HOLDER, bytes.fromhex(block)).sw in {0x6A80, 0x6700}
    left = tries_left(permit)
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    assert left == before


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.7: the old reference data is verified, and a wrong one costs a try")
def test_a_pin_is_not_changed_without_the_old_one(permit: CardUnderTest) -> None:
    before = tries_left(permit)
    right = permit.target.holder_pin_block
    answer = permit.send(0x00, 0x24, 0x00, HOLDER, wrong(permit) + wrong(permit)).sw
    left = tries_left(permit)
    accepted = permit.send(0x00, 0x20, 0x00, HOLDER, right).sw
    if accepted != 0x9000:  # the card changed it: give it back
        permit.ok(0x00, 0x24, 0x00, HOLDER, wrong(permit) + right)
    assert (answer.tries_left, left, int(accepted)) == (before - 1, before - 1, 0x9000)


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.10: a wrong resetting code resets nothing and costs a try of its own")
def test_a_pin_is_not_reset_without_the_unblocking_pin(permit: CardUnderTest) -> None:
    right, code = permit.target.holder_pin_block, permit.target.unblocking_pin_block
    spoilt = bytes((*code[:3], code[3] ^ 0x01, *code[4:]))
    answers = [permit.send(0x00, 0x2C, 0x00, HOLDER, spoilt + wrong(permit)).sw.tries_left for _ in range(2)]
    accepted = permit.send(0x00, 0x20, 0x00, HOLDER, right).sw
    permit.ok(0x00, 0x2C, 0x00, HOLDER, code + right)
    first = answers[0]
    assert first is not None
    assert (answers[1], int(accepted)) == (first - 1, 0x9000)


@pytest.mark.destructive
@pytest.mark.clause("ISO/IEC 7816-4:2020, 11.6.10: RESET RETRY COUNTER verifies nothing")
def test_unblocking_gives_no_access(permit: CardUnderTest) -> None:
    block = permit.target.unblocking_pin_block + permit.target.holder_pin_block
    permit.ok(0x00, 0x2C, 0x00, HOLDER, block)
    assert permit.send(0x00, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982
    permit.ok(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block)
    permit.ok(0x00, 0x2C, 0x00, HOLDER, block)
    assert permit.send(0x00, 0xB0, 0x81, 0x00, ne=16).sw == 0x6982


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
