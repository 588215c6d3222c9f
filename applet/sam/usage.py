"""The limits of a module's life: authentications it does, wrong cards it sees.

Each limit is an object of kind COUNTER with what is left, 4 bytes big-endian, which only goes down. Authentications are
taken out of memory in small lots before the first of them is used, and live in the session: one write for a lot spares
the memory, and a reset loses the rest of a lot, never gains one.

Source: card specification, "Secure access module".
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.applet_services import ObjectKind, StoredObject
from card_os.iso7816.errors import ConditionsNotSatisfied, WrongData
from card_os.iso7816.tlv import TlvError, iterate

if TYPE_CHECKING:
    from card_os.applet_api import Context

COUNTER_LENGTH: Final = 4
_LOT: Final = 16
_LOT_LEFT: Final = "lot"


class Limit(IntEnum):
    """Identifiers of the counters, and tags of the install parameters."""

    AUTHENTICATIONS = 0x80
    WRONG_CARDS = 0x81


def create_limits(context: Context, parameters: bytes) -> None:
    """Create the counters from the install parameters: 80 authentications (4) · 81 wrong cards (4).

    Raises:
        WrongData: 6A80, a limit is missing, zero or not of 4 bytes.
    """
    try:
        limits = {item.tag: item.value for item in iterate(parameters)}
    except TlvError as error:
        raise WrongData("install parameters are malformed") from error
    if set(limits) != set(Limit) or any(len(value) != COUNTER_LENGTH or not any(value) for value in limits.values()):
        raise WrongData("install parameters are the two limits")
    for limit in Limit:
        context.store.create(context.application.owner, ObjectKind.COUNTER, limit, COUNTER_LENGTH, limits[limit])


def spend_authentication(context: Context) -> None:
    """Take one authentication before it is done.

    Raises:
        ConditionsNotSatisfied: 6985, a limit is used up.
    """
    if not _left(context, Limit.WRONG_CARDS):
        raise ConditionsNotSatisfied("the module has seen too many wrong cards")
    lot = _lot(context)
    if not lot:
        left = _left(context, Limit.AUTHENTICATIONS)
        if not left:
            raise ConditionsNotSatisfied("the module has done its authentications")
        lot = min(_LOT, left)
        _write(context, Limit.AUTHENTICATIONS, left - lot)
    context.session.scratch[_LOT_LEFT] = lot - 1


def count_wrong_card(context: Context) -> None:
    """Count an answer that was not genuine; the authentication it came with is spent already."""
    left = _left(context, Limit.WRONG_CARDS)
    if left:
        _write(context, Limit.WRONG_CARDS, left - 1)


def uses_left(context: Context) -> bytes:
    """Authentications left (4) ‖ wrong cards left (4)."""
    authentications = _left(context, Limit.AUTHENTICATIONS) + _lot(context)
    return b"".join(
        count.to_bytes(COUNTER_LENGTH, "big") for count in (authentications, _left(context, Limit.WRONG_CARDS))
    )


def _lot(context: Context) -> int:
    lot = context.session.scratch.get(_LOT_LEFT, 0)
    return lot if isinstance(lot, int) else 0


def _counter(context: Context, limit: Limit) -> StoredObject:
    item = context.store.find(context.application.owner, ObjectKind.COUNTER, limit)
    if item is None:
        raise ConditionsNotSatisfied("the module has no limits")
    return item


def _left(context: Context, limit: Limit) -> int:
    return int.from_bytes(context.store.read(_counter(context, limit)), "big")


def _write(context: Context, limit: Limit, left: int) -> None:
    context.store.write_through(_counter(context, limit), 0, left.to_bytes(COUNTER_LENGTH, "big"))
