"""The encrypted file of a rehearsal's keys.

The file is JSON, so that anybody who opens it reads at once what it is::

    label    "REHEARSAL – not for production"
    format   "permitcard key store", version 2
    scrypt   n, r, p, salt (hex)
    verifier HMAC-SHA-256 of the label under the second half of the scrypt output (hex): tells a wrong passphrase
             from a damaged file
    sealed   nonce ‖ AES-256-GCM of the key table under the first half (base64); everything above is authenticated

Source: RFC 7914 (scrypt); NIST SP 800-38D (GCM).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from personalization.keys.certificates import REHEARSAL_LABEL

FORMAT: Final = "permitcard key store"
VERSION: Final = 2
_EARLIER: Final = (1,)

SCRYPT_N: Final = 1 << 15
"""Cost: about a tenth of a second, and 32 MB."""

_AES_256: Final = 32
_NONCE: Final = 12
_SALT: Final = 16
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1
_MAX_SCRYPT_N: Final = 1 << 20
_MAX_SCRYPT_R: Final = 8
_SCRYPT_MEMORY: Final = (1 << 31) - 1 - 1024


class EarlierVersionError(Exception):
    """A store without keys that are needed today."""


class WrongPassphraseError(Exception):
    """The verifier does not match."""


def _stretch(passphrase: bytes, salt: bytes, n: int, r: int, p: int) -> tuple[bytes, bytes]:
    stretched = hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=_SCRYPT_MEMORY, dklen=2 * _AES_256)
    return stretched[:_AES_256], hmac.digest(stretched[_AES_256:], REHEARSAL_LABEL.encode(), "sha256")


def _associated(header: Mapping[str, object]) -> bytes:
    return json.dumps(header, ensure_ascii=False, sort_keys=True).encode()


def encode_key_file(table: dict[str, dict[str, str]], passphrase: bytes, scrypt_n: int = SCRYPT_N) -> bytes:
    """The file's content.

    Args:
        table: keys in hex, by kind and name.
        passphrase: what opens it.
        scrypt_n: cost, a power of two.
    """
    salt = os.urandom(_SALT)
    key, verifier = _stretch(passphrase, salt, scrypt_n, _SCRYPT_R, _SCRYPT_P)
    header: dict[str, object] = {
        "label": REHEARSAL_LABEL,
        "format": FORMAT,
        "version": VERSION,
        "scrypt": {"n": scrypt_n, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": salt.hex()},
        "verifier": verifier.hex(),
    }
    nonce = os.urandom(_NONCE)
    sealed = nonce + AESGCM(key).encrypt(nonce, json.dumps(table).encode(), _associated(header))
    document = {**header, "sealed": base64.b64encode(sealed).decode("ascii")}
    return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"


def decode_key_file(content: bytes, passphrase: bytes) -> dict[str, dict[str, str]]:
    """Undo `encode_key_file`.

    Raises:
        WrongPassphraseError: the verifier does not match.
        EarlierVersionError: a store without keys that are needed today.
        ValueError, KeyError, TypeError, AttributeError, InvalidTag, binascii.Error: it is damaged.
    """
    document = json.loads(content)
    if (document["format"], document["label"]) == (FORMAT, REHEARSAL_LABEL) and document["version"] in _EARLIER:
        raise EarlierVersionError
    if (document["format"], document["version"], document["label"]) != (FORMAT, VERSION, REHEARSAL_LABEL):
        raise ValueError("another format")
    cost = document["scrypt"]
    if not (1 < cost["n"] <= _MAX_SCRYPT_N and 1 <= cost["r"] <= _MAX_SCRYPT_R and cost["p"] == _SCRYPT_P):
        raise ValueError("cost out of bounds")
    key, verifier = _stretch(passphrase, bytes.fromhex(cost["salt"]), cost["n"], cost["r"], cost["p"])
    if not hmac.compare_digest(verifier, bytes.fromhex(document["verifier"])):
        raise WrongPassphraseError
    sealed = base64.b64decode(document.pop("sealed"), validate=True)
    opened = AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _associated(document))
    table: dict[str, dict[str, str]] = json.loads(opened)
    return table
