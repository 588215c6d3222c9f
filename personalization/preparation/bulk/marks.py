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
from typing import Final, NamedTuple

from personalization.errors import PersonalizationError

_ROW: Final = struct.Struct(">IB16s16s16s32s32s")


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
    try:
        content = path.read_bytes()
        yield from (RowMarks(*fields) for fields in _ROW.iter_unpack(content))
    except (OSError, struct.error):
        raise PersonalizationError("work-file-damaged", exit_code=3, file=path.name, reason="") from None
