"""What a host of T=0 does around readers that carry TPDUs, and around those that do a part of it themselves."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from card_os.iso7816.apdu import CommandApdu
from reader_bridge.connection import ReaderError
from reader_bridge.contact_card import ContactCard
from reader_bridge.t0_host import T0Host
from reader_bridge.tpdu_slot import TpduSlot
from tests.doubles.echo_card import EchoCard, answer, commands

T0_ONLY = bytes.fromhex("3B00")
DATA = bytes(range(0x20, 0x30))


class Played:
    """A reader with a script: what is sent, and what it answers."""

    def __init__(self, *script: tuple[str, str]) -> None:
        self.script = list(script)
        self.sent: list[str] = []

    def __call__(self, tpdu: bytes) -> bytes:
        expected, response = self.script.pop(0)
        assert tpdu == bytes.fromhex(expected)
        return bytes.fromhex(response)


def transmit(command: str, *script: tuple[str, str]) -> str:
    reader = Played(*script)
    response = T0Host(reader, "reader").transmit(bytes.fromhex(command))
    assert reader.script == []
    return response.hex().upper()


@pytest.mark.clause("ISO/IEC 7816-3, 12.2.2 to 12.2.5")
@pytest.mark.parametrize(
    ("command", "script", "response"),
    [
        ("00440000", [("00440000", "9000")], "9000"),  # case 1
        ("00B0000004", [("00B0000004", "010203049000")], "010203049000"),  # case 2S, as many as asked for
        ("00B0000000", [("00B0000000", "6C02"), ("00B0000002", "01029000")], "01029000"),
        ("00B0000004", [("00B0000004", "6A82")], "6A82"),
        ("00D60000021122", [("00D60000021122", "9000")], "9000"),  # case 3S
        ("00A40000023F0000", [("00A40000023F00", "6103"), ("00C0000003", "0102039000")], "0102039000"),  # case 4S
        ("00A40000023F0002", [("00A40000023F00", "6103"), ("00C0000002", "01029000")], "01029000"),
        ("00A40000023F0000", [("00A40000023F00", "9000")], "9000"),
        (
            "00A40000023F0000",
            [("00A40000023F00", "6102"), ("00C0000002", "01026101"), ("00C0000001", "039000")],
            "0102039000",
        ),
        ("01A40000023F0000", [("01A40000023F00", "6101"), ("01C0000001", "039000")], "039000"),  # the same channel
    ],
)
def test_apdus_go_in_tpdus(command: str, script: list[tuple[str, str]], response: str) -> None:
    assert transmit(command, *script) == response


@pytest.mark.clause("USB CCID 1.1, 6.1.4: a reader of APDU level repeats the command with the length of 6Cxx by itself")
@pytest.mark.parametrize(
    ("command", "script", "response"),
    [
        ("00B0000000", [("00B0000000", "01029000")], "01029000"),
        ("00B00000FF", [("00B00000FF", DATA.hex() + "6282")], DATA.hex().upper() + "6282"),
        ("00A40000023F0000", [("00A40000023F00", "6103"), ("00C0000003", "01029000")], "01029000"),
    ],
)
def test_less_than_was_asked_for_is_what_the_card_has(
    command: str, script: list[tuple[str, str]], response: str
) -> None:
    assert transmit(command, *script) == response


def test_a_card_that_has_less_than_it_said_itself_is_not_believed() -> None:
    """6Cxx is exact (ISO/IEC 7816-3, 12.2.3); a second length is no answer of a card."""
    with pytest.raises(ReaderError, match="transmission-failed"):
        transmit("00B0000000", ("00B0000000", "6C04"), ("00B0000004", "01029000"))


@pytest.mark.parametrize(
    ("command", "response"),
    [
        ("00B0000002", "0102039000"),  # more than P3
        ("00440000", "019000"),  # data behind a command that has none
        ("00D60000021122", "019000"),
        ("00B0000002", "0102"),  # no status word
        ("00B0000002", ""),
        ("00B0000002", "90"),
    ],
)
def test_what_no_card_sends_is_no_answer(command: str, response: str) -> None:
    with pytest.raises(ReaderError, match="transmission-failed"):
        transmit(command, (command, response))


@pytest.mark.clause("ISO/IEC 7816-3, 10.3.2: INS 6X and 9X are invalid")
@pytest.mark.parametrize("command", ["", "00B000", "00600000", "00900000", "00D600000511"])
def test_what_t0_does_not_have_is_not_sent(command: str) -> None:
    with pytest.raises(ReaderError, match="transmission-failed"):
        transmit(command)


@pytest.mark.parametrize(
    "failing",
    [lambda _tpdu: (_ for _ in ()).throw(ReaderError("card-removed", reader="reader")), lambda _tpdu: b"\x01\x02\x03"],
    ids=["removed", "nonsense"],
)
def test_after_a_failure_the_next_command_is_sent(failing: Callable[[bytes], bytes]) -> None:
    answers = iter((failing, lambda _tpdu: b"\x90\x00"))

    def exchange(tpdu: bytes) -> bytes:
        return next(answers)(tpdu)

    host = T0Host(exchange, "reader")
    with pytest.raises(ReaderError):
        host.transmit(bytes.fromhex("00440000"))
    assert host.transmit(bytes.fromhex("00440000")) == b"\x90\x00"


def test_commands_of_all_cases_through_a_reader_of_tpdu_level() -> None:
    card = ContactCard(EchoCard(T0_ONLY))
    card.start(T0_ONLY)
    host = T0Host(TpduSlot(card).exchange, "reader")
    for command in commands(Random(12), 200, 255, 256) + commands(Random(13), 20, 2_000, 256):
        assert host.transmit(command.encode()) == answer(command)


def test_a_response_that_announces_more_without_end_is_given_up() -> None:
    """61xx that brings nothing is no progress (ISO/IEC 7816-3, 12.2.5)."""
    told = iter(("6101", "6101"))
    sent: list[bytes] = []

    def exchange(tpdu: bytes) -> bytes:
        sent.append(tpdu)
        return bytes.fromhex(next(told))

    response = T0Host(exchange, "reader").transmit(CommandApdu(0, 0xA4, 0, 0, b"\x3f\x00", 256).encode())
    assert (response, len(sent)) == (b"\x61\x01", 2)
