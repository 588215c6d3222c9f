"""What EF.ATR/INFO tells: card service data, card capabilities and the lengths that the card takes.

Source: ISO/IEC 7816-4:2020, clauses 12.1.1 (historical bytes), 12.2.2 (EF.ATR/INFO) and 12.7.1 (tag 7F66).
"""

from __future__ import annotations

from typing import Final

from card_os.answers import CAPABILITIES, SERVICE_DATA
from card_os.iso7816.tlv import encode

MAX_COMMAND: Final = 2048
"""Longest command APDU in bytes: what it writes fits one transaction."""
MAX_RESPONSE: Final = 0xFFFF
"""Longest response APDU in bytes that is announced."""

_TAG_SERVICE_DATA: Final = 0x43
_TAG_CAPABILITIES: Final = 0x47
_TAG_EXTENDED_LENGTH: Final = 0x7F66
_TAG_INTEGER: Final = 0x02


def card_information() -> bytes:
    """43 card service data · 47 card capabilities · 7F66 { 02 longest command · 02 longest response }."""
    lengths = (encode(_TAG_INTEGER, limit.to_bytes(2, "big")) for limit in (MAX_COMMAND, MAX_RESPONSE))
    return (
        encode(_TAG_SERVICE_DATA, bytes((SERVICE_DATA,)))
        + encode(_TAG_CAPABILITIES, CAPABILITIES.encode())
        + encode(_TAG_EXTENDED_LENGTH, *lengths)
    )
