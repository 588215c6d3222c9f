"""The list of chips that comes with a delivery of real blanks: which they are, and where each is presented.

```
card_number,reader,place
4A5A01440A0000000001,pcsc:ACME 5400 00 00,tray 1/001
4A5A01440A0000000002,pcsc:ACME 5400 00 00,tray 1/002
```

A reader with a feeder presents many cards; ``place`` tells them apart, and is what the position hook goes by. It may be
left out where each card has a reader of its own. A card file (``sim:cards/1.card``, in a rehearsal) is in the centre's
folder.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from personalization.errors import PersonalizationError
from personalization.production.card_kind import refuse_other_kind
from personalization.production.stock import NewBlank
from reader_bridge.addresses import AddressKind, CardAddress
from reader_bridge.connection import ReaderError

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE_MARK: Final = "#"
"""Between the address of a reader and the place of a card at it."""

_NEEDED: Final = {"card_number", "reader"}
_COLUMNS: Final = _NEEDED | {"place"}
_CARD_NUMBER: Final = re.compile(r"[0-9A-Fa-f]{20}")
_PLACE: Final = re.compile(r"[^#\x00-\x1f\x7f]{0,64}")
_LONGEST: Final = 1024
_HEAD: Final = 1


def read_blank_list(file: Path, *, production: bool) -> list[NewBlank]:
    """Read and check a list as a whole.

    Args:
        file: CSV in UTF-8 with a head.
        production: whether the centre's keys are for real cards, so that a card file is a mistake.

    Raises:
        PersonalizationError: exit 2: "blank-list-unreadable", "blank-list-malformed" with the line; a card file under
            production keys.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            found = list(_blanks(file, csv.DictReader(lines), production=production))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise PersonalizationError("blank-list-unreadable", exit_code=2, file=str(file), reason=reason) from error
    if not found:
        raise _malformed(file, _HEAD, "no card")
    return found


def _blanks(file: Path, rows: csv.DictReader[str], *, production: bool) -> Iterator[NewBlank]:
    names = rows.fieldnames or ()
    if not set(names) >= _NEEDED or set(names) - _COLUMNS:
        raise _malformed(file, _HEAD, ",".join(sorted(_COLUMNS)))
    seen: set[object] = set()
    for row in rows:
        blank = _blank(file, rows.line_num, row)
        address = blank.location.partition(PLACE_MARK)[0]
        if CardAddress.parse(address).kind is AddressKind.SIMULATED:
            refuse_other_kind(production=production, simulated=True, card=address)
        if {blank.card_number, blank.location} & seen:
            raise _malformed(file, rows.line_num, "twice")
        seen |= {blank.card_number, blank.location}
        yield blank


def _blank(file: Path, line: int, row: Mapping[str | None, str | None]) -> NewBlank:
    number, reader, place = ((row.get(name) or "").strip() for name in ("card_number", "reader", "place"))
    if None in row or not _CARD_NUMBER.fullmatch(number):
        raise _malformed(file, line, "card_number")
    if PLACE_MARK in reader or not _PLACE.fullmatch(place) or len(reader) > _LONGEST - 1 - len(place):
        raise _malformed(file, line, "place")
    try:
        address = CardAddress.parse(reader)
    except ReaderError as error:
        raise _malformed(file, line, "reader") from error
    if address.kind is AddressKind.SIMULATED:
        if place:  # a card file is one card
            raise _malformed(file, line, "place")
        if not _is_in_the_centre(reader, address.place):
            raise _malformed(file, line, "reader")
    return NewBlank(bytes.fromhex(number), f"{reader}{PLACE_MARK}{place}" if place else reader)


def _is_in_the_centre(reader: str, path: str) -> bool:
    """Whether an address is that of a card file below the centre's folder: destroying a card removes its file."""
    parts = PurePath(path)
    return reader == f"{AddressKind.SIMULATED.value}:{path}" and not parts.is_absolute() and ".." not in parts.parts


def _malformed(file: Path, line: int, what: str) -> PersonalizationError:
    return PersonalizationError("blank-list-malformed", exit_code=2, file=str(file), line=line, what=what)
