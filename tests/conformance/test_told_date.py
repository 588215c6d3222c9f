"""What terminals tell a permit: the date, its bound, corrections, and changes of several files.

The tests that change something put it back, but for the count of corrections, and for the date of a card that had none.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from permitcard.testing.card_under_test import CardUnderTest
from permitcard.testing.terminal import terminal
from personalization.keys.keystore import KeyName

INSPECTION, SERVICE_DESK, BANK_BRANCH, ISSUER = 0x81, 0x82, 0x83, 0x84
DATE, CHANGES, CORRECTION, BOUND = 0xDF22, 0xDF25, 0xDF26, 0xDF27
STATUS_FILE = 0x0D
STATUS_LENGTH = 32
NO_DATE, NO_BOUND = b"00000000", b"99999999"
DUE, DAY_AFTER, DAY_BEFORE = b"20260630", b"20260701", b"20260629"


def put(card: CardUnderTest, reference: int, tag: int, data: bytes) -> int:
    """PUT DATA in a session of its own; the status word."""
    channel = terminal(card, reference).channel
    return int(channel.exchange(CommandApdu(0x00, 0xDA, *divmod(tag, 256), data)).sw)


def got(card: CardUnderTest, tag: int, reference: int = INSPECTION) -> bytes:
    """GET DATA in a session of its own, which has to succeed."""
    answer = terminal(card, reference).channel.exchange(CommandApdu(0x00, 0xCA, *divmod(tag, 256), b"", 256))
    assert answer.sw == 0x9000
    return answer.data


def read_status(card: CardUnderTest) -> bytes:
    return terminal(card, SERVICE_DESK).read("EF.STATUS")


def write_status(card: CardUnderTest, offset: int, data: bytes) -> ResponseApdu:
    return terminal(card, SERVICE_DESK).channel.exchange(CommandApdu(0x00, 0xD6, 0x80 | STATUS_FILE, offset, data))


@dataclass
class Permit:
    """The card with a valid permit that is due on 2026-06-30 and was told the day before."""

    card: CardUnderTest


@pytest.fixture
def due(card: CardUnderTest) -> Iterator[Permit]:
    status, told = read_status(card), got(card, DATE)
    assert write_status(card, 0, b"\x01" + DUE).sw == 0x9000
    assert put(card, ISSUER, CORRECTION, DAY_BEFORE) == 0x9000
    yield Permit(card)
    assert write_status(card, 0, status).sw == 0x9000
    if told != NO_DATE:
        assert put(card, ISSUER, CORRECTION, told) == 0x9000


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF22: the latest date is kept, an earlier one is 6985")
def test_the_date_does_not_go_back(due: Permit) -> None:
    assert put(due.card, INSPECTION, DATE, DUE) == 0x9000
    assert put(due.card, SERVICE_DESK, DATE, DAY_BEFORE) == 0x6985
    due.card.reset()
    assert got(due.card, DATE) == DUE


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF22: past the due date the card suspends itself")
def test_an_overdue_permit_suspends_itself(due: Permit, contactless: CardUnderTest) -> None:
    assert put(due.card, INSPECTION, DATE, DUE) == 0x9000
    assert read_status(due.card)[0] == 0x01
    assert put(contactless, INSPECTION, DATE, DAY_AFTER) == 0x9000
    assert read_status(due.card)[:17] == b"\x02" + DUE + DAY_AFTER


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF22: only a valid permit is suspended")
def test_a_cancelled_permit_stays_cancelled(due: Permit) -> None:
    assert write_status(due.card, 0, b"\x03").sw == 0x9000
    assert put(due.card, INSPECTION, DATE, DAY_AFTER) == 0x9000
    assert read_status(due.card)[0] == 0x03


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF22: what is no date is 6A80")
def test_what_is_no_date_is_refused(due: Permit) -> None:
    channel = terminal(due.card, INSPECTION).channel
    for told in (b"20260230", b"20261301", b"2026063\xff", b"2026-6-1", b"2026063", b"202606300", b""):
        answer = channel.exchange(CommandApdu(0x00, 0xDA, *divmod(DATE, 256), told))
        assert answer.sw == 0x6A80 or (answer.sw == 0x6700 and len(told) != len(DUE)), told
    assert got(due.card, DATE) == DAY_BEFORE


@pytest.mark.destructive
@pytest.mark.clause("Card specification, commands: who tells the date, and who corrects it")
@pytest.mark.parametrize(
    ("reference", "tag"), [(BANK_BRANCH, DATE), (INSPECTION, CORRECTION), (SERVICE_DESK, CORRECTION)]
)
def test_the_date_is_not_everybodys(due: Permit, reference: int, tag: int) -> None:
    assert put(due.card, reference, tag, DUE) == 0x6982
    assert got(due.card, DATE) == DAY_BEFORE


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF26: the issuer sets the date back, which is counted and kept")
def test_a_correction_is_counted_and_kept(due: Permit) -> None:
    before = int.from_bytes(got(due.card, CORRECTION)[:2], "big")
    assert put(due.card, ISSUER, CORRECTION, b"20260101") == 0x9000
    assert got(due.card, CORRECTION) == min(before + 1, 0xFFFF).to_bytes(2, "big") + DAY_BEFORE + b"20260101"
    assert got(due.card, DATE) == b"20260101"


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF27: no date is told past its bound")
def test_the_date_stays_within_its_bound(due: Permit) -> None:
    bound = got(due.card, BOUND)
    if bound == NO_BOUND:
        pytest.skip("this permit was made without a bound of the date")
    last = dt.date(int(bound[:4]), int(bound[4:6]), int(bound[6:]))
    after = f"{last + dt.timedelta(days=1):%Y%m%d}".encode()
    assert put(due.card, INSPECTION, DATE, after) == 0x6985
    assert got(due.card, DATE) == DAY_BEFORE


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF27: a bound counts with the clock authority's signature only")
@pytest.mark.parametrize("forged", ["zeros", "of another date", "of nothing before it"])
def test_a_bound_that_is_not_signed_is_refused(card: CardUnderTest, forged: str) -> None:
    bound = got(card, BOUND)
    if bound == NO_BOUND:
        pytest.skip("this permit was made without a bound of the date")
    later = f"{int(bound[:4]) + 1:04}0101".encode()
    signed = {"zeros": b"", "of another date": b"permitcard date bound" + bound, "of nothing before it": later}[forged]
    digest = hashlib.sha256(signed).digest()
    signature = card.target.keys.sign_digest(KeyName.CLOCK, digest) if signed else bytes(64)
    assert put(card, INSPECTION, BOUND, later + signature) == 0x6982
    assert got(card, BOUND) == bound


@pytest.mark.clause("Card specification, PUT DATA DF27: a bound that is not later changes nothing")
@pytest.mark.parametrize("earlier", [False, True])
def test_a_bound_never_goes_back(card: CardUnderTest, earlier: bool) -> None:
    bound = got(card, BOUND)
    if bound == NO_BOUND:
        pytest.skip("this permit was made without a bound of the date")
    told = b"20260101" if earlier else bound
    digest = hashlib.sha256(b"permitcard date bound" + told).digest()
    assert put(card, BANK_BRANCH, BOUND, told + card.target.keys.sign_digest(KeyName.CLOCK, digest)) == 0x9000
    assert got(card, BOUND) == bound


def change(fid: int, offset: int, content: bytes) -> bytes:
    return fid.to_bytes(2, "big") + offset.to_bytes(2, "big") + bytes((len(content),)) + content


RESERVED_AT = 25
"""Of EF.STATUS: bytes that mean nothing."""


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF25: all of it is written or nothing")
@pytest.mark.parametrize(
    ("second", "refused"),
    [
        (change(0x0203, STATUS_LENGTH, b"\x01"), {0x6B00, 0x6A84}),
        (change(0x0203, STATUS_LENGTH - 1, b"\x01\x01"), {0x6B00, 0x6A84}),
        (change(0x0101, 0, b"\x00"), {0x6982}),
        (change(0x0105, 0, b"\x00"), {0x6982}),
        (change(0x7FF1, 0, b"\x00"), {0x6A82}),
        (change(0x0203, 0, b"\x01\x01")[:-1], {0x6A80}),
        (b"\x02\x03", {0x6A80}),
    ],
    ids=["beyond the file", "over its end", "closed file", "no rule", "no file", "cut short", "half a header"],
)
def test_changes_are_made_all_or_none(card: CardUnderTest, second: bytes, refused: set[int]) -> None:
    before = read_status(card)
    first = change(0x0203, RESERVED_AT, bytes((before[RESERVED_AT] ^ 0xFF,)))
    assert put(card, SERVICE_DESK, CHANGES, first + second) in refused
    assert read_status(card) == before


@pytest.mark.destructive
@pytest.mark.clause("Card specification, PUT DATA DF25: several files in one command")
def test_changes_of_several_files_are_written(card: CardUnderTest) -> None:
    before = read_status(card)
    entitlements = terminal(card, SERVICE_DESK).read("EF.ENTITLEMENTS")
    mark = bytes((before[RESERVED_AT] ^ 0xFF,))
    both = change(0x0203, RESERVED_AT, mark) + change(0x0204, 0, entitlements[:1])
    assert put(card, SERVICE_DESK, CHANGES, both) == 0x9000
    after = read_status(card)
    assert put(card, SERVICE_DESK, CHANGES, change(0x0203, RESERVED_AT, before[RESERVED_AT:][:1])) == 0x9000
    assert after == before[:RESERVED_AT] + mark + before[RESERVED_AT + 1 :]


@pytest.mark.clause("Card specification, PUT DATA DF25: the rule for updating of each file decides")
@pytest.mark.parametrize("reference", [INSPECTION, BANK_BRANCH, ISSUER])
def test_changes_of_another_role_are_refused(either: CardUnderTest, reference: int) -> None:
    before = terminal(either, INSPECTION).read("EF.STATUS")
    assert put(either, reference, CHANGES, change(0x0203, RESERVED_AT, before[RESERVED_AT:][:1])) == 0x6982
