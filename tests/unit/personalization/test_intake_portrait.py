"""Portraits: what a delivered picture must be."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from personalization.intake.limits import FieldLimits
from personalization.intake.portrait import check_portrait
from personalization.intake.sample.faces import draw_portrait

LIMITS = FieldLimits()
FORMATS = ("JPEG", "PNG", "BMP")
DRAWN = {picture_format: draw_portrait(random.Random(3), picture_format) for picture_format in FORMATS}


def picture(width: int, height: int, picture_format: str = "PNG", mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (width, height)).save(stream, picture_format)
    return stream.getvalue()


def rule(content: bytes) -> str | None:
    broken = check_portrait(content, LIMITS)
    return broken and broken[0]


@pytest.mark.parametrize("picture_format", FORMATS)
def test_three_forms_are_taken(picture_format: str) -> None:
    assert rule(draw_portrait(random.Random(1), picture_format)) is None


@pytest.mark.parametrize(
    "content", [b"", b"%PDF-1.7", picture(71, 99, "GIF", "P"), picture(71, 99, "TIFF"), picture(71, 99, "WEBP")]
)
def test_other_forms_are_not(content: bytes) -> None:
    assert rule(content) == "portrait-unreadable"


@pytest.mark.parametrize("picture_format", FORMATS)
def test_a_picture_that_was_cut_off_is_seen(picture_format: str) -> None:
    content = draw_portrait(random.Random(2), picture_format)
    assert rule(content[: len(content) * 2 // 3]) == "portrait-unreadable"


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (71, 99, None),
        (358, 441, None),
        (480, 640, None),
        (600, 1000, None),
        (850, 1000, None),
        (70, 99, "portrait-too-small"),
        (71, 98, "portrait-too-small"),
        (3000, 4097, "portrait-too-large"),
        (599, 1000, "portrait-aspect"),
        (851, 1000, "portrait-aspect"),
        (200, 150, "portrait-aspect"),
    ],
)
def test_sizes(width: int, height: int, expected: str | None) -> None:
    assert rule(picture(width, height, mode="1")) == expected


def test_a_picture_that_would_fill_the_memory_is_judged_by_its_header() -> None:
    """PNG (ISO/IEC 15948) 11.2.2: width and height stand in IHDR, big-endian."""
    content = bytearray(picture(71, 99))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    assert rule(bytes(content)) in {"portrait-too-large", "portrait-unreadable"}


@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(1, 6000),
)
def test_any_bytes_get_a_verdict(picture_format: str, changes: list[tuple[int, int]], length: int) -> None:
    content = bytearray(DRAWN[picture_format])
    for place, value in changes:
        content[place] = value
    broken = check_portrait(bytes(content[:length]), LIMITS)
    assert broken is None or broken[0].startswith("portrait-")


@pytest.mark.parametrize("seed", range(5))
def test_drawn_portraits_depend_on_their_seed_alone(seed: int) -> None:
    assert draw_portrait(random.Random(seed)) == draw_portrait(random.Random(seed))
    assert draw_portrait(random.Random(seed)) != draw_portrait(random.Random(seed + 1))
