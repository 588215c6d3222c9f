"""What happens when both interfaces get power: a table, whose rows say why.

An interface is decided about by its own power, the other's, and what happens to it. The two interfaces have the same
rows: neither is the better one.

Source: ISO/IEC 7816-3:2006, clauses 6.2 and 8 (activation, reset, answer to reset); ISO/IEC 14443-3:2018, clause 5 and
14443-4:2018, clause 5 (a card answers in the field alone). Neither says what a card does with both at once; the rows
are our own and are published in docs/interfaces.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Arbitration(IntEnum):
    """A byte of the card's state object."""

    CONCURRENT = 0
    """Both interfaces work, commands are executed one at a time."""
    FIRST = 1
    """The second interface is mute until the first is off."""


class Event(Enum):
    """What happens to one interface."""

    POWER = "power"
    """VCC with a reset, or a field with an activation; also when there is power already."""
    RESET = "reset"
    """A warm reset, or a new activation in the same field."""
    REMOVAL = "removal"
    """VCC or field is gone."""


class Decision(NamedTuple):
    """What comes of an event.

    Attributes:
        powered: the interface works afterwards.
        answers: it gives an ATR or ATS.
        boots: the chip starts anew: volatile memory is empty, an interrupted transaction is undone.
        reason: why.
    """

    powered: bool
    answers: bool
    boots: bool
    reason: str


Row = tuple[bool, bool, Event]
"""The interface has power, the other one has power, and what happens."""

_OFF, _ON = False, True
_NOTHING: Final = Decision(False, False, False, "there is nothing to take away, or no power to reset with")

CONCURRENT: Final[Mapping[Row, Decision]] = MappingProxyType(
    {
        (_OFF, _OFF, Event.POWER): Decision(True, True, True, "the chip had no power at all"),
        (_OFF, _ON, Event.POWER): Decision(True, True, False, "the chip runs: the other interface keeps its sessions"),
        (_ON, _OFF, Event.POWER): Decision(True, True, True, "a reset of the only interface starts the chip anew"),
        (_ON, _ON, Event.POWER): Decision(True, True, False, "only this interface's sessions end"),
        (_OFF, _OFF, Event.RESET): _NOTHING,
        (_OFF, _ON, Event.RESET): _NOTHING,
        (_ON, _OFF, Event.RESET): Decision(True, True, True, "a reset of the only interface starts the chip anew"),
        (_ON, _ON, Event.RESET): Decision(True, True, False, "only this interface's sessions end"),
        (_OFF, _OFF, Event.REMOVAL): _NOTHING,
        (_OFF, _ON, Event.REMOVAL): _NOTHING,
        (_ON, _OFF, Event.REMOVAL): Decision(False, False, False, "the chip has no power any more"),
        (_ON, _ON, Event.REMOVAL): Decision(False, False, False, "the other interface keeps the chip running"),
    }
)
"""Both interfaces work."""

FIRST: Final[Mapping[Row, Decision]] = MappingProxyType(
    {
        **CONCURRENT,
        (_OFF, _ON, Event.POWER): Decision(
            False, False, False, "the other interface has the card; power has to come again once that is off"
        ),
        (_ON, _ON, Event.POWER): Decision(True, True, False, "cannot come about: the second never worked"),
        (_ON, _ON, Event.RESET): Decision(True, True, False, "cannot come about: the second never worked"),
        (_ON, _ON, Event.REMOVAL): Decision(False, False, False, "cannot come about: the second never worked"),
    }
)
"""One interface at a time: who comes first has the card."""

TABLES: Final[Mapping[Arbitration, Mapping[Row, Decision]]] = MappingProxyType(
    {Arbitration.CONCURRENT: CONCURRENT, Arbitration.FIRST: FIRST}
)


def decide(arbitration: Arbitration, event: Event, *, powered: bool, other_powered: bool) -> Decision:
    """What comes of an event at one interface."""
    return TABLES[arbitration][powered, other_powered, event]
