"""SEARCH BINARY and SEARCH RECORD; both ask the rule of reading.

A search that finds nothing ends with 6282 and no data.

Source: ISO/IEC 7816-4:2020, clauses 11.3.6 (SEARCH BINARY) and 11.4.7 (SEARCH RECORD, tables 82 and 83).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from card_os.applet_api import Context
from card_os.files.binary import TAG_DATA, TAG_OFFSET, binary_target, odd_objects, odd_target
from card_os.files.checks import require_read
from card_os.files.directory import File
from card_os.files.records import record_target
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    EndOfFile,
    FunctionNotSupported,
    IncorrectP1P2,
    RecordNotFound,
    WrongData,
    WrongLength,
    WrongParameters,
)

_OFFSET_LENGTH: Final = 2
_INDICATION_LENGTH: Final = 2


class SearchMode(IntEnum):
    """b3-b1 of P2 of SEARCH RECORD (table 82), and of the first byte of a search indication (table 83)."""

    FORWARD = 4
    BACKWARD = 5
    ENHANCED_OR_NEXT = 6
    PROPRIETARY_OR_PREVIOUS = 7


_MODE_MASK: Final = 0x07
_AFTER_VALUE: Final = 0x08
_INDICATION_MASK: Final = 0x0F


def search_binary(context: Context, command: CommandApdu) -> bytes:
    """SEARCH BINARY (A0): offset (2) of the first place from the offset on where the data stands.

    Without data the first byte in the logical erased state is meant.

    Raises:
        WrongParameters: 6B00, the offset is not in the file.
        EndOfFile: 6282, found nowhere.
    """
    file, start = binary_target(context, command)
    return _offset(command, _found(context, command, file, start, command.data))


def search_binary_odd(context: Context, command: CommandApdu) -> bytes:
    """SEARCH BINARY (A1): offset in data object 54, search string in 53; the answer is a data object 54."""
    file = odd_target(context, command)
    require_read(context, command, file)
    start, wanted = odd_objects(command, TAG_OFFSET, TAG_DATA)
    offset = _offset(command, _found(context, command, file, int.from_bytes(start, "big"), wanted))
    return tlv.encode(TAG_OFFSET, offset) if offset else b""


def _offset(command: CommandApdu, place: int) -> bytes:
    return place.to_bytes(_OFFSET_LENGTH, "big") if command.ne else b""


def _found(context: Context, command: CommandApdu, file: File, start: int, wanted: bytes) -> int:
    require_read(context, command, file)
    if start >= file.size:
        raise WrongParameters("offset outside the file")
    body = context.store.read(file.item, file.body + start, file.size - start)
    place = body.find(wanted or bytes((file.spec.erased,)))
    if place < 0:
        raise EndOfFile("the search string stands nowhere")
    return start + place


def search_record(context: Context, command: CommandApdu) -> bytes:
    """SEARCH RECORD (A2): numbers (1 each) of the records that hold the search string, in the order of the search.

    P2 mode 4 searches from the record in P1 to the last, 5 from it to the first. In mode 6 the data begins with a
    search indication: direction (mode 4 to 7, where 6 and 7 begin beside the current record) and in the second byte
    the offset to begin at, or, with b4 of the first byte, the value after which to begin. P1 00 is the current record.
    The first record found becomes the current one.

    Raises:
        RecordNotFound: 6A83, the record to begin with does not exist.
        FunctionNotSupported: 6A81, by record identifier, or a proprietary search.
        WrongData: 6A80, no such search indication.
        EndOfFile: 6282, found nowhere.
    """
    file, mode = record_target(context, command)
    require_read(context, command, file)
    if mode < SearchMode.FORWARD:
        raise FunctionNotSupported("records have no identifiers")
    if mode == SearchMode.PROPRIETARY_OR_PREVIOUS:
        raise FunctionNotSupported("no proprietary search")
    direction, wanted, indication = mode, command.data, b""
    if mode == SearchMode.ENHANCED_OR_NEXT:
        indication, wanted = command.data[:_INDICATION_LENGTH], command.data[_INDICATION_LENGTH:]
        direction = _direction(indication)
    if not wanted:
        raise WrongLength("no search string")
    files = context.files
    found = bytes(
        number
        for number in _numbers(context, file, command.p1, direction)
        if _holds(files.read_record(file, number), indication, wanted)
    )
    if not found:
        raise EndOfFile("no record holds the search string")
    context.session.current_record = found[0]
    return found if command.ne else b""


def _direction(indication: bytes) -> int:
    if len(indication) != _INDICATION_LENGTH:
        raise WrongLength("no search indication")
    if indication[0] & ~_INDICATION_MASK:
        raise WrongData("no such search indication")
    direction = indication[0] & _MODE_MASK
    if direction < SearchMode.FORWARD:
        raise FunctionNotSupported("records have no identifiers")
    return direction


def _numbers(context: Context, file: File, p1: int, direction: int) -> range:
    """The records to look at, in their order."""
    used, _ = context.files.record_state(file)
    current = context.session.current_record
    if direction in (SearchMode.FORWARD, SearchMode.BACKWARD):
        begin = p1 or current
    elif p1:
        raise IncorrectP1P2("a search beside the current record names none")
    elif direction == SearchMode.ENHANCED_OR_NEXT:
        begin = current + 1
    else:
        begin = current - 1 if current else used
    if not 1 <= begin <= used:
        raise RecordNotFound("no record to begin with")
    if direction in (SearchMode.FORWARD, SearchMode.ENHANCED_OR_NEXT):
        return range(begin, used + 1)
    return range(begin, 0, -1)


def _holds(record: bytes, indication: bytes, wanted: bytes) -> bool:
    if not indication:
        return wanted in record
    if not indication[0] & _AFTER_VALUE:
        return record.find(wanted, indication[1]) >= 0
    place = record.find(indication[1])
    return place >= 0 and record.find(wanted, place + 1) >= 0
