"""What leaves a centre for one recipient: RFC 5652 EnvelopedData, opened by another program."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from personalization.errors import PersonalizationError
from personalization.returns.envelope import RecipientCertificate

NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
CONTENT = b'\xef\xbb\xbf"PIN"\r\n"012345"\r\n\n\x00'


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    *,
    first: dt.datetime = NOW - DAY,
    last: dt.datetime = NOW + DAY,
    encipherment: bool | None = None,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "printing house")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, first, last)
    if encipherment is not None:
        bits = (not encipherment, False, encipherment, False, False, False, False, False, False)
        builder = builder.add_extension(x509.KeyUsage(*bits), critical=True)
    return builder.sign(key, SHA256())


def written(folder: Path, content: bytes) -> Path:
    path = folder / "recipient.pem"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("encipherment", [None, True])
def test_another_program_opens_it_with_the_recipients_key(
    key: rsa.RSAPrivateKey, encoding: Encoding, encipherment: bool | None, tmp_path: Path
) -> None:
    certified = certificate(key, encipherment=encipherment)
    recipient = RecipientCertificate.load(written(tmp_path, certified.public_bytes(encoding)), NOW)
    assert recipient.fingerprint == certified.fingerprint(SHA256()).hex()
    private = tmp_path / "private.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    sealed = recipient.seal(CONTENT)
    assert CONTENT not in sealed
    assert sealed != recipient.seal(CONTENT), "a fresh key each time"
    command: list[str | Path] = ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", private]
    opened = subprocess.run(command, input=sealed, capture_output=True, check=True)
    assert opened.stdout == CONTENT
    shown = subprocess.run(
        ["openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER"],
        input=sealed,
        capture_output=True,
        check=True,
    )
    assert b"aes-256-cbc" in shown.stdout


def test_another_key_does_not_open_it(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    recipient = RecipientCertificate.load(written(tmp_path, certificate(key).public_bytes(Encoding.DER)), NOW)
    other = tmp_path / "other.pem"
    other.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    command: list[str | Path] = ["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", other]
    opened = subprocess.run(command, input=recipient.seal(CONTENT), capture_output=True, check=False)
    assert CONTENT not in opened.stdout


@pytest.mark.parametrize(
    ("first", "last"), [(NOW - 2 * DAY, NOW - DAY), (NOW + DAY, NOW + 2 * DAY)], ids=["ended", "not yet"]
)
def test_a_certificate_out_of_its_time(
    key: rsa.RSAPrivateKey, first: dt.datetime, last: dt.datetime, tmp_path: Path
) -> None:
    path = written(tmp_path, certificate(key, first=first, last=last).public_bytes(Encoding.PEM))
    with pytest.raises(PersonalizationError) as raised:
        RecipientCertificate.load(path, NOW)
    assert (raised.value.code, raised.value.exit_code) == ("recipient-expired", 2)
    assert raised.value.parameters["last"] == last.date().isoformat()


def test_keys_that_take_no_keys(key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    """RFC 5280, clause 4.2.1.3: the key usage says keyEncipherment, where it is there."""
    for certified in (
        certificate(ec.generate_private_key(ec.SECP256R1())),
        certificate(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - which is what is refused
        certificate(key, encipherment=False),
    ):
        path = written(tmp_path, certified.public_bytes(Encoding.PEM))
        with pytest.raises(PersonalizationError, match="recipient-kind"):
            RecipientCertificate.load(path, NOW)


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n", bytes(1 << 17)])
def test_what_is_no_certificate(content: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(PersonalizationError, match="recipient-unreadable"):
        RecipientCertificate.load(path, NOW)


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError, match="recipient-missing"):
        RecipientCertificate.load(tmp_path / "none.pem", NOW)
