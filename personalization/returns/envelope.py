"""What leaves a centre for one recipient: a CMS message that opens with that recipient's private key alone.

Any program for S/MIME opens it, such as ``openssl cms -decrypt -inform DER -in FILE -inkey KEY``. It says to nobody who
sent it: that is what the way is for by which it goes.

Source: RFC 5652, clause 6 (EnvelopedData); RFC 3565 (AES in CMS); RFC 5280, clause 4.2.1.3 (key usage).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options

from personalization.errors import PersonalizationError, unread

ENDING: Final = ".p7m"
"""Of the names of such files (RFC 8551, clause 3.2.1)."""

_USAGE: Final = 2
_SHORTEST_MODULUS: Final = 2048
_LONGEST_FILE: Final = 1 << 16
_PEM: Final = b"-----BEGIN"


@dataclass(frozen=True, slots=True)
class RecipientCertificate:
    """The certificate of a recipient, which may be used.

    Attributes:
        certificate: of an RSA key that takes keys.
    """

    certificate: x509.Certificate

    @classmethod
    def load(cls, path: Path, now: dt.datetime) -> Self:
        """Read a certificate, PEM or DER.

        Args:
            path: of the file.
            now: aware; the certificate has to be valid then.

        Raises:
            PersonalizationError: exit 2: "recipient-missing", "recipient-unreadable"; "recipient-expired", or not
                valid yet; "recipient-kind", its key is no RSA key of 2,048 bits or more that takes keys.
        """
        try:
            with path.open("rb") as stream:
                content = stream.read(_LONGEST_FILE)
        except OSError as error:
            missing = PersonalizationError("recipient-missing", exit_code=_USAGE, file=str(path))
            raise unread(error, path, missing) from None
        load = x509.load_pem_x509_certificate if _PEM in content else x509.load_der_x509_certificate
        try:
            certificate = load(content)
            kind, usable = certificate.public_key(), _takes_keys(certificate)
        except ValueError:
            raise PersonalizationError("recipient-unreadable", exit_code=_USAGE, file=str(path)) from None
        first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not first <= now <= last:
            days = {"first": first.date().isoformat(), "last": last.date().isoformat()}
            raise PersonalizationError("recipient-expired", exit_code=_USAGE, file=str(path), **days)
        if not isinstance(kind, rsa.RSAPublicKey) or kind.key_size < _SHORTEST_MODULUS or not usable:
            raise PersonalizationError("recipient-kind", exit_code=_USAGE, file=str(path))
        return cls(certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex."""
        return self.certificate.fingerprint(SHA256()).hex()

    def seal(self, content: bytes) -> bytes:
        """EnvelopedData, DER: AES-256-CBC under a fresh key, which is under the recipient's."""
        builder = PKCS7EnvelopeBuilder().set_data(content).add_recipient(self.certificate)
        return builder.set_content_encryption_algorithm(AES256).encrypt(Encoding.DER, [PKCS7Options.Binary])


def _takes_keys(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment
    except x509.ExtensionNotFound:
        return True
