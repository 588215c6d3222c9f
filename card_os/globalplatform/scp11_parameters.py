"""The parameter `i` of Secure Channel Protocol '11': which of its variants a security domain offers.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '11', Amendment F.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final


class Scp11Implementation(IntFlag):
    """Bits of the parameter `i`; what the card cannot do, such as keeping host keys for later, has no name here."""

    SCP11A = 0x01
    SCP11B = 0x02
    CERTIFICATE_CHAINS = 0x08
    SCP11C = 0x10
    S16 = 0x40


_VARIANTS: Final = Scp11Implementation.SCP11A | Scp11Implementation.SCP11B | Scp11Implementation.SCP11C
IMPLEMENTATIONS: Final = frozenset(
    value for value in range(0x80) if value & _VARIANTS and value & ~sum(Scp11Implementation) == 0
)
"""Every value of `i` that the card can offer: at least one variant, S8 or S16 mode."""
