"""``permitcard card serve``: what each way prints leads to the card."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from card_os.iso7816.atr import Atr
from permitcard.specimen import HOLDER_PIN
from tests.console.command_line import CommandLine

TOKEN = "0123456789abcdef"
PATIENCE_S = 600
SELECT = "00A4040008A00000015100000000"
COUNTER = "80CA00C100"
ANSWER = '[[rule]]\naction = "answer"\nins = "CA"\np2 = "C1"\nresponse = "C1030000FF9000"\n'


@pytest.fixture
def command(tmp_path: Path) -> CommandLine:
    line = CommandLine(
        tmp_path,
        {"PERMITCARD_TOKEN": TOKEN, "PERMITCARD_AUTHORITY": str(tmp_path / "certificate.pem")},
    )
    line("card", "new", "a.card")
    return line


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "card server of the tests")])
    now = dt.datetime.now(dt.UTC)
    made = (
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
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(pem) + private)
    return path


def document(server: subprocess.Popen[str]) -> dict[str, object]:
    """What the server says before it waits."""
    assert server.stdout is not None
    shown: dict[str, object] = json.loads("".join(iter(server.stdout.readline, "}\n")) + "}")
    return shown


def stop(server: subprocess.Popen[str]) -> None:
    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=PATIENCE_S)
    assert server.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("way", "address"),
    [
        (("phoenix",), "serial,phoenix:{}"),
        (("pn532", "--link", "field"), "serial,pn532:{}"),
        (("ccid-serial", "--link", "reader"), "serial,t0:{}"),
        (("ccid-serial", "--reader-model", "gemalto-pc-twin"), "serial,ccid,t1:{}"),
    ],
    ids=["phoenix", "pn532", "ccid T=0", "ccid T=1 behind a model"],
)
def test_a_card_on_a_serial_port_is_read(command: CommandLine, way: tuple[str, ...], address: str) -> None:
    with command.start("card", "serve", "a.card", "--json", "--as", *way) as server:
        shown = document(server)
        devices = shown["devices"]
        assert isinstance(devices, list)
        place = str(devices[0]).removesuffix(":GemPCTwin")
        assert "Card 4A5A" in command("card", "read", "--card", address.format(place)).out
        stop(server)


def test_a_card_in_a_reader_of_our_own_service_is_read(command: CommandLine) -> None:
    with command.start("card", "serve", "a.card", "--json", "--as", "ccid-serial", "--own-pcscd") as server:
        shown = document(server)
        variables = shown["environment"]
        assert isinstance(variables, dict)
        client = CommandLine(command.folder, {str(name): str(value) for name, value in variables.items()})
        assert "Card 4A5A" in client("card", "read", "--card", "pcsc,t0:Virtual CCID 00 00").out
        assert "Virtual CCID contactless 01 00" in client("readers").out
        stop(server)


@pytest.mark.clause("PC/SC part 10, 2.5.2: FEATURE_VERIFY_PIN_DIRECT by pcscd's own driver; USB CCID 1.1, 6.1.11")
def test_a_pin_is_typed_at_a_reader_with_keys(command: CommandLine) -> None:
    """A right one, and one that is cancelled; the PIN itself is seen nowhere."""
    keys, typist = os.pipe()
    try:
        with command.start(
            *("card", "serve", "a.card", "--json", "--as", "ccid-serial", "--own-pcscd", "--keypad", f"fd:{keys}"),
            descriptors=[keys],
        ) as server:
            client = pcsc_client(command, server)
            read = ("card", "read", "--pinpad", "--card", "pcsc,t1:Virtual CCID 00 00")
            os.write(typist, f"{HOLDER_PIN}\n\n".encode())
            outcome = client(*read)
            assert "Type the PIN at Virtual CCID 00 00." in outcome.out
            assert "Card 4A5A" in outcome.out
            assert HOLDER_PIN not in outcome.out + outcome.err
            assert client(*read, "--json", code=1).error["code"] == "pin-entry-cancelled"
            stop(server)
    finally:
        os.close(keys)
        os.close(typist)


@pytest.mark.clause("PC/SC part 10, 2.2.1: features by a command of class FF")
def test_a_reader_model_with_keys_takes_the_pin_too(command: CommandLine) -> None:
    keys, typist = os.pipe()
    try:
        with command.start(
            *("card", "serve", "a.card", "--json", "--own-pcscd"),
            *("--reader-model", "gemalto-pc-pinpad", "--keypad", f"fd:{keys}"),
            descriptors=[keys],
        ) as server:
            os.write(typist, f"{HOLDER_PIN}\n".encode())
            client = pcsc_client(command, server)
            assert "Card 4A5A" in client("card", "read", "--pinpad", "--card", "pcsc:Virtual PCD 00 00").out
            stop(server)
    finally:
        os.close(keys)
        os.close(typist)


def test_a_keypad_at_a_terminal_needs_one(command: CommandLine) -> None:
    outcome = command("card", "serve", "a.card", "--json", "--as", "ccid-serial", "--keypad", "terminal", code=3)
    assert outcome.error["code"] == "no-terminal"


def test_a_card_behind_tls_is_read_with_the_token_and_the_authority(command: CommandLine, certificate: Path) -> None:
    with command.start("card", "serve", "a.card", "--json", "--as", "tcp", "--certificate", certificate) as server:
        port = document(server)["port"]
        assert "Card 4A5A" in command("card", "read", "--card", f"remote,tls:127.0.0.1:{port}").out
        (command.folder / "one.txt").write_text(f"{SELECT}\n", encoding="utf-8")
        card = ("--card", f"remote,tls:127.0.0.1:{port}")
        command("trace", "record", "--commands", "one.txt", "--out", "one.trace", *card)
        command("trace", "replay", "one.trace", *card)
        outcome = command("test", "--card", f"remote,tls:127.0.0.1:{port}", "-k", "select_in_extended", "--json")
        assert outcome.document["passed"] == 1
        stranger = CommandLine(command.folder, {"PERMITCARD_TOKEN": TOKEN})
        refused = stranger("card", "read", "--card", f"remote,tls:127.0.0.1:{port}", "--json", code=3)
        assert refused.error["code"] == "tls-failed"
        stop(server)


def pcsc_client(command: CommandLine, server: subprocess.Popen[str]) -> CommandLine:
    """The command line of somebody who typed what the server printed."""
    variables = document(server)["environment"]
    assert isinstance(variables, dict)
    return CommandLine(command.folder, {str(name): str(value) for name, value in variables.items()})


def test_several_cards_are_served_over_tcp(command: CommandLine) -> None:
    command("card", "new", "b.card", "--serial", "2")
    with command.start("card", "serve", "a.card", "b.card", "--json", "--as", "tcp") as server:
        place = f"remote:127.0.0.1:{document(server)['port']}"
        first, second = (
            command("card", "read", "--card", f"{place}{card}", "--json").document["card_id"] for card in ("", "/2")
        )
        assert first != second
        none = command("card", "read", "--card", f"{place}/3", "--json", code=3)
        assert none.error["code"] == "no-interface"
        stop(server)


@pytest.mark.clause("ISO/IEC 7816-3, 8.2.3: the ATR says which protocols there are")
def test_a_card_shows_the_atr_that_is_asked_for(command: CommandLine) -> None:
    with command.start("card", "serve", "a.card", "--json", "--own-pcscd", "--atr", "t0") as server:
        client = pcsc_client(command, server)
        readers = client("readers", "--json").document["readers"]
        assert isinstance(readers, list)
        assert Atr.parse(bytes.fromhex(readers[0]["atr"])).protocols == (0,)
        assert "Card 4A5A" in client("card", "read", "--card", "pcsc,t0:Virtual PCD 00 00").out
        refused = client("card", "read", "--card", "pcsc,t1:Virtual PCD 00 00", "--json", code=3)
        assert refused.error["code"] == "protocol-mismatch"
        stop(server)


def test_a_relay_is_offered_to_a_pcsc_program_and_its_trace_is_replayed_as_a_card(command: CommandLine) -> None:
    """What a user types: the relay, a program that speaks to it, then its trace in the card's place."""
    (command.folder / "rules.toml").write_text(ANSWER, encoding="utf-8")
    (command.folder / "one.txt").write_text(f"{SELECT}\n{COUNTER}\n", encoding="utf-8")
    recorded = ("--card", "pcsc:Virtual PCD 00 00", "--commands", "one.txt", "--keep", "content")
    words = ("relay", "--card", "sim:a.card", "--rules", "rules.toml", "--trace", "relay.trace", "--as", "vpcd")
    with command.start(*words, "--own-pcscd", "--json") as relay:
        pcsc_client(command, relay)("trace", "record", "--out", "first.trace", *recorded)
        stop(relay)
    assert "C1030000FF" in (command.folder / "first.trace").read_text("utf-8").replace(" ", "")
    kept = (command.folder / "relay.trace").read_text("utf-8").replace(" ", "")
    assert SELECT[:8] in kept
    assert COUNTER[:8] not in kept, "it was answered on the way"
    with command.start("trace", "replay", "first.trace", "--as", "vpcd", "--own-pcscd", "--json") as replay:
        pcsc_client(command, replay)("trace", "record", "--out", "second.trace", *recorded)
        stop(replay)
    command("trace", "diff", "first.trace", "second.trace")


def test_a_token_that_was_made_is_told_to_programs_too(command: CommandLine) -> None:
    """Without it nobody reaches the card."""
    serving = CommandLine(command.folder)
    with serving.start("card", "serve", "a.card", "--json", "--as", "tcp", "--host", "localhost") as server:
        shown = document(server)
        variables = shown["environment"]
        assert isinstance(variables, dict)
        client = CommandLine(command.folder, {str(name): str(value) for name, value in variables.items()})
        assert "Card 4A5A" in client("card", "read", "--card", f"remote:localhost:{shown['port']}").out
        stop(server)


def test_a_relay_over_tcp_is_reached_with_the_token(command: CommandLine) -> None:
    with command.start("relay", "--card", "sim:a.card", "--as", "tcp", "--json") as relay:
        port = document(relay)["port"]
        assert "Card 4A5A" in command("card", "read", "--card", f"remote:127.0.0.1:{port}").out
        stop(relay)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("card", "serve", "a.card", "--reader-model", "crystal"), "reader-model-unknown"),
        (("test", "--reader-model", "crystal"), "reader-model-unknown"),
        (("card", "serve", "a.card", "--as", "pn532", "--link", "a.card"), "link-exists"),
        (("card", "serve", "a.card", "--as", "tcp", "--certificate", "none.pem"), "tls-files"),
        (("card", "serve", "a.card", "b.card", "--as", "pn532"), "several-cards"),
        (("card", "serve", "a.card", "--atr", "3B80"), "atr-unusable"),
        (("card", "serve", "a.card", "--atr", "tee"), "atr-unusable"),
        (("card", "read", "--card", "serial:nowhere"), "no-serial-port"),
        (("card", "read", "--card", "serial,ccid,phoenix:nowhere"), "bad-address"),
    ],
)
def test_mistakes_are_said(command: CommandLine, arguments: tuple[str, ...], error: str) -> None:
    with command.start(*arguments, "--json") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in {2, 3}
    assert json.loads(errors)["error"]["code"] == error
