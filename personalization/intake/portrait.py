"""Portraits: what a delivered picture must be before it can be made a card's portrait."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from PIL import Image

from personalization.intake.limits import FieldLimits
from personalization.intake.text_rules import Facts

_FORMATS: Final = ("JPEG", "PNG", "BMP")
_THOUSAND: Final = 1000


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


def check_portrait(content: bytes, limits: FieldLimits) -> tuple[str, Facts] | None:
    """The rule that a picture breaks with facts for the message, or None when it can be used.

    The size is read from the header and judged first, so that a picture that would fill the memory is never unpacked;
    then the picture is decoded whole, because a picture that was cut off shows only there.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures far above our own limit, which the size rules refuse.
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(content), formats=_FORMATS)
        width, height = picture.size
        for rule in _SIZE_RULES:
            if rule.broken_by(width, height, limits):
                return rule.code, {"width": width, "height": height}
        # JPEG decodes at an eighth of the size where the picture is larger than needed: every block is still read.
        picture.draft(None, (limits.portrait_width, limits.portrait_height))
        picture.load()
    except (OSError, ValueError, SyntaxError, OverflowError, EOFError, Image.DecompressionBombError):
        # Pillow's plug-ins report a broken file by any of these.
        return "portrait-unreadable", {"bytes": len(content)}
    return None
