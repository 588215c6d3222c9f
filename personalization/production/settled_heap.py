"""What a station has loaded before its first card, kept out of the garbage collector's sight.

Modules, profiles and keys of the batch live as long as the station. Looking through all of them for garbage takes a
tenth of a second, and comes whenever cards have left enough behind; to look through what cards leave takes a
millisecond. Because that is done more often, what a card leaves goes sooner.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def settled_heap() -> Generator[None]:
    """Take all objects that are there now as staying until the end of the scope; nothing else changes."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
