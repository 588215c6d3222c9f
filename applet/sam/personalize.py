"""STORE DATA of the module, each data grouping in one transaction.

| DGI | content | comes |
|---|---|---|
| 8001 | load key (32) | first, from the chip's vendor; it goes when the module is personalized |
| 8002 | masters, wrapped under the load key | after 8001 |
| 8000 | keys in plain under the DEK: concealment key, terminal key; masters too where none were wrapped | next, once |
| 9F01 | profile name and version | last; the module is in use from then on |

Until then GET DATA DF25 tells whoever is to go on how far it is: stage (1) ‖ check value of the load key (3).

Source: GlobalPlatform Card Specification 2.3.1, clause 11.11 (STORE DATA); RFC 3394 (AES key wrap); card specification,
"Personalization".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from applet.sam.authentication import ROLE_MASTERS
from card_os.applet_api import KeyUsage, aes_key_unwrap, cmac, create_key, equal, find_key, load_keys
from card_os.applet_services import ApplicationLifeCycle, ObjectKind
from card_os.iso7816.errors import ConditionsNotSatisfied, ReferenceDataNotFound, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context

IDENTIFICATION_OBJECT: Final = 0xDF21
"""Identifier of the stored profile name and version, and the tag of GET DATA."""
MAX_IDENTIFICATION: Final = 32
LOAD_KEY: Final = 0x9F
"""Reference of the load key while there is one."""

_LOAD_KEY_LENGTH: Final = 32
_HEADER: Final = 4
_WRAPPED: Final = 24
_CHECK_VALUE: Final = 3
_ENTRY: Final = _HEADER + _WRAPPED + _CHECK_VALUE
_CHECK_INPUT: Final = bytes(16)


class _Dgi(IntEnum):
    """Data groupings of the module."""

    LOAD_KEY = 0x8001
    MASTERS = 0x8002
    KEYS = 0x8000
    IDENTIFICATION = 0x9F01


class _Stage(IntEnum):
    """What the module holds."""

    NOTHING = 0
    LOAD_KEY = 1
    MASTERS = 2
    KEYS = 3


_TAKEN: Final = MappingProxyType(
    {
        _Dgi.LOAD_KEY: frozenset({_Stage.NOTHING}),
        _Dgi.MASTERS: frozenset({_Stage.LOAD_KEY}),
        _Dgi.KEYS: frozenset({_Stage.NOTHING, _Stage.MASTERS}),
        _Dgi.IDENTIFICATION: frozenset({_Stage.KEYS}),
    }
)
"""Stages in which a data grouping is taken; each leads to a later one, so that it comes once."""


def store_grouping(context: Context, identifier: int, value: bytes, *, last: bool) -> None:
    """Take one DGI.

    Raises:
        ConditionsNotSatisfied: 6985, the module is personalized, the DGI is out of order or comes twice, or the last
            DGI is not the identification.
        ReferenceDataNotFound: 6A88, an unknown DGI.
        WrongData: 6A80, its content is not possible, or a master is wrapped under another load key.
        FileExists: 6A89, a key comes twice.
    """
    if context.application.life_cycle != ApplicationLifeCycle.SELECTABLE:
        raise ConditionsNotSatisfied("the module is not open for personalization")
    if identifier not in _GROUPINGS:
        raise ReferenceDataNotFound(f"no data grouping {identifier:04X}")
    grouping = _Dgi(identifier)
    if context.store.find(context.application.owner, ObjectKind.DATA, IDENTIFICATION_OBJECT):
        raise ConditionsNotSatisfied("the identification has come")
    if _stage(context) not in _TAKEN[grouping]:
        raise ConditionsNotSatisfied(f"{grouping.name} is out of order")
    if last is not (grouping is _Dgi.IDENTIFICATION):
        raise ConditionsNotSatisfied("the identification, and it alone, is the last data grouping")
    _GROUPINGS[grouping](context, value)


def _stage(context: Context) -> _Stage:
    held = {item.identifier for item in context.store.owned(context.application.owner, ObjectKind.KEY)}
    if not held:
        return _Stage.NOTHING
    if held == {LOAD_KEY}:
        return _Stage.LOAD_KEY
    return _Stage.MASTERS if held <= {LOAD_KEY, *ROLE_MASTERS} and LOAD_KEY in held else _Stage.KEYS


def progress(context: Context) -> bytes:
    """Stage (00 nothing, 01 load key, 02 masters, 03 all keys) ‖ check value of the load key, 00 00 00 without one."""
    stage = _stage(context)
    load_key = context.store.find(context.application.owner, ObjectKind.KEY, LOAD_KEY)
    if load_key is None:
        return bytes((stage,)) + bytes(_CHECK_VALUE)
    value = find_key(context, LOAD_KEY, KeyUsage.APPLICATION).value
    return bytes((stage,)) + cmac(value, _CHECK_INPUT)[:_CHECK_VALUE]


def _store_load_key(context: Context, value: bytes) -> None:
    if len(value) != _LOAD_KEY_LENGTH:
        raise WrongData(f"a load key has {_LOAD_KEY_LENGTH} bytes")
    create_key(context, LOAD_KEY, value, usage=KeyUsage.APPLICATION)


def _store_masters(context: Context, value: bytes) -> None:
    """Repeated reference 1 ‖ 00 ‖ 00 ‖ length 1 ‖ wrapped master 24 ‖ leftmost 3 of CMAC(master, 16 × 00)."""
    if not value or len(value) % _ENTRY:
        raise WrongData("no masters, or an entry is cut short")
    load_key = find_key(context, LOAD_KEY, KeyUsage.APPLICATION).value
    with context.store.transaction():
        for at in range(0, len(value), _ENTRY):
            reference, role, try_limit, length = value[at : at + _HEADER]
            wrapped = value[at + _HEADER : at + _HEADER + _WRAPPED]
            if reference not in ROLE_MASTERS or role or try_limit or length != _WRAPPED:
                raise WrongData("no entry of a master")
            try:
                master = aes_key_unwrap(load_key, wrapped)
            except ValueError:
                raise WrongData(f"master {reference:02X} is wrapped under another key") from None
            if not equal(cmac(master, _CHECK_INPUT)[:_CHECK_VALUE], value[at + _ENTRY - _CHECK_VALUE : at + _ENTRY]):
                raise WrongData(f"check value of master {reference:02X} does not match")
            create_key(context, reference, master, usage=KeyUsage.APPLICATION)


def _store_identification(context: Context, value: bytes) -> None:
    if not 0 < len(value) <= MAX_IDENTIFICATION or not value.isascii():
        raise WrongData("profile name and version are 1 to 32 ASCII characters")
    store, owner = context.store, context.application.owner
    with store.transaction():
        load_key = store.find(owner, ObjectKind.KEY, LOAD_KEY)
        if load_key is not None:
            store.delete(load_key)
        store.create(owner, ObjectKind.DATA, IDENTIFICATION_OBJECT, len(value), value)


_GROUPINGS: Final[Mapping[int, Callable[[Context, bytes], None]]] = MappingProxyType(
    {
        _Dgi.LOAD_KEY: _store_load_key,
        _Dgi.MASTERS: _store_masters,
        _Dgi.KEYS: load_keys,
        _Dgi.IDENTIFICATION: _store_identification,
    }
)
