"""The keys that a SAM was made with, which are not always those in use.

A card is met with the SAM of its generation: its masters may have been replaced since, in the store and for new SAMs.
As long as they were not destroyed, such a SAM proves itself and is proved with the masters of its own time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from personalization.keys.keystore import KeyName, KeyStore


class Diversifier(Protocol):
    """Whatever diversifies a master; a key store does, with those in use."""

    def derive(self, name: KeyName, label: str, context: bytes, length: int) -> bytes:
        """See `KeyStore.derive`."""
        ...


@dataclass(frozen=True, slots=True)
class SamMasters:
    """The masters of one SAM; implements `Diversifier`.

    Attributes:
        keys: the centre's keys.
        values: check values (hex) of what is in the SAM, by the key's name.
    """

    keys: KeyStore
    values: Mapping[str, str]

    def derive(self, name: KeyName, label: str, context: bytes, length: int) -> bytes:
        """Diversify the master that the SAM was made with.

        Raises:
            PersonalizationError: "former-key-missing", exit 2: it was destroyed.
        """
        return self.keys.derive(name, label, context, length, bytes.fromhex(self.values[name.value]))

    def replaced(self) -> list[str]:
        """Names of those that are not in use any more."""
        return [name for name, value in self._held() if value != self.keys.check_value(KeyName(name))]

    def lost(self) -> list[str]:
        """Names of those that the store does not hold any more."""
        return [name for name, value in self._held() if value not in self.keys.check_values(KeyName(name))]

    def _held(self) -> list[tuple[str, bytes]]:
        return [(name, bytes.fromhex(value)) for name, value in self.values.items()]
