"""Certificates of cards: whose key a card's is, by an authority that the host trusts.

A card tells the certificates of its key in GET DATA BF21, the leaf last, in X.509 or in GlobalPlatform's own form:

```
7F21 { 93 serial number, 42 authority, 5F20 subject, 95 usage, …, 7F49 { B0 point, F0 curve }, 5F37 signature }
```

Source: GlobalPlatform Card Technology, Secure Channel Protocol '11', Amendment F, clauses 6.6 and 6.7 and tables 6-12
and 6-13; RFC 5280, clause 4.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_SHORT_NE, CommandApdu
from personalization.errors import PersonalizationError

CERTIFICATE_STORE: Final = 0xBF21

_CLA: Final = 0x80
_INS_GET_DATA: Final = 0xCA
_TAG_TEMPLATE: Final = 0xA6
_TAG_KEY: Final = 0x83
_TAG_CERTIFICATE: Final = 0x7F21
_TAG_SEQUENCE: Final = 0x30
_TAG_PUBLIC_KEY: Final = 0x7F49
_TAG_POINT: Final = 0xB0
_TAG_CURVE: Final = 0xF0
_TAG_SIGNATURE: Final = 0x5F37
_TAG_UNTIL: Final = 0x5F24
_CURVES: Final[dict[int, ec.EllipticCurve]] = {
    0x00: ec.SECP256R1(),
    0x01: ec.SECP384R1(),
    0x02: ec.SECP521R1(),
    0x03: ec.BrainpoolP256R1(),
    0x05: ec.BrainpoolP384R1(),
    0x07: ec.BrainpoolP512R1(),
}
"""Curves by key parameter reference (GPC 2.3.1, table B-2)."""
_LARGE: Final = 512
_MIDDLE: Final = 384


class _Certificate(NamedTuple):
    holder: ec.EllipticCurvePublicKey
    signed: bytes
    signature: bytes
    digest: HashAlgorithm | None
    """As the certificate says; None: that of the strength of the signing key."""
    until: dt.datetime


def certificate_request(identifier: int, version: int) -> CommandApdu:
    """GET DATA of the certificates of one of the card's keys."""
    data = tlv.encode(_TAG_TEMPLATE, tlv.encode(_TAG_KEY, bytes((identifier, version))))
    p1, p2 = divmod(CERTIFICATE_STORE, 0x100)
    return CommandApdu(_CLA, _INS_GET_DATA, p1, p2, data, MAX_SHORT_NE)


def certified_key(
    store: bytes, authority: ec.EllipticCurvePublicKey, now: dt.datetime | None = None
) -> ec.EllipticCurvePublicKey:
    """The card's key out of its certificate store, each certificate signed by the key of the one before.

    Args:
        store: answer of `certificate_request`, template BF21.
        authority: key that signed the first one.
        now: the time, the clock's by default.

    Raises:
        PersonalizationError: "scp11-card-not-certified" with the reason.
    """
    try:
        outer = tlv.parse_one(store)
        chain = [_parse(item) for item in tlv.parse_all(outer.value)]
    except (tlv.TlvError, ValueError, UnsupportedAlgorithm) as error:
        raise PersonalizationError("scp11-card-not-certified", reason="malformed") from error
    if not chain:
        raise PersonalizationError("scp11-card-not-certified", reason="no certificate")
    issuer, moment = authority, now or dt.datetime.now(dt.UTC)
    for certificate in chain:
        try:
            digest = certificate.digest or _digest_of(issuer)
            issuer.verify(certificate.signature, certificate.signed, ec.ECDSA(digest))
        except InvalidSignature as error:
            raise PersonalizationError("scp11-card-not-certified", reason="signature") from error
        if certificate.until < moment:
            raise PersonalizationError("scp11-card-not-certified", reason="expired")
        issuer = certificate.holder
    return issuer


def _parse(item: tlv.Tlv) -> _Certificate:
    if item.tag == _TAG_SEQUENCE:
        return _parse_x509(tlv.encode(item.tag, item.value))
    if item.tag != _TAG_CERTIFICATE:
        raise ValueError("no certificate")
    values = {entry.tag: entry.value for entry in item.children()}
    if not {_TAG_PUBLIC_KEY, _TAG_SIGNATURE, _TAG_UNTIL} <= set(values):
        raise ValueError("an object is missing")
    key = {entry.tag: entry.value for entry in tlv.parse_all(values[_TAG_PUBLIC_KEY])}
    curve = _CURVES.get(int.from_bytes(key.get(_TAG_CURVE, b"\xff"), "big"))
    if curve is None:
        raise ValueError("a curve that is not known")
    raw = values[_TAG_SIGNATURE]
    half = len(raw) // 2
    until = dt.datetime.strptime(values[_TAG_UNTIL].hex(), "%Y%m%d").replace(tzinfo=dt.UTC) + dt.timedelta(days=1)
    return _Certificate(
        ec.EllipticCurvePublicKey.from_encoded_point(curve, key.get(_TAG_POINT, b"")),
        item.value[: len(item.value) - len(tlv.encode(_TAG_SIGNATURE, raw))],
        encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")),
        None,
        until,
    )


def _parse_x509(raw: bytes) -> _Certificate:
    parsed = x509.load_der_x509_certificate(raw)
    key = parsed.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("no key on a curve")  # noqa: TRY004 - what is wrong is the certificate, not a type
    return _Certificate(
        key, parsed.tbs_certificate_bytes, parsed.signature, parsed.signature_hash_algorithm, parsed.not_valid_after_utc
    )


def _digest_of(key: ec.EllipticCurvePublicKey) -> HashAlgorithm:
    if key.curve.key_size >= _LARGE:
        return SHA512()
    return SHA384() if key.curve.key_size >= _MIDDLE else SHA256()
