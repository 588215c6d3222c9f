"""The inspector's results as the journal keeps them: compressed, and sealed under a key of their batch.

They are masked, and still are of a person. A database keeps what was taken out of it in places that nobody can clean
from here (dead rows, write-ahead logs, archives, backups), so nothing goes in that the end of the batch's key does not
close.

```
offset 0  1  form, 1
       1     sealed under the batch's transport key, for row and chip: compressed JSON, a list of
             [name, passed, interface, shown, expected]
```

Journals of earlier releases hold the compressed JSON itself, which begins with 78 (RFC 1950, clause 2.2).
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self

from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName, KeyStore

if TYPE_CHECKING:
    from personalization.production.work import Inspection

_FORM: Final = b"\x01"
_FASTEST: Final = 1
_CONTEXT: Final = b"inspection\x00"

CheckRow = tuple[str, bool, str, str, str]
"""Name, passed, interface, shown, expected."""


class Sealing(Protocol):
    """What of a batch's key store is needed."""

    def seal(self, name: KeyName, plaintext: bytes, associated: bytes) -> bytes:
        """See `KeyStore.seal`."""
        ...

    def unseal(self, name: KeyName, sealed: bytes, associated: bytes) -> bytes:
        """See `KeyStore.unseal`."""
        ...


@dataclass(frozen=True, slots=True)
class Results:
    """Seals and opens results of one batch.

    Attributes:
        keys: the batch's store; None when its keys are gone, and with them what they sealed.
    """

    keys: Sealing | None

    @classmethod
    def of_batch(cls, keys: KeyStore, batch: str) -> Self:
        """With the keys of a batch, or without them when they were destroyed.

        Args:
            keys: the centre's store.
            batch: identifier.
        """
        try:
            return cls(keys.of_batch(batch))
        except PersonalizationError as error:
            if error.code != "batch-keys-missing":
                raise
            return cls(None)

    def pack(self, inspection: Inspection, row_number: int, card_number: str) -> bytes:
        """What the journal keeps.

        Raises:
            PersonalizationError: "batch-keys-missing" (exit 3); what the key store says.
        """
        if self.keys is None:
            raise PersonalizationError("batch-keys-missing", exit_code=3, batch="")
        rows = [[check.name, check.passed, check.interface, check.shown, check.expected] for check in inspection.checks]
        packed = zlib.compress(json.dumps(rows, ensure_ascii=False).encode(), _FASTEST)
        return _FORM + self.keys.seal(KeyName.TRANSPORT, packed, _associated(row_number, card_number))

    def open(self, kept: bytes | None, row_number: int, card_number: str) -> list[CheckRow]:
        """The results; none when none were kept, or when the batch's keys are gone.

        Raises:
            PersonalizationError: "sealed-data-refused": of another row or card, or changed.
        """
        if kept is None:
            return []
        if kept.startswith(_FORM):
            if self.keys is None:
                return []
            kept = self.keys.unseal(KeyName.TRANSPORT, kept[len(_FORM) :], _associated(row_number, card_number))
        rows: list[CheckRow] = [tuple(row) for row in json.loads(zlib.decompress(kept))]
        return rows


def _associated(row_number: int, card_number: str) -> bytes:
    return _CONTEXT + f"{row_number}\x00{card_number}".encode()
