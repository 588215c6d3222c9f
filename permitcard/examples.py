"""The example batch of a checkout, or one made on the spot."""

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
    """The delivered file to make: the checkout's example for 200 cards, else a new sample in ``folder``."""
    committed = sorted((Path(__file__).parent.parent / "examples" / "ruian").glob("*.zip"))
    if count == EXAMPLE_SIZE and committed:
        return committed[0]
    issued = first_issue(dt.datetime.now(dt.UTC).date())
    return write_sample(folder / "delivered", count, _SEED, issued=issued)
