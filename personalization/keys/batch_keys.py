"""The keys of one batch: what seals its files dies with it.

Each of the sealing names has a key of its own for each batch. `KeyStore.of_batch` looks like the key store itself, with
these keys in the place of the centre's: who seals and opens a batch's files does not know the difference. They are kept
beside the centre's keys and never in the journal or with it, so that a copy of the journal and of the batch's folder
opens nothing once they are destroyed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

from personalization.errors import PersonalizationError
from personalization.keys.keystore import KEY_USES, KeyName, KeyStore, KeyUse, require_use

BATCH_KEYS: Final = tuple(name for name, uses in KEY_USES.items() if KeyUse.SEAL in uses)
"""Names that have a key for each batch."""

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Sealer(Protocol):
    """One sealing key."""

    def check_value(self) -> bytes:
        """Three bytes; see `KeyStore.check_value`."""
        ...

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """See `KeyStore.seal`."""
        ...

    def unseal(self, sealed: bytes, associated: bytes) -> bytes | None:
        """See `KeyStore.unseal`; None when it is not what was sealed."""
        ...


def check_identifier(batch: str) -> None:
    """Refuse what would be no name of a file or of an object in a token.

    Raises:
        PersonalizationError: "batch-identifier-malformed", exit 2.
    """
    if not _IDENTIFIER.fullmatch(batch):
        raise PersonalizationError("batch-identifier-malformed", exit_code=2)


class BatchKeyStore:
    """A key store whose sealing keys are those of one batch.

    Args:
        store: the centre's.
        sealers: keys of the batch.
    """

    __slots__ = ("_sealers", "_store")

    def __init__(self, store: KeyStore, sealers: Mapping[KeyName, Sealer]) -> None:
        self._store = store
        self._sealers = dict(sealers)

    def __repr__(self) -> str:
        return f"BatchKeyStore of {self._store!r}"

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        raise TypeError("a key store does not travel between processes; send its location")

    def close(self) -> None:
        """Let go of the batch's keys; the centre's store stays open."""
        self._sealers.clear()

    @property
    def production(self) -> bool:
        """See `KeyStore.production`."""
        return self._store.production

    def check_value(self, name: KeyName) -> bytes:
        """See `KeyStore.check_value`."""
        return self._sealer(name).check_value() if name in BATCH_KEYS else self._store.check_value(name)

    def check_values(self, name: KeyName) -> tuple[bytes, ...]:
        """See `KeyStore.check_values`."""
        return (self.check_value(name),) if name in BATCH_KEYS else self._store.check_values(name)

    def derive(self, name: KeyName, label: str, context: bytes, length: int, check_value: bytes | None = None) -> bytes:
        """See `KeyStore.derive`."""
        return self._store.derive(name, label, context, length, check_value)

    def wrap_master(self, name: KeyName) -> bytes:
        """See `KeyStore.wrap_master`."""
        return self._store.wrap_master(name)

    def seal(self, name: KeyName, plaintext: bytes, associated: bytes) -> bytes:
        """See `KeyStore.seal`."""
        require_use(name, KeyUse.SEAL)
        return self._sealer(name).seal(plaintext, associated)

    def unseal(self, name: KeyName, sealed: bytes, associated: bytes) -> bytes:
        """See `KeyStore.unseal`."""
        require_use(name, KeyUse.SEAL)
        opened = self._sealer(name).unseal(sealed, associated)
        if opened is None:
            raise PersonalizationError("sealed-data-refused", key=name.value)
        return opened

    def recognise(self, value: bytes) -> bytes:
        """See `KeyStore.recognise`."""
        return self._store.recognise(value)

    def sign_digest(self, name: KeyName, digest: bytes) -> bytes:
        """See `KeyStore.sign_digest`."""
        return self._store.sign_digest(name, digest)

    def sign_with_all(self, name: KeyName, digest: bytes) -> tuple[bytes, ...]:
        """See `KeyStore.sign_with_all`."""
        return self._store.sign_with_all(name, digest)

    def certificate(self, name: KeyName) -> bytes:
        """See `KeyStore.certificate`."""
        return self._store.certificate(name)

    def certificates(self, name: KeyName) -> tuple[bytes, ...]:
        """See `KeyStore.certificates`."""
        return self._store.certificates(name)

    def make_batch_keys(self, batch: str) -> dict[KeyName, bytes]:
        """See `KeyStore.make_batch_keys`."""
        return self._store.make_batch_keys(batch)

    def of_batch(self, batch: str) -> KeyStore:
        """See `KeyStore.of_batch`."""
        return self._store.of_batch(batch)

    def destroy_batch_keys(self, batch: str) -> bool:
        """See `KeyStore.destroy_batch_keys`."""
        return self._store.destroy_batch_keys(batch)

    def _sealer(self, name: KeyName) -> Sealer:
        found = self._sealers.get(name)
        if found is None:
            raise PersonalizationError("key-missing", exit_code=3, key=name.value, place="batch")
        return found
