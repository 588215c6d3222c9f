"""The fencing number of a claim, as it is written to the card.

It stands in the issuer domain's Card Image Number (tag 45), which is the issuer's to give and which STORE DATA sets
under the domain's keys, the factory's among them: 46 01 ‖ key of the run (6) ‖ fence of the run (2), big-endian. A
later run of a chip has a higher key, a later claim of a run a higher fence, so that the value only grows; a card image
number of another form is none of ours, and gives way.

Source: GlobalPlatform Card Specification 2.3.1, clauses 7.4.1.2 (Card Image Number) and 11.11.2.3 (STORE DATA).
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple, Self

_MARK: Final = b"\x46\x01"
_FORM: Final = Struct(">2sHIH")
_LOW_BITS: Final = 32
_LOW: Final = 0xFFFFFFFF


class Fence(NamedTuple):
    """Orders claims of one chip in time.

    Attributes:
        run: key of the run, 6 bytes.
        number: fence of the run, 2 bytes.
    """

    run: int
    number: int

    def encode(self) -> bytes:
        """The value of the data object, 10 bytes."""
        return _FORM.pack(_MARK, self.run >> _LOW_BITS, self.run & _LOW, self.number)

    @classmethod
    def parse(cls, value: bytes) -> Self | None:
        """The fence that a data object holds; None when it is empty or of another form."""
        if len(value) != _FORM.size or not value.startswith(_MARK):
            return None
        _, high, low, number = _FORM.unpack(value)
        return cls(high << _LOW_BITS | low, number)
