"""Changing single keys of a store after its ceremony: replace, export, take in, destroy.

A signer's key pair is replaced by a new one with a certificate of its own under the same authority, valid from the day
before. The one before stays valid as long as it says, so that what it has signed is verified as ever; its private half
is destroyed. That of the clock goes on signing beside the new one, for its public key is in every card that was made,
until nobody has such a card any more. An authority signs its successor before its own private half is destroyed, and
what it certified stays valid under it, which is kept beside the new one.

Source: ICAO Doc 9303 part 12, clause 4.1.2 (periods that overlap); RFC 4210, clause 4.4 (root key update).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from personalization.errors import PersonalizationError
from personalization.keys.check_values import aes_check_value
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import (
    KEY_LENGTHS,
    KEY_PAIRS,
    SAM_LOAD_LABEL,
    KeyName,
    KeyStore,
    former_key_missing,
)
from personalization.keys.passphrase import PassphraseSource

_USAGE: Final = 2

ROTATED_PAIRS: Final = frozenset(KEY_PAIRS)
"""Pairs that may be replaced by new ones."""

KEPT: Final = frozenset({KeyName.RECOGNITION})
"""Keys that are never replaced: earlier issues would not be known again."""


class Change(NamedTuple):
    """What a change did, by check values.

    Attributes:
        before: of the key that was in use.
        after: of the key that is.
    """

    before: bytes
    after: bytes


class KeyAdministration(Protocol):
    """What two people may do to single symmetric keys of a store."""

    def replace(self, name: KeyName) -> Change:
        """Put a new key at random in use; the one before opens what it sealed until it is destroyed.

        Of a signer it is a new pair with a certificate; what the one before has signed stays valid. The load key of a
        rehearsal's SAM chips is not of our choice: it is taken from their vendor.

        Raises:
            PersonalizationError: "key-not-replaceable" (exit 2).
        """
        ...

    def export(self, name: KeyName) -> bytes:
        """A key under ``EXCHANGE``, RFC 3394.

        Raises:
            PersonalizationError: "key-not-exportable" (exit 2), the store lets this key leave to nobody.
        """
        ...

    def arrived(self, name: KeyName, wrapped: bytes) -> bytes:
        """Check value of a key that came under ``EXCHANGE``, which is not put in use yet.

        Raises:
            PersonalizationError: "key-not-replaceable" (exit 2); "wrapped-key-refused": under another key, changed, or
                of another length.
        """
        ...

    def take_in(self, name: KeyName, wrapped: bytes) -> Change:
        """Put a key that came under ``EXCHANGE`` in use; as `replace`.

        Raises:
            PersonalizationError: "wrapped-key-refused": under another key, changed, or of another length.
        """
        ...

    def destroy(self, name: KeyName, check_value: bytes) -> None:
        """Destroy a former key.

        Raises:
            PersonalizationError: "former-key-missing" (exit 2), there is none of that check value.
        """
        ...


def require_replaceable(name: KeyName) -> None:
    """Refuse keys that must stay, and pairs: those that may be replaced are in `ROTATED_PAIRS`.

    Raises:
        PersonalizationError: "key-not-replaceable", exit 2.
    """
    if name not in KEY_LENGTHS or name in KEPT:
        raise PersonalizationError("key-not-replaceable", exit_code=_USAGE, key=name.value)


def rehearsal_load_key(store: KeyStore) -> bytes:
    """The load key that a rehearsal's make-believe vendor puts into SAM chips from now on."""
    return store.derive(KeyName.FACTORY, SAM_LOAD_LABEL, b"", KEY_LENGTHS[KeyName.SAM_LOAD])


@dataclass(frozen=True, slots=True)
class FileKeyAdministration:
    """Changes to a file store; each is the whole file, old or new.

    Attributes:
        path: the file.
        passphrase: where the passphrase is.
    """

    path: Path
    passphrase: PassphraseSource

    def replace(self, name: KeyName) -> Change:
        """See `KeyAdministration.replace`."""
        if name in ROTATED_PAIRS:
            return self._save(name, FileKeyStore.with_new_pair)
        require_replaceable(name)
        if name is KeyName.SAM_LOAD:
            return self._put(name, rehearsal_load_key(self._open()))
        return self._save(name, FileKeyStore.with_new_key)

    def export(self, name: KeyName) -> bytes:
        """See `KeyAdministration.export`."""
        if name not in KEY_LENGTHS or name is KeyName.EXCHANGE:
            raise PersonalizationError("key-not-exportable", exit_code=_USAGE, key=name.value)
        return self._open().wrapped(name)

    def arrived(self, name: KeyName, wrapped: bytes) -> bytes:
        """See `KeyAdministration.arrived`."""
        return aes_check_value(self._unwrapped(name, wrapped))

    def take_in(self, name: KeyName, wrapped: bytes) -> Change:
        """See `KeyAdministration.take_in`."""
        return self._put(name, self._unwrapped(name, wrapped))

    def destroy(self, name: KeyName, check_value: bytes) -> None:
        """See `KeyAdministration.destroy`."""
        changed = self._open().without_former(name, check_value)
        if changed is None:
            raise former_key_missing(name, check_value)
        changed.save(self.path, self.passphrase.read())

    def _unwrapped(self, name: KeyName, wrapped: bytes) -> bytes:
        require_replaceable(name)
        value = self._open().unwrapped(wrapped)
        if len(value) != KEY_LENGTHS[name]:
            raise PersonalizationError("wrapped-key-refused")
        return value

    def _put(self, name: KeyName, value: bytes) -> Change:
        return self._save(name, lambda store, _: store.with_key(name, value))

    def _save(self, name: KeyName, change: Callable[[FileKeyStore, KeyName], FileKeyStore]) -> Change:
        store = self._open()
        changed = change(store, name)
        changed.save(self.path, self.passphrase.read())
        return Change(store.check_value(name), changed.check_value(name))

    def _open(self) -> FileKeyStore:
        return FileKeyStore.open(self.path, self.passphrase.read())
