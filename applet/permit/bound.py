"""The bound of the date: how far terminals may tell it, signed by the clock authority.

One terminal whose clock is wrong must not suspend cards for ever. The card keeps a bound; it moves forward with a bound
that carries the authority's signature, which any terminal may bring. A permit that was made without a clock key has no
bound.

```
PUT DATA DF27   offset 0   8  bound, YYYYMMDD in ASCII
                offset 8  64  r ‖ s, ECDSA P-256 over SHA-256 of "permitcard date bound" ‖ bound
DGI 8102        offset 0  65  public key of the clock authority, 04 ‖ x ‖ y
                offset 65  8  first bound
```

Source: FIPS 186-5, clause 6.4.2 (ECDSA verification); the form is our own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from applet.permit.calendar_date import DATE_LENGTH, require_date
from card_os.applet_api import KeyAlgorithm, KeyUsage, create_key, find_key, sha256, verify
from card_os.applet_services import ObjectKind
from card_os.iso7816.errors import ConditionsNotSatisfied, SecurityStatusNotSatisfied, WrongLength

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

BOUND_OBJECT: Final = 0xDF27
"""Identifier of the stored bound, and the tag of PUT DATA."""
CLOCK_KEY: Final = 0xA1
"""Reference of the clock authority's public key."""

_SIGNED: Final = b"permitcard date bound"
_SIGNATURE: Final = 64
_POINT: Final = 65
_NO_BOUND: Final = b"9" * DATE_LENGTH


def load_clock_key(context: Context, value: bytes) -> None:
    """DGI 8102: the clock authority's key and the first bound.

    Raises:
        WrongLength: 6700.
        WrongData: 6A80, no point of the curve or no date.
    """
    if len(value) != _POINT + DATE_LENGTH:
        raise WrongLength("a public key and a date")
    bound = value[_POINT:]
    require_date(bound)
    create_key(context, CLOCK_KEY, value[:_POINT], usage=KeyUsage.VERIFY, algorithm=KeyAlgorithm.EC_P256_PUBLIC)
    context.store.create(context.application.owner, ObjectKind.DATA, BOUND_OBJECT, DATE_LENGTH, bound)


def bound_of(context: Context) -> bytes:
    """The bound, eight digits; nines when the permit has none."""
    item = context.store.find(context.application.owner, ObjectKind.DATA, BOUND_OBJECT)
    return context.store.read(item) if item is not None else _NO_BOUND


def put_bound(context: Context, command: CommandApdu) -> bytes:
    """PUT DATA DF27: a later bound with its signature; one that is not later changes nothing.

    Raises:
        WrongLength: 6700.
        WrongData: 6A80, no date of the calendar.
        ConditionsNotSatisfied: 6985, the permit has no clock key.
        SecurityStatusNotSatisfied: 6982, not signed by the clock authority.
    """
    if len(command.data) != DATE_LENGTH + _SIGNATURE:
        raise WrongLength("a bound and its signature")
    bound, signature = command.data[:DATE_LENGTH], command.data[DATE_LENGTH:]
    require_date(bound)
    store = context.store
    item = store.find(context.application.owner, ObjectKind.DATA, BOUND_OBJECT)
    if item is None:
        raise ConditionsNotSatisfied("the permit was made without a clock key")
    key = find_key(context, CLOCK_KEY, KeyUsage.VERIFY)
    if not verify(KeyAlgorithm.EC_P256_PUBLIC, key.value, sha256(_SIGNED + bound), signature):
        raise SecurityStatusNotSatisfied("the bound is not signed by the clock authority")
    if bound > store.read(item):
        store.change(item, 0, bound)
    return b""
