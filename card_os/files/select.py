"""SELECT of files: by identifier, child, parent or path.

Source: ISO/IEC 7816-4:2020, clause 11.2.2.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import Final

from card_os.applet_api import Context
from card_os.files.checks import FID_LENGTH, file_identifier
from card_os.files.directory import File
from card_os.files.life_cycle import FileLifeCycle
from card_os.files.rules import FileOperation
from card_os.files.spec import APPLICATION_DF, FileStructure, Tag
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    FileDeactivatedWarning,
    FileNotFound,
    FileTerminatedWarning,
    IncorrectP1P2,
    WrongLength,
)

_ROOT_FIDS: Final = frozenset({0x3F00, 0x3FFF})
_FORM_NONE: Final = 0x0C
_FORMS: Final = {0x00: Tag.FCI, 0x04: Tag.FCP, 0x08: Tag.FMD, _FORM_NONE: Tag.FCI}


class SelectBy(IntEnum):
    """P1 of SELECT (table 62)."""

    FID = 0x00
    CHILD_DF = 0x01
    CHILD_EF = 0x02
    PARENT = 0x03
    PATH_FROM_ROOT = 0x08
    PATH_FROM_CURRENT = 0x09


def select_file(context: Context, command: CommandApdu) -> bytes:
    """SELECT by file identifier or path; the answer is FCI (P2 00), FCP (04), FMD (08) or nothing (0C).

    The size of the data is told only to who may read or update the file: the size of a portrait would trace a card.

    Raises:
        IncorrectP1P2: 6A86.
        WrongLength: 6700, not one identifier, or no path.
        FileNotFound: 6A82.
        FileDeactivatedWarning: 6283 with the answer.
        FileTerminatedWarning: 6285 with the answer.
    """
    form = command.p2
    if form not in _FORMS:
        raise IncorrectP1P2("first occurrence, with FCI, FCP, FMD or no answer")
    return select_and_answer(context, find_file(context, command.p1, command.data), form)


def select_and_answer(context: Context, file: File | None, form: int) -> bytes:
    """Make a file the current one and answer in a form of P2 (b4-b3); None is the application's own DF.

    Raises:
        FileDeactivatedWarning: 6283 with the answer.
        FileTerminatedWarning: 6285 with the answer.
    """
    context.files.select(file)
    if file is None:
        file = context.files.root
    template = b"" if form == _FORM_NONE else _template(context, file, _FORMS[form])
    if file is not None and file.blocked:
        if file.spec.life_cycle == FileLifeCycle.TERMINATED:
            raise FileTerminatedWarning("the file is terminated", data=template)
        if file.spec.life_cycle == FileLifeCycle.DEACTIVATED:
            raise FileDeactivatedWarning("the file is deactivated", data=template)
    return template


def _template(context: Context, file: File | None, tag: int) -> bytes:
    if tag == Tag.FMD:
        return _management_data(context, file)
    if file is None:
        return _own_template(context, tag)
    return _file_template(context, file, tag)


def _management_data(context: Context, file: File | None) -> bytes:
    """The FMD: the name of a DF as application identifier; empty for other files."""
    if file is None or file is context.files.root:
        name: bytes = context.application.aid
    else:
        name = file.spec.df_name
    return tlv.encode(Tag.FMD, tlv.encode(Tag.APPLICATION_IDENTIFIER, name) if name else b"")


def _file_template(context: Context, file: File, tag: int) -> bytes:
    proofs, spec = context.proofs, file.spec
    if file is context.files.root:
        spec = replace(spec, df_name=context.application.aid)
    rules = file.rules
    open_to_it = rules.rule(FileOperation.READ).allows(proofs) or rules.rule(FileOperation.UPDATE).allows(proofs)
    return spec.encode(with_size=open_to_it, tag=tag)


def _own_template(context: Context, tag: int) -> bytes:
    return tlv.encode(
        tag,
        tlv.encode(Tag.DESCRIPTOR, bytes((FileStructure.DF,))),
        tlv.encode(Tag.DF_NAME, context.application.aid),
        tlv.encode(Tag.LIFE_CYCLE, bytes((FileLifeCycle.ACTIVATED,))),
    )


def find_file(context: Context, by: int, data: bytes) -> File | None:
    """The file that P1 and data of SELECT name; None is the application's own DF.

    Raises:
        IncorrectP1P2: 6A86, no such selection.
        FileNotFound: 6A82.
        WrongLength: 6700, not one identifier, or no path.
    """
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
            return None if here is None else context.files.by_identifier(here.parent)
        case SelectBy.FID:
            return _find_by_fid(context, here, data)
        case SelectBy.CHILD_DF | SelectBy.CHILD_EF:
            file = context.files.get(file_identifier(data), parent)
            if (file.structure is FileStructure.DF) != (by == SelectBy.CHILD_DF):
                raise FileNotFound("a file of the other kind has this identifier")
            return file
        case _:
            raise IncorrectP1P2("no such selection")


def _find_by_fid(context: Context, here: File | None, data: bytes) -> File | None:
    """Below the current DF, the DF itself, then below the application's own; no data or 3F00 is the application."""
    if not data:
        return None
    identifier = file_identifier(data)
    if identifier in _ROOT_FIDS:
        return None
    if here is not None:
        below = context.files.find(identifier, here.identifier)
        if below is not None:
            return below
        if here.spec.fid == identifier:
            return here
    return context.files.get(identifier)


def _walk(context: Context, start: int, path: bytes) -> File | None:
    if not path or len(path) % FID_LENGTH:
        raise WrongLength("a path is a sequence of file identifiers")
    file = context.files.by_identifier(start)
    for at in range(0, len(path), FID_LENGTH):
        if file is not None and file.structure is not FileStructure.DF:
            raise FileNotFound("the path goes on below an EF")
        file = context.files.get(
            int.from_bytes(path[at : at + FID_LENGTH], "big"), APPLICATION_DF if file is None else file.identifier
        )
    return file
