"""Addresses to listen on, and lines that notice that the other side is gone."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from threading import Event, Thread
from typing import Any

import pytest

from reader_bridge.connection import Interface, ReaderError
from reader_bridge.network import dial, listen, notice_loss, place_name, reason_of, tls_reason
from reader_bridge.remote import RemoteConnection
from reader_bridge.remote_server import RemoteServer
from reader_bridge.serial_ports.port_server import SerialPortServer
from reader_bridge.virtual_phoenix import VirtualPhoenixReader

TOKEN = "a token of the tests"
LOOPBACKS = ["127.0.0.1", "localhost", "::1"]
LABEL = "a" * 70 + ".example"
"""RFC 1035, 2.3.4: a label has 63 octets at most."""


@pytest.mark.parametrize("host", LOOPBACKS)
def test_a_card_is_served_on_any_address_of_this_machine(recording: Any, host: str) -> None:
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this system has no IPv6")
    card = recording(lambda _command: b"\x90\x00")
    with RemoteServer({Interface.CONTACT: card}, TOKEN, host, 0) as server:
        with RemoteConnection(host, server.port, TOKEN) as connection:
            assert connection.transmit(b"\0\0\0\0") == b"\x90\x00"
        assert connection.description.name == f"remote:{place_name(host, server.port)}"
    with VirtualPhoenixReader(card, host) as reader:
        assert reader.place.startswith(f"rfc2217://{place_name(host, 0)[:-1]}")
        with socket.create_connection((host, int(reader.place.rpartition(":")[2]))):
            pass


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert place_name("::1", 5) == "[::1]:5"
    assert place_name("localhost", 5) == "localhost:5"


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", LABEL])
def test_an_address_that_is_not_ours_is_not_called_taken(recording: Any, host: str) -> None:
    """RFC 5737: 192.0.2.0/24 belongs to documentation, so to no machine."""
    with pytest.raises(ReaderError, match="address-unusable"):
        RemoteServer({Interface.CONTACT: recording(bytes)}, TOKEN, host, 0)
    with pytest.raises(ReaderError, match="address-unusable"):
        VirtualPhoenixReader(recording(bytes), host)


def test_a_taken_port_is_called_taken_in_the_system_s_words() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(ReaderError) as failure:
        listen("127.0.0.1", taken.getsockname()[1])
    assert failure.value.code == "port-in-use"
    assert failure.value.parameters["reason"] == os.strerror(errno.EADDRINUSE)


@pytest.mark.clause("RFC 9293, 3.5: ends that call each other are one connection, so is one that calls itself")
def test_who_reaches_himself_has_reached_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens to one call in thousands, by the port that the system gives the caller."""

    def call_oneself(_address: object, timeout: float) -> socket.socket:
        link = socket.socket()
        link.bind(("127.0.0.1", 0))
        link.connect(link.getsockname())
        assert link.getsockname() == link.getpeername()
        return link

    monkeypatch.setattr(socket, "create_connection", call_oneself)
    with pytest.raises(ConnectionRefusedError):
        dial("127.0.0.1", 5, seconds=60)


@pytest.mark.parametrize("host", ["a..b", LABEL])
def test_what_is_no_name_of_a_machine_cannot_be_reached(host: str) -> None:
    with pytest.raises(ReaderError, match="unreachable"):
        RemoteConnection(host, 5, TOKEN).power_on()


def test_all_addresses_of_both_kinds_are_one_word() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this system keeps IPv4 and IPv6 apart")
    with listen("::", 0) as listener:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, listener.getsockname()[1])):
                pass


@pytest.mark.clause("RFC 1122, 4.2.3.6: keep-alive is off unless an application turns them on")
@pytest.mark.parametrize("server", ["remote", "serial port"])
def test_a_client_whose_machine_is_gone_does_not_keep_the_reader(
    recording: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No word comes when a cable is pulled: the system has to ask, on every line that somebody was let in by."""
    watched: list[socket.socket] = []

    def watch(link: socket.socket) -> None:
        notice_loss(link)
        watched.append(link)
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, turn, count = (vars(socket).get(f"TCP_KEEP{name}") for name in ("IDLE", "INTVL", "CNT"))
        if idle is not None and turn is not None and count is not None:
            first, then, often = (link.getsockopt(socket.IPPROTO_TCP, option) for option in (idle, turn, count))
            assert first + then * often <= 60

    for module in ("remote_server", "serial_ports.port_server"):
        monkeypatch.setattr(f"reader_bridge.{module}.notice_loss", watch)
    card = recording(lambda _command: b"\x90\x00")
    if server == "remote":
        with RemoteServer({Interface.CONTACT: card}, TOKEN, port=0) as remote:
            RemoteConnection("127.0.0.1", remote.port, TOKEN).__enter__().__exit__(None, None, None)
    else:
        gone = _Gone()
        with SerialPortServer(gone) as port:
            socket.create_connection(("127.0.0.1", port.port)).close()
            assert gone.left.wait(60)
    assert len(watched) == 1


class _Gone:
    """A device that is told when its client goes."""

    def __init__(self) -> None:
        self.left = Event()

    def signals(self, rts: bool, dtr: bool, port: object) -> None:
        pass

    def characters(self, data: bytes, port: object) -> None:
        pass

    def disconnected(self) -> None:
        self.left.set()


def test_a_client_that_comes_while_the_server_closes_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closes a server may look for a client just before there is one."""
    gone, serve = _Gone(), SerialPortServer._serve  # pyright: ignore[reportPrivateUsage]

    def late(server: SerialPortServer, link: socket.socket) -> None:
        assert server._stopping.wait(60)  # pyright: ignore[reportPrivateUsage]
        serve(server, link)

    monkeypatch.setattr(SerialPortServer, "_serve", late)
    with SerialPortServer(gone) as port, socket.create_connection(("127.0.0.1", port.port), 60) as link:
        closing = Thread(target=port.close)
        closing.start()
        with contextlib.suppress(ConnectionResetError):
            assert link.recv(1) == b""
        closing.join(60)
        assert not closing.is_alive()


def test_reasons_are_the_system_s_own_words() -> None:
    assert reason_of(OSError(errno.EACCES, "bound to nothing (while attempting …)")) == os.strerror(errno.EACCES)
    assert reason_of(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert reason_of(OSError("unnumbered")) == "unnumbered"
    assert tls_reason(ssl.SSLError(1, "[SSL] PEM lib")) == "[SSL] PEM lib"
