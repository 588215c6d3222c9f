"""EF.SIGNATURE: hash list, signature, and the signer's certificate up to the authority.

Source: card specification, "Signature"; RFC 5280, clause 6.1 (path of one certificate); FIPS 186-5, clause 6.4.2.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from card_os.iso7816.tlv import Tlv, TlvError, parse_all
from personalization.errors import PersonalizationError
from personalization.inspection.checks import CheckList
from personalization.keys.authorities import Authorities

SIGNED_FILES: Final = (0x0101, 0x0102, 0x0103, 0x0105)

_HASHES: Final = 0x7F21
_SIGNATURE: Final = 0x5F37
_CERTIFICATE: Final = 0x7F4E
_VERSION: Final = Tlv(0x80, b"\x01")
_ALGORITHM: Final = Tlv(0x81, b"\x01")
_HASH_LIST: Final = 0xA2
_FILE_HASH: Final = 0x83
_NO_UNUSED_BITS: Final = b"\x00"
_NUMBER: Final = 32
_SIGNATURE_LENGTH: Final = 2 * _NUMBER
_NO_CERTIFICATE: Final = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
)
"""What the library raises for bytes that are no certificate of ours: the card's fault, and never the station's."""


class SignatureVerifier:
    """Verifies EF.SIGNATURE under a centre's authorities; a certificate that was found good is not verified again.

    Args:
        authority: certificates of the authorities that are trusted, DER, one behind the other.

    Raises:
        PersonalizationError: "authority-unreadable" (exit 3).
    """

    __slots__ = ("_authority", "_known", "_known_key")

    def __init__(self, authority: bytes) -> None:
        try:
            self._authority = Authorities(authority)
        except ValueError as error:
            raise PersonalizationError("authority-unreadable", exit_code=3) from error
        self._known: tuple[bytes, dt.date] | None = None
        self._known_key: ec.EllipticCurvePublicKey | None = None

    def verify(self, checks: CheckList, content: bytes, files: Mapping[int, bytes], today: dt.date) -> None:
        """Note whether EF.SIGNATURE is genuine and fits the files.

        Args:
            checks: where it is noted.
            content: content of EF.SIGNATURE.
            files: content of the signed files, by FID.
            today: day for which the certificate has to be valid.
        """
        parts = _parts(content)
        if not checks.add("signature.form", parts is not None) or parts is None:
            return
        hashes, signature, certificate = parts
        self._verify_hashes(checks, hashes, files)
        key = self._signer_key(certificate, today)
        checks.add("signature.certificate", key is not None)
        checks.add("signature.value", key is not None and is_signed(key, signature, hashes.encode()))

    def _verify_hashes(self, checks: CheckList, hashes: Tlv, files: Mapping[int, bytes]) -> None:
        listed = _hash_list(hashes)
        checks.add("signature.list", listed is not None and tuple(listed) == SIGNED_FILES)
        for fid in SIGNED_FILES:
            right = listed is not None and fid in files and listed.get(fid) == hashlib.sha256(files[fid]).digest()
            checks.add(f"signature.hash.{fid:04X}", right)

    def _signer_key(self, certificate: bytes, today: dt.date) -> ec.EllipticCurvePublicKey | None:
        """The signer's key when its certificate is good, else None."""
        if self._known == (certificate, today):
            return self._known_key
        key = _verified_key(certificate, self._authority, today)
        if key is not None:
            self._known, self._known_key = (certificate, today), key
        return key


def is_signed(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """True when r ‖ s (64 bytes) is the key's signature of the message, ECDSA with SHA-256."""
    if len(signature) != _SIGNATURE_LENGTH:
        return False
    r, s = (int.from_bytes(part, "big") for part in (signature[:_NUMBER], signature[_NUMBER:]))
    try:
        digest = hashlib.sha256(message).digest()
        key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def _parts(content: bytes) -> tuple[Tlv, bytes, bytes] | None:
    """Signed object, signature and certificate; None when the file is anything else."""
    try:
        objects = parse_all(content)
    except TlvError:
        return None
    if [item.tag for item in objects] != [_HASHES, _SIGNATURE, _CERTIFICATE]:
        return None
    signed, signature, certificate = objects
    # What was signed is what stands in the file: a longer form of a length would hide behind the decoded object.
    if not content.startswith(signed.encode()):
        return None
    return signed, signature.value, certificate.value


def _hash_list(hashes: Tlv) -> dict[int, bytes] | None:
    """Hash by FID in the order of the list; None when it is malformed, or of another version or algorithm."""
    try:
        version, algorithm, listed = hashes.children()
        rows = listed.children()
    except (TlvError, ValueError):
        return None
    if (version, algorithm, listed.tag) != (_VERSION, _ALGORITHM, _HASH_LIST):
        return None
    if any(row.tag != _FILE_HASH or len(row.value) != 2 + _NUMBER for row in rows):
        return None
    found = {int.from_bytes(row.value[:2], "big"): row.value[2:] for row in rows}
    return found if len(found) == len(rows) else None


def _verified_key(certificate: bytes, authorities: Authorities, today: dt.date) -> ec.EllipticCurvePublicKey | None:
    """The key in a certificate that an authority issued, that is valid today, and that may sign data."""
    try:
        signer = x509.load_der_x509_certificate(certificate)
        issuer = authorities.issuer_of(signer)
        usage = signer.extensions.get_extension_for_class(x509.KeyUsage).value
        constraints = signer.extensions.get_extension_for_class(x509.BasicConstraints).value
        key = signer.public_key()
    except _NO_CERTIFICATE:
        return None
    # The parser takes a bit string whose last bits are said to be unused; a certificate has one form only.
    if not certificate.endswith(_NO_UNUSED_BITS + signer.signature):
        return None
    if issuer is None or not all(
        one.not_valid_before_utc.date() <= today <= one.not_valid_after_utc.date() for one in (signer, issuer)
    ):
        return None
    if constraints.ca or not usage.digital_signature:
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) else None
