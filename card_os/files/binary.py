"""READ BINARY and UPDATE BINARY, with the offset in P1-P2 or, of the odd instructions, in a data object.

Source: ISO/IEC 7816-4:2020, clause 11.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from card_os.applet_api import Context
from card_os.files.checks import exact, require, require_active
from card_os.files.directory import File
from card_os.files.rules import FileOperation
from card_os.files.spec import APPLICATION_DF, FileStructure
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    EndOfFile,
    IncompatibleFileStructure,
    IncorrectP1P2,
    NcInconsistentWithTlv,
    NoCurrentEf,
    NotEnoughMemory,
    WrongData,
    WrongLength,
    WrongParameters,
)

_P1_SFI: Final = 0x80
_P1_SFI_RESERVED: Final = 0x60
_SFI_MASK: Final = 0x1F
_CURRENT_EF: Final = 0x0000
TAG_OFFSET: Final = 0x54
TAG_DATA: Final = 0x53
_MAX_OFFSET_BYTES: Final = 4
_TRANSPARENT: Final = FileStructure.TRANSPARENT


def binary_target(context: Context, command: CommandApdu) -> tuple[File, int]:
    """File and offset of the even binary commands; a short identifier makes its file the current one (11.3.1)."""
    p1 = command.p1
    if p1 & _P1_SFI:
        if p1 & _P1_SFI_RESERVED:
            raise IncorrectP1P2("b7 and b6 of P1 are 0 beside a short identifier")
        file = context.files.by_sfi(p1 & _SFI_MASK)
        context.files.select(file)
        offset = command.p2
    else:
        current = context.files.current
        if current is None:
            raise NoCurrentEf("no EF is selected")
        file, offset = current, p1 << 8 | command.p2
    if file.structure is not _TRANSPARENT:
        raise IncompatibleFileStructure("not a transparent file")
    if file.blocked:
        require_active(file)
    return file, offset


def read_binary(context: Context, command: CommandApdu) -> bytes:
    """READ BINARY (B0).

    Raises:
        WrongParameters: 6B00, the offset is not in the file.
        EndOfFile: 6282 with what there is, fewer bytes than Ne.
    """
    file, offset = binary_target(context, command)
    if not file.read_rule.allows(context.proofs):
        require(context, command, file, FileOperation.READ)
    if command.data or not command.ne:
        raise WrongLength("READ BINARY has Le and no data")
    return _read(context, file, offset, command)


def _read(context: Context, file: File, offset: int, command: CommandApdu) -> bytes:
    left = file.size - offset
    ne = command.ne
    if ne <= left:
        return context.store.read(file.item, file.body + offset, ne)
    if left <= 0:
        raise WrongParameters("offset outside the file")
    data = context.store.read(file.item, file.body + offset, left)
    if exact(command):
        raise EndOfFile("fewer bytes than asked for", data=data)
    return data


def update_binary(context: Context, command: CommandApdu) -> bytes:
    """UPDATE BINARY (D6).

    Raises:
        WrongParameters: 6B00, the offset is not in the file.
        NotEnoughMemory: 6A84, the data does not fit.
    """
    file, offset = binary_target(context, command)
    return _update(context, command, file, offset, command.data)


def _update(context: Context, command: CommandApdu, file: File, offset: int, data: bytes) -> bytes:
    if not file.update_rule.allows(context.proofs):
        require(context, command, file, FileOperation.UPDATE)
    if not data:
        raise WrongLength("no data to write")
    if offset >= file.size:
        raise WrongParameters("offset outside the file")
    if offset + len(data) > file.size:
        raise NotEnoughMemory("the data goes beyond the end of the file")
    context.store.change(file.item, file.body + offset, data)
    return b""


def odd_target(context: Context, command: CommandApdu) -> File:
    """The file of the odd binary commands: P1-P2 is 0000 (current EF), a short identifier, or a FID (11.3.1)."""
    p1p2 = command.p1 << 8 | command.p2
    files = context.files
    if p1p2 == _CURRENT_EF:
        file = files.current
        if file is None:
            raise NoCurrentEf("no EF is selected")
    else:
        df = files.current_df
        file = files.by_sfi(p1p2) if p1p2 < _SFI_MASK else files.get(p1p2, df.identifier if df else APPLICATION_DF)
        if file.structure is not FileStructure.DF:
            files.select(file)
    if file.structure is not _TRANSPARENT:
        raise IncompatibleFileStructure("not a transparent file")
    require_active(file)
    return file


def odd_objects(command: CommandApdu, *tags: int) -> list[bytes]:
    """Values of the data objects of an odd command, which are exactly these tags in this order.

    Raises:
        NcInconsistentWithTlv: 6A85, no well-formed objects.
        WrongData: 6A80, other objects, or an offset (54) that is empty or longer than 4 bytes.
    """
    try:
        objects = tlv.parse_all(command.data)
    except tlv.TlvError as error:
        raise NcInconsistentWithTlv(str(error)) from error
    if tuple(item.tag for item in objects) != tags:
        raise WrongData("offset and discretionary data objects as the command has them are needed")
    if any(item.tag == TAG_OFFSET and not 1 <= len(item.value) <= _MAX_OFFSET_BYTES for item in objects):
        raise WrongData("an offset has one to four bytes")
    return [item.value for item in objects]


def part(command: CommandApdu, offset: int, size: int, read: Callable[[int, int], bytes]) -> bytes:
    """The answer of the odd reading commands: as much as Ne has room for, in a discretionary data object (53).

    Args:
        command: with Ne.
        offset: of the first byte, from the beginning of what is read.
        size: bytes of what is read, a file's body or a record.
        read: gives ``length`` bytes from an offset.

    Raises:
        WrongLength: 6700, no Le.
        WrongParameters: 6B00, the offset is outside.
        EndOfFile: 6282 with what there is.
    """
    if not command.ne:
        raise WrongLength("the odd reading commands have Le")
    room = command.ne
    while room and len(tlv.encode_length(room)) + 1 + room > command.ne:
        room -= 1
    left = size - offset
    if left <= 0:
        raise WrongParameters("offset outside")
    data = tlv.encode(TAG_DATA, read(offset, min(room, left)))
    if left < room and exact(command):
        raise EndOfFile("fewer bytes than asked for", data=data)
    return data


def read_binary_odd(context: Context, command: CommandApdu) -> bytes:
    """READ BINARY (B1): the offset stands in data object 54, the answer in data object 53."""
    file = odd_target(context, command)
    if not file.read_rule.allows(context.proofs):
        require(context, command, file, FileOperation.READ)
    (offset,) = odd_objects(command, TAG_OFFSET)
    store = context.store
    return part(
        command,
        int.from_bytes(offset, "big"),
        file.size,
        lambda start, length: store.read(file.item, file.body + start, length),
    )


def update_binary_odd(context: Context, command: CommandApdu) -> bytes:
    """UPDATE BINARY (D7): offset in data object 54, data in data object 53."""
    file = odd_target(context, command)
    offset, data = odd_objects(command, TAG_OFFSET, TAG_DATA)
    return _update(context, command, file, int.from_bytes(offset, "big"), data)
