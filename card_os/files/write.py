"""WRITE BINARY and WRITE RECORD: they combine what stands in the file with what the command brings.

How they combine is the write function in the data coding byte of the file. A file of the proprietary function, which
is the card's own data coding, has no WRITE. The rule is that of appending, as in the compact format (table 26).

Source: ISO/IEC 7816-4:2020, clauses 11.3.4 (WRITE BINARY), 11.4.4 (WRITE RECORD) and table 119 (data coding byte).
"""

from __future__ import annotations

from operator import and_, or_, xor
from typing import Final

from card_os.applet_api import Context
from card_os.files.binary import TAG_DATA, TAG_OFFSET, binary_target, odd_objects, odd_target
from card_os.files.checks import require
from card_os.files.directory import File
from card_os.files.records import RecordMode, append_data, record_number, record_target
from card_os.files.rules import FileOperation
from card_os.files.spec import FileStructure, WriteFunction
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    FunctionNotSupported,
    IncorrectP1P2,
    NotEnoughMemory,
    WrongLength,
    WrongParameters,
)

_PARTIAL_FIRST: Final = RecordMode.NUMBER
_REPLACE, _AND, _OR, _XOR = range(4)
_BITWISE: Final = {_AND: and_, _OR: or_, _XOR: xor}


def write_binary(context: Context, command: CommandApdu) -> bytes:
    """WRITE BINARY (D0), the offset as in UPDATE BINARY.

    Raises:
        FunctionNotSupported: 6A81, the write function of the file is proprietary.
        ConditionsNotSatisfied: 6985, one-time write where something was written.
        WrongParameters: 6B00, the offset is not in the file.
        NotEnoughMemory: 6A84, the data does not fit.
    """
    file, offset = binary_target(context, command)
    return _write(context, command, file, offset, command.data)


def write_binary_odd(context: Context, command: CommandApdu) -> bytes:
    """WRITE BINARY (D1): offset in data object 54, data in data object 53; otherwise as `write_binary`."""
    file = odd_target(context, command)
    require(context, command, file, FileOperation.APPEND)
    offset, data = odd_objects(command, TAG_OFFSET, TAG_DATA)
    return _write(context, command, file, int.from_bytes(offset, "big"), data)


def _write(context: Context, command: CommandApdu, file: File, offset: int, data: bytes) -> bytes:
    require(context, command, file, FileOperation.APPEND)
    if not data:
        raise WrongLength("no data to write")
    if offset >= file.size:
        raise WrongParameters("offset outside the file")
    if offset + len(data) > file.size:
        raise NotEnoughMemory("the data goes beyond the end of the file")
    store = context.store
    present = store.read(file.item, file.body + offset, len(data))
    combined = _combined(file, present, data)
    store.change(file.item, file.body + offset, combined)
    return b""


def _combined(file: File, present: bytes, data: bytes) -> bytes:
    """What the write function of a file makes of what stands there and what comes."""
    match file.spec.write_function:
        case WriteFunction.OR:
            return bytes(map(or_, present, data))
        case WriteFunction.AND:
            return bytes(map(and_, present, data))
        case WriteFunction.ONE_TIME:
            if present.count(file.spec.erased) != len(present):
                raise ConditionsNotSatisfied("written once already")
            return data
        case WriteFunction.PROPRIETARY:
            raise FunctionNotSupported("the file has no write function")


def write_record(context: Context, command: CommandApdu) -> bytes:
    """WRITE RECORD (D2): one whole record; "previous" in a cyclic file is APPEND RECORD.

    Raises:
        RecordNotFound: 6A83.
        WrongLength: 6700, not the length of the record.
        FunctionNotSupported: 6A81, the write function of the file is proprietary.
        ConditionsNotSatisfied: 6985, one-time write where something was written.
    """
    file, mode = record_target(context, command)
    require(context, command, file, FileOperation.APPEND)
    if mode > RecordMode.NUMBER:
        raise IncorrectP1P2("one record at a time")
    if mode == RecordMode.PREVIOUS and file.structure is FileStructure.CYCLIC:
        if command.p1:
            raise FunctionNotSupported("records have no identifiers")
        append_data(context, file, command.data)
        return b""
    place, length = context.files.record_place(file, record_number(context, file, command.p1, mode))
    if len(command.data) != length:
        raise WrongLength("not the length of the record")
    store = context.store
    combined = _combined(file, store.read(file.item, place, length), command.data)
    context.files.check_record(file, combined)
    store.change(file.item, place, combined)
    return b""


def update_part_of_record(context: Context, command: CommandApdu) -> bytes:
    """UPDATE RECORD (DD): part of the record in P1; P2 says replace (4), AND (5), OR (6) or exclusive OR (7).

    Offset in data object 54, data in data object 53; the length of the record stays.

    Raises:
        RecordNotFound: 6A83.
        WrongParameters: 6B00, the offset is not in the record.
        NotEnoughMemory: 6A84, the data does not fit.
    """
    file, mode = record_target(context, command)
    if not file.update_rule.allows(context.proofs):
        require(context, command, file, FileOperation.UPDATE)
    if mode < _PARTIAL_FIRST:
        raise IncorrectP1P2("the record is named by its number")
    number = record_number(context, file, command.p1, RecordMode.NUMBER)
    field, data = odd_objects(command, TAG_OFFSET, TAG_DATA)
    if not data:
        raise WrongLength("no data to write")
    offset = int.from_bytes(field, "big")
    place, length = context.files.record_place(file, number)
    if offset >= length:
        raise WrongParameters("offset outside the record")
    if offset + len(data) > length:
        raise NotEnoughMemory("the data goes beyond the end of the record")
    store = context.store
    combine = _BITWISE.get(mode - _PARTIAL_FIRST)
    if combine is not None:
        data = bytes(map(combine, store.read(file.item, place + offset, len(data)), data))
    record = store.read(file.item, place, length)
    context.files.check_record(file, record[:offset] + data + record[offset + len(data) :])
    store.change(file.item, place + offset, data)
    return b""
