"""ERASE BINARY and ERASE RECORD: data goes back to the logical erased state of the file.

The rule is that of updating, as in the compact format (table 26). A long range is erased at once or not at all.

Source: ISO/IEC 7816-4:2020, clauses 11.3.7 (ERASE BINARY) and 11.4.8 (ERASE RECORD).
"""

from __future__ import annotations

from typing import Final

from card_os.applet_api import Context
from card_os.files.binary import TAG_OFFSET, binary_target, odd_objects, odd_target
from card_os.files.checks import require_update
from card_os.files.directory import File
from card_os.files.records import RecordMode, record_number, record_target
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import IncorrectP1P2, RecordNotFound, WrongData, WrongLength, WrongParameters

_OFFSET_LENGTH: Final = 2
_MAX_OFFSETS: Final = 2


def erase_binary(context: Context, command: CommandApdu) -> bytes:
    """ERASE BINARY (0E): from the offset to the end, or up to the offset of two bytes in the data, which stays.

    Raises:
        WrongParameters: 6B00, the range is not in the file or is empty.
        WrongLength: 6700, no offset of two bytes.
    """
    file, first = binary_target(context, command)
    require_update(context, command, file)
    if command.data and len(command.data) != _OFFSET_LENGTH:
        raise WrongLength("an offset of two bytes, or nothing")
    end = int.from_bytes(command.data, "big") if command.data else file.size
    return _erase(context, file, first, end)


def erase_binary_odd(context: Context, command: CommandApdu) -> bytes:
    """ERASE BINARY (0F): none, one or two offsets (54): the first byte to erase and the first that stays."""
    file = odd_target(context, command)
    require_update(context, command, file)
    for count in range(_MAX_OFFSETS + 1):
        try:
            offsets = odd_objects(command, *(TAG_OFFSET,) * count)
        except WrongData:
            continue
        bounds = [int.from_bytes(offset, "big") for offset in offsets]
        return _erase(context, file, *(bounds + [0, file.size][len(bounds) :]))
    raise WrongData("none, one or two offsets")


def _erase(context: Context, file: File, first: int, end: int) -> bytes:
    if not first < end <= file.size:
        raise WrongParameters("the range is not in the file")
    context.files.rewrite(file, first, bytes((file.spec.erased,)) * (end - first))
    return b""


def erase_record(context: Context, command: CommandApdu) -> bytes:
    """ERASE RECORD (0C): the record in P1 (mode 4) or all from it to the last (mode 5); they keep number and length.

    Raises:
        RecordNotFound: 6A83.
        IncorrectP1P2: 6A86, another mode.
        WrongLength: 6700, the command has data.
    """
    file, mode = record_target(context, command)
    require_update(context, command, file)
    if mode not in (RecordMode.NUMBER, RecordMode.FROM_NUMBER):
        raise IncorrectP1P2("one record by its number, or all from it")
    if command.data:
        raise WrongLength("ERASE RECORD has no data")
    files, store = context.files, context.store
    first = record_number(context, file, command.p1, RecordMode.NUMBER)
    used, _ = files.record_state(file)
    if first > used:
        raise RecordNotFound(f"no record {first}")
    last = used if mode == RecordMode.FROM_NUMBER else first
    body = bytearray(store.read(file.item, file.body, file.item.size - file.body))
    for number in range(first, last + 1):
        place, length = files.record_place(file, number)
        start = place - file.body
        body[start : start + length] = bytes((file.spec.erased,)) * length
    files.rewrite(file, 0, bytes(body))
    return b""
