"""STORE DATA of the module: 8000 (masters, concealment key, terminal key), then 9F01, each in one transaction.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.11 (STORE DATA); card specification, "Personalization".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.applet_api import load_keys
from card_os.applet_services import ApplicationLifeCycle, ObjectKind
from card_os.iso7816.errors import ConditionsNotSatisfied, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context

IDENTIFICATION_OBJECT: Final = 0xDF21
"""Identifier of the stored profile name and version, and the tag of GET DATA."""
MAX_IDENTIFICATION: Final = 32

_KEYS: Final = 0x8000
_IDENTIFICATION: Final = 0x9F01


def store_grouping(context: Context, identifier: int, value: bytes, *, last: bool) -> None:
    """Take one DGI.

    Raises:
        ConditionsNotSatisfied: 6985, the module is personalized, the DGI is out of order or comes twice, or the last
            DGI is not the identification.
        ReferenceDataNotFound: 6A88, an unknown DGI.
        WrongData: 6A80, its content is not possible.
        FileExists: 6A89, a key comes twice.
    """
    if context.application.life_cycle != ApplicationLifeCycle.SELECTABLE:
        raise ConditionsNotSatisfied("the module is not open for personalization")
    if identifier not in {_KEYS, _IDENTIFICATION}:
        raise ReferenceDataNotFound(f"no data grouping {identifier:04X}")
    store, owner = context.store, context.application.owner
    keyed = bool(store.owned(owner, ObjectKind.KEY))
    if keyed is not (identifier == _IDENTIFICATION) or store.find(owner, ObjectKind.DATA, IDENTIFICATION_OBJECT):
        raise ConditionsNotSatisfied("keys come once and first")
    if last is not (identifier == _IDENTIFICATION):
        raise ConditionsNotSatisfied("the identification, and it alone, is the last data grouping")
    if identifier == _KEYS:
        load_keys(context, value)
        return
    if not 0 < len(value) <= MAX_IDENTIFICATION or not value.isascii():
        raise WrongData("profile name and version are 1 to 32 ASCII characters")
    with store.transaction():
        store.create(owner, ObjectKind.DATA, IDENTIFICATION_OBJECT, len(value), value)
