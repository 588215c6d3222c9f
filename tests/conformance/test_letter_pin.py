"""A holder's PIN that came in a letter: it proves nothing before the holder has changed it."""

from __future__ import annotations

import pytest

from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.terminal import terminal

pytestmark = [
    pytest.mark.letter_pin,
    pytest.mark.clause("Card specification, PINs: a PIN of a letter has to be changed first"),
]

HOLDER = 0x81
INSPECTION = 0x81
IDENTITY = 0x81
"""READ BINARY by short identifier 01."""
OWN_CHOICE = bytes.fromhex("26135790FFFFFFFF")


def test_its_state_says_so(permit: CardUnderTest) -> None:
    assert permit.send(0x00, 0x20, 0x00, HOLDER).sw == 0x6985


def test_the_right_one_proves_nothing(permit: CardUnderTest) -> None:
    assert permit.send(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block).sw == 0x6985
    assert permit.send(0x00, 0xB0, IDENTITY, 0x00, ne=16).sw == 0x6982
    assert permit.send(0x00, 0x20, 0x00, HOLDER).sw == 0x6985


def test_a_wrong_one_costs_a_try_which_the_right_one_gives_back(permit: CardUnderTest) -> None:
    right = permit.target.holder_pin_block
    wrong = right[:3] + bytes((right[3] ^ 0x01,)) + right[4:]
    first = permit.send(0x00, 0x20, 0x00, HOLDER, wrong).sw.tries_left
    assert permit.send(0x00, 0x20, 0x00, HOLDER, right).sw == 0x6985
    second = permit.send(0x00, 0x20, 0x00, HOLDER, wrong).sw.tries_left
    assert permit.send(0x00, 0x20, 0x00, HOLDER, right).sw == 0x6985
    assert first == second is not None


def test_it_is_not_changed_into_itself(permit: CardUnderTest) -> None:
    right, code = permit.target.holder_pin_block, permit.target.unblocking_pin_block
    for _ in range(4):
        assert permit.send(0x00, 0x24, 0x00, HOLDER, right + right).sw == 0x6A80
        assert permit.send(0x00, 0x2C, 0x00, HOLDER, code + right).sw == 0x6A80
    assert permit.send(0x00, 0x20, 0x00, HOLDER, right).sw == 0x6985


def test_unblocking_without_a_new_one_changes_nothing(permit: CardUnderTest) -> None:
    permit.ok(0x00, 0x2C, 0x01, HOLDER, permit.target.unblocking_pin_block)
    assert permit.send(0x00, 0x20, 0x00, HOLDER, permit.target.holder_pin_block).sw == 0x6985


def test_under_secure_messaging_it_is_the_same(either: CardUnderTest) -> None:
    channel = terminal(either, INSPECTION).channel
    from card_os.iso7816.apdu import CommandApdu

    verify = CommandApdu(0x00, 0x20, 0x00, HOLDER, either.target.holder_pin_block)
    assert channel.exchange(verify).sw == 0x6985
