"""Where the records of a file stand in its object.

Source: ISO/IEC 7816-4:2020, clause 7.3.3 (record structures); the layout is told in `card_os.files.directory`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.files.spec import FileStructure
from card_os.iso7816.errors import RecordNotFound

if TYPE_CHECKING:
    from card_os.files.directory import File
    from card_os.storage.store import ObjectStore

RECORDS_AT: Final = 12
"""Offset of records in use and of the place of the most recent one in a file's header."""


def record_state(store: ObjectStore, file: File) -> tuple[int, int]:
    """Records in use, and of a cyclic file the place of the most recent one."""
    raw = store.read(file.item, RECORDS_AT, 2)
    return raw[0], raw[1]


def record_place(store: ObjectStore, file: File, number: int) -> tuple[int, int]:
    """Offset of a record's content in the object, and its length; number 1 of a cyclic file is the most recent.

    Raises:
        RecordNotFound: 6A83.
    """
    used, newest = record_state(store, file)
    if not 1 <= number <= used:
        raise RecordNotFound(f"no record {number}")
    spec = file.spec
    if file.structure is FileStructure.CYCLIC:
        return file.body + (newest + 1 - number) % spec.record_count * file.stride, spec.record_length
    place = file.body + (number - 1) * file.stride
    if file.structure is FileStructure.LINEAR_VARIABLE:
        return place + 1, store.read(file.item, place, 1)[0]
    return place, spec.record_length
