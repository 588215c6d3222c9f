"""Documents that somebody may have to prove years later: JSON, signed by the audit key, with what verifying needs.

```
{"document": {…}, "signature": {"algorithm", "value", "certificate", "authority", "links": […]}}
```

What is signed is the document as JSON, UTF-8, keys sorted, no spaces. The certificate of the authority goes along to be
compared with one that the verifier trusts; by itself it proves nothing. Links lead to it from authorities before it.

Source: FIPS 186-5, clause 6.4 (ECDSA); RFC 5280, clause 6.1 (the path is two certificates long).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from personalization.errors import PersonalizationError, unread
from personalization.keys.authorities import Authorities, is_issued_by, is_link
from personalization.keys.keystore import KeyName, KeyStore

ALGORITHM: Final = "ECDSA P-256 SHA-256"
_HALF: Final = 32

Document = Mapping[str, object]


def encode_document(document: Document) -> bytes:
    """The one form of a document that is signed and hashed."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sign_document(document: Document, keys: KeyStore) -> dict[str, object]:
    """The document with its signature, ready to be written as JSON.

    Raises:
        PersonalizationError: the store cannot sign.
    """
    digest = hashlib.sha256(encode_document(document)).digest()
    certificate = keys.certificate(KeyName.AUDIT)
    known = [x509.load_der_x509_certificate(raw) for raw in keys.certificates(KeyName.AUTHORITY)]
    signer = x509.load_der_x509_certificate(certificate)
    issuer = next((one for one in known if not is_link(one) and is_issued_by(signer, one)), known[0])
    return {
        "document": dict(document),
        "signature": {
            "algorithm": ALGORITHM,
            "value": keys.sign_digest(KeyName.AUDIT, digest).hex(),
            "certificate": certificate.hex(),
            "authority": issuer.public_bytes(Encoding.DER).hex(),
            "links": [one.public_bytes(Encoding.DER).hex() for one in known if is_link(one)],
        },
    }


def open_document(signed: object, place: str, authority: bytes | None = None) -> dict[str, Any]:
    """The document, when its signature holds.

    Args:
        signed: as `sign_document` gives it, read from JSON.
        place: where it was, for the error.
        authority: certificates (DER, one behind the other) that the verifier trusts; None takes what came along. The
            document's own links lead from a former authority to the one that certified the signer.

    Raises:
        PersonalizationError: "document-malformed", "document-not-genuine" (changed, or signed by somebody else).
    """
    if not isinstance(signed, Mapping):
        raise PersonalizationError("document-malformed", place=place)
    try:
        document: dict[str, Any] = dict(signed["document"])
        signature = signed["signature"]
        raw = bytes.fromhex(signature["value"])
        signer = x509.load_der_x509_certificate(bytes.fromhex(signature["certificate"]))
        links = [bytes.fromhex(link) for link in signature.get("links", ())]  # none in documents of before
        authorities = Authorities(authority or bytes.fromhex(signature["authority"]), links)
        known = signature["algorithm"] == ALGORITHM and len(raw) == 2 * _HALF
    except (KeyError, TypeError, ValueError, AttributeError):
        raise PersonalizationError("document-malformed", place=place) from None
    if not known:
        raise PersonalizationError("document-malformed", place=place)
    if authorities.issuer_of(signer) is None or not _holds(document, raw, signer):
        raise PersonalizationError("document-not-genuine", place=place)
    return document


def _holds(document: Document, raw: bytes, signer: x509.Certificate) -> bool:
    public = signer.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return False
    der = encode_dss_signature(int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big"))
    try:
        public.verify(der, hashlib.sha256(encode_document(document)).digest(), ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        return False
    return True


def read_signed(path: Path, authority: bytes | None = None) -> dict[str, Any]:
    """The document in a file; see `open_document`.

    Raises:
        PersonalizationError: as `open_document`; "document-missing" (exit 2).
    """
    return open_document(read_json(path), str(path), authority)


def read_json(path: Path) -> object:
    """The JSON in a file that somebody else may have written.

    Raises:
        PersonalizationError: "document-missing" (exit 2), "document-malformed": no JSON, or nested without reason.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unread(error, path, PersonalizationError("document-missing", exit_code=2, file=str(path))) from None
    try:
        found: object = json.loads(content)
    except (ValueError, RecursionError):
        raise PersonalizationError("document-malformed", place=str(path)) from None
    return found


def written(signed: Mapping[str, object]) -> bytes:
    """A signed document as the file that keeps it."""
    return json.dumps(signed, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"
