"""CREATE, DELETE, ACTIVATE, DEACTIVATE and TERMINATE of files, and TERMINATE CARD USAGE.

Source: ISO/IEC 7816-9:2017, clause 9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from card_os.applet_api import Context
from card_os.files.checks import require, require_active
from card_os.files.directory import File
from card_os.files.life_cycle import TRANSITIONS, FileEvent, FileLifeCycle
from card_os.files.rules import FileOperation
from card_os.files.select import SelectBy, find_file
from card_os.files.spec import APPLICATION_DF, FileSpec, FileStructure, Tag
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncompatibleFileStructure,
    IncorrectP1P2,
    NoCurrentEf,
    WrongLength,
)

_OPERATIONS: Final = {
    FileEvent.ACTIVATE: FileOperation.ACTIVATE,
    FileEvent.DEACTIVATE: FileOperation.DEACTIVATE,
    FileEvent.TERMINATE: FileOperation.TERMINATE,
}


def create_file(context: Context, command: CommandApdu) -> bytes:
    """CREATE FILE (E0), P1-P2 0000, data = FCP template; the new file becomes the current one.

    Inside a DF of the application, and where a file stands for the application's own DF, the DF's rule for creating an
    EF or a DF decides as well.

    A template without tag 88 makes the low bits of the FID the short identifier, unless it is taken.

    Raises:
        ConditionsNotSatisfied: 6985, the DF is deactivated or terminated.
        FileExists: 6A89.
        DfNameExists: 6A8A.
        NotEnoughMemory: 6A84; nothing is changed.
    """
    if command.p1 or command.p2:
        raise IncorrectP1P2("the identifier stands in the template")
    files = context.files
    df = files.current_df
    above = df or files.root
    if above is not None:
        if not _may_create_something(above, context.proofs):
            require(context, command, above, FileOperation.CREATE_EF)
        require_active(above)
    parent = APPLICATION_DF if df is None else df.identifier
    spec = FileSpec.parse(command.data)
    if above is not None:
        kind = FileOperation.CREATE_DF if spec.structure is FileStructure.DF else FileOperation.CREATE_EF
        require(context, command, above, kind)
    if spec.sfi and files.has_sfi(spec.sfi, parent) and _without_short_identifier(command.data):
        spec = replace(spec, sfi=0)
    files.select(files.create(spec, parent))
    return b""


def _may_create_something(df: File, proofs: int) -> bool:
    """True when at least one of both kinds may be created, so that the template is looked at."""
    rules = df.rules
    return rules.rule(FileOperation.CREATE_EF).allows(proofs) or rules.rule(FileOperation.CREATE_DF).allows(proofs)


def _without_short_identifier(template: bytes) -> bool:
    """True when a template leaves it to the card whether the low bits of the FID are a short identifier."""
    return tlv.find(tlv.parse_one(template).value, Tag.SHORT_IDENTIFIER) is None


def _managed(context: Context, command: CommandApdu, operation: FileOperation) -> File:
    """The file that a command names as SELECT does (P1), or without data the current EF, else the current DF."""
    if command.p2:
        raise IncorrectP1P2("P2 is 00")
    files = context.files
    if command.data or command.p1 != SelectBy.FID:
        file = find_file(context, command.p1, command.data) or files.root
    else:
        file = files.current or files.current_df or files.root
    if file is None:
        raise NoCurrentEf("no file is selected")
    if operation is not FileOperation.DELETE or not _may_delete_in_its_df(context, command, file):
        require(context, command, file, operation)
    if file.blocked_above:
        raise ConditionsNotSatisfied("a DF above the file is deactivated or terminated")
    return file


def _may_delete_in_its_df(context: Context, command: CommandApdu, file: File) -> bool:
    """True when the DF that a file is in lets its files be deleted; else the file's own rule decides."""
    files = context.files
    df = files.by_identifier(file.parent) if file.parent else files.root
    if df is None or df is file or file.rules.command_rule(command) is not None:
        return False
    return df.rules.rule(FileOperation.DELETE_CHILD).allows(context.proofs)


def delete_file(context: Context, command: CommandApdu) -> bytes:
    """DELETE FILE (E4), in every state, under the file's rule or that of its DF; a DF goes with all that is in it.

    Raises:
        ConditionsNotSatisfied: 6985, the application's own DF, or below a DF that is deactivated or terminated.
    """
    context.files.delete(_managed(context, command, FileOperation.DELETE))
    return b""


def _move(context: Context, file: File, event: FileEvent) -> bytes:
    now = FileLifeCycle(file.spec.life_cycle)
    after = TRANSITIONS.get((event, now))
    if after is None:
        raise ConditionsNotSatisfied(f"{event.value} is not possible in the state {now.name}")
    if after is not now:
        context.files.set_life_cycle(file, after)
    return b""


def activate_file(context: Context, command: CommandApdu) -> bytes:
    """ACTIVATE FILE (44).

    Raises:
        ConditionsNotSatisfied: 6985, the file is terminated, or a DF above it is not in use.
    """
    return _move(context, _managed(context, command, _OPERATIONS[FileEvent.ACTIVATE]), FileEvent.ACTIVATE)


def deactivate_file(context: Context, command: CommandApdu) -> bytes:
    """DEACTIVATE FILE (04).

    Raises:
        ConditionsNotSatisfied: 6985, the file is not activated, or a DF above it is not in use.
    """
    return _move(context, _managed(context, command, _OPERATIONS[FileEvent.DEACTIVATE]), FileEvent.DEACTIVATE)


def _terminate(wanted: Callable[[File], bool], kind: str) -> Callable[[Context, CommandApdu], bytes]:
    def handler(context: Context, command: CommandApdu) -> bytes:
        file = _managed(context, command, _OPERATIONS[FileEvent.TERMINATE])
        if not wanted(file):
            raise IncompatibleFileStructure(f"the file is no {kind}")
        return _move(context, file, FileEvent.TERMINATE)

    return handler


terminate_ef: Final = _terminate(lambda file: file.structure is not FileStructure.DF, "EF")
"""TERMINATE EF (E8): the file is never used again; it can be selected and deleted."""

terminate_df: Final = _terminate(lambda file: file.structure is FileStructure.DF, "DF")
"""TERMINATE DF (E6): the same for a DF and all that is in it."""


def terminate_card_usage(context: Context, command: CommandApdu) -> bytes:
    """TERMINATE CARD USAGE (FE), P1-P2 0000, no data: the card is terminated for good.

    Raises:
        SecurityStatusNotSatisfied: 6982, the application has not the privilege of terminating the card.
    """
    if command.p1 or command.p2:
        raise IncorrectP1P2("P1-P2 is 0000")
    if command.data:
        raise WrongLength("TERMINATE CARD USAGE has no data")
    context.card.terminate(context.application)
    return b""
