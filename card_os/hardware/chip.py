"""Chip geometries: what an image is made after."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import IntEnum
from importlib import resources
from typing import Final

DEFAULT_CHIP: Final = "flash-144k"
_MIN_WORD: Final = 4
_MAX_MAPPED_WORD: Final = 16


class CellKind(IntEnum):
    """How cells take new values; the numbers are in the image.

    WORDS: each word is erased as it is programmed, and a page has no erase of its own (images of version 1).
    FLASH: a word can be programmed once, until its whole page is erased.
    EEPROM: a page can be erased; a word that is not erased is erased as it is programmed.
    """

    WORDS = 0
    FLASH = 1
    EEPROM = 2


@dataclass(frozen=True, slots=True)
class Chip:
    """Geometry and times of a memory.

    Attributes:
        name: up to 24 ASCII characters.
        size: bytes, a multiple of ``page_size``.
        page_size: bytes of a page, a power of two.
        word_size: bytes of a programming unit, a power of two, 4 or more, at most a page.
        erased: value of an erased byte, 00 or FF.
        word_program_ns: time to program one word.
        endurance: erase cycles that a page is good for; programming cycles where pages have no erase.
        kind: how cells take new values.
        page_erase_ns: time to erase a page, 0 where pages have no erase.
        processor: name of the table of what computing costs; empty where the chip's name tells it, as it does of those
            that come with the product.
    """

    name: str
    size: int
    page_size: int
    word_size: int
    erased: int
    word_program_ns: int
    endurance: int
    kind: CellKind = CellKind.WORDS
    page_erase_ns: int = 0
    processor: str = ""

    def __post_init__(self) -> None:
        words = self.kind is CellKind.WORDS
        for sound, demand in (
            (_is_power_of_two(self.page_size), "page_size is a power of two"),
            (_is_power_of_two(self.word_size), "word_size is a power of two"),
            (_MIN_WORD <= self.word_size <= self.page_size, f"word_size is from {_MIN_WORD} to a page"),
            (words or self.word_size <= _MAX_MAPPED_WORD, f"word_size is at most {_MAX_MAPPED_WORD} with page erase"),
            (self.size > 0 and self.size % self.page_size == 0, "size is a number of whole pages"),
            (self.erased in (0x00, 0xFF), "erased is 00 or FF"),
            (words == (self.page_erase_ns == 0), "page_erase_ns is 0 where pages have no erase, and there only"),
            (self.endurance > 0, "endurance is at least 1"),
        ):
            if not sound:
                raise ValueError(f"an impossible geometry, for {demand}")

    @property
    def pages(self) -> int:
        """Number of pages."""
        return self.size // self.page_size


def load_chips() -> dict[str, Chip]:
    """The chips that come with the product, by name."""
    text = resources.files("card_os.hardware").joinpath("chips.toml").read_text(encoding="utf-8")
    return {
        name: Chip(name=name, kind=CellKind[row.pop("kind").upper()], **row)
        for name, row in tomllib.loads(text).items()
        if row.pop("processor")
    }


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
