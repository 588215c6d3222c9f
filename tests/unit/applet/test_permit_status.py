"""The date that terminals tell, and the permit that suspends itself."""

from __future__ import annotations

import datetime as dt

import pytest

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from personalization.terminal.channel import CardRefused
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import PERMIT, STATUS, Bench, new_permit, new_sam, open_permit

DUE = dt.date(2027, 1, 1)


@pytest.fixture(scope="module")
def made() -> tuple[Bench, Bench]:
    return new_permit(), new_sam()


@pytest.fixture
def desk(made: tuple[Bench, Bench]) -> TerminalSession:
    return open_permit(made[0].fork(), made[1].fork(), "service_desk", Interface.CONTACT)


def tell(session: TerminalSession, data: bytes) -> int:
    return int(session.channel.exchange(CommandApdu(0, 0xDA, 0xDF, 0x22, data)).sw)


def test_up_to_the_due_date_the_permit_is_valid(desk: TerminalSession) -> None:
    desk.tell_date(DUE)
    assert desk.read("EF.STATUS") == STATUS


def test_past_the_due_date_the_card_suspends_itself(desk: TerminalSession) -> None:
    desk.tell_date(DUE + dt.timedelta(days=1))
    assert desk.read("EF.STATUS") == b"\x02" + STATUS[1:9] + b"20270102" + STATUS[17:]


def test_the_date_never_goes_back(desk: TerminalSession) -> None:
    desk.tell_date(dt.date(2026, 6, 1))
    with pytest.raises(CardRefused, match="6985"):
        desk.tell_date(dt.date(2026, 5, 31))
    desk.tell_date(dt.date(2026, 6, 1))


def test_the_same_date_told_again_looks_at_a_status_that_was_written_since(desk: TerminalSession) -> None:
    later = DUE + dt.timedelta(days=30)
    desk.tell_date(later)
    desk.files.update(PERMIT.file_named("EF.STATUS"), b"\x01")
    desk.tell_date(later)
    assert desk.read("EF.STATUS")[0] == 2


def test_a_cancelled_permit_stays_cancelled(desk: TerminalSession) -> None:
    desk.files.update(PERMIT.file_named("EF.STATUS"), b"\x03")
    desk.tell_date(DUE + dt.timedelta(days=1))
    assert desk.read("EF.STATUS") == b"\x03" + STATUS[1:]


def test_a_permit_without_a_due_date_stays_valid(desk: TerminalSession) -> None:
    desk.files.update(PERMIT.file_named("EF.STATUS"), bytes(8), 1)
    desk.tell_date(dt.date(2099, 12, 31))
    assert desk.read("EF.STATUS")[0] == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"2026060", SW.WRONG_LENGTH),
        (b"202606010", SW.WRONG_LENGTH),
        (b"", SW.WRONG_LENGTH),
        (b"20260631", SW.WRONG_DATA),
        (b"20261301", SW.WRONG_DATA),
        (b"20270229", SW.WRONG_DATA),
        (b"00000101", SW.WRONG_DATA),
        (b"2026-6-1", SW.WRONG_DATA),
        (b"\x20\x26\x06\x01\x00\x00\x00\x00", SW.WRONG_DATA),
    ],
)
def test_what_is_no_date_is_refused(desk: TerminalSession, data: bytes, status: int) -> None:
    assert tell(desk, data) == status
    desk.tell_date(dt.date(2000, 1, 1))


def test_another_tag_is_not_found(desk: TerminalSession) -> None:
    response = desk.channel.exchange(CommandApdu(0, 0xDA, 0xDF, 0x21, b"20260601"))
    assert response.sw == SW.REFERENCE_DATA_NOT_FOUND
