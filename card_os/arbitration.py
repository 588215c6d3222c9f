"""What happens when both interfaces get power."""

from __future__ import annotations

from enum import IntEnum


class Arbitration(IntEnum):
    """A byte of the card's state object."""

    CONCURRENT = 0
    """Both interfaces work, commands are executed one at a time."""
    FIRST = 1
    """The second interface is mute until the first is off."""
