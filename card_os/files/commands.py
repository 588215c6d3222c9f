"""The file commands, as rows for an application's instruction table.

`FILE_INSTRUCTIONS` has what every application with files offers. The others are tuples that an application adds by
itself: no table grows when the firmware does. A command asks the rule of the file for its mode; a deactivated file
answers 6985 to everything but SELECT and ACTIVATE FILE.

Source: ISO/IEC 7816-4:2020, clauses 11.2 to 11.4; ISO/IEC 7816-9:2017, clause 9.
"""

from __future__ import annotations

from typing import Final

from card_os.applet_api import Instruction
from card_os.files.binary import read_binary, read_binary_odd, update_binary, update_binary_odd
from card_os.files.data_objects import get_data, get_data_odd, put_data, put_data_odd
from card_os.files.erase import erase_binary, erase_binary_odd, erase_record
from card_os.files.management import (
    activate_file,
    create_file,
    deactivate_file,
    delete_file,
    terminate_card_usage,
    terminate_df,
    terminate_ef,
)
from card_os.files.records import append_record, read_part_of_record, read_record, update_record
from card_os.files.search import search_binary, search_binary_odd, search_record
from card_os.files.select import select_file
from card_os.files.write import update_part_of_record, write_binary, write_binary_odd, write_record
from card_os.security.access import NEVER, AccessRule

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
"""What every application with files offers; the rules of the files decide."""

WRITE_INSTRUCTIONS: Final = (
    Instruction(0xD0, "WRITE BINARY", write_binary, chaining=True),
    Instruction(0xD1, "WRITE BINARY", write_binary_odd, chaining=True),
    Instruction(0xD2, "WRITE RECORD", write_record),
)
"""WRITE, for files whose data coding byte names a write function."""

ERASE_INSTRUCTIONS: Final = (
    Instruction(0x0E, "ERASE BINARY", erase_binary),
    Instruction(0x0F, "ERASE BINARY", erase_binary_odd),
    Instruction(0x0C, "ERASE RECORD", erase_record),
)

SEARCH_INSTRUCTIONS: Final = (
    Instruction(0xA0, "SEARCH BINARY", search_binary),
    Instruction(0xA1, "SEARCH BINARY", search_binary_odd),
    Instruction(0xA2, "SEARCH RECORD", search_record),
)

PARTIAL_RECORD_INSTRUCTIONS: Final = (
    Instruction(0xB3, "READ RECORD", read_part_of_record),
    Instruction(0xDD, "UPDATE RECORD", update_part_of_record),
)
"""Parts of records by offset."""

DATA_OBJECT_INSTRUCTIONS: Final = (
    Instruction(0xCA, "GET DATA", get_data),
    Instruction(0xCB, "GET DATA", get_data_odd),
    Instruction(0xDA, "PUT DATA", put_data, chaining=True),
    Instruction(0xDB, "PUT DATA", put_data_odd, chaining=True),
)
"""Data objects of DFs and of EFs of TLV structure."""

ALL_FILE_INSTRUCTIONS: Final = (
    *FILE_INSTRUCTIONS,
    *WRITE_INSTRUCTIONS,
    *ERASE_INSTRUCTIONS,
    *SEARCH_INSTRUCTIONS,
    *PARTIAL_RECORD_INSTRUCTIONS,
    *DATA_OBJECT_INSTRUCTIONS,
)
"""Every command on the data of files, for applications that are a file system."""


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


def file_termination() -> tuple[Instruction, ...]:
    """Rows of TERMINATE EF and TERMINATE DF; the rules of the files decide."""
    return (Instruction(0xE8, "TERMINATE EF", terminate_ef), Instruction(0xE6, "TERMINATE DF", terminate_df))


def card_termination(access: AccessRule = NEVER) -> tuple[Instruction, ...]:
    """Row of TERMINATE CARD USAGE, for an application that may terminate the card.

    Args:
        access: rule of the command.
    """
    return (Instruction(0xFE, "TERMINATE CARD USAGE", terminate_card_usage, access=access),)
