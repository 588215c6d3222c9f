"""Class bytes of protected commands.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.1.4 (tables 11-11 and 11-12) and E.4.4; Amendment D v1.1.1,
clause 6.2.4.
"""

from __future__ import annotations

from typing import Final

_FURTHER: Final = 0x40
_FIRST_MARK: Final = 0x04
_FURTHER_MARK: Final = 0x20
_FIRST_CHANNELS: Final = 0x03
_PROPRIETARY: Final = 0x80


def protected_class(cla: int) -> int:
    """The class byte with its mark of GlobalPlatform secure messaging, on channels 0 to 3 or 4 to 19."""
    return cla | (_FURTHER_MARK if cla & _FURTHER else _FIRST_MARK)


def mac_class(cla: int) -> int:
    """The class byte as a C-MAC covers it: marked, and without a logical channel."""
    if cla & _FURTHER:
        return cla & _PROPRIETARY | _FIRST_MARK
    return cla & ~_FIRST_CHANNELS | _FIRST_MARK


def plain_class(cla: int) -> int:
    """The class byte as an R-MAC of SCP02 covers it: neither marked nor with a logical channel."""
    return mac_class(cla) & ~_FIRST_MARK
