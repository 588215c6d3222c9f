"""Changes of several files in one command: all or none, under each file's own rule."""

from __future__ import annotations

import pytest

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import STATUS, Bench, new_permit, new_sam, open_permit

RECORD = b"20261201" + b"20280101" + b"330381" + b"DESK 001" + bytes(2)


@pytest.fixture(scope="module")
def made() -> tuple[Bench, Bench]:
    return new_permit(), new_sam()


def change(fid: int, offset: int, content: bytes) -> bytes:
    return fid.to_bytes(2, "big") + offset.to_bytes(2, "big") + bytes((len(content),)) + content


def put(session: TerminalSession, data: bytes) -> int:
    return int(session.channel.exchange(CommandApdu(0, 0xDA, 0xDF, 0x25, data)).sw)


def opened(made: tuple[Bench, Bench], role: str, interface: Interface = Interface.CONTACT) -> TerminalSession:
    return open_permit(made[0].fork(), made[1].fork(), role, interface)


@pytest.mark.parametrize("interface", Interface)
def test_an_endorsement_is_one_command(made: tuple[Bench, Bench], interface: Interface) -> None:
    desk = opened(made, "service_desk", interface)
    assert put(desk, change(0x0202, 0, RECORD) + change(0x0203, 1, b"20280101" + b"20261201")) == SW.OK
    assert desk.read_records("EF.ENDORSEMENTS") == [RECORD]
    assert desk.read("EF.STATUS") == STATUS[:1] + b"20280101" + b"20261201" + STATUS[17:]


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (change(0x0101, 0, b"x"), SW.SECURITY_STATUS_NOT_SATISFIED),
        (change(0x0105, 0, b"x"), SW.SECURITY_STATUS_NOT_SATISFIED),
        (change(0x0301, 0, b"x"), SW.SECURITY_STATUS_NOT_SATISFIED),
        (change(0x0999, 0, b"x"), SW.FILE_NOT_FOUND),
        (change(0x0203, 32, b"x"), SW.WRONG_PARAMETERS),
        (change(0x0203, 31, b"xy"), SW.WRONG_PARAMETERS),
        (change(0x0202, 1, RECORD), SW.WRONG_LENGTH),
        (change(0x0202, 0, RECORD[:-1]), SW.WRONG_LENGTH),
        (change(0x0202, 64, RECORD), SW.RECORD_NOT_FOUND),
        (change(0x0203, 0, b""), SW.WRONG_DATA),
        (change(0x0203, 0, b"xy")[:-1], SW.WRONG_DATA),
        (change(0x0203, 0, b"x")[:4], SW.WRONG_DATA),
    ],
)
def test_one_that_cannot_be_undoes_all(made: tuple[Bench, Bench], second: bytes, status: int) -> None:
    desk = opened(made, "service_desk")
    assert put(desk, change(0x0203, 0, b"\x03") + second) == status
    assert desk.read("EF.STATUS") == STATUS
    assert desk.read_records("EF.ENDORSEMENTS") == []


def test_nothing_is_no_change(made: tuple[Bench, Bench]) -> None:
    assert put(opened(made, "service_desk"), b"") == SW.WRONG_DATA


@pytest.mark.parametrize(
    ("role", "fid", "allowed"),
    [
        ("inspection", 0x0203, False),
        ("service_desk", 0x0203, True),
        ("bank_branch", 0x0203, False),
        ("bank_branch", 0x0301, True),
        ("issuer", 0x0101, True),
        ("issuer", 0x0203, False),
    ],
)
def test_each_files_rule_decides(made: tuple[Bench, Bench], role: str, fid: int, allowed: bool) -> None:
    expected = SW.OK if allowed else SW.SECURITY_STATUS_NOT_SATISFIED
    assert put(opened(made, role), change(fid, 0, b"\x7f")) == expected


def test_in_plain_it_is_never_allowed(made: tuple[Bench, Bench]) -> None:
    card = made[0].fork()
    card.contact.power_on()
    card.contact.transmit(bytes.fromhex("00A4040007F05A4A4A5A0101"))
    command = CommandApdu(0, 0xDA, 0xDF, 0x25, change(0x0203, 0, b"\x01"))
    assert card.contact.transmit(command.encode()) == SW.SECURITY_STATUS_NOT_SATISFIED.to_bytes(2, "big")
