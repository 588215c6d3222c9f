"""EF.SIGNATURE: the document signer's signature over all identity data.

```
7F21 { 80 01 version · 81 01 SHA-256 · A2 { 83 { FID (2) ‖ SHA-256 (32) } … in order of FID } }
5F37 r ‖ s (64), ECDSA P-256 over SHA-256 of the whole object 7F21
7F4E certificate of the signer (X.509, DER)
```

Source: card specification, "Signature"; the shape follows ICAO Doc 9303 part 10, clause 4.6.2 (security object).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from card_os.iso7816.tlv import encode
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName, KeyStore
from personalization.profile import CardProfile


class SignatureTag(IntEnum):
    """Tags of EF.SIGNATURE."""

    HASHES = 0x7F21
    VERSION = 0x80
    ALGORITHM = 0x81
    HASH_LIST = 0xA2
    FILE_HASH = 0x83
    SIGNATURE = 0x5F37
    CERTIFICATE = 0x7F4E


_VERSION_1: Final = b"\x01"
_SHA_256: Final = b"\x01"
_SIGNATURE_HEAD: Final = encode(SignatureTag.SIGNATURE, bytes(64))[:-64]


class DocumentSigner:
    """Signs file contents under one profile; the certificate is taken from the store once.

    Args:
        profile: the card profile; it names the files that are signed.
        keystore: holds the signer's key and certificate.

    Raises:
        PersonalizationError: "profile-without-signature" (exit 2).
    """

    __slots__ = ("_certificate", "_entries", "_head", "_keystore", "fid")

    def __init__(self, profile: CardProfile, keystore: KeyStore) -> None:
        if profile.signature is None:
            raise PersonalizationError("profile-without-signature", exit_code=2, profile=profile.name)
        fids = sorted(profile.file_named(name).fid for name in profile.signature.hashed)
        self._head, self._entries = _form(fids)
        self._keystore = keystore
        self._certificate = encode(SignatureTag.CERTIFICATE, keystore.certificate(KeyName.DOCUMENT_SIGNER))
        self.fid = profile.file_named(profile.signature.file).fid
        """Identifier of EF.SIGNATURE."""

    def sign(self, contents: Mapping[int, bytes], digests: Mapping[int, bytes] = MappingProxyType({})) -> bytes:
        """Content of EF.SIGNATURE.

        Args:
            contents: file content by FID; all signed files are among them.
            digests: SHA-256 of contents that were hashed already.
        """
        parts = [self._head]
        for fid, entry in self._entries:
            parts += (entry, digests.get(fid) or hashlib.sha256(contents[fid]).digest())
        signed = b"".join(parts)
        signature = self._keystore.sign_digest(KeyName.DOCUMENT_SIGNER, hashlib.sha256(signed).digest())
        return b"".join((signed, _SIGNATURE_HEAD, signature, self._certificate))


def _form(fids: list[int]) -> tuple[bytes, list[tuple[int, bytes]]]:
    """What is the same in object 7F21 of every card: what stands before the hash list, and before each hash."""
    blank = bytes(hashlib.sha256().digest_size)
    entries = [(fid, encode(SignatureTag.FILE_HASH, fid.to_bytes(2, "big"), blank)) for fid in fids]
    hashes = b"".join(entry for _, entry in entries)
    whole = encode(
        SignatureTag.HASHES,
        encode(SignatureTag.VERSION, _VERSION_1),
        encode(SignatureTag.ALGORITHM, _SHA_256),
        encode(SignatureTag.HASH_LIST, hashes),
    )
    return whole[: -len(hashes)], [(fid, entry[: -len(blank)]) for fid, entry in entries]
