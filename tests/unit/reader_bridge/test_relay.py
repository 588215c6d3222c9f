"""A relay: everything passes, but for what a rule says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reader_bridge.connection import Interface, ReaderError
from reader_bridge.relay import RelayConnection
from reader_bridge.relay_rules import RelayRules, data_field

READ = bytes.fromhex("00B0810004")
SELECT = bytes.fromhex("00A4040007F05A4A4A5A010100")


def relay(recording: Any, text: str, interface: Interface = Interface.CONTACT) -> tuple[RelayConnection, Any]:
    """A relay with rules before a card that answers with the command itself."""
    card = recording(lambda command: command + b"\x90\x00", interface=interface)
    return RelayConnection(card, RelayRules.parse(text), sleep=card.events.append), card


def test_without_rules_all_passes(recording: Any) -> None:
    card = recording(lambda command: command + b"\x90\x00")
    with RelayConnection(card) as connection:
        assert connection.description == card.description
        assert connection.transmit(READ) == READ + b"\x90\x00"
        connection.reset()
    assert card.commands == [READ]
    assert card.events == ["on", "reset", "off"]


def test_an_answer_comes_from_the_rule_alone(recording: Any) -> None:
    connection, card = relay(recording, '[[rule]]\naction = "answer"\nins = "B0"\nresponse = "0102 6982"\n')
    assert connection.transmit(READ) == bytes.fromhex("01026982")
    assert connection.transmit(SELECT) == SELECT + b"\x90\x00"
    assert card.commands == [SELECT]
    assert connection.acted == 1


@pytest.mark.parametrize(
    ("keys", "sent", "got"),
    [
        ('send = "00B0000001"', "00B0000001", "00B00000019000"),
        ('command-data = "AABB"', "00A4040002AABB00", "00A4040002AABB009000"),
        ('answer-data = "77"', SELECT.hex(), "779000"),
        ('status = "6283"', SELECT.hex(), SELECT.hex() + "6283"),
        ('send = "00B00000"\nanswer-data = ""\nstatus = "6A82"', "00B00000", "6A82"),
    ],
)
def test_a_change_touches_what_it_names(recording: Any, keys: str, sent: str, got: str) -> None:
    connection, card = relay(recording, f'[[rule]]\naction = "change"\nins = "A4"\n{keys}\n')
    assert connection.transmit(SELECT) == bytes.fromhex(got)
    assert card.commands == [bytes.fromhex(sent)]


def test_what_has_no_data_field_is_let_be(recording: Any) -> None:
    connection, card = relay(recording, '[[rule]]\naction = "change"\ncommand-data = "AA"\n')
    broken = bytes.fromhex("00A40400051122")
    assert connection.transmit(broken) == broken + b"\x90\x00"
    assert connection.transmit(b"\x00") == b"\x00\x90\x00"
    assert card.commands == [broken, b"\x00"]


@pytest.mark.parametrize(("execute", "commands"), [("false", []), ("true", [READ])])
def test_a_dropped_command_has_no_answer(recording: Any, execute: str, commands: list[bytes]) -> None:
    connection, card = relay(recording, f'[[rule]]\naction = "drop"\nexecute = {execute}\n')
    with pytest.raises(ReaderError, match="relay-dropped"):
        connection.transmit(READ)
    assert card.commands == commands
    assert connection.transmit(READ) == READ + b"\x90\x00"  # one a rule, unless it says more


def test_a_delay_waits_and_goes_on(recording: Any) -> None:
    connection, card = relay(recording, '[[rule]]\naction = "delay"\nmilliseconds = 250\n')
    assert connection.transmit(READ) == READ + b"\x90\x00"
    assert card.events == [0.25]


def test_the_first_rule_that_fits_acts_alone(recording: Any) -> None:
    text = '[[rule]]\naction = "pass"\np1 = "81"\n[[rule]]\naction = "answer"\nins = "B?"\nresponse = "6A82"\n'
    connection, _ = relay(recording, text)
    assert connection.transmit(READ) == READ + b"\x90\x00"
    assert connection.transmit(bytes.fromhex("00B0820004")) == b"\x6a\x82"
    assert connection.acted == 1


def test_occasions_are_counted_by_what_fits(recording: Any) -> None:
    text = '[[rule]]\naction = "answer"\nins = "B0"\nresponse = "6A82"\nafter = 1\ncount = 2\n'
    connection, _ = relay(recording, text)
    connection.transmit(SELECT)
    answers = [connection.transmit(READ)[-2:].hex() for _ in range(5)]
    assert answers == ["9000", "6a82", "6a82", "9000", "9000"]


def test_a_rule_for_the_field_lets_contacts_be(recording: Any) -> None:
    text = '[[rule]]\naction = "answer"\ninterface = "contactless"\nresponse = "6A82"\n'
    assert relay(recording, text)[0].transmit(READ)[-2:] == b"\x90\x00"
    assert relay(recording, text, Interface.CONTACTLESS)[0].transmit(READ) == b"\x6a\x82"


@pytest.mark.parametrize(
    ("pattern", "command", "fits"),
    [
        ('cla = "0?"', "0CB0810004", True),
        ('cla = "0?"', "80B0810004", False),
        ('p2 = "?4"', "00B0810404", True),
        ('data = "F05A*"', SELECT.hex(), True),
        ('data = "F05A"', SELECT.hex(), False),
        ('data = "F0 5? 4A4A 5A 01 01"', SELECT.hex(), True),
        ('data = ""', READ.hex(), True),
        ('data = ""', SELECT.hex(), False),
        ('data = "0102"', "00D600000000020102", True),
        ('ins = "B0"', "00B0", False),
    ],
)
def test_patterns_fit_half_bytes_and_beginnings(recording: Any, pattern: str, command: str, fits: bool) -> None:
    connection, _ = relay(recording, f'[[rule]]\naction = "answer"\nresponse = "6A82"\n{pattern}\n')
    assert (connection.transmit(bytes.fromhex(command)) == b"\x6a\x82") is fits


@pytest.mark.parametrize(
    ("text", "row", "reason"),
    [
        ("rules", 0, ""),
        ("[rule]\n", 0, "nothing else"),
        ('seed = 1\n[[rule]]\naction = "pass"\n', 0, "nothing else"),
        ('[[rule]]\naction = "eat"\n', 1, "action is one of pass, change"),
        ('[[rule]]\naction = "pass"\n[[rule]]\n', 2, "action is one of"),
        ('[[rule]]\naction = "pass"\nstatus = "6A82"\n', 1, "status says nothing for pass"),
        ('[[rule]]\naction = "answer"\n', 1, "response is missing"),
        ('[[rule]]\naction = "answer"\nresponse = "6A"\n', 1, "at least 2 bytes"),
        ('[[rule]]\naction = "answer"\nresponse = "6A8"\n', 1, "not hexadecimal"),
        ('[[rule]]\naction = "change"\n', 1, "a change needs"),
        ('[[rule]]\naction = "change"\nsend = "00B0"\n', 1, "at least 4 bytes"),
        ('[[rule]]\naction = "change"\nsend = "00B00000"\ncommand-data = ""\n', 1, "either"),
        ('[[rule]]\naction = "change"\nstatus = "6A"\n', 1, "two bytes"),
        ('[[rule]]\naction = "delay"\n', 1, "milliseconds is missing"),
        ('[[rule]]\naction = "delay"\nmilliseconds = 999999\n', 1, "out of range"),
        ('[[rule]]\naction = "delay"\nmilliseconds = "1"\n', 1, "has to be a whole number"),
        ('[[rule]]\naction = "pass"\nins = "B"\n', 1, "two hexadecimal digits"),
        ('[[rule]]\naction = "pass"\ndata = "*A0"\n', 1, "data is hexadecimal"),
        ('[[rule]]\naction = "pass"\ninterface = "air"\n', 1, "interface is"),
        ('rule = ["pass"]\n', 1, "action is one of"),
    ],
)
def test_a_wrong_file_is_told_with_its_rule(text: str, row: int, reason: str) -> None:
    with pytest.raises(ReaderError, match="relay-rules-invalid") as caught:
        RelayRules.parse(text)
    assert caught.value.parameters["row"] == row
    assert reason in str(caught.value.parameters["reason"])


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="relay-rules-unreadable"):
        RelayRules.load(tmp_path / "none.toml")


@settings(deadline=None)
@given(st.binary(max_size=20))
def test_any_bytes_have_a_data_field_or_none(command: bytes) -> None:
    assert data_field(command) in command
