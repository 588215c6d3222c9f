"""The life cycle of a file: its states, and what moves it from one to another.

A file is used in the states creation, initialisation and activated, under its rules. Deactivated and terminated it can
be selected, which warns, and managed. The files of a DF in these states can be selected and nothing else.

Source: ISO/IEC 7816-4:2020, clause 7.4.10 (table 14); ISO/IEC 7816-9:2017, clauses 6 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final


class FileLifeCycle(IntEnum):
    """Life-cycle status bytes of a file (table 14)."""

    CREATION = 0x01
    INITIALISATION = 0x03
    DEACTIVATED = 0x04
    ACTIVATED = 0x05
    TERMINATED = 0x0C


class FileEvent(Enum):
    """What moves a file to another state."""

    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    TERMINATE = "terminate"


_State = FileLifeCycle

TRANSITIONS: Final[Mapping[tuple[FileEvent, FileLifeCycle], FileLifeCycle]] = MappingProxyType(
    {
        (FileEvent.ACTIVATE, _State.CREATION): _State.ACTIVATED,
        (FileEvent.ACTIVATE, _State.INITIALISATION): _State.ACTIVATED,
        (FileEvent.ACTIVATE, _State.DEACTIVATED): _State.ACTIVATED,
        (FileEvent.ACTIVATE, _State.ACTIVATED): _State.ACTIVATED,
        (FileEvent.DEACTIVATE, _State.ACTIVATED): _State.DEACTIVATED,
        (FileEvent.DEACTIVATE, _State.DEACTIVATED): _State.DEACTIVATED,
        (FileEvent.TERMINATE, _State.CREATION): _State.TERMINATED,
        (FileEvent.TERMINATE, _State.INITIALISATION): _State.TERMINATED,
        (FileEvent.TERMINATE, _State.DEACTIVATED): _State.TERMINATED,
        (FileEvent.TERMINATE, _State.ACTIVATED): _State.TERMINATED,
    }
)
"""The state after an event; what is not there is refused."""

BLOCKED: Final = frozenset({FileLifeCycle.DEACTIVATED, FileLifeCycle.TERMINATED})
"""States in which a file, and all below it, is not used."""

CREATION_STATES: Final[Mapping[int, FileLifeCycle]] = MappingProxyType(
    {
        0x01: _State.CREATION,
        0x03: _State.INITIALISATION,
        0x04: _State.DEACTIVATED,
        0x05: _State.ACTIVATED,
        0x06: _State.DEACTIVATED,
        0x07: _State.ACTIVATED,
    }
)
"""State by the status byte that a file may be created with; b2 of the operational states means nothing (table 14)."""
