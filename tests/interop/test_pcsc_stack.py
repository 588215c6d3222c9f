"""pyscard → pcscd → vpcd → the card, and other people's programs on the same reader."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from card_os.card import Card
from card_os.hardware.power import CutMoment
from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from reader_bridge.addresses import ConnectionFactory
from reader_bridge.connection import CardConnection, Interface, Protocol7816, ReaderError
from reader_bridge.pcsc import PcscConnection, PcscReader
from reader_bridge.pcscd import PcscService, free_port_pair
from reader_bridge.readers import list_readers
from reader_bridge.serving import CardServer
from reader_bridge.stack import standard_stack
from reader_bridge.vpcd import VirtualReader
from tests.doubles.echo_card import EchoCard
from tests.interop.conftest import new_permit_card

CONTACT: Final = "Virtual PCD 00 00"
CONTACTLESS: Final = "Virtual PCD 00 01"
SELECT_PERMIT: Final = bytes.fromhex("00A4040007F05A4A4A5A010100")
PROGRAMS: Final = Path(__file__).parent / "programs"
ROOT: Final = Path(__file__).parents[2]


PATIENCE_SECONDS: Final = 60.0
"""More than anything here takes on a machine that is busy; a hang is longer."""


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def readers(served_card: CardServer) -> list[PcscReader]:
    assert wait_for(lambda: len(found := list_readers()) == 2 and all(reader.answer for reader in found))
    return list_readers()


def test_a_served_card_is_two_readers_one_an_interface(readers: list[PcscReader]) -> None:
    assert [reader.name for reader in readers] == [CONTACT, CONTACTLESS]
    assert [reader.interface for reader in readers] == [Interface.CONTACT, Interface.CONTACTLESS]


@pytest.mark.parametrize(
    ("name", "interface", "protocol"),
    [(CONTACT, Interface.CONTACT, Protocol7816.T1), (CONTACTLESS, Interface.CONTACTLESS, Protocol7816.TCL)],
)
def test_the_same_bytes_come_back_as_in_process(
    readers: list[PcscReader], name: str, interface: Interface, protocol: Protocol7816
) -> None:
    """From a card like the served one, which the service may take the power from at any moment."""
    commands = [SELECT_PERMIT, b"\0\xb0\x81\0\0", b"\0\x20\0\x81\0", b"\0\xca\xdf\x21\0", b"\x2f\0\0\0", b"\0\xca\0\0"]
    with PcscConnection(name) as connection:
        assert connection.description.protocol is protocol
        assert connection.description.interface is interface
        assert connection.description.simulated
        through_reader = [connection.transmit(command) for command in commands]
        assert connection.reset() == connection.description.answer
    with new_permit_card(None) as like, like.connect(interface) as direct:
        assert [direct.transmit(command) for command in commands] == through_reader
    assert through_reader[0][-2:] == b"\x90\x00"


@pytest.mark.clause("PC/SC part 3, 3.2.2.1.3: GET DATA of class FF is the reader's")
def test_the_reader_answers_class_ff(readers: list[PcscReader]) -> None:
    with PcscConnection(CONTACTLESS) as connection:
        answer = connection.transmit(bytes.fromhex("FFCA000000"))
        assert (len(answer), answer[:1], answer[-2:]) == (6, b"\x08", b"\x90\x00")
    with PcscConnection(CONTACT) as connection:
        assert connection.transmit(bytes.fromhex("FFCA000000")) == b"\x6a\x81"


def test_extended_commands_pass(readers: list[PcscReader]) -> None:
    with ConnectionFactory().connect(f"pcsc:{CONTACT}") as connection:
        connection.transmit(SELECT_PERMIT)
        command = CommandApdu(0, 0xD6, 0x81, 0, bytes(1_500), 0, extended=True).encode()
        assert ResponseApdu.parse(standard_stack(connection).transmit(command)).sw.sw1 in (0x69, 0x6A, 0x67)


def test_a_part_of_the_name_does_when_one_reader_has_it(readers: list[PcscReader]) -> None:
    with PcscConnection("PCD 00 01") as connection:
        assert connection.description.name == CONTACTLESS
    with pytest.raises(ReaderError, match="reader-ambiguous"):
        PcscConnection("Virtual").power_on()
    with pytest.raises(ReaderError, match="no-reader"):
        PcscConnection("Nobody's reader").power_on()


def test_an_exclusive_reader_is_in_use(readers: list[PcscReader]) -> None:
    other = PcscConnection(CONTACT)
    with PcscConnection(CONTACT, exclusive=True), pytest.raises(ReaderError, match="reader-in-use"):
        other.power_on()
    other.close()


def test_power_comes_and_goes(readers: list[PcscReader]) -> None:
    connection = PcscConnection(CONTACT)
    with pytest.raises(ReaderError, match="mute"):
        connection.transmit(SELECT_PERMIT)
    with connection:
        assert connection.power_on() == connection.description.answer
        connection.power_off()
        connection.power_off()
        assert connection.reset()
        assert connection.transmit(SELECT_PERMIT)[-2:] == b"\x90\x00"


def run(command: list[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("opensc-tool") is None, reason="opensc is not installed")
def test_opensc_lists_the_card_prints_its_atr_and_selects_the_permit(readers: list[PcscReader]) -> None:
    listing = run(["opensc-tool", "-l"])
    assert CONTACT in listing
    assert CONTACTLESS in listing
    for number, reader in enumerate(readers):
        assert reader.answer
        assert reader.answer.hex(":") in run(["opensc-tool", "-r", str(number), "-a"])
        sent = run(["opensc-tool", "-r", str(number), "-c", "default", "-s", SELECT_PERMIT.hex(":")])
        assert "SW1=0x90, SW2=0x00" in sent


@pytest.mark.skipif(shutil.which("scriptor") is None, reason="pcsc-tools is not installed")
def test_scriptor_resets_the_card_and_selects_the_permit(readers: list[PcscReader]) -> None:
    for reader in readers:
        assert reader.answer
        printed = run(["scriptor", "-r", reader.name], "reset\n" + SELECT_PERMIT.hex(" ") + "\n")
        assert f"Using given card reader: {reader.name}" in printed
        assert reader.answer.hex(" ").upper() in printed.upper()
        assert "Normal processing" in printed


def test_a_power_cut_is_a_card_taken_out_and_put_in_again(readers: list[PcscReader], served_card: CardServer) -> None:
    card = served_card.card.card
    assert isinstance(card, Card)
    initialize_update = bytes.fromhex("8050FF0008") + bytes(8)
    with PcscConnection(CONTACT) as connection:
        connection.transmit(bytes.fromhex("00A4040008A00000015100000000"))
        card.nvm.power.arm(1, CutMoment.PROGRAMMING)
        with pytest.raises(ReaderError) as failure:
            connection.transmit(initialize_update)
        assert failure.value.code in ("card-removed", "transmission-failed", "mute", "no-card", "card-reset")

    def answers(name: str) -> bool:
        with suppress(ReaderError), PcscConnection(name) as again:
            return again.transmit(SELECT_PERMIT)[-2:] == b"\x90\x00"
        return False

    assert wait_for(lambda: answers(CONTACT))
    assert wait_for(lambda: answers(CONTACTLESS))  # it was without power too
    assert card.faults == 0


def environment(service: PcscService) -> dict[str, str]:
    return {**service.environment, "PYTHONPATH": str(ROOT)}


def start(service: PcscService, name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / name), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(service),
    )


def wait_until_missed(service: PcscService, reader: str) -> None:
    """Until the service has found a reader empty: of a card that comes back before, it sees nothing."""
    script = (
        "import sys, time\n"
        "from reader_bridge.pcsc import list_pcsc_readers\n"
        "while {reader.name: reader.answer for reader in list_pcsc_readers()}[sys.argv[1]]:\n"
        "    time.sleep(0.05)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, reader], env=environment(service), timeout=PATIENCE_SECONDS, check=True
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize("moment", ["in the middle of a command", "between two commands"])
def test_a_killed_card_program_is_a_clear_error_and_no_hang(card_file: Path, moment: str) -> None:
    with PcscService() as service, ExitStack() as processes:
        card = processes.enter_context(start(service, "card_program.py", str(card_file), str(service.port)))
        processes.callback(card.kill)
        assert line(card) == "inserted"
        last = "00EE0000" if moment == "in the middle of a command" else "00A40000"
        client = start(service, "client_program.py", CONTACT, "80CA0000", "WAIT", last, "00A40000")
        processes.enter_context(client)
        processes.callback(client.kill)
        assert len(line(client)) == 4
        assert line(client) == "waiting"
        if moment == "between two commands":
            card.kill()
            card.wait()
        begin = time.monotonic()
        assert client.stdin
        client.stdin.write("\n")
        client.stdin.flush()
        assert line(client) in ("card-removed", "transmission-failed", "mute", "no-card", "card-reset")
        assert time.monotonic() - begin < PATIENCE_SECONDS


def test_two_services_run_side_by_side_and_leave_nothing(tmp_path: Path) -> None:
    with PcscService(folder=tmp_path) as first, PcscService() as second:
        assert first.port != second.port
        folder = Path(second.socket_path).parent
        assert folder.exists()
    assert not folder.exists()
    assert not Path(first.socket_path).exists()
    first.close()


def has_ended(process: Path) -> bool:
    """What /proc tells of it; a process that nobody has asked for its exit code yet is a zombie."""
    try:
        return "State:\tZ" in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_killed_owner_leaves_no_service_behind(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from reader_bridge.pcscd import PcscService\n"
        "service = PcscService(folder=sys.argv[1])\n"
        "service.start()\n"
        "print(service._process.pid, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as owner:
        process = Path("/proc") / line(owner)
        assert "pcscd" in (process / "cmdline").read_text()
        owner.kill()
    assert wait_for(lambda: has_ended(process))


def test_a_killed_service_is_noticed_by_its_owner() -> None:
    with PcscService() as service:
        assert service.failure is None
        assert service.process_id
        os.kill(service.process_id, signal.SIGKILL)
        assert wait_for(lambda: service.failure is not None)
        assert "it ended with SIGKILL" in str(service.failure)
    assert service.failure is None


def test_a_port_that_another_program_has_is_not_taken_for_the_driver() -> None:
    """What listens there would be dialled, and never ask for a card."""
    port = free_port_pair()
    with socket.create_server(("127.0.0.1", port + 1)), pytest.raises(ReaderError, match="port-in-use") as failure:
        PcscService(port).start()
    assert str(port + 1) in str(failure.value.parameters["place"])
    with pytest.raises(ValueError, match="65535"):
        PcscService(65_535)


def test_a_port_that_another_program_took_since_it_was_chosen_is_not_taken_for_the_driver() -> None:
    """A free port is somebody else's a moment later; the service looks for others."""
    service = PcscService()
    chosen = service.ports
    with ExitStack() as others:
        for port in chosen:
            with suppress(OSError):  # somebody has it indeed
                others.enter_context(socket.create_server(("127.0.0.1", port)))
        with service, VirtualReader([EchoCard()], service.port) as reader:
            assert not set(chosen) & set(service.ports)
            reader.wait_until_inserted(60)


@pytest.mark.parametrize("name", ['A "dual" reader', "two\nlines", "a\ttab"])
def test_a_name_that_would_be_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="one line without quotes"):
        PcscService(reader_name=name)


def test_a_reader_may_be_called_anything_else() -> None:
    """The binding waits for changes of readers with names in ASCII only; others are asked."""
    name = "Lecteur à puce, 读卡器 [1]: 50%"
    script = (
        "from reader_bridge.pcsc import PcscConnection, list_pcsc_readers\n"
        "from tests.doubles.new_card import power_when_seen\n"
        "first, _ = list_pcsc_readers()\n"
        "connection = PcscConnection(first.name)\n"
        "power_when_seen(connection)\n"
        "with connection:\n"
        "    first, second = list_pcsc_readers()\n"
        "    print(ascii((first.name, first.answer == connection.description.answer, second.answer)))\n"
    )
    with PcscService(reader_name=name) as service, VirtualReader([EchoCard()], service.port) as reader:
        reader.wait_until_inserted(60)
        told = subprocess.run(
            [sys.executable, "-c", script],
            env=environment(service),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert told.stdout.strip() == ascii((f"{name} 00 00", True, None))


def test_a_folder_too_deep_for_a_socket_is_said(tmp_path: Path) -> None:
    """sun_path has room for 108 bytes on Linux (unix(7))."""
    with pytest.raises(ReaderError, match=r"pcscd-failed: .*too long"):
        PcscService(folder=tmp_path / ("deep" * 30)).start()


def test_a_service_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reader_bridge.pcscd._SERVICES", ("/bin/false",))
    with pytest.raises(ReaderError, match="pcscd-failed"):
        PcscService(folder=tmp_path).start()
    monkeypatch.setattr("reader_bridge.pcscd._SERVICES", (str(tmp_path / "none"),))
    with pytest.raises(ReaderError, match="no-pcscd"):
        PcscService().start()


@pytest.mark.parametrize(
    ("known", "told"), [("-d, --debug\n--disable-polkit", ["--disable-polkit"]), ("-d, --debug", [])]
)
def test_polkit_is_kept_out_of_the_own_service_where_the_service_knows_how(
    known: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pcscd"
    program.write_text(f'#!/bin/sh\n[ "$1" = --help ] && echo "{known}" || {{ echo "$@"; exec sleep 60; }}\n')
    program.chmod(0o755)
    monkeypatch.setattr("reader_bridge.pcscd._SERVICES", (str(program),))
    with PcscService(slots=0) as service:
        assert wait_for(lambda: bool(service.log()))
        options = service.log()[0].split()
    assert options[:-2] == ["--foreground", "--error", *told]


def test_without_a_service_the_listing_says_so(tmp_path: Path) -> None:
    script = "import sys\nfrom reader_bridge.readers import list_readers\nlist_readers()\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PCSCLITE_CSOCK_NAME": str(tmp_path / "nowhere"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "no-service" in done.stderr


def duration(connection: CardConnection, command: bytes) -> float:
    begin = time.perf_counter()
    connection.transmit(command)
    return time.perf_counter() - begin


def test_no_delayed_acknowledgement_slows_the_reader(readers: list[PcscReader]) -> None:
    """The trap of 40 ms an APDU; a machine that is busy takes that time for some of them, the trap for nearly all."""
    with PcscConnection(CONTACT) as connection:
        durations = sorted(duration(connection, SELECT_PERMIT) for _ in range(200))
    assert durations[50] < 0.04


def test_ports_come_in_free_pairs() -> None:
    assert free_port_pair() < 65_535
