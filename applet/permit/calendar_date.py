"""Dates on the card: eight ASCII digits, YYYYMMDD."""

from __future__ import annotations

import datetime as dt
from typing import Final

from card_os.iso7816.errors import WrongData, WrongLength

DATE_LENGTH: Final = 8
NO_DATE: Final = b"0" * DATE_LENGTH
"""What stands where nobody has told a date: earlier than every date."""


def require_date(digits: bytes) -> None:
    """Refuse what is not eight digits of a date of the calendar.

    Raises:
        WrongLength: 6700.
        WrongData: 6A80.
    """
    if len(digits) != DATE_LENGTH:
        raise WrongLength("a date has 8 digits")
    if not digits.isdigit():
        raise WrongData("a date is 8 ASCII digits")
    try:
        dt.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as error:
        raise WrongData("no date of the calendar") from error
