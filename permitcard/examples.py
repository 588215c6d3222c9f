"""The example batch of a checkout, or one made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from personalization.intake.sample import write_sample

EXAMPLE_SIZE: Final = 200
_SEED: Final = 1


def example_batch(count: int, folder: Path) -> Path:
    """The delivered file to make: the checkout's example for 200 cards, else a sample of ``count`` in ``folder``."""
    committed = sorted((Path(__file__).parent.parent / "examples" / "ruian").glob("*.zip"))
    if count == EXAMPLE_SIZE and committed:
        return committed[0]
    return write_sample(folder / "delivered", count, _SEED)
