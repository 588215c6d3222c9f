"""The portrait on the card against the picture that was delivered.

A portrait that is the delivered file needs no look. Another one is decoded, and so is the delivered picture; both are
brought to the same coarse grid and compared colour by colour, so that another face on the same background shows.
"""

from __future__ import annotations

import io
from operator import mul
from typing import Final

from PIL import Image, ImageChops, ImageOps

_SIZE: Final = (71, 99)
_GRID: Final = (24, 33)
"""Places that are compared: 3 × 3 pixels each."""
_MOST: Final = 7.0
"""Largest root mean square of the differences, 0..255. Over 600 drawn portraits compression and scaling give at most
5.7, and 36,000 pairs of two heads on one background, which are more alike than photographs, at least 8.4."""
_DRAFT_SIZE: Final = (142, 198)
_FORMATS: Final = ("JPEG", "PNG", "BMP")
_WHITE: Final = (255, 255, 255)
_LEVELS: Final = 256
_SQUARES: Final = tuple(level * level for level in range(_LEVELS))
_UNDECODABLE: Final = (OSError, ValueError, SyntaxError, OverflowError, EOFError, Image.DecompressionBombError)
"""By what Pillow's plug-ins report a broken file."""


def is_card_portrait(found: bytes) -> bool:
    """True for a JPEG of 71 × 99 pixels that decodes."""
    return card_portrait(found) is not None


def card_portrait(found: bytes) -> Image.Image | None:
    """The decoded picture of a JPEG of 71 × 99 pixels; None for anything else."""
    try:
        picture = Image.open(io.BytesIO(found), formats=("JPEG",))
        if picture.size != _SIZE:
            return None
        picture.load()
    except _UNDECODABLE:
        return None
    return picture


def shows_the_same(found: bytes, delivered: bytes, picture: Image.Image | None = None) -> bool:
    """True when the portrait shows what the delivered picture shows.

    Args:
        found: the portrait on the card.
        delivered: the delivered file.
        picture: what `card_portrait` made of ``found``, so that it is not decoded twice.
    """
    if found == delivered:
        return True
    try:
        shown = _grid(_opened(found) if picture is None else picture)
        difference = ImageChops.difference(shown, _grid(_opened(delivered)))
    except _UNDECODABLE:
        return False
    histogram = difference.histogram()
    sums: list[int] = [
        sum(map(mul, histogram[at : at + _LEVELS], _SQUARES)) for at in range(0, len(histogram), _LEVELS)
    ]
    return max(sums) <= _MOST**2 * _GRID[0] * _GRID[1]


def _opened(content: bytes) -> Image.Image:
    opened = Image.open(io.BytesIO(content), formats=_FORMATS)
    if opened.format == "JPEG":
        opened.draft(None, _DRAFT_SIZE)
    return opened


def _grid(opened: Image.Image) -> Image.Image:
    """The picture upright, on white, cut around its centre to the card's proportions, in a coarse grid of colours."""
    picture = ImageOps.exif_transpose(opened)
    if picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.new("RGB", layer.size, _WHITE)
        picture.paste(layer, mask=layer.getchannel("A"))
    picture = picture.convert("RGB")
    width, height = picture.size
    used = min(width, height * _SIZE[0] / _SIZE[1]), min(height, width * _SIZE[1] / _SIZE[0])
    left, top = (width - used[0]) / 2, (height - used[1]) / 2
    return picture.resize(_GRID, Image.Resampling.BOX, (left, top, left + used[0], top + used[1]))
