"""Batch keys of a file store: one file a batch, sealed under the store's own key, in a folder that no backup may take.

``batch-keys/ID.key``: nonce ‖ AES-256-GCM of the keys one after the other in the order of `BATCH_KEYS`, with the
batch's identifier as associated data. A file can be copied: that a destroyed key is gone is true as far as nobody
copied it. An HSM has no such weakness.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from personalization.atomic_file import write_atomically
from personalization.errors import PersonalizationError, unread
from personalization.folder_rights import make_folder
from personalization.keys.batch_keys import BATCH_KEYS, check_identifier
from personalization.keys.check_values import aes_check_value
from personalization.keys.keystore import KEY_LENGTHS, KeyName
from personalization.overwritten_file import overwrite_and_remove

_NONCE: Final = 12
_CONTEXT: Final = b"batch keys\x00"

Seal = Callable[[bytes, bytes], bytes]


@dataclass(frozen=True, slots=True, repr=False)
class FileSealer:
    """A sealing key in memory."""

    key: bytes
    aead: AESGCM

    @classmethod
    def of(cls, key: bytes) -> FileSealer:
        """Ready to seal."""
        return cls(key, AESGCM(key))

    def __repr__(self) -> str:
        return "FileSealer(hidden)"

    def check_value(self) -> bytes:
        """See `KeyStore.check_value`."""
        return aes_check_value(self.key)

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """See `KeyStore.seal`."""
        nonce = os.urandom(_NONCE)
        return nonce + self.aead.encrypt(nonce, plaintext, associated)

    def unseal(self, sealed: bytes, associated: bytes) -> bytes | None:
        """None when it is not what was sealed."""
        try:
            return self.aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], associated)
        except (InvalidTag, ValueError):
            return None


@dataclass(slots=True)
class BatchKeyFiles:
    """The folder of batch keys.

    Attributes:
        folder: where it is; None keeps keys in memory, for stores that are in no file.
        held: keys in memory.
    """

    folder: Path | None
    held: dict[str, bytes] = field(default_factory=dict[str, bytes], repr=False)

    def make(self, batch: str, seal: Seal) -> dict[KeyName, FileSealer]:
        """Draw new keys, in the place of any that are there."""
        check_identifier(batch)
        keys = os.urandom(sum(KEY_LENGTHS[name] for name in BATCH_KEYS))
        if self.folder is None:
            self.held[batch] = keys
        else:
            make_folder(self.folder)
            write_atomically(self._file(self.folder, batch), seal(keys, _CONTEXT + batch.encode("ascii")))
        return _sealers(keys)

    def read(self, batch: str, unseal: Seal) -> dict[KeyName, FileSealer]:
        """The keys of a batch.

        Raises:
            PersonalizationError: "batch-keys-missing" (exit 3): never made, or destroyed; "sealed-data-refused".
        """
        check_identifier(batch)
        if self.folder is None:
            keys = self.held.get(batch)
            if keys is None:
                raise _missing(batch)
            return _sealers(keys)
        try:
            sealed = self._file(self.folder, batch).read_bytes()
        except OSError as error:
            raise unread(error, self._file(self.folder, batch), _missing(batch)) from None
        return _sealers(unseal(sealed, _CONTEXT + batch.encode("ascii")))

    def destroy(self, batch: str) -> bool:
        """Overwrite and remove the keys; False when there are none."""
        check_identifier(batch)
        if self.folder is None:
            return self.held.pop(batch, None) is not None
        path = self._file(self.folder, batch)
        if not path.exists():
            return False
        overwrite_and_remove(path)
        return True

    @staticmethod
    def _file(folder: Path, batch: str) -> Path:
        return folder / f"{batch}.key"


def _sealers(keys: bytes) -> dict[KeyName, FileSealer]:
    found: dict[KeyName, FileSealer] = {}
    at = 0
    for name in BATCH_KEYS:
        end = at + KEY_LENGTHS[name]
        found[name] = FileSealer.of(keys[at:end])
        at = end
    return found


def _missing(batch: str) -> PersonalizationError:
    return PersonalizationError("batch-keys-missing", exit_code=3, batch=batch)
