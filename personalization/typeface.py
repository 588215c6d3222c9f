"""The typeface of printed papers: one with the rare characters of names.

A character that the font lacks is an error, never an empty box.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from personalization.errors import PersonalizationError

FONTS: Final = (
    Path("/usr/share/fonts/truetype/babelstone/BabelStoneHan.ttf"),
    Path("/usr/share/fonts/truetype/hanazono/HanaMinA.ttf"),
    Path("C:/Windows/Fonts/simsunb.ttf"),
)
"""Where fonts with rare characters usually are; the first one that is there is taken."""

FACE: Final = "permitcard-paper"
"""What a canvas calls the typeface."""


def find_font(fonts: Iterable[Path] = FONTS) -> Path:
    """The font of printed papers.

    Raises:
        PersonalizationError: "font-missing" (exit 3), none is installed.
    """
    for path in fonts:
        if path.exists():
            return path
    raise PersonalizationError("font-missing", exit_code=3, package="fonts-babelstone-han")


class Typeface:
    """A font that a canvas knows as `FACE`.

    Args:
        font: a TrueType font; by default `find_font`.

    Raises:
        PersonalizationError: "font-missing" and "font-unusable", exit 3.
    """

    __slots__ = ("_glyphs",)

    def __init__(self, font: Path | None = None) -> None:
        path = font or find_font()
        try:
            face: Any = TTFont(FACE, str(path))
        except (TTFError, OSError) as error:
            raise PersonalizationError("font-unusable", exit_code=3, path=str(path)) from error
        pdfmetrics.registerFont(face)
        self._glyphs: Any = face.face.charToGlyph

    def lacking(self, texts: Iterable[str]) -> str:
        """Code points that the font has no glyph for, as ``U+4E00 U+4E01``; empty where it has all."""
        points = sorted({character for text in texts for character in text if ord(character) not in self._glyphs})
        return " ".join(f"U+{ord(character):04X}" for character in points)

    def require(self, texts: Iterable[str]) -> None:
        """Refuse text that cannot be printed.

        Raises:
            PersonalizationError: "font-lacks" (exit 1) with the code points.
        """
        if points := self.lacking(texts):
            raise PersonalizationError("font-lacks", points=points)

    def lines(self, text: str, size: float, width: float) -> Iterator[str]:
        """Lines that fit; Chinese text breaks between any two characters.

        Args:
            text: what is printed.
            size: of the type, points.
            width: of a line, points.
        """
        line = ""
        for character in text:
            if line and pdfmetrics.stringWidth(line + character, FACE, size) > width:
                yield line
                line = ""
            line += character
        yield line
