"""What a station leaves to the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from personalization.production.settled_heap import settled_heap


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """What the run itself keeps out of sight is in sight for as long as the test runs."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_what_was_there_is_out_of_sight_until_the_end() -> None:
    before = gc.get_freeze_count()
    with settled_heap():
        assert gc.get_freeze_count() > before + 1_000
        ring: list[object] = []
        ring.append(ring)
        del ring
        assert gc.collect() >= 1, "what comes from now on is looked at"
    assert gc.get_freeze_count() == before


def test_a_failure_ends_it_too() -> None:
    before = gc.get_freeze_count()
    with pytest.raises(LookupError), settled_heap():
        raise LookupError
    assert gc.get_freeze_count() == before
