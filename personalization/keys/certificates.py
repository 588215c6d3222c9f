"""The certificates of a key store: an authority, and the signers of documents, audit and clock under it.

Source: RFC 5280, clauses 4.1 and 4.2; the shape of the signer follows ICAO Doc 9303 part 12, clause 7.1.1.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from enum import Enum
from types import MappingProxyType
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from card_os.iso7816.tlv import encode
from personalization.keys.keystore import KeyName

REHEARSAL_LABEL: Final = "REHEARSAL – not for production"
"""What stands on everything that a rehearsal store makes."""

_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03
_NO_UNUSED_BITS: Final = b"\x00"
# SEQUENCE { OID 1.2.840.10045.4.3.2 }, RFC 5758, clause 3.2
_ECDSA_WITH_SHA256: Final = bytes.fromhex("300A06082A8648CE3D040302")

_AUTHORITY_YEARS: Final = 20
_SIGNER_YEARS: Final = 15
_SIGNING_YEARS: Final = 3
_DAYS_A_YEAR: Final = 365
_BACKDATED: Final = dt.timedelta(days=1)
_SIGNATURE_ONLY: Final = {"digital_signature": True, "key_cert_sign": False, "crl_sign": False}
_CERTIFICATES_ONLY: Final = {"digital_signature": False, "key_cert_sign": True, "crl_sign": True}


class RemoteKey(Protocol):
    """A private key that is somewhere else, such as in an HSM, and signs there."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Its public half, on P-256."""
        ...

    def sign_digest(self, digest: bytes) -> bytes:
        """ECDSA over a SHA-256 digest: r ‖ s, 64 bytes."""
        ...


IssuerKey = ec.EllipticCurvePrivateKey | RemoteKey
"""What signs certificates: a key in memory, or one that never is."""


class Purpose(Enum):
    """What a certificate under the authority is for."""

    DOCUMENT_SIGNER = "document signer"
    AUDIT = "audit signer"
    CLOCK = "clock authority"


CERTIFIED: Final = MappingProxyType(
    {
        KeyName.DOCUMENT_SIGNER: Purpose.DOCUMENT_SIGNER,
        KeyName.AUDIT: Purpose.AUDIT,
        KeyName.CLOCK: Purpose.CLOCK,
    }
)
"""The signers under the authority."""


def make_authority(key: IssuerKey, not_before: dt.datetime, *, organization: str = REHEARSAL_LABEL) -> x509.Certificate:
    """The self-signed certificate of the authority: may sign signers, nothing below them."""
    name = _name("Residence permit authority", organization)
    builder = (
        _builder(name, name, key.public_key(), not_before, _AUTHORITY_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(_CERTIFICATES_ONLY), critical=True)
    )
    return _signed(builder, key)


def make_link(
    key: ec.EllipticCurvePublicKey, former: x509.Certificate, former_key: IssuerKey, not_before: dt.datetime
) -> x509.Certificate:
    """The link from an authority to the one that replaces it: the new key, signed by the former one.

    It is valid as long as the former authority, for whoever trusts that one and nobody else.

    Source: RFC 4210, clause 4.4 (new with old).
    """
    builder = (
        x509.CertificateBuilder()
        .subject_name(former.subject)
        .issuer_name(former.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(former.not_valid_after_utc)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(former_key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(_CERTIFICATES_ONLY), critical=True)
    )
    return _signed(builder, former_key)


def make_signer(
    purpose: Purpose,
    key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: IssuerKey,
    not_before: dt.datetime,
    *,
    organization: str = REHEARSAL_LABEL,
) -> x509.Certificate:
    """A signer's certificate under the authority: signs for 3 years, is to be verified for 15.

    The key is used for three years only, and the certificate stays valid as long as what it signed may be looked at.
    """
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    last_signature = not_before + dt.timedelta(days=_SIGNING_YEARS * _DAYS_A_YEAR)
    subject = _name(f"Residence permit {purpose.value}", organization)
    builder = (
        _builder(subject, authority.subject, key, not_before, _SIGNER_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(_SIGNATURE_ONLY), critical=True)
        .add_extension(issuer_key, critical=False)
        .add_extension(x509.PrivateKeyUsagePeriod(not_before, last_signature), critical=False)
    )
    return _signed(builder, authority_key)


def start_of_validity(now: dt.datetime | None = None) -> dt.datetime:
    """The day before, for the clock of a verifier may be behind; ``now`` is aware, the present by default."""
    return ((now or dt.datetime.now(dt.UTC)) - _BACKDATED).replace(microsecond=0)


def organization_of(certificate: x509.Certificate) -> str:
    """The organization that a certificate is of."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)


def make_document_signer(
    key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: IssuerKey,
    not_before: dt.datetime,
) -> x509.Certificate:
    """The document signer's certificate; see `make_signer`."""
    return make_signer(Purpose.DOCUMENT_SIGNER, key, authority, authority_key, not_before)


def _signed(builder: x509.CertificateBuilder, key: IssuerKey) -> x509.Certificate:
    """Sign what was built; for a remote key a passing key makes the form, and its signature is replaced.

    Source: RFC 5280, clause 4.1: Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }.
    """
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return builder.sign(key, SHA256())
    form = builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
    signed = form.tbs_certificate_bytes
    raw = key.sign_digest(hashlib.sha256(signed).digest())
    middle = len(raw) // 2
    signature = encode_dss_signature(int.from_bytes(raw[:middle], "big"), int.from_bytes(raw[middle:], "big"))
    body = signed + _ECDSA_WITH_SHA256 + encode(_BIT_STRING, _NO_UNUSED_BITS, signature)
    return x509.load_der_x509_certificate(encode(_SEQUENCE, body))


def _name(common_name: str, organization: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
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
