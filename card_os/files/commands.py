"""The file commands, as rows for an application's instruction table.

`FILE_INSTRUCTIONS` has what every application with files offers; CREATE, DELETE, ACTIVATE and DEACTIVATE FILE are rows
that an application adds under a rule of its own. A command asks the rule of the file for its mode; a deactivated file
answers 6985 to everything but SELECT and ACTIVATE FILE.

Source: ISO/IEC 7816-4:2020, clauses 11.2 to 11.4; ISO/IEC 7816-9:2017, clause 9.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from card_os.applet_api import Context, Instruction
from card_os.files.spec import AccessMode, FileLifeCycle, FileSpec, FileStructure, Tag
from card_os.files.system import APPLICATION_DF, File
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import MAX_EXTENDED_NE, MAX_SHORT_NE, CommandApdu
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    EndOfFile,
    FileDeactivatedWarning,
    FileNotFound,
    FunctionNotSupported,
    IncompatibleFileStructure,
    IncorrectP1P2,
    NcInconsistentWithTlv,
    NoCurrentEf,
    NotEnoughMemory,
    RecordNotFound,
    SecurityStatusNotSatisfied,
    WrongData,
    WrongLength,
    WrongParameters,
)
from card_os.security.access import NEVER, AccessRule, explain

_P1_SFI: Final = 0x80
_P1_SFI_RESERVED: Final = 0x60
_SFI_MASK: Final = 0x1F
_SFI_SHIFT: Final = 3
_MODE_MASK: Final = 0x07
_ALL_FIDS_CURRENT_EF: Final = 0x0000
_TAG_OFFSET: Final = 0x54
_TAG_DATA: Final = 0x53
_MAX_OFFSET_BYTES: Final = 4
_FID_LENGTH: Final = 2
_ROOT_FIDS: Final = frozenset({0x3F00, 0x3FFF})
_TRANSPARENT: Final = FileStructure.TRANSPARENT


class SelectBy(IntEnum):
    """P1 of SELECT (table 62)."""

    FID = 0x00
    CHILD_DF = 0x01
    CHILD_EF = 0x02
    PARENT = 0x03
    PATH_FROM_ROOT = 0x08
    PATH_FROM_CURRENT = 0x09


class RecordMode(IntEnum):
    """b3-b1 of P2 of the record commands (table 76)."""

    FIRST = 0
    LAST = 1
    NEXT = 2
    PREVIOUS = 3
    NUMBER = 4
    FROM_NUMBER = 5
    UP_TO_NUMBER = 6


# ---------------------------------------------------------------- selection


def select_file(context: Context, command: CommandApdu) -> bytes:
    """SELECT by file identifier or path; the answer is FCI (P2 00), FCP (04) or nothing (0C).

    The size of the data is told only to who may read or update the file: the size of a portrait would trace a card.

    Raises:
        IncorrectP1P2: 6A86.
        WrongLength: 6700, not one identifier, or no path.
        FileNotFound: 6A82.
        FileDeactivatedWarning: 6283 with the answer.
    """
    form = command.p2
    if form not in (_FORM_FCI, _FORM_FCP, _FORM_NONE):
        raise IncorrectP1P2("first occurrence, with FCI, FCP or no answer")
    file = _find_file(context, command.p1, command.data)
    context.files.select(file)
    if form == _FORM_NONE:
        template = b""
    else:
        tag = Tag.FCI if form == _FORM_FCI else Tag.FCP
        template = _own_template(context, tag) if file is None else _file_template(file, context.proofs, tag)
    if file is not None and file.spec.life_cycle == FileLifeCycle.DEACTIVATED:
        raise FileDeactivatedWarning("the file is deactivated", data=template)
    return template


_FORM_FCI: Final = 0x00
_FORM_FCP: Final = 0x04
_FORM_NONE: Final = 0x0C


def _file_template(file: File, proofs: int, tag: int) -> bytes:
    open_to_it = file.read_rule.allows(proofs) or file.update_rule.allows(proofs)
    return file.spec.encode(with_size=open_to_it, tag=tag)


def _own_template(context: Context, tag: int) -> bytes:
    return tlv.encode(
        tag,
        tlv.encode(Tag.DESCRIPTOR, bytes((FileStructure.DF,))),
        tlv.encode(Tag.DF_NAME, context.application.aid),
        tlv.encode(Tag.LIFE_CYCLE, bytes((FileLifeCycle.ACTIVATED,))),
    )


def _find_file(context: Context, by: int, data: bytes) -> File | None:
    """The file that SELECT names; None is the application's own DF."""
    here = context.files.current_df
    parent = APPLICATION_DF if here is None else here.identifier
    match by:
        case SelectBy.PATH_FROM_ROOT:
            return _walk(context, APPLICATION_DF, data)
        case SelectBy.PATH_FROM_CURRENT:
            return _walk(context, parent, data)
        case SelectBy.PARENT:
            if data:
                raise WrongLength("the parent has no name")
            return None if here is None else _by_identifier(context, here.parent)
        case SelectBy.FID:
            return _find_by_fid(context, here, data)
        case SelectBy.CHILD_DF | SelectBy.CHILD_EF:
            file = context.files.get(_fid(data), parent)
            if (file.structure is FileStructure.DF) != (by == SelectBy.CHILD_DF):
                raise FileNotFound("a file of the other kind has this identifier")
            return file
        case _:
            raise IncorrectP1P2("no such selection")


def _fid(data: bytes) -> int:
    if len(data) != _FID_LENGTH:
        raise WrongLength("a file identifier has two bytes")
    return int.from_bytes(data, "big")


def _find_by_fid(context: Context, here: File | None, data: bytes) -> File | None:
    """Below the current DF, the DF itself, then below the application's own; no data or 3F00 is the application."""
    if not data:
        return None
    fid = _fid(data)
    if fid in _ROOT_FIDS:
        return None
    if here is not None:
        below = context.files.find(fid, here.identifier)
        if below is not None:
            return below
        if here.spec.fid == fid:
            return here
    return context.files.get(fid)


def _walk(context: Context, start: int, path: bytes) -> File | None:
    if not path or len(path) % _FID_LENGTH:
        raise WrongLength("a path is a sequence of file identifiers")
    file = _by_identifier(context, start)
    for at in range(0, len(path), _FID_LENGTH):
        if file is not None and file.structure is not FileStructure.DF:
            raise FileNotFound("the path goes on below an EF")
        file = context.files.get(
            int.from_bytes(path[at : at + _FID_LENGTH], "big"), APPLICATION_DF if file is None else file.identifier
        )
    return file


def _by_identifier(context: Context, identifier: int) -> File | None:
    return next((file for file in context.files.all() if file.identifier == identifier), None)


# ---------------------------------------------------------------- what every command checks


def _refuse(rule: AccessRule, proofs: int) -> SecurityStatusNotSatisfied:
    return SecurityStatusNotSatisfied(explain(rule, proofs))


def _require(file: File, mode: AccessMode, proofs: int) -> None:
    rule = file.spec.rule(mode)
    if not rule.allows(proofs):
        raise _refuse(rule, proofs)


def _require_active(file: File) -> None:
    if file.spec.life_cycle == FileLifeCycle.DEACTIVATED:
        raise ConditionsNotSatisfied("the file is deactivated")


def _binary_target(context: Context, command: CommandApdu) -> tuple[File, int]:
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
    if file.deactivated:
        _require_active(file)
    return file, offset


def _exact(command: CommandApdu) -> bool:
    """True when Ne was a number and not the coded zero, which asks for what there is (5.2)."""
    return command.ne != (MAX_EXTENDED_NE if command.extended else MAX_SHORT_NE)


# ---------------------------------------------------------------- binary


def read_binary(context: Context, command: CommandApdu) -> bytes:
    """READ BINARY (B0).

    Raises:
        WrongParameters: 6B00, the offset is not in the file.
        EndOfFile: 6282 with what there is, fewer bytes than Ne.
    """
    file, offset = _binary_target(context, command)
    proofs = context.proofs
    if not file.read_rule.allows(proofs):
        raise _refuse(file.read_rule, proofs)
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
    if _exact(command):
        raise EndOfFile("fewer bytes than asked for", data=data)
    return data


def update_binary(context: Context, command: CommandApdu) -> bytes:
    """UPDATE BINARY (D6).

    Raises:
        WrongParameters: 6B00, the offset is not in the file.
        NotEnoughMemory: 6A84, the data does not fit.
    """
    file, offset = _binary_target(context, command)
    return _update(context, file, offset, command.data)


def _update(context: Context, file: File, offset: int, data: bytes) -> bytes:
    proofs = context.proofs
    if not file.update_rule.allows(proofs):
        raise _refuse(file.update_rule, proofs)
    if not data:
        raise WrongLength("no data to write")
    if offset >= file.size:
        raise WrongParameters("offset outside the file")
    if offset + len(data) > file.size:
        raise NotEnoughMemory("the data goes beyond the end of the file")
    store = context.store
    with store.transaction():
        store.write(file.item, file.body + offset, data)
    return b""


def _odd_target(context: Context, command: CommandApdu) -> File:
    """The file of the odd binary commands: P1-P2 is 0000 (current EF), a short identifier, or a FID (11.3.1)."""
    p1p2 = command.p1 << 8 | command.p2
    files = context.files
    if p1p2 == _ALL_FIDS_CURRENT_EF:
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
    _require_active(file)
    return file


def _odd_objects(command: CommandApdu, *, with_data: bool) -> tuple[int, bytes]:
    """Offset (54) and, of an update, data (53)."""
    try:
        objects = tlv.parse_all(command.data)
    except tlv.TlvError as error:
        raise NcInconsistentWithTlv(str(error)) from error
    tags = [_TAG_OFFSET, _TAG_DATA] if with_data else [_TAG_OFFSET]
    if [item.tag for item in objects] != tags or not 1 <= len(objects[0].value) <= _MAX_OFFSET_BYTES:
        raise WrongData("offset data object and, of an update, discretionary data are needed")
    return int.from_bytes(objects[0].value, "big"), objects[-1].value


def read_binary_odd(context: Context, command: CommandApdu) -> bytes:
    """READ BINARY (B1): the offset stands in data object 54, the answer in data object 53."""
    file = _odd_target(context, command)
    proofs = context.proofs
    if not file.read_rule.allows(proofs):
        raise _refuse(file.read_rule, proofs)
    offset, _ = _odd_objects(command, with_data=False)
    if not command.ne:
        raise WrongLength("READ BINARY has Le")
    room = command.ne
    while room and len(tlv.encode_length(room)) + 1 + room > command.ne:
        room -= 1
    left = file.size - offset
    if left <= 0:
        raise WrongParameters("offset outside the file")
    data = tlv.encode(_TAG_DATA, context.store.read(file.item, file.body + offset, min(room, left)))
    if left < room and _exact(command):
        raise EndOfFile("fewer bytes than asked for", data=data)
    return data


def update_binary_odd(context: Context, command: CommandApdu) -> bytes:
    """UPDATE BINARY (D7): offset in data object 54, data in data object 53."""
    file = _odd_target(context, command)
    offset, data = _odd_objects(command, with_data=True)
    return _update(context, file, offset, data)


# ---------------------------------------------------------------- records


def _record_target(context: Context, command: CommandApdu) -> tuple[File, int]:
    """File and reference mode; P2 is short identifier (b8-b4) and mode (11.4.2)."""
    sfi = command.p2 >> _SFI_SHIFT
    if sfi == _SFI_MASK:
        raise IncorrectP1P2("short identifier 31 is reserved")
    if sfi:
        file = context.files.by_sfi(sfi)
        context.files.select(file)
    else:
        current = context.files.current
        if current is None:
            raise NoCurrentEf("no EF is selected")
        file = current
    if file.structure is _TRANSPARENT or file.structure is FileStructure.DF:
        raise IncompatibleFileStructure("the file has no records")
    _require_active(file)
    return file, command.p2 & _MODE_MASK


def _record_number(context: Context, file: File, p1: int, mode: int) -> int:
    """The record that P1 and the mode name; it becomes the current record."""
    session = context.session
    if mode == RecordMode.NUMBER:
        number = p1 or session.current_record
        if number == 0:
            raise RecordNotFound("no current record")
        return number
    if p1:
        raise FunctionNotSupported("records have no identifiers")
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


def read_record(context: Context, command: CommandApdu) -> bytes:
    """READ RECORD (B2): one record, or all from a number to the last (mode 5), or from the last to it (mode 6).

    Raises:
        RecordNotFound: 6A83.
        EndOfFile: 6282 with what there is, fewer bytes than Ne.
    """
    file, mode = _record_target(context, command)
    proofs = context.proofs
    if not file.read_rule.allows(proofs):
        raise _refuse(file.read_rule, proofs)
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
        data = context.files.read_record(file, _record_number(context, file, command.p1, mode))
    if len(data) < command.ne and _exact(command):
        raise EndOfFile("fewer bytes than asked for", data=data)
    return data[: command.ne]


def update_record(context: Context, command: CommandApdu) -> bytes:
    """UPDATE RECORD (DC).

    Raises:
        RecordNotFound: 6A83.
        WrongLength: 6700, not the length of the records.
    """
    file, mode = _record_target(context, command)
    proofs = context.proofs
    if not file.update_rule.allows(proofs):
        raise _refuse(file.update_rule, proofs)
    if mode > RecordMode.NUMBER:
        raise IncorrectP1P2("one record at a time")
    context.files.update_record(file, _record_number(context, file, command.p1, mode), command.data)
    return b""


def append_record(context: Context, command: CommandApdu) -> bytes:
    """APPEND RECORD (E2), P1 00; the new record becomes the current one.

    Raises:
        NotEnoughMemory: 6A84, a linear file is full.
        WrongLength: 6700, not the length of the records.
    """
    file, mode = _record_target(context, command)
    _require(file, AccessMode.APPEND, context.proofs)
    if command.p1 or mode:
        raise IncorrectP1P2("APPEND RECORD names no record")
    context.files.append_record(file, command.data)
    used, _ = context.files.record_state(file)
    context.session.current_record = 1 if file.structure is FileStructure.CYCLIC else used
    return b""


# ---------------------------------------------------------------- management


def create_file(context: Context, command: CommandApdu) -> bytes:
    """CREATE FILE (E0), P1-P2 0000, data = FCP template; the new file becomes the current one.

    Inside a DF of the application its rule for appending decides as well.

    Raises:
        FileExists: 6A89.
        NotEnoughMemory: 6A84.
    """
    if command.p1 or command.p2:
        raise IncorrectP1P2("the identifier stands in the template")
    spec = FileSpec.parse(command.data)
    df = context.files.current_df
    if df is not None:
        _require(df, AccessMode.APPEND, context.proofs)
    file = context.files.create(spec, APPLICATION_DF if df is None else df.identifier)
    context.files.select(file)
    return b""


def _managed(context: Context, command: CommandApdu, mode: AccessMode) -> File:
    """The file that DELETE, ACTIVATE or DEACTIVATE FILE names: by identifier in the data, else the current EF."""
    if command.p1 or command.p2:
        raise IncorrectP1P2("the file is named by its identifier or is the current one")
    if command.data:
        df = context.files.current_df
        file = context.files.get(_fid(command.data), APPLICATION_DF if df is None else df.identifier)
    else:
        current = context.files.current
        if current is None:
            raise NoCurrentEf("no EF is selected")
        file = current
    _require(file, mode, context.proofs)
    return file


def delete_file(context: Context, command: CommandApdu) -> bytes:
    """DELETE FILE (E4), P1-P2 0000."""
    context.files.delete(_managed(context, command, AccessMode.DELETE))
    return b""


def activate_file(context: Context, command: CommandApdu) -> bytes:
    """ACTIVATE FILE (44), P1-P2 0000."""
    file = _managed(context, command, AccessMode.ACTIVATE)
    context.files.set_life_cycle(file, FileLifeCycle.ACTIVATED)
    return b""


def deactivate_file(context: Context, command: CommandApdu) -> bytes:
    """DEACTIVATE FILE (04), P1-P2 0000."""
    file = _managed(context, command, AccessMode.DEACTIVATE)
    context.files.set_life_cycle(file, FileLifeCycle.DEACTIVATED)
    return b""


FILE_INSTRUCTIONS: Final = (
    Instruction(0xA4, "SELECT", select_file),
    Instruction(0xB0, "READ BINARY", read_binary),
    Instruction(0xB1, "READ BINARY", read_binary_odd),
    Instruction(0xD6, "UPDATE BINARY", update_binary, chaining=True),
    Instruction(0xD7, "UPDATE BINARY", update_binary_odd, chaining=True),
    Instruction(0xB2, "READ RECORD", read_record),
    Instruction(0xDC, "UPDATE RECORD", update_record),
    Instruction(0xE2, "APPEND RECORD", append_record),
)
"""Commands on files that exist; the rules of the files decide."""


def file_management(access: AccessRule = NEVER) -> tuple[Instruction, ...]:
    """Rows of CREATE, DELETE, ACTIVATE and DEACTIVATE FILE.

    Args:
        access: rule of CREATE FILE; the others ask the rules of the file.
    """
    return (
        Instruction(0xE0, "CREATE FILE", create_file, access=access),
        Instruction(0xE4, "DELETE FILE", delete_file),
        Instruction(0x44, "ACTIVATE FILE", activate_file),
        Instruction(0x04, "DEACTIVATE FILE", deactivate_file),
    )
