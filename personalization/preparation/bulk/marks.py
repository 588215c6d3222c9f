"""What a checked chunk says of its rows to those who compare rows of different chunks.

```
offset 0    4   row number
       4    1   bits: 01 permit number sound, 02 citizen number sound, 04 account sound,
               08 the card's portrait is the delivered one, 80 the row is at fault
       5    16  mark of the permit number
       21   16  mark of the citizen number
       37   16  mark of the account
       53   32  recognition value of the permit number; 00 when that is not sound
       85   32  recognition value of the citizen number; likewise
```
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from personalization.errors import PersonalizationError

_ROW: Final = struct.Struct(">IB16s16s16s32s32s")
_COMPARED: Final = struct.Struct(">IB16s16s16s64x")
_ASKED: Final = struct.Struct(">IB48x32s32x")


class Sound:
    """Bits that say what of a row is in order; plain numbers, for every row of a batch is asked."""

    PERMIT: Final = 0x01
    CITIZEN: Final = 0x02
    ACCOUNT: Final = 0x04
    AS_DELIVERED: Final = 0x08
    FAULTY: Final = 0x80


class RowMarks(NamedTuple):
    """One row; see the module."""

    row: int
    bits: int
    permit: bytes
    citizen: bytes
    account: bytes
    permit_recognition: bytes
    citizen_recognition: bytes

    def __repr__(self) -> str:
        return f"RowMarks(row={self.row}, …)"

    def encode(self) -> bytes:
        """The bytes of the row."""
        return _ROW.pack(*self)


def read_marks(path: Path) -> Iterator[RowMarks]:
    """The rows of a chunk, in order.

    Raises:
        PersonalizationError: "work-file-damaged", exit 3.
    """
    return map(RowMarks._make, _read(path, _ROW))


def read_compared(path: Path) -> Iterator[tuple[int, int, bytes, bytes, bytes]]:
    """Row number, bits, and marks of permit number, citizen number and account of each row; raises as `read_marks`."""
    return _read(path, _COMPARED)


def read_asked(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Row number, bits, and recognition value of the permit number of each row; raises as `read_marks`."""
    return _read(path, _ASKED)


def _read(path: Path, form: struct.Struct) -> Iterator[Any]:
    try:
        return form.iter_unpack(path.read_bytes())
    except (OSError, struct.error):
        raise PersonalizationError("work-file-damaged", exit_code=3, file=path.name, reason="") from None
