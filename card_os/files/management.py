"""CREATE, DELETE, ACTIVATE and DEACTIVATE FILE.

Source: ISO/IEC 7816-9:2017, clause 9.
"""

from __future__ import annotations

from card_os.applet_api import Context
from card_os.files.checks import file_identifier, require
from card_os.files.directory import APPLICATION_DF, File
from card_os.files.spec import AccessMode, FileLifeCycle, FileSpec
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import IncorrectP1P2, NoCurrentEf


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
        require(df, AccessMode.APPEND, context.proofs)
    file = context.files.create(spec, APPLICATION_DF if df is None else df.identifier)
    context.files.select(file)
    return b""


def _managed(context: Context, command: CommandApdu, mode: AccessMode) -> File:
    """The file that DELETE, ACTIVATE or DEACTIVATE FILE names: by identifier in the data, else the current EF."""
    if command.p1 or command.p2:
        raise IncorrectP1P2("the file is named by its identifier or is the current one")
    if command.data:
        df = context.files.current_df
        file = context.files.get(file_identifier(command.data), APPLICATION_DF if df is None else df.identifier)
    else:
        current = context.files.current
        if current is None:
            raise NoCurrentEf("no EF is selected")
        file = current
    require(file, mode, context.proofs)
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
