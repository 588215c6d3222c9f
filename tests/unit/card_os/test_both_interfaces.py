"""Contact and contactless on one card: every order of power, reset and removal, in both modes."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from card_os.arbitration import CONCURRENT, FIRST, TABLES, Arbitration, Event, decide
from card_os.card import Card
from card_os.port import Port, PortMute
from tests.doubles.recording_applet import blank_memory, make_card

EVENTS = [(side, event) for side in (0, 1) for event in Event]
OPEN_CHANNEL = bytes.fromhex("0070000101")
USE_CHANNEL = bytes.fromhex("0184000010")
NOT_OPEN = b"\x68\x81"
PAGE = Path(__file__).parents[3] / "docs" / "interfaces.md"


def test_the_tables_decide_every_row_and_say_why() -> None:
    rows = set(product((False, True), (False, True), Event))
    assert {mode: set(table) for mode, table in TABLES.items()} == dict.fromkeys(Arbitration, rows)
    decisions = [decision for table in TABLES.values() for decision in table.values()]
    assert all(decision.reason for decision in decisions)
    assert all(decision.answers is decision.powered for decision in decisions)
    assert all(decision.answers or not decision.boots for decision in decisions)


def test_the_modes_differ_only_where_the_other_interface_has_power() -> None:
    different = {row for row in FIRST if FIRST[row] != CONCURRENT[row]}
    assert different
    assert all(other_powered for _, other_powered, _ in different)


def test_the_page_says_what_the_tables_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for table in TABLES.values():
        missing = [decision.reason for decision in table.values() if decision.reason not in text]
        assert missing == []


def act(port: Port, event: Event) -> bytes | None:
    """Let an event happen; the ATR or ATS, None when there is none."""
    if event is Event.REMOVAL:
        port.power_off()
        return None
    try:
        return port.power_on() if event is Event.POWER else port.reset()
    except PortMute:
        return None


def check_sequence(card: Card, mode: Arbitration, sequence: tuple[tuple[int, Event], ...]) -> None:
    """Play a sequence against the card and against the table."""
    ports = (card.contact, card.contactless)
    for port in ports:
        port.power_off()
    powered, sessions = [False, False], [False, False]
    for side, event in sequence:
        decision = decide(mode, event, powered=powered[side], other_powered=powered[1 - side])
        before = card.platform if any(powered) else None
        answer = act(ports[side], event)
        assert (answer is not None) is decision.answers, (sequence, decision)
        powered[side], sessions[side] = decision.powered, False
        if decision.answers:
            assert (card.platform is not before) is decision.boots, (sequence, decision)
        assert [port.powered for port in ports] == powered, sequence
        for index, port in enumerate(ports):
            if powered[index]:
                assert (port.process(USE_CHANNEL) != NOT_OPEN) is sessions[index], (sequence, decision)
                if not sessions[index]:
                    assert port.process(OPEN_CHANNEL) == b"\x90\x00"
                    sessions[index] = True


@pytest.mark.clause("card specification, interfaces; ISO/IEC 7816-3:2006, 6.2")
@pytest.mark.parametrize("mode", Arbitration)
@pytest.mark.parametrize("first", EVENTS, ids=lambda item: f"{('contact', 'field')[item[0]]}-{item[1].value}")
def test_every_order_of_events_ends_as_the_table_says(mode: Arbitration, first: tuple[int, Event]) -> None:
    """All sequences of four events, and with them all shorter ones: 1,296 in each mode."""
    check_sequences(mode, first, 4)


@pytest.mark.long
@pytest.mark.clause("card specification, interfaces; ISO/IEC 7816-3:2006, 6.2")
@pytest.mark.parametrize("mode", Arbitration)
@pytest.mark.parametrize("first", EVENTS, ids=lambda item: f"{('contact', 'field')[item[0]]}-{item[1].value}")
def test_every_longer_order_of_events_ends_as_the_table_says(mode: Arbitration, first: tuple[int, Event]) -> None:
    """All sequences of six events: 46,656 in each mode."""
    check_sequences(mode, first, 6)


def check_sequences(mode: Arbitration, first: tuple[int, Event], length: int) -> None:
    card = make_card(blank_memory(arbitration=mode).nvm())
    for rest in product(EVENTS, repeat=length - 1):
        check_sequence(card, mode, (first, *rest))


@pytest.mark.parametrize("side", [0, 1])
def test_an_interface_without_power_is_mute(side: int) -> None:
    card = make_card(blank_memory().nvm())
    ports = (card.contact, card.contactless)
    ports[side].power_on()
    with pytest.raises(PortMute):
        ports[1 - side].process(USE_CHANNEL)


@pytest.mark.parametrize("mode", Arbitration)
def test_power_that_was_refused_has_to_come_again(mode: Arbitration) -> None:
    card = make_card(blank_memory(arbitration=mode).nvm())
    card.contact.power_on()
    refused = act(card.contactless, Event.POWER) is None
    assert refused is (mode is Arbitration.FIRST)
    card.contact.power_off()
    assert card.contactless.powered is not refused
    assert act(card.contactless, Event.POWER) is not None


@pytest.mark.parametrize("side", [0, 1])
def test_a_cut_of_power_takes_both_interfaces(side: int) -> None:
    card = make_card(blank_memory().nvm())
    ports = (card.contact, card.contactless)
    for port in ports:
        port.power_on()
    card.tear()
    assert [port.powered for port in ports] == [False, False]
    assert act(ports[side], Event.RESET) is None
    assert act(ports[side], Event.POWER) is not None
