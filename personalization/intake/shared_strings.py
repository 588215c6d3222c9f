"""The shared strings of an .xls file, joined where a record's end cuts them.

A string may go on in a CONTINUE record, and the cut may fall between the two halves of a character outside the Basic
Multilingual Plane. Readers that decode each piece for itself lose that character, which in names is not rare.

Source: [MS-XLS] 2.4.265 (SST), 2.5.293 (XLUnicodeRichExtendedString), 2.4.58 (Continue).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

_COUNTS: Final = 8  # total and unique count before the first string
_WIDE: Final = 0x01
_EXTENDED: Final = 0x04
_RICH: Final = 0x08
_RUN_BYTES: Final = 4


class SharedStrings:
    """Reads strings one after the other.

    Args:
        pieces: content of the SST record, then of the CONTINUE records that follow it.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in (pieces[0][_COUNTS:], *pieces[1:]) if piece]
        self._piece = 0
        self._offset = 0

    def read_all(self) -> list[str]:
        """All strings in order; a half of a character that has no other half stays one."""
        strings: list[str] = []
        while self._settle():
            strings.append(self._read())
        return strings

    def _settle(self) -> bool:
        """Go on to the next piece when this one is used up; False at the end."""
        while self._piece < len(self._pieces) and self._offset >= len(self._pieces[self._piece]):
            self._piece, self._offset = self._piece + 1, 0
        return self._piece < len(self._pieces)

    def _number(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self._pieces[self._piece], self._offset)
        self._offset += struct.calcsize(form)
        return int(value)

    def _read(self) -> str:
        left, flags = self._number("<H"), self._number("<B")
        runs = self._number("<H") if flags & _RICH else 0
        extended = self._number("<I") if flags & _EXTENDED else 0
        text = bytearray()
        while left:
            if self._offset >= len(self._pieces[self._piece]):
                self._settle()
                flags = self._number("<B")  # each piece says anew how wide its characters are
            piece, width = self._pieces[self._piece], 2 if flags & _WIDE else 1
            taken = min(left, (len(piece) - self._offset) // width)
            raw = piece[self._offset : self._offset + taken * width]
            text += raw if width > 1 else raw.decode("latin-1").encode("utf-16-le")
            self._offset += max(1, taken * width)
            left -= taken
        self._skip(runs * _RUN_BYTES + extended)
        return text.decode("utf-16-le", "surrogatepass")

    def _skip(self, length: int) -> None:
        while length and self._settle():
            step = min(length, len(self._pieces[self._piece]) - self._offset)
            self._offset += step
            length -= step
