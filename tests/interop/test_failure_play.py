"""A card pulled, a service ended, a line cut, noise without an end, in the middle of a command: on every back end.

Each time there is a clear `ReaderError` within the time-out, and after recovery the next command works.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

import pytest

from card_os.answers import DEFAULT_ATS
from card_os.iso7816.apdu import CommandApdu
from reader_bridge.ccid_reader import CcidSerialConnection
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816, ReaderError
from reader_bridge.pcscd import PcscService, SerialReader
from reader_bridge.phoenix_reader import PhoenixConnection
from reader_bridge.pn532_reader import Pn532Connection
from reader_bridge.remote import RemoteConnection
from reader_bridge.remote_server import RemoteServer
from reader_bridge.serial_ports.port import SerialPort
from reader_bridge.virtual_ccid import VirtualCcidReader
from reader_bridge.virtual_phoenix import VirtualPhoenixReader
from reader_bridge.virtual_pn532 import VirtualPn532
from reader_bridge.vpcd import VirtualReader
from tests.doubles.echo_card import EchoCard, answer
from tests.doubles.line_proxies import TcpProxy, TerminalProxy
from tests.interop.test_pcsc_stack import PROGRAMS, environment

SLOW: Final = bytes.fromhex("00120000")
READ: Final = CommandApdu(0, 0xB0, 0x12, 0x34, b"", 16)
TOKEN: Final = "0123456789abcdef"
LIMIT_SECONDS: Final = 90.0
"""More than any time-out here, for a machine that is busy; a hang is longer."""
CLEAR: Final = frozenset(
    {"card-removed", "reader-removed", "mute", "transmission-failed", "time-out", "no-service", "no-card", "card-reset"}
    | {"no-echo", "no-reader-answers", "pcsc-failed"}
)


class PulledCard(EchoCard):
    """The first INS 12 runs for half a minute, or until the card is pulled; a pulled card has no power."""

    def __init__(self, *, field: bool = False) -> None:
        super().__init__()
        if field:
            self.description = ConnectionDescription("echo", Interface.CONTACTLESS, Protocol7816.TCL, DEFAULT_ATS)
        self.pulled = threading.Event()
        self.working = threading.Event()
        self._at_the_end = threading.Event()

    def pull(self) -> None:
        self.pulled.set()
        self.end_command()

    def end_command(self) -> None:
        """Nobody waits for the rest of it."""
        self._at_the_end.set()

    def transmit(self, command: bytes) -> bytes:
        if command[1] == 0x12:
            self.working.set()
            self._at_the_end.wait(30)
        if self.pulled.is_set():
            raise ReaderError("card-removed", reader="echo")
        return super().transmit(command) if command[1] != 0x12 else b"\x90\x00"

    def reset(self) -> bytes:
        if self.pulled.is_set():
            raise ReaderError("no-card", reader="echo")
        return super().reset()

    power_on = reset


class Connection(Protocol):
    def power_on(self) -> bytes: ...
    def transmit(self, command: bytes) -> bytes: ...
    def close(self) -> None: ...


class BackEnd:
    """A reader, what leads to it, and what can go wrong."""

    def __init__(self, tmp_path: Path, held: ExitStack) -> None:
        self.held = held
        self.path = tmp_path
        self.card = PulledCard(field=isinstance(self, Pn532))
        self.connection = self.open()

    def open(self) -> Connection:
        raise NotImplementedError

    def pull(self) -> None:
        """Take the card out."""
        self.card.pull()

    def put_back(self) -> None:
        self.card.pulled.clear()

    def cut(self) -> None:
        """End what is between the host and the reader."""
        raise NotImplementedError

    def mend(self) -> None:
        """Make it whole again."""

    def spoil(self) -> None:
        """Send noise to the host, without an end."""
        raise NotImplementedError

    def block(self) -> None:
        """Take nothing more from the host: what it sends stays in the pipe."""
        raise NotImplementedError


class OnTerminal(BackEnd):
    reader: VirtualCcidReader | VirtualPn532

    def start(self, reader: VirtualCcidReader | VirtualPn532) -> str:
        self.reader = reader
        reader.start()
        self.held.callback(reader.close)
        self.mend()
        return self.proxy.path

    def mend(self) -> None:
        self.proxy = self.held.enter_context(TerminalProxy(self.path / "line", self.reader.path))

    def cut(self) -> None:
        self.proxy.close()

    def spoil(self) -> None:
        self.proxy.garbage = True

    def block(self) -> None:
        self.proxy.deaf = True


class Ccid(OnTerminal):
    def open(self) -> Connection:
        return CcidSerialConnection(self.start(VirtualCcidReader(self.card)), command_seconds=10)


class Pn532(OnTerminal):
    def open(self) -> Connection:
        return Pn532Connection(self.start(VirtualPn532(self.card)), command_seconds=10)


class OverTcp(BackEnd):
    proxy: TcpProxy

    def through(self, port: int) -> int:
        self.proxy = TcpProxy(port)
        self.held.callback(self.proxy.close)
        return self.proxy.port

    def cut(self) -> None:
        self.proxy.cut()

    def spoil(self) -> None:
        self.proxy.garbage = True

    def block(self) -> None:
        self.proxy.deaf = True

    def mend(self) -> None:
        self.proxy.garbage = self.proxy.deaf = False
        self.proxy.cut()


class Phoenix(OverTcp):
    protocol = Protocol7816.T1

    def open(self) -> Connection:
        reader = self.held.enter_context(VirtualPhoenixReader(self.card))
        port = self.through(int(reader.place.rpartition(":")[2]))
        return PhoenixConnection(f"rfc2217://127.0.0.1:{port}", protocol=self.protocol, command_seconds=10)


class PhoenixT0(Phoenix):
    protocol = Protocol7816.T0


class Remote(OverTcp):
    def open(self) -> Connection:
        server = self.held.enter_context(RemoteServer({Interface.CONTACT: self.card}, TOKEN, port=0))
        return RemoteConnection("127.0.0.1", self.through(server.port), TOKEN, timeout_seconds=10)


class Client:
    """Our PC/SC connection in a process of its own: the library finds one service in a process."""

    def __init__(self, service: PcscService, reader: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "asked_client.py"), reader],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(service),
        )

    def ask(self, line: str) -> bytes:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        word, _, rest = self.process.stdout.readline().strip().partition(" ")
        if word == "error":
            raise ReaderError(rest, reader="client", reason="told by the client", known="-")
        return bytes.fromhex(rest)

    def power_on(self) -> bytes:
        return self.ask("on")

    def transmit(self, command: bytes) -> bytes:
        return self.ask(command.hex())

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class Pcsc(BackEnd):
    service: PcscService

    def begin(self) -> None:
        self.service = self.held.enter_context(self.make_service())

    @property
    def folder(self) -> Path:
        folder = self.path / "pcscd"
        folder.mkdir(exist_ok=True)
        return folder

    def make_service(self) -> PcscService:
        raise NotImplementedError

    def cut(self) -> None:
        self.service.close()

    def mend(self) -> None:
        self.begin()


class PcscVirtual(Pcsc):
    name = "Virtual PCD 00 00"
    known: int | None = None

    def make_service(self) -> PcscService:
        return PcscService(self.known, folder=self.folder)

    def open(self) -> Connection:
        self.begin()
        self.known = self.service.port
        self.held.enter_context(VirtualReader([self.card], self.service.port)).wait_until_inserted(60)
        return Client(self.service, self.name)


class PcscSerial(Pcsc):
    name = "Virtual CCID 00 00"

    def pull(self) -> None:
        super().pull()
        self.reader.remove_card()

    def put_back(self) -> None:
        super().put_back()
        assert self.reader.wait_until_missed(60)
        self.reader.insert_card()

    def make_service(self) -> PcscService:
        serial = [SerialReader("Virtual CCID", self.reader.device_name)]
        return PcscService(slots=0, serial=serial, folder=self.folder)

    def open(self) -> Connection:
        self.reader = self.held.enter_context(VirtualCcidReader(self.card))
        self.begin()
        assert self.reader.wait_until_known(60)
        return Client(self.service, self.name)


ALL: Final[list[type[BackEnd]]] = [Ccid, Phoenix, PhoenixT0, Pn532, Remote, PcscVirtual, PcscSerial]
WITH_A_LINE: Final[list[type[BackEnd]]] = [Ccid, Phoenix, PhoenixT0, Pn532, Remote]


@pytest.fixture
def back_end(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackEnd]:
    make: type[BackEnd] = request.param
    with ExitStack() as held:
        made = make(tmp_path, held)
        held.callback(made.connection.close)
        recover(made)
        yield made


def recover(back_end: BackEnd) -> None:
    """The next command works, after a while at most."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            back_end.connection.power_on()
            got = back_end.connection.transmit(READ.encode())
        except ReaderError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            assert got == answer(READ)
            return


def fails_clearly(back_end: BackEnd, action: Callable[[], None]) -> None:
    """The action comes in the middle of a command."""

    def strike() -> None:
        if back_end.card.working.wait(60):
            action()

    striking = threading.Thread(target=strike)
    striking.start()
    begin = time.monotonic()
    try:
        with pytest.raises(ReaderError) as failure:
            back_end.connection.transmit(SLOW)
    finally:
        striking.join()
    assert failure.value.code in CLEAR
    assert time.monotonic() - begin < LIMIT_SECONDS


@pytest.mark.parametrize("back_end", ALL, indirect=True)
def test_a_card_is_pulled(back_end: BackEnd) -> None:
    fails_clearly(back_end, back_end.pull)
    back_end.put_back()
    recover(back_end)


@pytest.mark.parametrize("back_end", ALL, indirect=True)
def test_what_leads_to_the_reader_ends(back_end: BackEnd) -> None:
    fails_clearly(back_end, back_end.cut)
    back_end.card.end_command()
    back_end.mend()
    recover(back_end)


@pytest.mark.parametrize("back_end", WITH_A_LINE, indirect=True)
def test_the_other_side_sends_noise(back_end: BackEnd) -> None:
    fails_clearly(back_end, back_end.spoil)
    back_end.card.end_command()
    if isinstance(back_end, OnTerminal):
        back_end.cut()
    back_end.mend()
    recover(back_end)


@pytest.mark.parametrize("back_end", WITH_A_LINE, indirect=True)
def test_the_other_side_takes_nothing_more(back_end: BackEnd) -> None:
    back_end.block()
    begin = time.monotonic()
    with pytest.raises(ReaderError) as failure:
        back_end.connection.transmit(READ.encode())
    assert failure.value.code in CLEAR
    assert time.monotonic() - begin < LIMIT_SECONDS
    if isinstance(back_end, OnTerminal):
        back_end.cut()
    back_end.mend()
    recover(back_end)


def test_a_line_that_nobody_reads_is_a_time_out(tmp_path: Path) -> None:
    """The pipe is full, and the port says so."""
    with VirtualCcidReader(PulledCard()) as reader, TerminalProxy(tmp_path / "line", reader.path) as proxy:
        proxy.deaf = True
        port = SerialPort(proxy.path, 115_200)
        begin = time.monotonic()
        with pytest.raises(ReaderError, match="time-out"):
            port.write(bytes(200_000))
        assert time.monotonic() - begin < LIMIT_SECONDS
        port.close()
