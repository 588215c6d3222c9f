"""The date that terminals tell, and the permit that suspends itself when its endorsement is overdue.

A card has no clock. It keeps the latest date that an authenticated terminal told; that date never goes back, and it
never goes beyond the bound that the clock authority signed (see `bound`). When it is past the due date in EF.STATUS, a
valid permit becomes suspended, in the same transaction. The issuer alone corrects a date; a correction is counted and
kept.

```
EF.STATUS  offset 0  1  status: 01 valid, 02 suspended, 03 cancelled
           offset 1  8  next endorsement due, YYYYMMDD in ASCII
           offset 9  8  date of the status, YYYYMMDD in ASCII
```
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from applet.permit.bound import bound_of
from applet.permit.calendar_date import DATE_LENGTH, NO_DATE, require_date
from card_os.applet_services import ObjectKind
from card_os.iso7816.errors import ConditionsNotSatisfied

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.applet_services import StoredObject
    from card_os.iso7816.apdu import CommandApdu

EF_STATUS: Final = 0x0203
DATE_OBJECT: Final = 0xDF22
"""Identifier of the stored date, and the tag of PUT DATA."""

CORRECTION_OBJECT: Final = 0xDF26
"""Identifier of the stored correction, and its tag: corrections (2) ‖ date before the last one (8) ‖ after it (8)."""

_STATUS_AT: Final = 0
_DUE_AT: Final = 1
_STATUS_DATE_AT: Final = 9
_READ_LENGTH: Final = 9
_COUNT: Final = 2
_MAX_CORRECTIONS: Final = 0xFFFF


class PermitStatus(IntEnum):
    """First byte of EF.STATUS."""

    VALID = 0x01
    SUSPENDED = 0x02
    CANCELLED = 0x03


def create_date(context: Context) -> None:
    """Create the stored date at installation: nobody has told one yet."""
    context.store.create(context.application.owner, ObjectKind.DATA, DATE_OBJECT, DATE_LENGTH, NO_DATE)


def put_date(context: Context, command: CommandApdu) -> bytes:
    """PUT DATA DF22: 8 ASCII digits YYYYMMDD, not before the date that was told last and not past the bound.

    Raises:
        WrongLength: 6700, not 8 bytes.
        WrongData: 6A80, no date of the calendar.
        ConditionsNotSatisfied: 6985, earlier than the date that the card has, past its bound, or no date object.
    """
    told = command.data
    require_date(told)
    store = context.store
    item = _date_item(context)
    known = store.read(item)
    if told < known:
        raise ConditionsNotSatisfied("the card has been told a later date")
    if told > bound_of(context):
        raise ConditionsNotSatisfied("the date is past the bound that was signed")
    with store.transaction():
        if told != known:
            store.write(item, 0, told)
        _suspend_when_overdue(context, told)
    return b""


def correct_date(context: Context, command: CommandApdu) -> bytes:
    """PUT DATA DF26: the issuer sets the date, back too; how often, and from what to what, is kept.

    Raises:
        WrongLength: 6700, not 8 bytes.
        WrongData: 6A80, no date of the calendar.
        ConditionsNotSatisfied: 6985, no date object.
    """
    right = command.data
    require_date(right)
    store, owner = context.store, context.application.owner
    item = _date_item(context)
    known = store.read(item)
    kept = store.find(owner, ObjectKind.DATA, CORRECTION_OBJECT)
    count = int.from_bytes(store.read(kept, 0, _COUNT), "big") if kept is not None else 0
    record = min(count + 1, _MAX_CORRECTIONS).to_bytes(_COUNT, "big") + known + right
    with store.transaction():
        if kept is None:
            store.create(owner, ObjectKind.DATA, CORRECTION_OBJECT, len(record), record)
        else:
            store.write(kept, 0, record)
        store.write(item, 0, right)
    return b""


def date_of(context: Context) -> bytes:
    """The latest date that was told, eight digits; zeros when none was.

    Raises:
        ConditionsNotSatisfied: 6985, no date object.
    """
    return context.store.read(_date_item(context))


def correction_of(context: Context) -> bytes:
    """The last correction of the date; no correction yet is a count of zero with zeros for dates."""
    kept = context.store.find(context.application.owner, ObjectKind.DATA, CORRECTION_OBJECT)
    return context.store.read(kept) if kept is not None else bytes(_COUNT) + 2 * NO_DATE


def _date_item(context: Context) -> StoredObject:
    item = context.store.find(context.application.owner, ObjectKind.DATA, DATE_OBJECT)
    if item is None:
        raise ConditionsNotSatisfied("the permit keeps no date")
    return item


def _suspend_when_overdue(context: Context, today: bytes) -> None:
    """Turn a valid permit into a suspended one when ``today`` is past its due date; no due date is never past."""
    files = context.files
    file = files.find(EF_STATUS)
    if file is None:
        return
    content = files.read(file, 0, _READ_LENGTH)
    due = content[_DUE_AT:_STATUS_DATE_AT]
    if content[_STATUS_AT] == PermitStatus.VALID and due.isdigit() and today > due:
        files.write(file, _STATUS_AT, bytes((PermitStatus.SUSPENDED,)))
        files.write(file, _STATUS_DATE_AT, today)
