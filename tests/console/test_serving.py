"""``permitcard card serve``: what each way prints leads to the card."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import signal
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.console.command_line import CommandLine

TOKEN = "0123456789abcdef"
PATIENCE_S = 60


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


def test_a_card_behind_tls_is_read_with_the_token_and_the_authority(command: CommandLine, certificate: Path) -> None:
    with command.start("card", "serve", "a.card", "--json", "--as", "tcp", "--certificate", certificate) as server:
        port = document(server)["port"]
        assert "Card 4A5A" in command("card", "read", "--card", f"remote,tls:127.0.0.1:{port}").out
        outcome = command("test", "--card", f"remote,tls:127.0.0.1:{port}", "-k", "select_in_extended", "--json")
        assert outcome.document["passed"] == 1
        stranger = CommandLine(command.folder, {"PERMITCARD_TOKEN": TOKEN})
        refused = stranger("card", "read", "--card", f"remote,tls:127.0.0.1:{port}", "--json", code=3)
        assert refused.error["code"] == "tls-failed"
        stop(server)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("card", "serve", "a.card", "--reader-model", "crystal"), "reader-model-unknown"),
        (("test", "--reader-model", "crystal"), "reader-model-unknown"),
        (("card", "serve", "a.card", "--as", "pn532", "--link", "a.card"), "link-exists"),
        (("card", "serve", "a.card", "--as", "tcp", "--certificate", "none.pem"), "tls-files"),
        (("card", "read", "--card", "serial:nowhere"), "no-serial-port"),
        (("card", "read", "--card", "serial,ccid,phoenix:nowhere"), "bad-address"),
    ],
)
def test_mistakes_are_said(command: CommandLine, arguments: tuple[str, ...], error: str) -> None:
    with command.start(*arguments, "--json") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in {2, 3}
    assert json.loads(errors)["error"]["code"] == error
