"""The ATR that a reader makes of a contactless card, for hosts that know ATRs only.

Source: PC/SC Workgroup, Interoperability Specification part 3, clause 3.1.3.2.3.
"""

from __future__ import annotations

from functools import reduce
from operator import xor
from typing import Final

from reader_bridge.connection import Interface

_INTERFACE_BYTES: Final = 0x70
_MAX_HISTORICAL: Final = 15
_DIRECT: Final = 0x3B
_TD1_ONLY: Final = 8
_TD1_TD2: Final = b"\x80\x01"


def contactless_atr(ats: bytes) -> bytes:
    """The ATR that a reader makes of an ATS: 3B 8n 80 01 ‖ historical bytes ‖ TCK; an ATR stays as it is.

    Source: clause 3.1.3.2.3.1, table 3.5.
    """
    if ats[:1] != bytes((len(ats),)):  # a reader has made an ATR of it already
        return ats
    historical = b""
    if len(ats) > 1:
        present = (ats[1] & _INTERFACE_BYTES).bit_count()
        historical = ats[2 + present : ats[0]][:_MAX_HISTORICAL]
    body = bytes((_TD1_ONLY << 4 | len(historical),)) + _TD1_TD2 + historical
    return bytes((_DIRECT,)) + body + bytes((reduce(xor, body),))


def interface_of(atr: bytes) -> Interface:
    """Guess the interface from an ATR: 3B 8n 80 01 is what readers make for ISO/IEC 14443 cards."""
    made = len(atr) > len(_TD1_TD2) + 1 and atr[0] == _DIRECT and atr[1] >> 4 == _TD1_ONLY
    return Interface.CONTACTLESS if made and atr[2:4] == _TD1_TD2 else Interface.CONTACT
