"""What the benchmarks have to reach: by label, how many times its floor a thing may take at most.

Times move with the machine, so each target was given as a time on the reference machine, two cores at 2.5 GHz, and is
held as its ratio to the floor that was measured there. The floor is measured anew in every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Target(NamedTuple):
    """A time on the reference machine.

    Attributes:
        microseconds: what the thing may take there.
        floor: what its floor takes there, µs.
    """

    microseconds: float
    floor: float

    @property
    def ratio(self) -> float:
        """How many floors it may take, on any machine."""
        return self.microseconds / self.floor


TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        "SELECT by AID": Target(6, 0.18),
        "READ BINARY 200 B": Target(4, 0.25),
        "UPDATE BINARY 128 B, committed": Target(10, 0.47),
        "VERIFY, the try spent and given back": Target(6, 0.21),
        "SCP03 239 B, host side": Target(3, 1.23),
        "SCP03 239 B, both sides": Target(12, 2.46),
        "READ BINARY of 253 B through pcscd and vpcd": Target(100, 90),
        "the same through a relay without rules, to the card": Target(115, 100),
        "a card made and inspected, one core": Target(1_000_000 / 150, 430),
        "a row from table to signed chunks": Target(300, 107),
    }
)
"""Targets by the label of their row."""
