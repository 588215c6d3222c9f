"""The authorities that a verifier trusts: a centre's present one, those before it, and what links them.

An authority that is replaced signs the key of its successor: a link certificate. Whoever trusts the former one takes
what the new one certified, as long as the link is in its dates; a link says nothing of what came before it, so that a
centre keeps its former authorities, and gives all of them to who is new.

Certificates of authorities travel as DER, one behind the other.

Source: RFC 4210, clause 4.4 (root key update: new with old); RFC 5280, clause 6.1 (a self-issued certificate does
not count in the length of a path).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from itertools import islice
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from card_os.iso7816.tlv import TlvError, parse_length
from personalization.keys.keystore import KeyName, KeyStore

_SEQUENCE: Final = 0x30
_MOST_LINKS: Final = 32
"""An authority lasts twenty years; whoever sends more links than this sends nonsense."""

_NO_ISSUER: Final = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm)


def authorities_of(keys: KeyStore) -> bytes:
    """Certificates of all authorities of a centre, DER, one behind the other, the newest first."""
    return b"".join(keys.certificates(KeyName.AUTHORITY))


def split_certificates(certificates: bytes) -> list[x509.Certificate]:
    """Certificates that stand one behind the other.

    Raises:
        ValueError: there is none, or something else among them.
    """
    found: list[x509.Certificate] = []
    at = 0
    while at < len(certificates) or not found:
        try:
            length, start = parse_length(certificates, at + 1)
        except TlvError as error:
            raise ValueError("no certificate") from error
        if certificates[at] != _SEQUENCE:
            raise ValueError("no certificate")
        found.append(x509.load_der_x509_certificate(certificates[at : start + length]))
        at = start + length
    return found


class Authorities:
    """Authorities that are trusted.

    Args:
        trusted: their certificates, DER, one behind the other.
        links: link certificates, DER, that came from anywhere: one counts when a trusted authority signed it and it is
            in its dates.
        now: the verifier's time, aware; the present by default.

    Raises:
        ValueError: ``trusted`` is no certificate.
    """

    __slots__ = ("_known",)

    def __init__(self, trusted: bytes, links: Iterable[bytes] = (), now: dt.datetime | None = None) -> None:
        self._known = split_certificates(trusted)
        waiting = [x509.load_der_x509_certificate(link) for link in islice(links, _MOST_LINKS)]
        moment = now or dt.datetime.now(dt.UTC)
        while linked := [link for link in waiting if is_authority(link) and self.issuer_of(link, moment) is not None]:
            waiting = [link for link in waiting if link not in linked]
            self._known += [link for link in linked if _in_dates(link, moment)]

    def issuer_of(self, certificate: x509.Certificate, at: dt.datetime | None = None) -> x509.Certificate | None:
        """The authority that issued a certificate; None when none of these did.

        Args:
            certificate: of a signer.
            at: aware; the authority has to be in its dates then. None for what is looked at whenever it be.
        """
        issuers = (one for one in self._known if is_authority(one) and is_issued_by(certificate, one))
        return next((one for one in issuers if at is None or _in_dates(one, at)), None)


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether names and signature say that an authority issued a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except _NO_ISSUER:
        return False
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate may issue others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return False


def is_link(certificate: x509.Certificate) -> bool:
    """Whether an authority's certificate is signed by another key than its own."""
    return is_authority(certificate) and not is_issued_by(certificate, certificate)


def _in_dates(certificate: x509.Certificate, at: dt.datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
