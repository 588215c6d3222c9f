"""Status words SW1-SW2 of ISO/IEC 7816-4.

Source: ISO/IEC 7816-4:2020, clause 5.6.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

_COUNTER_SW1_NIBBLE: Final = 0x63C0


class Persistence(Enum):
    """What a status word says about the non-volatile memory."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    UNSTATED = "unstated"


class StatusWord(int):
    """A two-byte status word; values that no standard names are representable.

    It is an ``int`` and not an enum because 61xx, 63Cx and 6Cxx carry a number and real cards send others.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, response: bytes) -> StatusWord:
        """Take the status word from the last two bytes of a response (at least 2 bytes)."""
        return cls(int.from_bytes(response[-2:], "big"))

    @classmethod
    def retries_left(cls, count: int) -> StatusWord:
        """63Cx: verification failed, ``count`` (0..15) tries remain; larger counters are shown as 15."""
        return cls(_COUNTER_SW1_NIBBLE | min(count, 15))

    @classmethod
    def more_available(cls, count: int) -> StatusWord:
        """61xx: ``count`` response bytes wait for GET RESPONSE, 256 or more are shown as 00."""
        return cls(0x6100 | (count if count < 256 else 0))

    @classmethod
    def exact_length(cls, count: int) -> StatusWord:
        """6Cxx: the exact Ne is ``count`` (1..256)."""
        return cls(0x6C00 | (count & 0xFF))

    @property
    def sw1(self) -> int:
        """First byte."""
        return self >> 8

    @property
    def sw2(self) -> int:
        """Second byte."""
        return self & 0xFF

    @property
    def ok(self) -> bool:
        """True for normal processing: 9000 and 61xx."""
        return self == 0x9000 or self >> 8 == 0x61

    @property
    def warning(self) -> bool:
        """True for 62xx and 63xx."""
        return self >> 8 in (0x62, 0x63)

    @property
    def tries_left(self) -> int | None:
        """The counter x of 63Cx, otherwise None."""
        return self & 0x0F if self & 0xFFF0 == _COUNTER_SW1_NIBBLE else None

    @property
    def persistence(self) -> Persistence:
        """State of non-volatile memory by SW1: 62 and 64 unchanged, 63 and 65 changed (table 6)."""
        match self >> 8:
            case 0x62 | 0x64:
                return Persistence.UNCHANGED
            case 0x63 | 0x65:
                return Persistence.CHANGED
            case _:
                return Persistence.UNSTATED

    def encode(self) -> bytes:
        """SW1 ‖ SW2."""
        return self.to_bytes(2, "big")

    @property
    def text(self) -> str:
        """Meaning in words, or "unknown"."""
        if (tries := self.tries_left) is not None:
            return f"verification failed, {tries} tries left"
        if self >> 8 in _BY_SW1:
            return _BY_SW1[self >> 8].format(self & 0xFF)
        return _NAMES.get(self, "unknown")

    def __str__(self) -> str:
        return f"{int(self):04X}"

    def __repr__(self) -> str:
        return f"StatusWord(0x{int(self):04X})"


class SW:
    """The named status words, each with the wording of tables 5 and 6."""

    OK: Final = StatusWord(0x9000)
    DATA_MAY_BE_CORRUPT: Final = StatusWord(0x6281)
    END_OF_FILE: Final = StatusWord(0x6282)
    FILE_DEACTIVATED_WARNING: Final = StatusWord(0x6283)
    FCI_NOT_FORMATTED: Final = StatusWord(0x6284)
    FILE_TERMINATED_WARNING: Final = StatusWord(0x6285)
    AUTHENTICATION_FAILED: Final = StatusWord(0x6300)
    MORE_DATA_FOLLOWS: Final = StatusWord(0x6310)
    EXECUTION_ERROR: Final = StatusWord(0x6400)
    MEMORY_FAILURE: Final = StatusWord(0x6581)
    WRONG_LENGTH: Final = StatusWord(0x6700)
    CHANNEL_NOT_SUPPORTED: Final = StatusWord(0x6881)
    SECURE_MESSAGING_NOT_SUPPORTED: Final = StatusWord(0x6882)
    LAST_OF_CHAIN_EXPECTED: Final = StatusWord(0x6883)
    CHAINING_NOT_SUPPORTED: Final = StatusWord(0x6884)
    INCOMPATIBLE_FILE_STRUCTURE: Final = StatusWord(0x6981)
    SECURITY_STATUS_NOT_SATISFIED: Final = StatusWord(0x6982)
    METHOD_BLOCKED: Final = StatusWord(0x6983)
    REFERENCE_DATA_NOT_USABLE: Final = StatusWord(0x6984)
    CONDITIONS_NOT_SATISFIED: Final = StatusWord(0x6985)
    NO_CURRENT_EF: Final = StatusWord(0x6986)
    SM_OBJECT_MISSING: Final = StatusWord(0x6987)
    SM_OBJECT_INCORRECT: Final = StatusWord(0x6988)
    WRONG_DATA: Final = StatusWord(0x6A80)
    FUNCTION_NOT_SUPPORTED: Final = StatusWord(0x6A81)
    FILE_NOT_FOUND: Final = StatusWord(0x6A82)
    RECORD_NOT_FOUND: Final = StatusWord(0x6A83)
    NOT_ENOUGH_MEMORY: Final = StatusWord(0x6A84)
    NC_INCONSISTENT_WITH_TLV: Final = StatusWord(0x6A85)
    INCORRECT_P1_P2: Final = StatusWord(0x6A86)
    NC_INCONSISTENT_WITH_P1_P2: Final = StatusWord(0x6A87)
    REFERENCE_DATA_NOT_FOUND: Final = StatusWord(0x6A88)
    FILE_EXISTS: Final = StatusWord(0x6A89)
    DF_NAME_EXISTS: Final = StatusWord(0x6A8A)
    WRONG_PARAMETERS: Final = StatusWord(0x6B00)
    INS_NOT_SUPPORTED: Final = StatusWord(0x6D00)
    CLA_NOT_SUPPORTED: Final = StatusWord(0x6E00)
    NO_PRECISE_DIAGNOSIS: Final = StatusWord(0x6F00)


_BY_SW1: Final = {0x61: "{} bytes available", 0x6C: "wrong Le, exact length {}"}
_NAMES: Final = {
    value: name.lower().replace("_", " ") for name, value in vars(SW).items() if isinstance(value, StatusWord)
}
