"""Inspection knows a face again after preparation, and never takes one for another."""

from __future__ import annotations

import itertools
import random

import pytest

from personalization.inspection.portrait_check import shows_the_same
from personalization.intake.sample.faces import draw_portrait
from personalization.preparation.portrait import make_portrait

FACES = 60


@pytest.fixture(scope="module")
def faces() -> list[tuple[bytes, bytes]]:
    """Delivered pictures and what preparation made of them."""
    delivered = [draw_portrait(random.Random(f"face {number}")) for number in range(FACES)]
    return [(picture, make_portrait(picture, row=1)) for picture in delivered]


def test_a_prepared_portrait_is_known_again(faces: list[tuple[bytes, bytes]]) -> None:
    assert all(shows_the_same(made, delivered) for delivered, made in faces)


def test_another_person_s_portrait_is_never_taken_for_it(faces: list[tuple[bytes, bytes]]) -> None:
    pairs = itertools.islice(itertools.permutations(faces, 2), 1000)
    assert not any(shows_the_same(made, delivered) for (_, made), (delivered, _) in pairs)
