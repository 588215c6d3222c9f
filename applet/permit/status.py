"""The date that terminals tell, and the permit that suspends itself when its endorsement is overdue.

A card has no clock. It keeps the latest date that an authenticated terminal told; that date never goes back. When it
is past the due date in EF.STATUS, a valid permit becomes suspended, in the same transaction.

```
EF.STATUS  offset 0  1  status: 01 valid, 02 suspended, 03 cancelled
           offset 1  8  next endorsement due, YYYYMMDD in ASCII
           offset 9  8  date of the status, YYYYMMDD in ASCII
```
"""

from __future__ import annotations

import datetime as dt
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.applet_services import ObjectKind
from card_os.iso7816.errors import ConditionsNotSatisfied, WrongData, WrongLength

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

EF_STATUS: Final = 0x0203
DATE_OBJECT: Final = 0xDF22
"""Identifier of the stored date, and the tag of PUT DATA."""

DATE_LENGTH: Final = 8
_NO_DATE: Final = b"0" * DATE_LENGTH
_STATUS_AT: Final = 0
_DUE_AT: Final = 1
_STATUS_DATE_AT: Final = 9
_READ_LENGTH: Final = 9


class PermitStatus(IntEnum):
    """First byte of EF.STATUS."""

    VALID = 0x01
    SUSPENDED = 0x02
    CANCELLED = 0x03


def create_date(context: Context) -> None:
    """Create the stored date at installation: nobody has told one yet."""
    context.store.create(context.application.owner, ObjectKind.DATA, DATE_OBJECT, DATE_LENGTH, _NO_DATE)


def put_date(context: Context, command: CommandApdu) -> bytes:
    """PUT DATA DF22: 8 ASCII digits YYYYMMDD, not before the date that was told last.

    Raises:
        WrongLength: 6700, not 8 bytes.
        WrongData: 6A80, no date of the calendar.
        ConditionsNotSatisfied: 6985, earlier than the date that the card has, or no date object.
    """
    told = command.data
    if len(told) != DATE_LENGTH:
        raise WrongLength("a date has 8 digits")
    _require_date(told)
    store = context.store
    item = store.find(context.application.owner, ObjectKind.DATA, DATE_OBJECT)
    if item is None:
        raise ConditionsNotSatisfied("the permit keeps no date")
    known = store.read(item)
    if told < known:
        raise ConditionsNotSatisfied("the card has been told a later date")
    with store.transaction():
        if told != known:
            store.write(item, 0, told)
        _suspend_when_overdue(context, told)
    return b""


def _require_date(digits: bytes) -> None:
    if not digits.isdigit():
        raise WrongData("a date is 8 ASCII digits")
    try:
        dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as error:
        raise WrongData("no date of the calendar") from error


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
