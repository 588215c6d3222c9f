"""The global PIN: a cardholder verification method that all applications of the card share.

Any application may verify it and ask for its state; one with the CVM management privilege sets, blocks and unblocks it.
Stored as an object of kind PIN of the card, its identifier is the CVM identifier:

```
offset 0  1  tries left
offset 1  1  try limit, 1..15
offset 2  1  length of the value
offset 3  16 value as it was given, then 00
```

The state of a session (submitted, validated) is lost with power; whether it is blocked is in the tries. A try is spent
before the compare.

Source: GlobalPlatform Card Specification 2.3.1, clause 8.2 (CVM application).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import CARD_OWNER
from card_os.iso7816.errors import ReferenceDataNotFound, SecurityStatusNotSatisfied, WrongData
from card_os.security.cryptography import equal
from card_os.security.tries import (
    MAX_TRY_LIMIT,
    TRIES_LEFT_AT,
    TRY_LIMIT_AT,
    initial_tries,
    restore_tries,
    spend_try,
)
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.globalplatform.registry import Application
    from card_os.storage.store import ObjectStore, StoredObject

GLOBAL_PIN: Final = 0x11
"""CVM identifier of the global PIN (8.2.2.1)."""
MAX_VALUE: Final = 16
DEFAULT_TRY_LIMIT: Final = 3

_LENGTH_AT: Final = 2
_VALUE_AT: Final = 3
_BLOCKED: Final = b"\x00"


class CvmState(IntEnum):
    """States of a CVM (8.2.2.2)."""

    ACTIVE = 1
    INVALID_SUBMISSION = 2
    VALIDATED = 3
    BLOCKED = 4


class GlobalPin:
    """The global PIN of a booted card.

    Args:
        store: the card's objects.
    """

    __slots__ = ("_state", "_store")

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._state = CvmState.ACTIVE

    def _item(self) -> StoredObject:
        item = self._store.find(CARD_OWNER, ObjectKind.PIN, GLOBAL_PIN)
        if item is None:
            raise ReferenceDataNotFound("the card has no global PIN yet")
        return item

    @property
    def is_set(self) -> bool:
        """True once a value was set."""
        return self._store.find(CARD_OWNER, ObjectKind.PIN, GLOBAL_PIN) is not None

    @property
    def tries_left(self) -> int:
        """How often a wrong value may still be presented.

        Raises:
            ReferenceDataNotFound: 6A88, it was never set.
        """
        return self._store.read(self._item(), TRIES_LEFT_AT, 1)[0]

    @property
    def state(self) -> CvmState:
        """Its state.

        Raises:
            ReferenceDataNotFound: 6A88, it was never set.
        """
        return self._state if self.tries_left else CvmState.BLOCKED

    def verify(self, value: bytes) -> bool:
        """Compare a value; false whenever it is blocked.

        Raises:
            ReferenceDataNotFound: 6A88, it was never set.
        """
        store, item = self._store, self._item()
        left, limit, length = store.read(item, 0, _VALUE_AT)
        if left == 0:
            return False
        self._state = CvmState.INVALID_SUBMISSION
        spend_try(store, item, left)
        if not equal(store.read(item, _VALUE_AT, length), value):
            return False
        restore_tries(store, item, limit)
        self._state = CvmState.VALIDATED
        return True

    def reset_state(self) -> None:
        """Forget what was submitted; any application may (8.2.2.2.2)."""
        self._state = CvmState.ACTIVE

    def change(self, application: Application, value: bytes) -> None:
        """Set a new value, for the first time too; it is active with all tries afterwards.

        Raises:
            SecurityStatusNotSatisfied: 6982, without the CVM management privilege.
            WrongData: 6A80, no value, or one of more than 16 bytes.
        """
        _require_manager(application)
        if not 0 < len(value) <= MAX_VALUE:
            raise WrongData(f"a global PIN has 1 to {MAX_VALUE} bytes")
        store = self._store
        limit = store.read(self._item(), TRY_LIMIT_AT, 1)[0] if self.is_set else DEFAULT_TRY_LIMIT
        self._replace(initial_tries(limit) + bytes((len(value),)) + value.ljust(MAX_VALUE, b"\x00"))

    def set_try_limit(self, application: Application, limit: int) -> None:
        """Set how often a wrong value may be presented in a row; all tries are there again.

        Raises:
            SecurityStatusNotSatisfied: 6982, without the CVM management privilege.
            WrongData: 6A80, not 1 to 15.
            ReferenceDataNotFound: 6A88, it was never set.
        """
        _require_manager(application)
        if not 0 < limit <= MAX_TRY_LIMIT:
            raise WrongData(f"a try limit is 1 to {MAX_TRY_LIMIT}")
        self._replace(initial_tries(limit) + self._store.read(self._item(), _LENGTH_AT))

    def _replace(self, body: bytes) -> None:
        store = self._store
        with store.transaction():
            if self.is_set:
                store.delete(self._item())
            store.create(CARD_OWNER, ObjectKind.PIN, GLOBAL_PIN, len(body), body)
        self._state = CvmState.ACTIVE

    def block(self, application: Application) -> None:
        """Block it until a manager unblocks it.

        Raises:
            SecurityStatusNotSatisfied: 6982, without the CVM management privilege.
            ReferenceDataNotFound: 6A88, it was never set.
        """
        _require_manager(application)
        self._store.write_through(self._item(), TRIES_LEFT_AT, _BLOCKED)

    def unblock(self, application: Application) -> None:
        """Give all tries back.

        Raises:
            SecurityStatusNotSatisfied: 6982, without the CVM management privilege.
            ReferenceDataNotFound: 6A88, it was never set.
        """
        _require_manager(application)
        item = self._item()
        restore_tries(self._store, item, self._store.read(item, TRY_LIMIT_AT, 1)[0])
        self._state = CvmState.ACTIVE


def _require_manager(application: Application) -> None:
    if not application.privileges & Privilege.CVM_MANAGEMENT:
        raise SecurityStatusNotSatisfied("the application may not manage the global PIN")
