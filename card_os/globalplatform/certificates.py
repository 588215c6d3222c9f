"""Certificates of Secure Channel Protocol '11': GlobalPlatform's own form, and X.509.

```
7F21 { 93 serial number, 42 authority, 5F20 subject, 95 usage, [5F25 from,] 5F24 to, [53 or 73 other data,]
       [BF20 authorizations,] 7F49 { B0 point, F0 curve }, 5F37 signature }
```

The signature covers everything before it inside 7F21. A card has no clock, so it checks no dates.

Deviates: BF20 restricts what a session of SCP11c may do; the card knows no such restrictions, so it takes no
certificate that has them.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '11', Amendment F, tables 6-12 and 6-13; RFC 5280,
clause 4.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning

from card_os.globalplatform.key_types import CURVES, Curve, find_curve, point_of, public_key, verify_ecdsa
from card_os.iso7816 import tlv
from card_os.iso7816.errors import WrongData

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAG_CERTIFICATE: Final = 0x7F21
_TAG_SERIAL: Final = 0x93
_TAG_AUTHORITY: Final = 0x42
_TAG_SUBJECT: Final = 0x5F20
_TAG_USAGE: Final = 0x95
_TAG_FROM: Final = 0x5F25
_TAG_TO: Final = 0x5F24
_TAGS_OTHER: Final = (0x53, 0x73)
_TAG_PUBLIC_KEY: Final = 0x7F49
_TAG_POINT: Final = 0xB0
_TAG_CURVE: Final = 0xF0
_TAG_SIGNATURE: Final = 0x5F37
_X509_START: Final = 0x30
_USAGE_SIGNATURE: Final = bytes.fromhex("82")
_USAGE_AGREEMENT: Final = bytes.fromhex("0080")
_MANDATORY: Final = (_TAG_SERIAL, _TAG_AUTHORITY, _TAG_SUBJECT, _TAG_USAGE, _TAG_TO, _TAG_PUBLIC_KEY, _TAG_SIGNATURE)
_ORDER: Final = (
    _TAG_SERIAL,
    _TAG_AUTHORITY,
    _TAG_SUBJECT,
    _TAG_USAGE,
    _TAG_FROM,
    _TAG_TO,
    *_TAGS_OTHER,
    _TAG_PUBLIC_KEY,
    _TAG_SIGNATURE,
)

_MALFORMED: Final = (
    ValueError,
    tlv.TlvError,
    UnsupportedAlgorithm,
    CryptographyDeprecationWarning,
    x509.InvalidVersion,
    x509.DuplicateExtension,
)


class Certificate(NamedTuple):
    """What the card needs of a certificate.

    Attributes:
        serial: serial number, most significant byte first, without leading zeroes.
        authority: identifier of who signed it; empty when it is not told.
        curve: curve of the key that it certifies.
        point: that key.
        signs: the key may verify other certificates.
        agrees: the key may agree on session keys.
        signed: the bytes that the signature covers.
        signature: r ‖ s, or DER.
    """

    serial: bytes
    authority: bytes
    curve: Curve
    point: bytes
    signs: bool
    agrees: bool
    signed: bytes
    signature: bytes

    def is_signed_by(self, curve: Curve, point: bytes) -> bool:
        """True when the signature is one of this key."""
        return verify_ecdsa(curve, point, self.signature, self.signed)


def parse_certificate(raw: bytes) -> Certificate:
    """Read a certificate of either form.

    Raises:
        WrongData: 6A80, malformed, on a curve that the card does not know, or with what it does not understand.
    """
    try:
        return _parse_x509(raw) if raw[:1] == bytes((_X509_START,)) else _parse_own(raw)
    except _MALFORMED as error:
        raise WrongData("the certificate is malformed") from error


def _parse_own(raw: bytes) -> Certificate:
    outer = tlv.parse_one(raw)
    if outer.tag != _TAG_CERTIFICATE:
        raise ValueError("no certificate")
    objects = tlv.parse_all(outer.value)
    tags = [item.tag for item in objects]
    if not set(_MANDATORY) <= set(tags) or tags != [tag for tag in _ORDER if tag in tags]:
        raise ValueError("an object is missing, unknown, or out of order")
    values = {item.tag: item.value for item in objects}
    key = {item.tag: item.value for item in tlv.parse_all(values[_TAG_PUBLIC_KEY])}
    if set(key) != {_TAG_POINT, _TAG_CURVE}:
        raise ValueError("no public key by reference to a curve")
    curve = find_curve(key[_TAG_CURVE])
    public_key(curve, key[_TAG_POINT])
    signature = tlv.encode(_TAG_SIGNATURE, values[_TAG_SIGNATURE])
    usage = values[_TAG_USAGE]
    return Certificate(
        values[_TAG_SERIAL].lstrip(b"\x00"),
        values[_TAG_AUTHORITY],
        curve,
        key[_TAG_POINT],
        usage == _USAGE_SIGNATURE,
        usage == _USAGE_AGREEMENT,
        outer.value[: len(outer.value) - len(signature)],
        values[_TAG_SIGNATURE],
    )


def _parse_x509(raw: bytes) -> Certificate:
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)  # of a serial number that is not positive
        parsed = x509.load_der_x509_certificate(raw)
        serial = parsed.serial_number
    key = parsed.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("no key on a curve")  # noqa: TRY004 - what is wrong is the certificate, not a type
    curve = next((curve for curve in CURVES.values() if curve.curve.name == key.curve.name), None)
    if curve is None:
        raise ValueError("a curve that the card does not know")
    signs, agrees = _usage(parsed)
    return Certificate(
        serial.to_bytes((serial.bit_length() + 7) // 8, "big"),
        _authority(parsed),
        curve,
        point_of(key),
        signs,
        agrees,
        parsed.tbs_certificate_bytes,
        parsed.signature,
    )


def _usage(parsed: x509.Certificate) -> tuple[bool, bool]:
    """Whether the key may sign certificates, and whether it may agree on keys; without the extension it may do both."""
    try:
        usage = parsed.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True, True
    return usage.key_cert_sign or usage.digital_signature, usage.key_agreement


def _authority(parsed: x509.Certificate) -> bytes:
    try:
        return parsed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    except x509.ExtensionNotFound:
        return b""


def split_certificates(raw: bytes) -> Sequence[bytes]:
    """The certificates of a certificate store, each whole.

    Raises:
        WrongData: 6A80, malformed.
    """
    try:
        return [tlv.encode(item.tag, item.value) for item in tlv.iterate(raw)]
    except tlv.TlvError as error:
        raise WrongData("the certificate store is malformed") from error
