"""``permitcard gp`` through SCP11: keys and certificates in files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from card_os.hardware.image import NvmImage
from tests.console.gp_line import GpLine
from tests.doubles.issuer_card import INSTANCE, boot
from tests.unit.personalization.test_gp_host_scp11 import (
    AUTHORITY,
    CARD,
    HOST,
    STRANGER,
    give_keys,
    manufacture_certified,
    x509_certificate,
)

CARD_OPTION = ("--card", "sim:c.card")
HOST_OPTIONS = ("--host-key", "host.pem", "--host-certificate", "host.crt", "--authority-key", "0310")
KNOWN = ("--key-version", "03", "--card-key", "card.pem")


@pytest.fixture
def gp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> GpLine:
    """A card with keys of SCP11 in c.card, and the files of a host that it knows."""
    for name in [name for name in os.environ if name.startswith(("PERMITCARD_", "LC_", "LANG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PERMITCARD_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(NvmImage.create("c.card")) as image:
        manufacture_certified(image.nvm())
        give_keys(boot(image))
    pem = HOST.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    Path("host.pem").write_bytes(pem)
    Path("host.crt").write_bytes(
        x509.load_der_x509_certificate(x509_certificate(HOST, AUTHORITY)).public_bytes(Encoding.PEM)
    )
    public = CARD.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    Path("card.pem").write_bytes(public)
    Path("stranger.der").write_bytes(x509_certificate(STRANGER, STRANGER))
    return GpLine(capsys)


@pytest.mark.parametrize("variant", ["a", "c"])
def test_a_certified_host_lists_and_changes(gp: GpLine, variant: str) -> None:
    options = (*CARD_OPTION, "--scp11", variant, *HOST_OPTIONS, *KNOWN)
    assert gp("gp", "list", *options, "--json").document["issuer_domains"][0]["aid"] == "A000000151000000"
    assert gp("gp", "store", "420401020304", "--form", "tlv", *options).code == 0
    (answer,) = gp("gp", "send", "80CA004200", *options, "--level", "mac+rmac", "--json").document["answers"]
    assert answer["data"] == "420401020304"


def test_an_unknown_host_reads(gp: GpLine) -> None:
    options = (*CARD_OPTION, "--scp11", "b", *KNOWN)
    assert gp("gp", "send", "80CA006600", *options).code == 0
    refused = gp("gp", "delete", INSTANCE.hex(), *options, "--json")
    assert (refused.code, refused.error) == (1, "card-refused")


def test_another_card_is_noticed(gp: GpLine) -> None:
    said = gp("gp", "list", *CARD_OPTION, "--scp11", "b", "--key-version", "03", "--card-key", "stranger.der", "--json")
    assert (said.code, said.error) == (1, "scp11-receipt-wrong")


MISTAKES = [
    (("--scp11", "d"), 2, "gp-scp11-unknown"),
    (("--scp11", "a", *KNOWN), 2, "gp-scp11-incomplete"),
    (("--scp11", "b", "--card-key", "card.pem"), 2, "gp-scp11-incomplete"),
    (("--scp11", "b", "--key-version", "03"), 2, "gp-scp11-incomplete"),
    (("--scp11", "b", "--key-version", "03", "--card-key", "host.pem"), 2, "gp-scp11-file-malformed"),
    (("--scp11", "b", "--key-version", "03", "--card-key", "none.pem"), 3, "file-failure"),
    (("--scp11", "a", *HOST_OPTIONS[:4], "--authority-key", "03", *KNOWN), 2, "gp-hex-malformed"),
    (("--scp11", "a", "--host-key", "card.pem", *HOST_OPTIONS[2:], *KNOWN), 2, "gp-scp11-file-malformed"),
    (("--scp11", "a", *HOST_OPTIONS, "--key-version", "04", "--card-key", "card.pem"), 1, "card-refused"),
    (("--scp11", "b", *KNOWN, "--level", "mac"), 2, "scp11-keys-do-not-fit"),
    (("--scp11", "b", "--key-version", "03", "--card-authority", "card.pem"), 1, "scp11-card-not-certified"),
]


@pytest.mark.parametrize(("options", "code", "error"), MISTAKES)
def test_mistakes(gp: GpLine, options: tuple[str, ...], code: int, error: str) -> None:
    said = gp("gp", "list", *CARD_OPTION, *options, "--json")
    assert (said.code, said.error) == (code, error)
