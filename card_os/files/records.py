"""READ, UPDATE and APPEND RECORD.

Source: ISO/IEC 7816-4:2020, clause 11.4.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from card_os.applet_api import Context
from card_os.files.binary import TAG_OFFSET, odd_objects, part
from card_os.files.checks import exact, require, require_active
from card_os.files.directory import File
from card_os.files.rules import FileOperation
from card_os.files.spec import FileStructure
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    EndOfFile,
    FunctionNotSupported,
    IncompatibleFileStructure,
    IncorrectP1P2,
    NoCurrentEf,
    RecordNotFound,
    WrongLength,
)

_SFI_RESERVED: Final = 0x1F
_SFI_SHIFT: Final = 3
_MODE_MASK: Final = 0x07


class RecordMode(IntEnum):
    """b3-b1 of P2 of the record commands (table 76)."""

    FIRST = 0
    LAST = 1
    NEXT = 2
    PREVIOUS = 3
    NUMBER = 4
    FROM_NUMBER = 5
    UP_TO_NUMBER = 6


def record_target(context: Context, command: CommandApdu) -> tuple[File, int]:
    """File and reference mode; P2 is short identifier (b8-b4) and mode (11.4.2)."""
    sfi = command.p2 >> _SFI_SHIFT
    if sfi == _SFI_RESERVED:
        raise IncorrectP1P2("short identifier 31 is reserved")
    if sfi:
        file = context.files.by_sfi(sfi)
        context.files.select(file)
    else:
        current = context.files.current
        if current is None:
            raise NoCurrentEf("no EF is selected")
        file = current
    if not file.stride:
        raise IncompatibleFileStructure("the file has no records")
    require_active(file)
    return file, command.p2 & _MODE_MASK


def record_number(context: Context, file: File, p1: int, mode: int) -> int:
    """The record that P1 and the mode name; it becomes the current record."""
    session = context.session
    if mode == RecordMode.NUMBER:
        number = p1 or session.current_record
        if number == 0:
            raise RecordNotFound("no current record")
        return number
    if p1:
        return _by_identifier(context, file, p1, mode)
    used, _ = context.files.record_state(file)
    current = session.current_record
    number = {
        RecordMode.FIRST: 1,
        RecordMode.LAST: used,
        RecordMode.NEXT: current + 1,
        RecordMode.PREVIOUS: current - 1 if current else used,
    }[RecordMode(mode)]
    if not 1 <= number <= used:
        raise RecordNotFound("no such record")
    session.current_record = number
    return number


def _by_identifier(context: Context, file: File, identifier: int, mode: int) -> int:
    """The first, last, next or previous record with an identifier; without a current one next is first (7.3.3).

    Raises:
        FunctionNotSupported: 6A81, the records of the file are no SIMPLE-TLV data objects.
        RecordNotFound: 6A83.
    """
    if not file.spec.simple_tlv:
        raise FunctionNotSupported("records have no identifiers")
    files, session, store = context.files, context.session, context.store
    used, _ = files.record_state(file)
    places = ((number, files.record_place(file, number)[0]) for number in range(1, used + 1))
    named = [number for number, place in places if store.read(file.item, place, 1)[0] == identifier]
    current = session.current_record
    if mode == RecordMode.NEXT:
        named = [number for number in named if number > current]
    elif mode == RecordMode.PREVIOUS and current:
        named = [number for number in named if number < current]
    if not named:
        raise RecordNotFound("no record has this identifier")
    session.current_record = named[0 if mode in (RecordMode.FIRST, RecordMode.NEXT) else -1]
    return session.current_record


def read_record(context: Context, command: CommandApdu) -> bytes:
    """READ RECORD (B2): one record, or all from a number to the last (mode 5), or from the last to it (mode 6).

    Raises:
        RecordNotFound: 6A83.
        EndOfFile: 6282 with what there is, fewer bytes than Ne.
    """
    file, mode = record_target(context, command)
    if not file.read_rule.allows(context.proofs):
        require(context, command, file, FileOperation.READ)
    if command.data or not command.ne:
        raise WrongLength("READ RECORD has Le and no data")
    if mode > RecordMode.UP_TO_NUMBER:
        raise IncorrectP1P2("no such record reference")
    if mode in (RecordMode.FROM_NUMBER, RecordMode.UP_TO_NUMBER):
        used, _ = context.files.record_state(file)
        first = command.p1 or context.session.current_record
        if not 1 <= first <= used:
            raise RecordNotFound("no such record")
        numbers = range(first, used + 1) if mode == RecordMode.FROM_NUMBER else range(used, first - 1, -1)
        data = b"".join(context.files.read_record(file, number) for number in numbers)
    else:
        data = context.files.read_record(file, record_number(context, file, command.p1, mode))
    if len(data) < command.ne and exact(command):
        raise EndOfFile("fewer bytes than asked for", data=data)
    return data[: command.ne]


def update_record(context: Context, command: CommandApdu) -> bytes:
    """UPDATE RECORD (DC); "previous" in a cyclic file is APPEND RECORD, under the rule of updating.

    Raises:
        RecordNotFound: 6A83.
        WrongLength: 6700, not the length of the records.
    """
    file, mode = record_target(context, command)
    if not file.update_rule.allows(context.proofs):
        require(context, command, file, FileOperation.UPDATE)
    if mode > RecordMode.NUMBER:
        raise IncorrectP1P2("one record at a time")
    if mode == RecordMode.PREVIOUS and file.structure is FileStructure.CYCLIC and not command.p1:
        append_data(context, file, command.data)
    else:
        context.files.update_record(file, record_number(context, file, command.p1, mode), command.data)
    return b""


def append_record(context: Context, command: CommandApdu) -> bytes:
    """APPEND RECORD (E2), P1 00; the new record becomes the current one.

    Raises:
        NotEnoughMemory: 6A84, a linear file is full.
        WrongLength: 6700, not the length of the records.
    """
    file, mode = record_target(context, command)
    require(context, command, file, FileOperation.APPEND)
    if command.p1 or mode:
        raise IncorrectP1P2("APPEND RECORD names no record")
    append_data(context, file, command.data)
    return b""


def append_data(context: Context, file: File, data: bytes) -> None:
    """Append a record, which becomes the current one."""
    context.files.append_record(file, data)
    used, _ = context.files.record_state(file)
    context.session.current_record = 1 if file.structure is FileStructure.CYCLIC else used


def read_part_of_record(context: Context, command: CommandApdu) -> bytes:
    """READ RECORD (B3): part of one record, the offset in data object 54, the answer in data object 53.

    Raises:
        RecordNotFound: 6A83.
        WrongParameters: 6B00, the offset is not in the record.
        EndOfFile: 6282 with what there is.
    """
    file, mode = record_target(context, command)
    if not file.read_rule.allows(context.proofs):
        require(context, command, file, FileOperation.READ)
    if mode > RecordMode.NUMBER:
        raise IncorrectP1P2("one record at a time")
    (offset,) = odd_objects(command, TAG_OFFSET)
    place, length = context.files.record_place(file, record_number(context, file, command.p1, mode))
    store = context.store
    return part(
        command,
        int.from_bytes(offset, "big"),
        length,
        lambda start, count: store.read(file.item, place + start, count),
    )
