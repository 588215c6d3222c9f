"""What the issuer decided once for all: an object of the card, made at manufacture.

Stored:

```
offset 0   1  format, 01
offset 1   1  what INSTALL does without code, `MissingCode`
offset 2   1  bit 1: a secured card tells its production data to anybody; bit 2: domains also over the field;
             bit 3: answers without Le
offset 3   4  bytes of volatile memory that are shared out
```

Source: GlobalPlatform Card Specification 2.3.1, clauses 3.2 (issuer policy), 9.7 (memory); the rest is our own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Self

from card_os.globalplatform.registry import CARD_OWNER, CardObject
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.storage.store import ObjectStore

_FORM: Final = struct.Struct(">BBBI")
_FORMAT: Final = 1
_OPEN_IDENTIFICATION: Final = 0x01
_DOMAINS_OVER_THE_FIELD: Final = 0x02
_ANSWERS_WITHOUT_LE: Final = 0x04
_VOLATILE_MEMORY: Final = 8_192


class MissingCode(IntEnum):
    """What INSTALL does when a load file is there, but no code for its module runs here."""

    REFUSE = 0
    OPAQUE = 1
    """An instance that can be selected, personalized and deleted, and answers every other command with 6D00."""


@dataclass(frozen=True, slots=True)
class CardPolicy:
    """Decisions of the issuer.

    Attributes:
        missing_code: what INSTALL does without code.
        open_identification: a secured card tells production data and its applications to anybody who asks.
        domains_over_the_field: a secured card's domains can be selected over the field.
        volatile_memory: bytes of volatile memory that are shared out.
        answers_without_le: a command without Le is answered with what data there is, where the transmission protocol
            can carry it, as many cards in the field do, and not with 61xx; some hosts know nothing else (GPShell sends
            SELECT and LOAD without Le over T=1).
    """

    missing_code: MissingCode = MissingCode.REFUSE
    open_identification: bool = False
    domains_over_the_field: bool = False
    volatile_memory: int = _VOLATILE_MEMORY
    answers_without_le: bool = False

    def encode(self) -> bytes:
        """The stored form."""
        flags = (
            _OPEN_IDENTIFICATION * self.open_identification
            | _DOMAINS_OVER_THE_FIELD * self.domains_over_the_field
            | _ANSWERS_WITHOUT_LE * self.answers_without_le
        )
        return _FORM.pack(_FORMAT, self.missing_code, flags, self.volatile_memory)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read the stored form.

        Raises:
            MemoryFailure: 6581, it is damaged.
        """
        try:
            _form, missing, flags, volatile = _FORM.unpack(raw)
            return cls(
                MissingCode(missing),
                bool(flags & _OPEN_IDENTIFICATION),
                bool(flags & _DOMAINS_OVER_THE_FIELD),
                volatile,
                bool(flags & _ANSWERS_WITHOUT_LE),
            )
        except (ValueError, struct.error) as error:
            raise MemoryFailure("the card's policy is damaged") from error


DEFAULT_CARD_POLICY: Final = CardPolicy()


def load_card_policy(store: ObjectStore) -> CardPolicy:
    """The policy of a card; the default one where none was stored.

    Raises:
        MemoryFailure: 6581, it is damaged.
    """
    item = store.find(CARD_OWNER, ObjectKind.CARD, CardObject.POLICY)
    return DEFAULT_CARD_POLICY if item is None else CardPolicy.decode(store.read(item))
