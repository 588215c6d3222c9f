"""Application identifiers (DF names).

Source: ISO/IEC 7816-4:2020, clauses 12.2.2 and 12.3.
"""

from __future__ import annotations

from typing import Final, Self

MIN_LENGTH: Final = 5
MAX_LENGTH: Final = 16
RID_LENGTH: Final = 5


class Aid(bytes):
    """An AID of 5 to 16 bytes: registered identifier of 5 bytes, then a proprietary extension."""

    def __new__(cls, value: bytes) -> Self:
        """Check the length.

        Raises:
            ValueError: fewer than 5 or more than 16 bytes.
        """
        if not MIN_LENGTH <= len(value) <= MAX_LENGTH:
            raise ValueError(f"an AID has 5 to 16 bytes, not {len(value)}")
        return super().__new__(cls, value)

    @property
    def rid(self) -> bytes:
        """Registered application provider identifier."""
        return self[:RID_LENGTH]

    def matches(self, partial: bytes) -> bool:
        """True when ``partial`` is this AID or its beginning (selection by truncated DF name)."""
        return self.startswith(partial)

    def __str__(self) -> str:
        return self.hex().upper()

    def __repr__(self) -> str:
        return f"Aid({self.hex().upper()})"
