"""Data groupings: how long file contents are cut for STORE DATA, and how groupings stand in a prepared record.

```
identifier (2) ‖ length (1; or FF and 2, big-endian) ‖ value
```

Source: GlobalPlatform Messaging Specification / Systems Scripting Language, annex on DGIs; GlobalPlatform Card
Specification 2.3.1, clause 11.11.2.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import DataGrouping

FILE_CHUNK: Final = 2048
"""Content bytes of one file grouping; a longer file comes in several, each with its own offset."""

_IDENTIFIER: Final = 2
_OFFSET: Final = 2
_LONG_MARK: Final = 0xFF
_LONGEST_SHORT: Final = 0xFE
_LONGEST: Final = 0xFFFF
_SHORT_HEAD: Final = struct.Struct(">HB")
_LONG_HEAD: Final = struct.Struct(">HBH")


def file_groupings(fid: int, content: bytes) -> Iterator[DataGrouping]:
    """The groupings of one file: offset (2) ‖ content, at most `FILE_CHUNK` bytes of content each."""
    for offset in range(0, len(content), FILE_CHUNK):
        chunk = content[offset : offset + FILE_CHUNK]
        yield DataGrouping(fid, offset.to_bytes(_OFFSET, "big") + chunk)


def encode_groupings(groupings: Iterable[DataGrouping]) -> bytes:
    """Concatenated groupings, in plain.

    Raises:
        ValueError: a value is longer than 65,535 bytes.
    """
    parts: list[bytes] = []
    for identifier, value, _ in groupings:
        length = len(value)
        if length <= _LONGEST_SHORT:
            head = _SHORT_HEAD.pack(identifier, length)
        elif length <= _LONGEST:
            head = _LONG_HEAD.pack(identifier, _LONG_MARK, length)
        else:
            raise ValueError(f"a grouping has at most {_LONGEST} bytes, not {length}")
        parts += (head, value)
    return b"".join(parts)


def parse_groupings(raw: bytes) -> tuple[DataGrouping, ...]:
    """Read concatenated groupings.

    Raises:
        PersonalizationError: "grouping-malformed": a field is cut short.
    """
    found: list[DataGrouping] = []
    offset, end = 0, len(raw)
    while offset < end:
        at = offset + _IDENTIFIER
        length = raw[at] if at < end else _LONGEST
        at += 1
        if length == _LONG_MARK:
            length = int.from_bytes(raw[at : at + 2], "big")
            at += 2
        if at + length > end:
            raise PersonalizationError("grouping-malformed", offset=offset)
        found.append(DataGrouping(int.from_bytes(raw[offset : offset + _IDENTIFIER], "big"), raw[at : at + length]))
        offset = at + length
    return tuple(found)
