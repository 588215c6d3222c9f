"""STORE DATA of the permit: data groupings in their order, each in one transaction.

| stage | DGI | content |
|---|---|---|
| files | 0062 | FCP templates |
| content | FID of a file | offset (2) ‖ bytes; any number of them |
| content | 8102 | key of the clock authority and first bound of the date; may be left out |
| keys | 8000 | role keys and concealment key |
| PINs | 8010 | holder and unblocking PIN; may be left out |
| chip | 8101 | private key of the chip |
| identification | 9F01 | profile name and version; comes last |

A stage once left does not come back. How far the permit is stands in an object, so that an interrupted
personalization goes on where it stopped.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.11 (STORE DATA); card specification, "Personalization".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from applet.permit.bound import load_clock_key
from card_os.applet_api import load_chip_key, load_keys, load_pins
from card_os.applet_services import ApplicationLifeCycle, ObjectKind
from card_os.iso7816.errors import ConditionsNotSatisfied, ReferenceDataNotFound, WrongData, WrongLength

if TYPE_CHECKING:
    from card_os.applet_api import Context

IDENTIFICATION_OBJECT: Final = 0xDF21
"""Identifier of the stored profile name and version, and the tag of GET DATA."""
MAX_IDENTIFICATION: Final = 32

_STAGE_OBJECT: Final = 0x0001
_OFFSET_LENGTH: Final = 2
_HOLDER_PIN: Final = 0x81
_UNBLOCKING_PIN: Final = 0x82
_UNBLOCKING: Final = MappingProxyType({_HOLDER_PIN: _UNBLOCKING_PIN})


class Stage(IntEnum):
    """How far personalization is; the byte in the stage object."""

    NEW = 0
    FILES = 1
    CONTENT = 2
    KEYS = 3
    PINS = 4
    CHIP = 5
    DONE = 6


class _Grouping(NamedTuple):
    """One row: the stage that a DGI leads to, the stages that it may come in, what it does."""

    stage: Stage
    after: frozenset[Stage]
    load: Callable[[Context, int, bytes], None]


def create_stage(context: Context) -> None:
    """Create the stage object at installation."""
    context.store.create(context.application.owner, ObjectKind.DATA, _STAGE_OBJECT, 1, bytes((Stage.NEW,)))


def store_grouping(context: Context, identifier: int, value: bytes, *, last: bool) -> None:
    """Take one DGI.

    Raises:
        ConditionsNotSatisfied: 6985, the permit is personalized, the DGI is out of order or comes twice, or the last
            DGI is not the identification.
        ReferenceDataNotFound: 6A88, an unknown DGI.
        WrongData: 6A80, its content is not possible.
        CardError: what files, keys and PINs refuse.
    """
    store = context.store
    item = store.find(context.application.owner, ObjectKind.DATA, _STAGE_OBJECT)
    if item is None or context.application.life_cycle != ApplicationLifeCycle.SELECTABLE:
        raise ConditionsNotSatisfied("the permit is not open for personalization")
    grouping = _GROUPINGS.get(identifier)
    if grouping is None:
        if context.files.find(identifier) is None:
            raise ReferenceDataNotFound(f"no data grouping {identifier:04X}")
        grouping = _CONTENT
    stage = Stage(store.read(item)[0])
    if stage not in grouping.after:
        raise ConditionsNotSatisfied(f"data grouping {identifier:04X} is out of order")
    if last is not (grouping.stage is Stage.DONE):
        raise ConditionsNotSatisfied("the identification, and it alone, is the last data grouping")
    with store.transaction():
        grouping.load(context, identifier, value)
        if grouping.stage is not stage:
            store.write(item, 0, bytes((grouping.stage,)))


def _load_files(context: Context, identifier: int, value: bytes) -> None:  # noqa: ARG001 - one signature for all rows
    if not value:
        raise WrongData("no file control parameters")
    context.files.create_all(value)


def _load_content(context: Context, identifier: int, value: bytes) -> None:
    if len(value) <= _OFFSET_LENGTH:
        raise WrongLength("an offset and content")
    offset = int.from_bytes(value[:_OFFSET_LENGTH], "big")
    context.files.write(context.files.get(identifier), offset, value[_OFFSET_LENGTH:])


def _load_keys(context: Context, identifier: int, value: bytes) -> None:  # noqa: ARG001 - one signature for all rows
    load_keys(context, value)


def _load_pins(context: Context, identifier: int, value: bytes) -> None:  # noqa: ARG001 - one signature for all rows
    load_pins(context, value, _UNBLOCKING)


def _load_chip_key(context: Context, identifier: int, value: bytes) -> None:  # noqa: ARG001 - one signature for all rows
    load_chip_key(context, value)


def _load_clock_key(context: Context, identifier: int, value: bytes) -> None:  # noqa: ARG001 - one signature for all rows
    load_clock_key(context, value)


def _load_identification(context: Context, identifier: int, value: bytes) -> None:  # noqa: ARG001 - one signature for all rows
    if not 0 < len(value) <= MAX_IDENTIFICATION or not value.isascii():
        raise WrongData("profile name and version are 1 to 32 ASCII characters")
    context.store.create(context.application.owner, ObjectKind.DATA, IDENTIFICATION_OBJECT, len(value), value)


_CONTENT: Final = _Grouping(Stage.CONTENT, frozenset({Stage.FILES, Stage.CONTENT}), _load_content)
_GROUPINGS: Final[Mapping[int, _Grouping]] = MappingProxyType(
    {
        0x0062: _Grouping(Stage.FILES, frozenset({Stage.NEW}), _load_files),
        0x8102: _Grouping(Stage.CONTENT, frozenset({Stage.FILES, Stage.CONTENT}), _load_clock_key),
        0x8000: _Grouping(Stage.KEYS, frozenset({Stage.FILES, Stage.CONTENT}), _load_keys),
        0x8010: _Grouping(Stage.PINS, frozenset({Stage.KEYS}), _load_pins),
        0x8101: _Grouping(Stage.CHIP, frozenset({Stage.KEYS, Stage.PINS}), _load_chip_key),
        0x9F01: _Grouping(Stage.DONE, frozenset({Stage.CHIP}), _load_identification),
    }
)
