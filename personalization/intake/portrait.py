"""Portraits: what a delivered picture must be before it can be made a card's portrait."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from personalization.intake.limits import FieldLimits
from personalization.intake.text_rules import Facts

_FORMATS: Final = ("JPEG", "PNG", "BMP")
_JPEG_START: Final = b"\xff\xd8\xff"
_THOUSAND: Final = 1000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class PortraitRule:
    """One row of the table: a code, and what width and height break."""

    code: str
    broken_by: Callable[[int, int, FieldLimits], bool]


_SIZE_RULES: Final = (
    PortraitRule("portrait-too-small", lambda w, h, limit: w < limit.portrait_width or h < limit.portrait_height),
    PortraitRule("portrait-too-large", lambda w, h, limit: max(w, h) > limit.portrait_side),
    PortraitRule(
        "portrait-aspect",
        lambda w, h, limit: not limit.portrait_ratio[0] * h <= w * _THOUSAND <= limit.portrait_ratio[1] * h,
    ),
)


_PICTURE_FAULTS: Final = (
    OSError,
    ValueError,
    SyntaxError,
    OverflowError,
    EOFError,
    Image.DecompressionBombError,
)
"""Pillow's plug-ins report a broken file by any of these."""

Verdict = tuple[str, Facts]
"""The code of a rule, and facts for its message."""


def check_portrait(content: bytes, limits: FieldLimits) -> Verdict | None:
    """The rule that a picture breaks with facts for the message, or None when it can be used.

    The size is read from the header and judged first, so that a picture that would fill the memory is never unpacked;
    then the picture is decoded whole, because a picture that was cut off shows only there.
    """
    verdict, _ = use_portrait(content, limits, lambda picture: _decode(picture, limits))
    return verdict


def use_portrait(
    content: bytes, limits: FieldLimits, use: Callable[[Image.Image], Result]
) -> tuple[Verdict, None] | tuple[None, Result]:
    """Check a picture and make something of it, so that it is decoded once.

    Args:
        content: the picture file.
        limits: bounds of its size.
        use: gets the opened picture, whose size is within the bounds, and has to decode it whole.

    Returns:
        The rule that is broken, as `check_portrait` tells it, and None; or None, and what ``use`` returned.
    """
    try:
        picture = _opened(content)
        width, height = picture.size
        for rule in _SIZE_RULES:
            if rule.broken_by(width, height, limits):
                return (rule.code, {"width": width, "height": height}), None
        return None, use(picture)
    except _PICTURE_FAULTS:
        return ("portrait-unreadable", {"bytes": len(content)}), None


def _opened(content: bytes) -> Image.Image:
    stream = io.BytesIO(content)
    if content.startswith(_JPEG_START):
        return JpegImageFile(stream)  # nearly all are: no other plug-in is asked
    with warnings.catch_warnings():
        # Pillow warns of pictures far above our own limit, which the size rules refuse.
        warnings.simplefilter("ignore")
        return Image.open(stream, formats=_FORMATS)


def _decode(picture: Image.Image, limits: FieldLimits) -> None:
    # JPEG decodes at an eighth of the size where the picture is larger than needed: every block is still read.
    picture.draft(None, (limits.portrait_width, limits.portrait_height))
    picture.load()
