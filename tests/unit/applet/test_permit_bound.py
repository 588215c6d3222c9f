"""The bound of the date, its signature, and the issuer's correction."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import CardError
from card_os.iso7816.status import SW
from personalization.terminal.channel import CardRefused
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import (
    PERMIT,
    Bench,
    blank,
    clock_grouping,
    new_permit,
    new_sam,
    open_permit,
    permit_groupings,
    signed_bound,
    store,
)

BOUND = b"20260601"
NO_CORRECTION = b"\x00\x00" + b"0" * 16
ROLES = ("inspection", "service_desk", "bank_branch", "issuer")


@pytest.fixture(scope="module")
def made() -> tuple[Bench, Bench]:
    return new_permit(bound=BOUND), new_sam()


@pytest.fixture
def card(made: tuple[Bench, Bench]) -> Bench:
    return made[0].fork()


@pytest.fixture
def sam(made: tuple[Bench, Bench]) -> Bench:
    return made[1].fork()


@pytest.fixture
def desk(card: Bench, sam: Bench) -> TerminalSession:
    return open_permit(card, sam, "service_desk", Interface.CONTACT)


def put(session: TerminalSession, tag: int, data: bytes) -> int:
    return int(session.channel.exchange(CommandApdu(0, 0xDA, *divmod(tag, 256), data)).sw)


def get(session: TerminalSession, tag: int) -> tuple[bytes, int]:
    response = session.channel.exchange(CommandApdu(0, 0xCA, *divmod(tag, 256), b"", 256))
    return response.data, int(response.sw)


def test_a_date_is_told_up_to_the_bound(desk: TerminalSession) -> None:
    desk.tell_date(dt.date(2026, 6, 1))
    with pytest.raises(CardRefused, match="6985"):
        desk.tell_date(dt.date(2026, 6, 2))
    assert get(desk, 0xDF22) == (b"20260601", SW.OK)


def test_one_wrong_terminal_suspends_no_card(desk: TerminalSession) -> None:
    """A clock set to 2099 is refused, and the next right one works."""
    assert put(desk, 0xDF22, b"20990101") == SW.CONDITIONS_NOT_SATISFIED
    assert desk.read("EF.STATUS")[0] == 1
    desk.tell_date(dt.date(2026, 5, 1))


@pytest.mark.parametrize("role", ROLES)
def test_anybody_who_is_authenticated_brings_a_signed_bound(card: Bench, sam: Bench, role: str) -> None:
    session = open_permit(card, sam, role, Interface.CONTACTLESS)
    assert put(session, 0xDF27, signed_bound(b"20270630")) == SW.OK
    if role != "bank_branch":
        assert get(session, 0xDF27) == (b"20270630", SW.OK)


def test_the_bound_only_moves_forward(desk: TerminalSession) -> None:
    for bound, after in ((b"20260531", BOUND), (b"20260601", BOUND), (b"20260602", b"20260602")):
        assert put(desk, 0xDF27, signed_bound(bound)) == SW.OK
        assert get(desk, 0xDF27) == (after, SW.OK)


def test_a_bound_that_others_signed_is_refused(desk: TerminalSession) -> None:
    other = ec.derive_private_key(99, ec.SECP256R1())
    good = signed_bound(b"20270630")
    for data, status in (
        (signed_bound(b"20270630", other), SW.SECURITY_STATUS_NOT_SATISFIED),
        (b"20280630" + good[8:], SW.SECURITY_STATUS_NOT_SATISFIED),
        (good[:8] + bytes(64), SW.SECURITY_STATUS_NOT_SATISFIED),
        (good[:-1] + bytes((good[-1] ^ 1,)), SW.SECURITY_STATUS_NOT_SATISFIED),
        (good[:-1], SW.WRONG_LENGTH),
        (good + b"\x00", SW.WRONG_LENGTH),
        (b"20270231" + good[8:], SW.WRONG_DATA),
        (b"", SW.WRONG_LENGTH),
    ):
        assert put(desk, 0xDF27, data) == status
    assert get(desk, 0xDF27) == (BOUND, SW.OK)


def test_a_permit_without_a_clock_key_has_no_bound(sam: Bench) -> None:
    session = open_permit(new_permit(bound=None), sam, "service_desk", Interface.CONTACT)
    assert get(session, 0xDF27) == (b"99999999", SW.OK)
    assert put(session, 0xDF27, signed_bound(b"20270630")) == SW.CONDITIONS_NOT_SATISFIED
    session.tell_date(dt.date(2099, 1, 1))


def test_the_issuer_alone_corrects_the_date(card: Bench, sam: Bench) -> None:
    for role in ROLES[:-1]:
        session = open_permit(card, sam, role, Interface.CONTACT)
        assert put(session, 0xDF26, b"20260101") == SW.SECURITY_STATUS_NOT_SATISFIED
    issuer = open_permit(card, sam, "issuer", Interface.CONTACT)
    issuer.tell_date(dt.date(2026, 6, 1))
    assert get(issuer, 0xDF26) == (NO_CORRECTION, SW.OK)
    assert put(issuer, 0xDF26, b"20260301") == SW.OK
    assert get(issuer, 0xDF22) == (b"20260301", SW.OK)
    assert get(issuer, 0xDF26) == (b"\x00\x01" + b"20260601" + b"20260301", SW.OK)
    assert put(issuer, 0xDF26, b"20260302") == SW.OK
    assert get(issuer, 0xDF26) == (b"\x00\x02" + b"20260301" + b"20260302", SW.OK)
    assert put(issuer, 0xDF26, b"2026030") == SW.WRONG_LENGTH
    assert put(issuer, 0xDF26, b"20260230") == SW.WRONG_DATA


def test_what_the_clock_says_is_read_by_its_roles_only(card: Bench, sam: Bench) -> None:
    card.contact.power_on()
    for tag in (0xDF22, 0xDF26, 0xDF27):
        command = CommandApdu(0, 0xCA, *divmod(tag, 256), b"", 256).encode()
        card.contact.transmit(bytes.fromhex("00A4040007F05A4A4A5A0101"))
        assert card.contact.transmit(command) == SW.SECURITY_STATUS_NOT_SATISFIED.to_bytes(2, "big")
    bank = open_permit(card, sam, "bank_branch", Interface.CONTACT)
    assert get(bank, 0xDF22) == (b"", SW.SECURITY_STATUS_NOT_SATISFIED)


def test_the_clock_survives_a_reset(card: Bench, sam: Bench) -> None:
    desk = open_permit(card, sam, "service_desk", Interface.CONTACT)
    assert put(desk, 0xDF27, signed_bound(b"20270630")) == SW.OK
    desk.tell_date(dt.date(2027, 6, 30))
    again = open_permit(card.fork(), sam, "service_desk", Interface.CONTACTLESS)
    assert get(again, 0xDF27) == (b"20270630", SW.OK)
    assert get(again, 0xDF22) == (b"20270630", SW.OK)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        clock_grouping()[:-1],
        clock_grouping() + b"\x00",
        b"\x02" + clock_grouping()[1:],
        clock_grouping()[:65] + b"20260230",
        b"\x04" + bytes(64) + b"20260601",
    ],
)
def test_no_other_clock_key_is_taken(value: bytes) -> None:
    base = blank(PERMIT)
    groupings = permit_groupings(base.card_number, None)
    store(base, *groupings[0])
    with pytest.raises(CardError):
        store(base, 0x8102, value)
    store(base, 0x8102, clock_grouping())
    with pytest.raises(CardError):
        store(base, 0x8102, clock_grouping())
