"""Chips of one's own, from a TOML file with one table of the form of `chips.toml`.

```toml
[acme-256k]                    # name: up to 24 letters, digits and - . _, none of a chip that comes with the product
kind = "eeprom"                # words: a word is erased as it is programmed; flash, eeprom: pages are erased
size = 262144                  # bytes
page_size = 128                # bytes, a power of two
word_size = 8                  # bytes of a programming unit, a power of two from 4 (with page erase to 16)
erased = 0x00                  # value of an erased byte, 00 or FF
word_program_ns = 150000
page_erase_ns = 1200000        # not with kind = "words"
endurance = 300000             # erase cycles of a page, programming cycles where pages have no erase
processor = "secure-33mhz"     # or secure-16mhz: what computing costs (processors.toml)
```

The geometry goes into the header of the image, so that a card file needs the chip's file never again.
"""

from __future__ import annotations

import re
import tomllib
from os import PathLike
from pathlib import Path
from typing import Any, Final

from card_os.hardware.chip import CellKind, Chip, load_chips
from card_os.hardware.work import processor_names

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}")
_MAX_SIZE: Final = 1 << 24
_MAX_NUMBER: Final = (1 << 32) - 1
_NUMBERS: Final = ("size", "page_size", "word_size", "erased", "word_program_ns", "endurance")
_ERASE: Final = "page_erase_ns"


class ChipFileError(ValueError):
    """A chip's file makes no sense.

    Args:
        where: place in the file, such as ``acme-256k.size``.
        reason: what is wrong there.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


def read_chip(path: str | PathLike[str]) -> Chip:
    """The chip of a file.

    Raises:
        ChipFileError: it is no TOML, or makes no sense; says where.
        OSError: it cannot be read.
    """
    try:
        tables = tomllib.loads(Path(path).read_bytes().decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ChipFileError("file", str(error)) from error
    if len(tables) != 1:
        raise ChipFileError("file", f"has {len(tables)} entries; one table, which has the chip's name, is expected")
    ((name, row),) = tables.items()
    if not isinstance(row, dict):
        raise ChipFileError(name, "is no table; one table, which has the chip's name, is expected")
    if _NAME.fullmatch(name) is None:
        raise ChipFileError(name, "a name has up to 24 letters, digits and - . _")
    if name in load_chips():
        raise ChipFileError(name, "is the name of a chip that comes with the product")
    return _chip(name, row)


def _chip(name: str, row: dict[str, Any]) -> Chip:
    kind = _choice(name, row, "kind", [kind.name.lower() for kind in CellKind])
    processor = _choice(name, row, "processor", processor_names())
    numbers = {key: _number(name, row, key) for key in _NUMBERS}
    if kind == CellKind.WORDS.name.lower():
        numbers[_ERASE] = 0
    else:
        numbers[_ERASE] = _number(name, row, _ERASE)
    for key in row:
        if key not in {*numbers, "kind", "processor"} or (key == _ERASE and not numbers[_ERASE]):
            raise ChipFileError(f"{name}.{key}", "is not known for a chip of this kind")
    if numbers["size"] > _MAX_SIZE:
        raise ChipFileError(f"{name}.size", f"is more than {_MAX_SIZE}")
    try:
        return Chip(name=name, kind=CellKind[kind.upper()], processor=processor, **numbers)
    except ValueError as error:
        raise ChipFileError(name, str(error)) from error


def _choice(name: str, row: dict[str, Any], key: str, known: list[str]) -> str:
    value = row.get(key)
    if not isinstance(value, str) or value not in known:
        raise ChipFileError(f"{name}.{key}", f"is none of {', '.join(known)}")
    return value


def _number(name: str, row: dict[str, Any], key: str) -> int:
    value = row.get(key)
    if value is None:
        raise ChipFileError(f"{name}.{key}", "is missing")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_NUMBER:
        raise ChipFileError(f"{name}.{key}", f"is no whole number from 0 to {_MAX_NUMBER}")
    return value
