"""The batch of the demonstration: residents of these days, so that desks take their cards."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

from personalization.intake.sample import write_sample

EXAMPLE_SIZE: Final = 200
_SEED: Final = 1
_BEFORE: Final = dt.timedelta(days=60)


def first_issue(today: dt.date) -> dt.date:
    """From when on the permits of a sample are issued, over 60 days, so that desks take all of its cards today.

    Without a signed bound a card takes dates until 60 days after its production, and an endorsement is due in a year.
    """
    return today - _BEFORE


def example_batch(count: int, folder: Path) -> Path:
    """Write the delivered file to make into ``folder``; the same residents each day, with the dates of the day."""
    issued = first_issue(dt.datetime.now(dt.UTC).date())
    return write_sample(folder / "delivered", count, _SEED, issued=issued)
