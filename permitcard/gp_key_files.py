"""Keys and certificates on elliptic curves, from files in PEM, in DER or as they go to a card."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from personalization.errors import PersonalizationError

_PEM: Final = b"-----BEGIN"
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm)


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private key without a password.

    Raises:
        PersonalizationError: "gp-scp11-file-malformed", exit 2.
        OSError: the file cannot be read.
    """
    raw = path.read_bytes()
    load = load_pem_private_key if raw.startswith(_PEM) else load_der_private_key
    try:
        key = load(raw, None)
    except _UNREADABLE as error:
        raise _malformed(path) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _malformed(path)
    return key


def public_key(path: Path) -> ec.EllipticCurvePublicKey:
    """A public key, or the one that an X.509 certificate certifies.

    Raises:
        PersonalizationError: "gp-scp11-file-malformed", exit 2.
        OSError: the file cannot be read.
    """
    raw = path.read_bytes()
    try:
        key = _read_public(raw)
    except _UNREADABLE as error:
        raise _malformed(path) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _malformed(path)
    return key


def certificates(path: Path) -> list[bytes]:
    """The certificates of a PEM file; any other file is one certificate, as it goes to the card.

    Raises:
        PersonalizationError: "gp-scp11-file-malformed", exit 2.
        OSError: the file cannot be read.
    """
    raw = path.read_bytes()
    if not raw.startswith(_PEM):
        return [raw]
    try:
        return [item.public_bytes(Encoding.DER) for item in x509.load_pem_x509_certificates(raw)]
    except _UNREADABLE as error:
        raise _malformed(path) from error


def _read_public(raw: bytes) -> object:
    if b"BEGIN CERTIFICATE" in raw:
        return x509.load_pem_x509_certificate(raw).public_key()
    if raw.startswith(_PEM):
        return load_pem_public_key(raw)
    try:
        return load_der_public_key(raw)
    except ValueError:
        return x509.load_der_x509_certificate(raw).public_key()


def _malformed(path: Path) -> PersonalizationError:
    return PersonalizationError("gp-scp11-file-malformed", exit_code=2, file=str(path))
