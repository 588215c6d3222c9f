"""The certificates of a rehearsal store: an authority and the document signer under it.

Source: RFC 5280, clauses 4.1 and 4.2; the shape of the signer follows ICAO Doc 9303 part 12, clause 7.1.1.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

REHEARSAL_LABEL: Final = "REHEARSAL – not for production"
"""What stands on everything that a rehearsal store makes."""

_AUTHORITY_YEARS: Final = 20
_SIGNER_YEARS: Final = 15
_SIGNING_YEARS: Final = 3
_DAYS_A_YEAR: Final = 365
_SIGNATURE_ONLY: Final = {"digital_signature": True, "key_cert_sign": False, "crl_sign": False}
_CERTIFICATES_ONLY: Final = {"digital_signature": False, "key_cert_sign": True, "crl_sign": True}


def make_authority(key: ec.EllipticCurvePrivateKey, not_before: dt.datetime) -> x509.Certificate:
    """The self-signed certificate of the authority: may sign signers, nothing below them."""
    name = _name("Residence permit authority")
    return (
        _builder(name, name, key.public_key(), not_before, _AUTHORITY_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(_CERTIFICATES_ONLY), critical=True)
        .sign(key, SHA256())
    )


def make_document_signer(
    key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    not_before: dt.datetime,
) -> x509.Certificate:
    """The document signer's certificate: signs for 3 years, is to be verified for 15.

    The key is used for three years only, and the certificate stays valid as long as cards signed with it may live.
    """
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    last_signature = not_before + dt.timedelta(days=_SIGNING_YEARS * _DAYS_A_YEAR)
    return (
        _builder(_name("Residence permit document signer"), authority.subject, key, not_before, _SIGNER_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(_SIGNATURE_ONLY), critical=True)
        .add_extension(issuer_key, critical=False)
        .add_extension(x509.PrivateKeyUsagePeriod(not_before, last_signature), critical=False)
        .sign(authority_key, SHA256())
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, REHEARSAL_LABEL),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    not_before: dt.datetime,
    years: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + dt.timedelta(days=years * _DAYS_A_YEAR))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(granted: dict[str, bool]) -> x509.KeyUsage:
    return x509.KeyUsage(
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
        **granted,
    )
