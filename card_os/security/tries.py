"""Try counters of PINs and keys.

The first two bytes of such an object are its tries: offset 0 tries left, offset 1 try limit, one byte each, 0..15. They
stand in one programming unit, so that a change of the counter is old or new after a cut. A try is spent before the
compare that it pays for: whoever cuts the power at the answer has paid already.

Source: ISO/IEC 7816-4:2020, clauses 11.6.6 and 11.6.7 (63CX, 6983).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.iso7816.errors import MethodBlocked

if TYPE_CHECKING:
    from card_os.storage.store import ObjectStore, StoredObject

MAX_TRY_LIMIT: Final = 15
TRIES_LEFT_AT: Final = 0
TRY_LIMIT_AT: Final = 1

_COUNTS: Final = tuple(bytes((count,)) for count in range(MAX_TRY_LIMIT + 1))


def initial_tries(limit: int) -> bytes:
    """The first two bytes of a new object: all tries left, limit.

    Raises:
        ValueError: a limit outside 0..15.
    """
    if not 0 <= limit <= MAX_TRY_LIMIT:
        raise ValueError(f"a try limit of {limit}")
    return _COUNTS[limit] * 2


def spend_try(store: ObjectStore, item: StoredObject, left: int) -> int:
    """Take one try, at once and outside any transaction; returns what is left after it.

    Args:
        store: the card's objects.
        item: the PIN or key.
        left: tries left as just read from it.

    Raises:
        MethodBlocked: 6983, none is left; nothing is written.
    """
    if left == 0:
        raise MethodBlocked("no tries left")
    left -= 1
    store.count(item, _COUNTS[left])
    return left


def restore_tries(store: ObjectStore, item: StoredObject, limit: int) -> None:
    """Give all tries back after a success, at once."""
    store.count(item, _COUNTS[limit])
