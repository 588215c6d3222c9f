"""Our own readers on serial ports: a CCID reader over a pseudo terminal, a plain asynchronous one over RFC 2217."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from card_os.iso7816.atr import Atr, Convention, InterfaceGroup
from permitcard.specimen import make_specimen
from reader_bridge.addresses import ConnectionFactory
from reader_bridge.ccid_reader import CcidSerialConnection
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.phoenix_reader import PhoenixConnection, Wiring
from reader_bridge.serial_ports.port import SignalLine
from reader_bridge.virtual_ccid import FIRMWARE, VirtualCcidReader
from reader_bridge.virtual_phoenix import VirtualPhoenixReader
from tests.doubles.echo_card import EchoCard, answer, commands
from tests.interop.test_suite_over_pcsc import run_suite

LEAST_UNSKIPPED: Final = 80
BOTH: Final = [Protocol7816.T0, Protocol7816.T1]
SELECT: Final = bytes.fromhex("00B0000003")


class SlowCard(EchoCard):
    """Takes as many tenths of a second as P1 says for INS 12."""

    def transmit(self, command: bytes) -> bytes:
        if command[1] == 0x12:
            time.sleep(command[2] / 10)
            return b"\x90\x00"
        if command[1] == 0x60:
            return b"\x90"
        return super().transmit(command)


def exchange(connection: CardConnection, count: int, longest: int = 255) -> None:
    """Every answer is right."""
    longest_read = 256 if connection.description.protocol is Protocol7816.T0 else None
    for command in commands(Random(count), count, longest, longest_read):
        assert connection.transmit(command.encode()) == answer(command)


@pytest.fixture
def ccid() -> Iterator[VirtualCcidReader]:
    with VirtualCcidReader(SlowCard()) as reader:
        yield reader
    assert reader.failure is None


@pytest.fixture
def phoenix() -> Iterator[VirtualPhoenixReader]:
    with VirtualPhoenixReader(SlowCard()) as reader:
        yield reader
    assert reader.failure is None


@pytest.mark.parametrize("protocol", BOTH)
def test_a_ccid_reader_carries_commands_of_all_cases(ccid: VirtualCcidReader, protocol: Protocol7816) -> None:
    with CcidSerialConnection(ccid.path, protocol=protocol) as connection:
        assert connection.description.protocol is protocol
        assert connection.firmware == FIRMWARE.decode()
        exchange(connection, 200)
        exchange(connection, 10, 3_000)
        assert connection.reset() == connection.description.answer
        exchange(connection, 10)
        connection.power_off()
        connection.power_off()
        connection.power_on()
        exchange(connection, 10)


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("fast", [False, True], ids=["9600", "TA1"])
def test_a_phoenix_reader_carries_commands_of_all_cases(
    phoenix: VirtualPhoenixReader, protocol: Protocol7816, fast: bool
) -> None:
    with PhoenixConnection(phoenix.place, protocol=protocol, fast=fast) as connection:
        assert connection.description.protocol is protocol
        exchange(connection, 20)
        exchange(connection, 3, 1_000)
        assert connection.reset() == connection.description.answer
        exchange(connection, 3)


@pytest.mark.clause("ISO/IEC 7816-3, 8.1 and 8.2: TS 3F, inverse convention")
@pytest.mark.parametrize("protocol", BOTH)
def test_the_inverse_convention_is_understood(protocol: Protocol7816) -> None:
    groups = (InterfaceGroup(ta=0x95), InterfaceGroup(protocol=0), InterfaceGroup(protocol=1, ta=0xFE, tb=0x45))
    atr = Atr(groups, b"inverse", Convention.INVERSE).encode()
    with (
        VirtualPhoenixReader(EchoCard(atr)) as reader,
        PhoenixConnection(reader.place, protocol=protocol) as connection,
    ):
        assert connection.description.answer == atr
        exchange(connection, 10)


@pytest.mark.parametrize(("line", "active"), [(SignalLine.DTR, True), (SignalLine.RTS, False)])
def test_reset_is_the_line_that_the_reader_has(line: SignalLine, active: bool) -> None:
    with VirtualPhoenixReader(EchoCard(), line=line, active_resets=active) as reader:
        with PhoenixConnection(reader.place, wiring=Wiring(line, active)) as connection:
            exchange(connection, 3)
        with pytest.raises(ReaderError, match="mute"):
            PhoenixConnection(reader.place, wiring=Wiring(line, not active)).__enter__()


@pytest.mark.clause("ISO/IEC 7816-3, 7.3: a character whose parity is wrong is sent again")
def test_a_refused_character_is_sent_again() -> None:
    random = Random(5)

    def noise(moments: int) -> int:
        return moments ^ 1 << random.randrange(9) if random.random() < 0.05 else moments

    with (
        VirtualPhoenixReader(EchoCard(), disturbance=noise) as reader,
        PhoenixConnection(reader.place, protocol=Protocol7816.T0) as connection,
    ):
        exchange(connection, 10)
        assert reader.device.refused > 10


@pytest.mark.clause("ISO/IEC 7816-3, 7.3: the repetitions are bounded")
def test_a_card_that_refuses_everything_is_no_hang() -> None:
    with (
        VirtualPhoenixReader(EchoCard(), disturbance=lambda moments: moments ^ 1) as reader,
        pytest.raises(ReaderError, match="transmission-failed"),
    ):
        PhoenixConnection(reader.place, protocol=Protocol7816.T1).__enter__()


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("kind", ["ccid", "phoenix"])
@pytest.mark.clause("ISO/IEC 7816-3, 10.3.3 (NULL), 11.6.2.3 (S(WTX request)); USB CCID 1.1, 6.2.6 (time extension)")
def test_a_slow_command_is_waited_for(request: pytest.FixtureRequest, kind: str, protocol: Protocol7816) -> None:
    reader = request.getfixturevalue(kind)
    if kind == "ccid":
        connection: CardConnection = CcidSerialConnection(reader.path, protocol=protocol, answer_seconds=2)
    else:
        connection = PhoenixConnection(reader.place, protocol=protocol)
    with connection:
        assert connection.transmit(bytes.fromhex("00122800")) == b"\x90\x00"
        exchange(connection, 3)


def test_a_card_that_is_taken_out_is_told_and_comes_again(ccid: VirtualCcidReader) -> None:
    with CcidSerialConnection(ccid.path) as connection:
        ccid.remove_card()
        with pytest.raises(ReaderError, match="card-removed"):
            connection.transmit(SELECT)
        with pytest.raises(ReaderError, match="no-card"):
            connection.power_on()
        ccid.insert_card()
        connection.power_on()
        exchange(connection, 3)


def test_commands_of_the_reader_s_own_pass(ccid: VirtualCcidReader) -> None:
    connection = CcidSerialConnection(ccid.path)
    assert connection.escape(b"\x02") == FIRMWARE
    with pytest.raises(ReaderError, match="transmission-failed"):
        connection.escape(b"\x7f")
    connection.close()


@pytest.mark.parametrize("protocol", BOTH)
def test_a_protocol_that_the_card_does_not_have_is_said(protocol: Protocol7816) -> None:
    other = 1 if protocol is Protocol7816.T0 else 0
    atr = Atr((InterfaceGroup(), InterfaceGroup(protocol=other))).encode()
    with VirtualCcidReader(EchoCard(atr)) as reader, pytest.raises(ReaderError, match="protocol-mismatch"):
        CcidSerialConnection(reader.path, protocol=protocol).__enter__()


@pytest.mark.parametrize("address", ["serial:/dev/no such port", "serial,phoenix:rfc2217://127.0.0.1:1"])
def test_a_port_that_is_not_there_is_said(address: str) -> None:
    with pytest.raises(ReaderError, match="no-serial-port"):
        ConnectionFactory().connect(address).power_on()


def test_what_is_wrong_with_a_port_is_said_in_the_system_s_words(tmp_path: Path) -> None:
    for place, number in (
        (tmp_path / "none", errno.ENOENT),
        (tmp_path, errno.EISDIR),
        (Path("/dev/null"), errno.ENOTTY),
    ):
        with pytest.raises(ReaderError) as failure:
            CcidSerialConnection(str(place)).power_on()
        assert failure.value.parameters == {"port": str(place), "reason": os.strerror(number)}


def test_a_port_without_modem_lines_is_no_port_for_a_plain_reader(ccid: VirtualCcidReader) -> None:
    """A pseudo terminal has none, and one of them is the card's reset."""
    plain = PhoenixConnection(ccid.path)
    with pytest.raises(ReaderError, match=r"no-serial-port: .*no modem lines"):
        plain.power_on()
    with CcidSerialConnection(ccid.path) as connection:  # it was given back
        exchange(connection, 5)


@pytest.mark.clause("PC/SC part 3, 3.1.3.2.3: a contactless card shows the ATR that its reader makes")
def test_a_contactless_card_behind_a_serial_ccid_reader_is_called_one() -> None:
    ats = bytes.fromhex("0578807002")
    field = EchoCard(ats)
    field.description = ConnectionDescription("echo", Interface.CONTACTLESS, Protocol7816.TCL, ats)
    with VirtualCcidReader(field) as reader, CcidSerialConnection(reader.path) as connection:
        description = connection.description
        assert (description.interface, description.protocol) == (Interface.CONTACTLESS, Protocol7816.TCL)
        exchange(connection, 5)


@pytest.mark.clause("ISO/IEC 7816-4, 5.1: a response ends with SW1-SW2")
@pytest.mark.parametrize("kind", ["ccid", "phoenix"])
def test_what_has_no_status_word_is_no_response(
    ccid: VirtualCcidReader, phoenix: VirtualPhoenixReader, kind: str
) -> None:
    address = f"serial,ccid:{ccid.path}" if kind == "ccid" else f"serial,phoenix:{phoenix.place}"
    with ConnectionFactory().connect(address) as connection:
        with pytest.raises(ReaderError, match="transmission-failed"):
            connection.transmit(bytes.fromhex("00600000"))
        exchange(connection, 5)


def test_a_port_has_one_user(ccid: VirtualCcidReader) -> None:
    with CcidSerialConnection(ccid.path), pytest.raises(ReaderError, match="reader-in-use"):
        CcidSerialConnection(ccid.path).power_on()


Make = Callable[[CardConnection], VirtualCcidReader | VirtualPhoenixReader]


@pytest.mark.lasting
@pytest.mark.clause("Same tests, same results, on a simulated card and through our own serial readers")
@pytest.mark.parametrize(
    "options", ["ccid,t0", "ccid,t1", pytest.param("phoenix,t0", marks=pytest.mark.long), "phoenix,t1"]
)
def test_the_suite_passes(tmp_path: Path, options: str) -> None:
    make: Make = VirtualCcidReader if "ccid" in options else VirtualPhoenixReader
    card, target = make_specimen()
    with card, make(card.connect()) as reader:
        place = reader.path if isinstance(reader, VirtualCcidReader) else reader.place
        outcomes = run_suite(
            tmp_path / "suite.xml",
            *("--card", f"serial,{options}:{place}"),
            *("--destructive", "--card-id", target.card_number.hex().upper()),
        )
        assert reader.failure is None
    assert len([outcome for outcome in outcomes.values() if outcome == "passed"]) >= LEAST_UNSKIPPED
