from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hmac
import ipaddress
import json
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reader_bridge import remote_server
from reader_bridge.connection import ConnectionDescription, Interface, ReaderError
from reader_bridge.remote import RemoteConnection, client_tls
from reader_bridge.remote_protocol import new_token
from reader_bridge.remote_server import RemoteServer, server_tls

TOKEN = "a token of the tests"


@pytest.fixture
def card(recording: Any) -> Any:
    return recording(lambda command: command[::-1] + b"\x90\x00" if command[0] != 0xFF else b"")


@pytest.fixture
def server(card: Any) -> Iterator[RemoteServer]:
    with RemoteServer({Interface.CONTACT: card}, TOKEN, port=0) as server:
        yield server


def test_the_card_is_reached_as_if_it_were_here(server: RemoteServer, card: Any) -> None:
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
        assert connection.description.answer == bytes.fromhex("3B80800101")
        assert connection.transmit(b"\0\xb0\1\2\3") == b"\3\2\1\xb0\0\x90\x00"
        assert connection.transmit(bytes(60_000)) == bytes(60_000) + b"\x90\x00"
        assert connection.reset() == bytes.fromhex("3B80800101")
    assert card.events[:3] == ["on", "reset", "off"]


def test_errors_of_the_reader_come_over(server: RemoteServer) -> None:
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
        with pytest.raises(ReaderError, match="mute: reader=double"):
            connection.transmit(b"\xff\0\0\0")
        assert connection.transmit(b"\0\0\0\0")


def test_a_wrong_token_is_refused_and_nothing_reaches_the_card(server: RemoteServer, card: Any) -> None:
    with pytest.raises(ReaderError, match="not-allowed"):
        RemoteConnection("127.0.0.1", server.port, TOKEN + "x").power_on()
    assert card.events == []


def test_an_interface_that_is_not_offered_is_refused(server: RemoteServer) -> None:
    with pytest.raises(ReaderError, match="no-interface"):
        RemoteConnection("127.0.0.1", server.port, TOKEN, Interface.CONTACTLESS).power_on()


def test_an_interface_has_one_client(server: RemoteServer) -> None:
    other = RemoteConnection("127.0.0.1", server.port, TOKEN)
    with RemoteConnection("127.0.0.1", server.port, TOKEN), pytest.raises(ReaderError, match="reader-in-use"):
        other.power_on()


def test_several_cards_are_told_apart_and_do_not_wait_for_each_other(recording: Any) -> None:
    """Cards are counted from 1; while one works, another answers."""
    working, done = threading.Event(), threading.Event()

    def slow(_command: bytes) -> bytes:
        working.set()
        assert done.wait(60)
        return b"\x01\x90\x00"

    cards = [{Interface.CONTACT: recording(slow)}, {Interface.CONTACT: recording(lambda _command: b"\x02\x90\x00")}]
    with RemoteServer(cards[0], TOKEN, port=0, more=cards[1:]) as server, ThreadPoolExecutor(1) as pool:
        place = ("127.0.0.1", server.port, TOKEN)
        with RemoteConnection(*place) as first, RemoteConnection(*place, card=2) as second:
            waiting = pool.submit(first.transmit, b"\0\0\0\0")
            assert working.wait(60)
            assert second.transmit(b"\0\0\0\0") == b"\x02\x90\x00"
            assert not waiting.done()
            done.set()
            assert waiting.result(60) == b"\x01\x90\x00"
            with pytest.raises(ReaderError, match="reader-in-use: interface=card 2, contact"):
                RemoteConnection(*place, card=2).power_on()
        with pytest.raises(ReaderError, match="no-interface: interface=card 3, contact"):
            RemoteConnection(*place, card=3).power_on()


def test_rubbish_ends_its_own_connection_only(server: RemoteServer) -> None:
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">I", 0), struct.pack(">I", 2**31), b"\0\0\0\1\x10"):
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            link.sendall(rubbish)
            with contextlib.suppress(OSError):  # it has left already
                link.shutdown(socket.SHUT_WR)
            link.settimeout(60)
            with contextlib.suppress(ConnectionResetError):  # what it did not read
                while link.recv(4096):
                    pass
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
        assert connection.transmit(b"\0\0\0\0")


def exactly(link: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = link.recv(length - len(data))
        assert part, "the server left"
        data += part
    return data


def asked(link: socket.socket, body: bytes) -> bytes:
    """Send a frame, and the body of the next one; for nothing to send, just that."""
    if body:
        link.sendall(struct.pack(">I", len(body)) + body)
    (length,) = struct.unpack(">I", exactly(link, 4))
    return exactly(link, length)


def test_the_frames_are_those_that_are_described(server: RemoteServer, card: Any) -> None:
    """Other people's programs speak it by its description in `remote_protocol`, and so do our own of other versions."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as link:
        opening = asked(link, b"")
        assert (opening[0], len(opening)) == (0x01, 17)
        place = b"\x00"
        key = hmac.digest(TOKEN.encode(), b"permitcard remote" + opening[1:] + place, "sha256")
        greeting = asked(link, b"\x10" + place + key)
        assert greeting[0] == 0x00
        assert json.loads(greeting[1:])["protocol"] == "T=1"
        atr = bytes.fromhex("3B80800101")
        assert asked(link, b"\x11") == b"\x00" + atr
        assert asked(link, b"\x14" + b"\0\xa4\0\0") == b"\x00" + b"\0\0\xa4\0\x90\x00"
        assert asked(link, b"\x12") == b"\x00" + atr
        assert asked(link, b"\x13") == b"\x00"
        refused = asked(link, b"\x15")
        assert refused[0] == 0x01
        assert json.loads(refused[1:]) == {"code": "bad-request", "parameters": {"kind": "21"}}
    assert card.events[:3] == ["on", "reset", "off"]


def test_a_client_that_drops_leaves_no_power_and_nothing_else(server: RemoteServer, card: Any) -> None:
    """What it was allowed on the card must not be the next one's."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as link:
        challenge = asked(link, b"")[1:]
        key = hmac.digest(TOKEN.encode(), b"permitcard remote" + challenge + b"\x00", "sha256")
        assert asked(link, b"\x10\x00" + key)[0] == 0x00
        assert asked(link, b"\x11")[0] == 0x00
        assert card.events == ["on"]
    deadline = time.monotonic() + 60
    while server._clients and time.monotonic() < deadline:  # pyright: ignore[reportPrivateUsage]
        time.sleep(0.01)
    assert card.events == ["on", "off"]
    assert not server._links  # pyright: ignore[reportPrivateUsage]
    assert not server._strangers  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("change", ["challenge", "place", "label", "request"])
def test_a_proof_is_good_for_one_challenge_and_one_place(server: RemoteServer, card: Any, change: str) -> None:
    """What was heard on the line opens nothing afterwards."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as link:
        challenge = asked(link, b"")[1:]
        parts = {"label": b"permitcard remote", "challenge": challenge, "place": b"\x00"}
        if change in parts:
            parts[change] = bytes((parts[change][0] ^ 1,)) + parts[change][1:]
        key = hmac.digest(TOKEN.encode(), b"".join(parts.values()), "sha256")
        answer = asked(link, (b"\x11" if change == "request" else b"\x10") + b"\x00" + key)
        assert (answer[0], json.loads(answer[1:])["code"]) == (0x01, "not-allowed")
        until_closed(link)
    assert card.events == []


@pytest.mark.parametrize("length", [0, 1, 31, 33])
def test_a_proof_of_another_length_is_none(server: RemoteServer, card: Any, length: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 60) as link:
        challenge = asked(link, b"")[1:]
        key = hmac.digest(TOKEN.encode(), b"permitcard remote" + challenge + b"\x00", "sha256") + b"\x00"
        answer = asked(link, b"\x10\x00" + key[:length])
        assert json.loads(answer[1:])["code"] == "not-allowed"
    assert card.events == []


def test_who_has_proved_the_token_may_take_his_time(server: RemoteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reader_bridge.remote_server._MOST_STRANGERS", 1)
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 1_000)
        monkeypatch.setattr("reader_bridge.remote_server.time", later)
        time.sleep(0.5)  # the server looks for the slow ones in between
        assert connection.transmit(b"\0\1\2\3")
        with pytest.raises(ReaderError, match="reader-in-use"):  # and is no stranger: another one is let in
            RemoteConnection("127.0.0.1", server.port, TOKEN).power_on()


def test_who_proves_the_token_at_the_last_moment_is_let_in(
    server: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His time is over just when he is answered."""
    describe = remote_server._describe

    def late(description: ConnectionDescription) -> bytes:
        strangers = server._strangers  # pyright: ignore[reportPrivateUsage]
        strangers.update(dict.fromkeys(strangers, 0.0))
        server._turn_away_the_slow()  # pyright: ignore[reportPrivateUsage]
        return describe(description)

    monkeypatch.setattr(remote_server, "_describe", late)
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
        assert connection.transmit(b"\0\1\2\3")


def test_who_is_gone_before_the_answer_keeps_no_place(server: RemoteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(description: ConnectionDescription) -> bytes:
        del description
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(remote_server, "_describe", gone)
        connection = RemoteConnection("127.0.0.1", server.port, TOKEN)
        with pytest.raises(ReaderError, match="unreachable"):
            connection.power_on()
    for client in tuple(server._clients):  # pyright: ignore[reportPrivateUsage]
        client.join(60)
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
        assert connection.transmit(b"\0\1\2\3")


def test_both_interfaces_of_a_card_take_turns(recording: Any) -> None:
    """A card does one thing at a time, whoever asks over which interface."""
    working, met, both = threading.Lock(), list[bytes](), threading.Barrier(2)

    def slow(command: bytes) -> bytes:
        if not working.acquire(blocking=False):
            met.append(command)
            return b"\x6f\x00"
        time.sleep(0.01)
        working.release()
        return b"\x90\x00"

    def ask(port: int, place: Interface) -> None:
        with RemoteConnection("127.0.0.1", port, TOKEN, place) as connection:
            both.wait(60)
            for _ in range(10):
                assert connection.transmit(b"\0\1\2\3") == b"\x90\x00"

    card = {interface: recording(slow, interface=interface) for interface in Interface}
    with RemoteServer(card, TOKEN, port=0) as server, ThreadPoolExecutor(2) as pool:
        for waiting in [pool.submit(ask, server.port, interface) for interface in Interface]:
            waiting.result(60)
    assert met == []


def test_challenges_differ(server: RemoteServer) -> None:
    seen: set[bytes] = set()
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", server.port), 60) as link:
            seen.add(asked(link, b"")[1:])
    assert len(seen) == 8


@pytest.mark.parametrize(("length", "taken"), [(70_000, True), (70_001, False)])
def test_a_frame_is_as_long_as_the_longest_command_needs(
    server: RemoteServer, card: Any, length: int, taken: bool
) -> None:
    card.answers = lambda _command: b"\x90\x00"
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
        if taken:
            assert connection.transmit(bytes(length - 1)) == b"\x90\x00"
            assert len(card.commands[0]) == length - 1  # behind the byte that says what it is
            return
        with pytest.raises(ReaderError, match="reader-removed"):
            connection.transmit(bytes(length - 1))


def until_closed(link: socket.socket) -> None:
    link.settimeout(60)
    with contextlib.suppress(ConnectionResetError):
        while link.recv(4096):
            pass


@pytest.mark.parametrize("sent", [b"", b"\0\0\0\x20\x10", b"\0\0"])
def test_a_stranger_that_says_too_little_is_turned_away_in_time(
    server: RemoteServer, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reader_bridge.remote_server._GREETING_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", server.port)) as link:
        link.sendall(sent)
        until_closed(link)


def test_a_greeting_is_short(server: RemoteServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as link:
        link.sendall(struct.pack(">I", 65))
        until_closed(link)


def test_strangers_take_no_more_than_their_places(
    server: RemoteServer, card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are known keep their connections, a stranger too many goes, and places come free again."""
    monkeypatch.setattr("reader_bridge.remote_server._MOST_STRANGERS", 2)
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection, contextlib.ExitStack() as strangers:
        for _ in range(2):
            link = strangers.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            assert len(link.recv(64)) > 16
        until_closed(strangers.enter_context(socket.create_connection(("127.0.0.1", server.port))))
        assert connection.transmit(b"\0\0\0\0")
    for _ in range(600):
        with contextlib.suppress(ReaderError), RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
            assert connection.transmit(b"\0\0\0\0")
            break
        time.sleep(0.1)
    else:
        pytest.fail("no place came free")
    assert card.events.count("on") == 2


@pytest.mark.parametrize(
    ("greeting", "expected"),
    [
        (b"[]", "unreachable"),
        (b'{"protocol": "T=1"}', "unreachable"),
        (b'{"protocol": [], "max_command_data": 1, "max_response_data": 1, "simulated": 1}', "unreachable"),
        (b"[" * 60_000, "unreachable"),
        (b"\xff", "unreachable"),
    ],
)
def test_a_server_that_describes_nonsense_is_said(greeting: bytes, expected: str) -> None:
    answer_once(b"\0" + greeting, expected)


@pytest.mark.parametrize(
    "failure",
    [b"[]", b'{"code": "mute", "parameters": 5}', b'{"code": "x", "parameters": {"code": "y"}}', b"[" * 60_000, b""],
)
def test_a_server_that_fails_in_nonsense_is_said(failure: bytes) -> None:
    answer_once(b"\1" + failure, "transmission-failed")


def answer_once(body: bytes, expected: str) -> None:
    """A server that greets well and answers the client's greeting with ``body``."""

    def serve(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            link.sendall(struct.pack(">I", 17) + b"\1" + bytes(16))
            link.recv(4096)
            link.sendall(struct.pack(">I", len(body)) + body)
            until_closed(link)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, listener)
        connection = RemoteConnection("127.0.0.1", listener.getsockname()[1], TOKEN)
        with pytest.raises(ReaderError, match=expected):
            connection.power_on()
        served.result(60)


def test_an_unknown_request_is_answered(server: RemoteServer) -> None:
    connection = RemoteConnection("127.0.0.1", server.port, TOKEN)
    with connection, pytest.raises(ReaderError, match="bad-request"):
        connection._ask(0x55)  # type: ignore[arg-type]  # on purpose


def test_a_server_that_goes_away_is_noticed(server: RemoteServer) -> None:
    connection = RemoteConnection("127.0.0.1", server.port, TOKEN)
    with connection:
        server.close()
        with pytest.raises(ReaderError, match="reader-removed"):
            connection.transmit(b"\0\0\0\0")
        with pytest.raises(ReaderError, match="mute"):
            connection.transmit(b"\0\0\0\0")


def test_nobody_there_is_said(nobodys_port: int) -> None:
    with pytest.raises(ReaderError, match="unreachable"):
        RemoteConnection("127.0.0.1", nobodys_port, TOKEN).power_on()


def test_a_server_of_another_kind_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        connection = RemoteConnection("127.0.0.1", other.getsockname()[1], TOKEN, timeout_seconds=0.2)
        with pytest.raises(ReaderError, match="unreachable"):
            connection.power_on()


def test_a_short_token_and_a_taken_port_are_refused(card: Any, server: RemoteServer) -> None:
    with pytest.raises(ReaderError, match="token-too-short"):
        RemoteServer({Interface.CONTACT: card}, "short")
    with pytest.raises(ReaderError, match="port-in-use"):
        RemoteServer({Interface.CONTACT: card}, TOKEN, port=server.port)
    assert len(new_token()) >= 32


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
def test_a_client_that_comes_while_the_server_closes_keeps_nobody_waiting(
    card: Any, certificate: tuple[str, str], secured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread begins when all that the server knew of have been told to end."""
    begun, client_of = threading.Event(), RemoteServer._client  # pyright: ignore[reportPrivateUsage]

    def late(server: RemoteServer, link: socket.socket) -> None:
        begun.set()
        assert server._stopping.wait(60)  # pyright: ignore[reportPrivateUsage]
        time.sleep(0.2)  # the one that closes is at its end meanwhile, or waits for this thread
        client_of(server, link)

    monkeypatch.setattr(RemoteServer, "_client", late)
    tls = server_tls(*certificate) if secured else None
    with (
        RemoteServer({Interface.CONTACT: card}, TOKEN, port=0, tls=tls) as server,
        socket.create_connection(("127.0.0.1", server.port), 60) as link,
    ):
        assert begun.wait(60)
        server.close()
        assert not server._clients  # pyright: ignore[reportPrivateUsage]
        until_closed(link)


def test_a_line_under_tls_is_ended_under_the_thread_that_uses_it(
    card: Any, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's time is over just when its thread is about to ask TLS for something."""
    begun, over = threading.Event(), threading.Event()
    shake_hands = ssl.SSLSocket.do_handshake

    def late(link: ssl.SSLSocket) -> None:
        begun.set()
        assert over.wait(60)
        shake_hands(link)

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", late)
    with (
        RemoteServer({Interface.CONTACT: card}, TOKEN, port=0, tls=server_tls(*certificate)) as server,
        socket.create_connection(("127.0.0.1", server.port), 60) as link,
    ):
        assert begun.wait(60)
        strangers = server._strangers  # pyright: ignore[reportPrivateUsage]
        strangers.update(dict.fromkeys(strangers, 0.0))
        server._turn_away_the_slow()  # pyright: ignore[reportPrivateUsage]
        over.set()
        until_closed(link)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "card server of the tests")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")


def test_tls_protects_the_line_and_a_stranger_is_not_believed(card: Any, certificate: tuple[str, str]) -> None:
    with RemoteServer({Interface.CONTACT: card}, TOKEN, port=0, tls=server_tls(*certificate)) as server:
        trusted = RemoteConnection("127.0.0.1", server.port, TOKEN, tls=client_tls(certificate[0]))
        with trusted:
            assert trusted.transmit(b"\0\1\2\3") == b"\3\2\1\0\x90\x00"
        with pytest.raises(ReaderError, match="tls-failed"):
            RemoteConnection("127.0.0.1", server.port, TOKEN, tls=client_tls()).power_on()


def test_a_certificate_of_another_machine_is_said_in_words(card: Any, certificate: tuple[str, str]) -> None:
    with RemoteServer({Interface.CONTACT: card}, TOKEN, "localhost", 0, tls=server_tls(*certificate)) as server:
        with pytest.raises(ReaderError) as failure:
            RemoteConnection("localhost", server.port, TOKEN, tls=client_tls(certificate[0])).power_on()
        assert "localhost" in str(failure.value.parameters["reason"])  # it is made out to 127.0.0.1


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(certificate: tuple[str, str], tmp_path: Path) -> None:
    """A server that waits at a terminal for a passphrase serves nobody."""
    key = serialization.load_pem_private_key(Path(certificate[1]).read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"nobody types this"),
        )
    )
    with pytest.raises(ReaderError, match="tls-key-locked") as failure:
        server_tls(certificate[0], str(locked))
    assert failure.value.parameters == {"key": str(locked)}


def test_the_tls_file_that_is_missing_is_the_one_that_is_named(certificate: tuple[str, str], tmp_path: Path) -> None:
    for files, missing in (
        ((certificate[0], str(tmp_path / "none")), tmp_path / "none"),
        ((str(tmp_path / "none"), certificate[1]), tmp_path / "none"),
    ):
        with pytest.raises(ReaderError) as failure:
            server_tls(*files)
        assert failure.value.parameters["certificate"] == str(missing)
        assert failure.value.parameters["reason"] == os.strerror(errno.ENOENT)


def test_a_key_of_another_certificate_is_said_in_words(certificate: tuple[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(ReaderError, match=r"tls-files: .*key values mismatch"):
        server_tls(certificate[0], str(other))


@pytest.mark.clause("ISO/IEC 7816-4, 5.1: a response ends with SW1-SW2")
def test_what_has_no_status_word_is_no_response(card: Any, server: RemoteServer) -> None:
    with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
        card.answers = lambda _command: b"\x90"
        with pytest.raises(ReaderError, match="transmission-failed"):
            connection.transmit(b"\0\0\0\0")
        card.answers = lambda _command: b"\x90\x00"
        assert connection.transmit(b"\0\0\0\0") == b"\x90\x00"


def test_a_token_is_bytes_and_need_not_be_text(card: Any) -> None:
    """POSIX: an environment holds bytes; those that are no UTF-8 come as lone surrogates."""
    token = os.fsdecode(b"\xff\xfe and sixteen more bytes")
    with RemoteServer({Interface.CONTACT: card}, token, port=0) as server:
        with RemoteConnection("127.0.0.1", server.port, token) as connection:
            assert connection.transmit(b"\0\1\2\3")
        with pytest.raises(ReaderError, match="not-allowed"):
            RemoteConnection("127.0.0.1", server.port, TOKEN).power_on()


def test_a_reader_that_fails_at_the_end_is_free_for_the_next_client(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ReaderError("reader-removed", reader="double")

    with RemoteServer({Interface.CONTACT: card}, TOKEN, port=0) as server:
        with RemoteConnection("127.0.0.1", server.port, TOKEN):
            monkeypatch.setattr(card, "power_off", fail)
        following = RemoteConnection("127.0.0.1", server.port, TOKEN)
        deadline = time.monotonic() + 60
        while True:  # the server may not have noticed yet that the first one went
            try:
                following.power_on()
                break
            except ReaderError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        assert following.transmit(b"\0\1\2\3")
        following.close()


def test_a_system_without_room_for_a_client_lets_the_next_one_in(card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = RemoteServer({Interface.CONTACT: card}, TOKEN, port=0)
    accept, full = socket.socket.accept, [True]

    def accept_later(listener: socket.socket) -> Any:
        if full and listener.getsockname()[1] == server.port:
            full.clear()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", accept_later)  # before the server's thread waits in the real one
    with server:
        with RemoteConnection("127.0.0.1", server.port, TOKEN) as connection:
            assert connection.transmit(b"\0\1\2\3")
        assert not full
        assert server.failure is None


def test_missing_tls_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="tls-files"):
        server_tls(str(tmp_path / "none"), str(tmp_path / "none"))
    with pytest.raises(ReaderError, match="tls-files"):
        client_tls(str(tmp_path / "none"))
