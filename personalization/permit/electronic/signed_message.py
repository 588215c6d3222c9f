"""COSE_Sign1 with ES256 under a document signer: made with the key store, verified with certificates alone.

The signer is named by the first eight bytes of the SHA-256 of its certificate (`kid`). What is signed is bound to its
use by the external data, so that a pass is never taken for a status list.

Source: RFC 9052, clauses 4.2 and 4.4; RFC 9053, clause 2.1 (ECDSA with SHA-256).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cwt import COSE, COSEAlgs, COSEHeaders, COSEKey
from cwt.cose_key_interface import COSEKeyInterface
from cwt.exceptions import DecodeError, VerifyError

from personalization.keys.authorities import Authorities
from personalization.keys.keystore import KeyName, KeyStore

KEY_IDENTIFIER_LENGTH: Final = 8
_EC2: Final = 2
_KEY_TYPE: Final = 1
_KEY_IDENTIFIER: Final = 2
_ALGORITHM: Final = 3
_P256: Final = 1
_COSE_SIGN1: Final = 18
_HEADER: Final = {int(COSEHeaders.ALG), int(COSEHeaders.KID)}


class SignatureRefused(Exception):
    """A message that is not signed by a signer that is known.

    Args:
        code: "form", "signer-unknown" or "signature".
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _StoreKey(COSEKeyInterface):
    """The document signer as a COSE key; the private key stays in the store."""

    def __init__(self, store: KeyStore, identifier: bytes) -> None:
        super().__init__({_KEY_TYPE: _EC2, _KEY_IDENTIFIER: identifier, _ALGORITHM: int(COSEAlgs.ES256)})
        self._store = store

    @property
    def crv(self) -> int:
        """P-256."""
        return _P256

    def sign(self, msg: bytes) -> bytes:
        """Sign in the key store."""
        return self._store.sign_digest(KeyName.DOCUMENT_SIGNER, hashlib.sha256(msg).digest())


def key_identifier(certificate: bytes) -> bytes:
    """The name of a signer: the first eight bytes of the SHA-256 of its certificate."""
    return hashlib.sha256(certificate).digest()[:KEY_IDENTIFIER_LENGTH]


def sign_message(store: KeyStore, payload: bytes, use: bytes) -> bytes:
    """Sign under the store's document signer.

    Args:
        store: where the key is.
        payload: what is signed and carried.
        use: what it is for; bound by the signature, not carried.

    Returns:
        COSE_Sign1, tagged.
    """
    identifier = key_identifier(store.certificate(KeyName.DOCUMENT_SIGNER))
    protected: dict[int, Any] = {int(COSEHeaders.ALG): int(COSEAlgs.ES256), int(COSEHeaders.KID): identifier}
    signed: bytes = COSE.new().encode(payload, _StoreKey(store, identifier), protected=protected, external_aad=use)
    return signed


class TrustedSigners:
    """Signers that an authority certified, by their names.

    Args:
        authority: certificates of the authorities that are trusted, DER, one behind the other.
        signers: certificates of document signers, DER; one that no authority signed, or that is not valid at
            ``now``, is left out.
        now: the verifier's time, aware.
    """

    __slots__ = ("_certificates",)

    def __init__(self, authority: bytes, signers: Iterable[bytes], now: dt.datetime) -> None:
        trusted = Authorities(authority)
        certificates: dict[bytes, x509.Certificate] = {}
        for raw in signers:
            certificate = x509.load_der_x509_certificate(raw)
            valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
            curve = isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
            if valid and curve and trusted.issuer_of(certificate, now) is not None:
                certificates[key_identifier(raw)] = certificate
        self._certificates: Mapping[bytes, x509.Certificate] = certificates

    def __len__(self) -> int:
        return len(self._certificates)

    def verify(self, message: bytes, use: bytes) -> bytes:
        """The payload of a message that one of the signers signed for ``use``.

        Raises:
            SignatureRefused: with what is wrong.
        """
        identifier = _named_signer(message)
        certificate = self._certificates.get(identifier)
        if certificate is None:
            raise SignatureRefused("signer-unknown")
        pem = certificate.public_bytes(Encoding.PEM).decode()
        key = COSEKey.from_pem(pem, kid=identifier, alg="ES256")
        try:
            payload: bytes = COSE.new().decode(message, key, external_aad=use)
        except VerifyError as error:
            raise SignatureRefused("signature") from error
        except (DecodeError, ValueError, TypeError, KeyError) as error:
            raise SignatureRefused("form") from error
        return payload


def _named_signer(message: bytes) -> bytes:
    """The signer's name in the protected header of a COSE_Sign1 in the one form that we make."""
    try:
        tagged = cbor2.loads(message)
        header = cbor2.loads(tagged.value[0])
        name = header[int(COSEHeaders.KID)]
        in_form = tagged.tag == _COSE_SIGN1 and tagged.value[1] == {} and set(header) == _HEADER
    except (cbor2.CBORDecodeError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise SignatureRefused("form") from error
    if not in_form or not isinstance(name, bytes) or header[int(COSEHeaders.ALG)] != int(COSEAlgs.ES256):
        raise SignatureRefused("form")
    if cbor2.dumps(tagged) != message:
        raise SignatureRefused("form")  # something behind it, or another encoding of it
    return name
