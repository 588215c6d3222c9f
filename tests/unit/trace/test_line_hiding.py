"""What of a hidden command is hidden of the bytes that carry it: the information, not what tells how it went."""

from __future__ import annotations

from dataclasses import replace

import pytest

from card_os.transport.wire import Direction
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816
from reader_bridge.trace.hiding import Cover
from reader_bridge.trace.line import LineHiding
from reader_bridge.trace.record import Octets

DESCRIPTION = ConnectionDescription("line", Interface.CONTACT, Protocol7816.T1, b"")
TO_CARD, TO_READER = Direction.TO_CARD, Direction.TO_READER
ALL = Cover(command=True, response=True)


def line(protocol: Protocol7816) -> LineHiding:
    hiding = LineHiding()
    hiding.restart(replace(DESCRIPTION, protocol=protocol))
    hiding.begin_exchange()
    return hiding


def shown(octets: Octets) -> str:
    """Digits, with dots for what is hidden."""
    return "".join(".." if octets.is_hidden(at) else f"{byte:02X}" for at, byte in enumerate(octets.data))


@pytest.mark.clause("ISO/IEC 7816-3, 11.3.1: NAD, PCB, LEN; b8 of PCB is 0 in an I-block")
@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("00 00 02 3132 01", "000002......"),
        ("21 40 01 31 71", "214001...."),
        ("00 60 01 31 50", "006001...."),
        ("00 00 00 00", "000000.."),  # its check byte goes with what would be there
        ("00 80 00 80", "00800080"),  # R-blocks and S-blocks carry none of it
        ("00 C1 01 FE 3E", "00C101FE3E"),
        ("00 E3 01 05 E7", "00E30105E7"),
        ("00 00", "0000"),  # less than a block
        ("00", "00"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("direction", Direction)
def test_of_a_block_of_t1_the_information_is_hidden(direction: Direction, sent: str, told: str) -> None:
    assert shown(line(Protocol7816.T1).hide(direction, bytes.fromhex(sent), ALL)) == told


@pytest.mark.clause("ISO/IEC 14443-4, 7.1.2.1: an I-block has b8 b7 b6 = 000 and b2 = 1; b4 says CID, b3 NAD")
@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("02 3132 AABB", "02........"),
        ("13 3132 AABB", "13........"),  # chained
        ("0A 01 3132 AABB", "0A01........"),
        ("06 02 3132 AABB", "0602........"),
        ("0E 01 02 3132 AABB", "0E0102........"),
        ("A2 AABB", "A2AABB"),  # R-block
        ("BA 01 AABB", "BA01AABB"),
        ("F2 01 AABB", "F201AABB"),  # S(WTX)
        ("C2 AABB", "C2AABB"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("direction", Direction)
def test_of_a_block_of_tcl_the_information_is_hidden(direction: Direction, sent: str, told: str) -> None:
    assert shown(line(Protocol7816.TCL).hide(direction, bytes.fromhex(sent), ALL)) == told


@pytest.mark.clause(
    "ISO/IEC 7816-3, 10.3: the header first, then data after each procedure byte; a status word ends it"
)
def test_of_an_exchange_by_t0_the_header_and_the_status_are_told() -> None:
    hiding = line(Protocol7816.T0)
    for _ in range(2):
        assert shown(hiding.hide(TO_CARD, bytes.fromhex("0020008108"), ALL)) == "0020008108"
        assert shown(hiding.hide(TO_READER, b"\x20", ALL)) == "20"
        assert shown(hiding.hide(TO_CARD, b"12345678", ALL)) == ".." * 8
        assert shown(hiding.hide(TO_READER, b"\x90\x00", ALL)) == "9000"
        hiding.begin_exchange()
        assert shown(hiding.hide(TO_CARD, bytes.fromhex("00B0000002"), ALL)) == "00B0000002"
        assert shown(hiding.hide(TO_READER, b"\xb0AB\x90\x00", ALL)) == ".." * 5
        hiding.restart(replace(DESCRIPTION, protocol=Protocol7816.T0))


@pytest.mark.parametrize("protocol", [Protocol7816.T1, Protocol7816.TCL])
def test_each_way_is_hidden_by_itself(protocol: Protocol7816) -> None:
    block = bytes.fromhex("02 00 02 3132 33")
    for cover, hidden in (
        (Cover(command=True, response=False), {TO_CARD}),
        (Cover(command=False, response=True), {TO_READER}),
        (Cover(command=False, response=False), set[Direction]()),
    ):
        hiding = line(protocol)
        assert {way for way in Direction if hiding.hide(way, block, cover).hidden} == hidden


def test_what_arrived_is_hidden_from_where_it_was_sent_hidden() -> None:
    """A damaged control byte would make an R-block of it, and open the rest."""
    sent = line(Protocol7816.T1).hide(TO_CARD, bytes.fromhex("0000023132 01"), ALL)
    for arrived, told in (("0080023132 01", "008002......"), ("008002", "008002"), ("", "")):
        assert shown(LineHiding.like(sent, bytes.fromhex(arrived))) == told
    plain = Octets(bytes.fromhex("00800080"))
    assert shown(LineHiding.like(plain, bytes.fromhex("00000231"))) == "00000231"
