"""Our PN532 reader against the virtual module on a pseudo terminal, and the shared suite through both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from card_os.answers import DEFAULT_ATS
from card_os.transport.tcl_blocks import ContactlessType
from permitcard.specimen import make_specimen
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.pn532_reader import Pn532Connection
from reader_bridge.radio_card import RadioCard
from reader_bridge.virtual_ccid import VirtualCcidReader
from reader_bridge.virtual_pn532 import Pn532Module, SyntaxFault, VirtualPn532
from tests.doubles.echo_card import EchoCard, answer, commands
from tests.interop.test_suite_over_pcsc import run_suite

LEAST_CONTACTLESS: Final = 40


class FieldCard(EchoCard):
    """The echo card over the field, with a UID."""

    uid = bytes.fromhex("08A1B2C3")

    def __init__(self) -> None:
        super().__init__(DEFAULT_ATS)
        self.given_up = threading.Event()
        self.description = ConnectionDescription("echo", Interface.CONTACTLESS, Protocol7816.TCL, DEFAULT_ATS)

    def transmit(self, command: bytes) -> bytes:
        if command[1] == 0x60:
            return b"\x90"
        if command[1] == 0x12:
            assert self.given_up.wait(60)
            return b"\x90\x00"
        if command[1] == 0x50:
            raise ReaderError("mute", reader="echo")
        return super().transmit(command)


@pytest.fixture(params=list(ContactlessType), ids=["A", "B"])
def kind(request: pytest.FixtureRequest) -> ContactlessType:
    chosen: ContactlessType = request.param
    return chosen


@pytest.fixture
def card() -> FieldCard:
    return FieldCard()


@pytest.fixture
def module(card: FieldCard, kind: ContactlessType) -> Iterator[VirtualPn532]:
    with VirtualPn532(card, kind=kind) as module:
        yield module
    assert module.failure is None


def exchange(connection: Pn532Connection, count: int, longest: int = 255) -> None:
    for command in commands(Random(count), count, longest):
        assert connection.transmit(command.encode()) == answer(command)


@pytest.mark.clause("UM0701-02, 7.3.5 (InListPassiveTarget) and 7.3.8 (InDataExchange, chained)")
def test_commands_of_all_lengths_pass(module: VirtualPn532, kind: ContactlessType) -> None:
    with Pn532Connection(module.path) as connection:
        assert connection.firmware.hex() == "32010607"
        assert connection.uid == FieldCard.uid
        if kind is ContactlessType.A:
            assert connection.description.answer == DEFAULT_ATS
        else:
            assert connection.description.answer[:5] == b"\x50" + FieldCard.uid
        exchange(connection, 100)
        exchange(connection, 5, 5_000)
        assert connection.reset() == connection.description.answer
        exchange(connection, 5)
        connection.power_off()
        connection.power_off()
        with pytest.raises(ReaderError, match="mute"):
            connection.transmit(b"\0\xb0\0\0\1")
        connection.power_on()
        exchange(connection, 5)


@pytest.mark.clause("UM0701-02, 7.3.8: InDataExchange without data asks for the rest of a response")
def test_an_empty_command_is_not_sent(module: VirtualPn532) -> None:
    with Pn532Connection(module.path) as connection:
        with pytest.raises(ReaderError, match="transmission-failed"):
            connection.transmit(b"")
        exchange(connection, 5)


@pytest.mark.clause("ISO/IEC 7816-4, 5.1: a response ends with SW1-SW2")
def test_what_has_no_status_word_is_no_response(module: VirtualPn532) -> None:
    with Pn532Connection(module.path) as connection:
        with pytest.raises(ReaderError, match="transmission-failed"):
            connection.transmit(bytes.fromhex("00600000"))
        exchange(connection, 5)


def test_a_type_that_is_not_looked_for_is_not_found(module: VirtualPn532, kind: ContactlessType) -> None:
    other = ContactlessType.B if kind is ContactlessType.A else ContactlessType.A
    with pytest.raises(ReaderError, match="no-card"):
        Pn532Connection(module.path, kinds=(other,)).__enter__()


def test_a_card_that_leaves_the_field_is_told_and_comes_again(module: VirtualPn532) -> None:
    with Pn532Connection(module.path) as connection:
        module.remove_card()
        with pytest.raises(ReaderError, match="card-removed"):
            connection.transmit(b"\0\xb0\0\0\1")
        with pytest.raises(ReaderError, match="no-card"):
            connection.power_on()
        module.insert_card()
        connection.power_on()
        exchange(connection, 3)


def test_a_card_that_goes_mute_is_activated_again(module: VirtualPn532) -> None:
    with Pn532Connection(module.path) as connection:
        with pytest.raises(ReaderError, match="card-removed"):
            connection.transmit(b"\0\x50\0\0")
        connection.power_on()
        exchange(connection, 3)


def test_a_command_has_its_time_and_the_next_one_passes(module: VirtualPn532, card: FieldCard) -> None:
    with Pn532Connection(module.path, command_seconds=2) as connection:
        with pytest.raises(ReaderError, match="time-out"):
            connection.transmit(bytes.fromhex("00120000"))
        card.given_up.set()
        connection.reset()
        exchange(connection, 3)


@pytest.mark.clause("UM0701-02, 7.3.9 (InCommunicateThru); ISO/IEC 14443-4, 7.1 (I-block and S(DESELECT))")
def test_frames_pass_the_module_by(module: VirtualPn532) -> None:
    with Pn532Connection(module.path) as connection:
        block = connection.communicate_through(bytes.fromhex("0200B0000001"))
        assert block[:1] == b"\x02"
        assert block[-2:] == b"\x90\x00"
        assert connection.communicate_through(b"\xc2") == b"\xc2"
        with pytest.raises(ReaderError, match="card-removed"):
            connection.communicate_through(b"\xff\xff")


@pytest.mark.parametrize("command", ["", "14", "1402", "4A01", "4A0107", "4A0000", "40", "32", "99"])
def test_what_the_module_does_not_know_is_a_syntax_error(command: str) -> None:
    with pytest.raises(SyntaxFault):
        Pn532Module(RadioCard(FieldCard())).answer(bytes.fromhex(command))


@pytest.mark.parametrize(
    ("command", "result"), [("400100B0000001", "4127"), ("4200", "4301"), ("5205", "5327"), ("5200", "5300")]
)
def test_what_the_module_cannot_do_has_its_code(command: str, result: str) -> None:
    assert Pn532Module(RadioCard(FieldCard())).answer(bytes.fromhex(command)).hex() == result


@pytest.mark.lasting
@pytest.mark.clause("Same tests, same results, on a simulated card and through a PN532")
@pytest.mark.parametrize("type_", ["A", "B"])
def test_the_suite_passes_through_the_module(tmp_path: Path, type_: str) -> None:
    card, target = make_specimen()
    field = card.connect(Interface.CONTACTLESS)
    with (
        card,
        VirtualCcidReader(card.connect()) as reader,
        VirtualPn532(field, kind=ContactlessType(type_)) as module,
    ):
        outcomes = run_suite(
            tmp_path / "suite.xml",
            *("--card", f"serial,ccid:{reader.path}", "--contactless", f"serial,pn532:{module.path}"),
            *("--destructive", "--card-id", target.card_number.hex().upper()),
        )
        assert module.failure is None
    passed = [name for name, outcome in outcomes.items() if outcome == "passed" and "contactless" in name]
    assert len(passed) >= LEAST_CONTACTLESS
    left_out = {name.partition("::")[0] for name, outcome in outcomes.items() if outcome == "skipped"}
    assert left_out == {"test_letter_pin"}, "which is about another card"


def test_the_pin_of_a_letter_through_the_module(tmp_path: Path) -> None:
    card, _ = make_specimen(letter_pin=True)
    field = card.connect(Interface.CONTACTLESS)
    with card, VirtualCcidReader(card.connect()) as reader, VirtualPn532(field) as module:
        outcomes = run_suite(
            tmp_path / "suite.xml",
            *("--card", f"serial,ccid:{reader.path}", "--contactless", f"serial,pn532:{module.path}"),
            *("-k", "test_letter_pin"),
        )
        assert module.failure is None
    assert list(outcomes.values()) == ["passed"] * 7
