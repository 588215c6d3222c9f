"""What both sides of T=0 know: procedure bytes, and which instructions bring data.

Source: ISO/IEC 7816-3:2006, clauses 10.3 and 12.2; ISO/IEC 7816-4:2020, clause 5.5, table 4 (instructions).
"""

from __future__ import annotations

from typing import Final

NULL: Final = 0x60
HEADER_LENGTH: Final = 5
INS_ENVELOPE: Final = 0xC2
INS_GET_RESPONSE: Final = 0xC0
MORE_AVAILABLE: Final = 0x61
EXACT_LENGTH: Final = 0x6C
MAX_TRANSFER: Final = 256
"""Bytes that P3 = 00 asks for when data comes from the card."""
_HIGH_NIBBLE: Final = 0xF0
_STATUS_NIBBLES: Final = frozenset({0x60, 0x90})
_COMPLEMENT: Final = 0xFF


def is_status(byte: int) -> bool:
    """SW1, 6x or 9x without NULL (10.3.3)."""
    return byte & _HIGH_NIBBLE in _STATUS_NIBBLES and byte != NULL


def is_valid_instruction(ins: int) -> bool:
    """INS is neither 6x nor 9x: these are procedure bytes (10.3.2)."""
    return ins & _HIGH_NIBBLE not in _STATUS_NIBBLES


def complement(ins: int) -> int:
    """The procedure byte that asks for one byte only (10.3.3)."""
    return ins ^ _COMPLEMENT


INCOMING: Final = frozenset(
    {
        *(0x04, 0x0C, 0x0E, 0x0F, 0x10, 0x12, 0x14, 0x16),  # DEACTIVATE, ERASE, PERFORM operations
        *(0x20, 0x21, 0x22, 0x24, 0x26, 0x28, 0x2A, 0x2B, 0x2C, 0x2D, 0x44, 0x46, 0x47),  # VERIFY to GENERATE KEY PAIR
        *(0x50, 0x52, 0x54),  # GlobalPlatform INITIALIZE UPDATE, dialogue with a SAM
        *(0x82, 0x86, 0x87, 0x88, 0x89, 0x2F),  # authentication
        *(0xA0, 0xA1, 0xA2, 0xA4, 0xB1, 0xB3),  # SEARCH, SELECT, READ with an offset object
        *(INS_ENVELOPE, 0xC3, 0xCB, 0xD0, 0xD1, 0xD2, 0xD6, 0xD7, 0xD8),  # ENVELOPE, WRITE, UPDATE, PUT KEY
        *(0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xE2, 0xE4, 0xE6, 0xE8, 0xEE, 0xF0, 0xF2, 0xFE),  # PUT, CREATE, content
    }
)
"""Instructions whose P3 is Lc; of all others it is Le. P3 alone does not tell (12.2.1)."""
