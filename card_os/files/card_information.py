"""What a card tells of itself: card service data of the historical bytes, and the content of EF.ATR/INFO.

Source: ISO/IEC 7816-4:2020, clauses 12.1.1 (historical bytes), 12.2.1 (EF.DIR), 12.2.2 (EF.ATR/INFO) and 12.7.1 (tag
7F66).

Deviates: the card service data byte has one way of access for EF.DIR and EF.ATR/INFO; it is told for EF.DIR, which may
have either structure, while EF.ATR/INFO is read by READ BINARY.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.answers import CAPABILITIES, SERVICE_DATA
from card_os.files.spec import FileStructure
from card_os.iso7816.tlv import encode

if TYPE_CHECKING:
    from card_os.files.system import FileSystem

MAX_COMMAND: Final = 2048
"""Longest command APDU in bytes: what it writes fits one transaction."""
MAX_RESPONSE: Final = 0xFFFF
"""Longest response APDU in bytes that is announced."""
EF_DIR: Final = 0x2F00
EF_ATR: Final = 0x2F01

_TAG_SERVICE_DATA: Final = 0x43
_TAG_CAPABILITIES: Final = 0x47
_TAG_EXTENDED_LENGTH: Final = 0x7F66
_TAG_INTEGER: Final = 0x02

_WITHOUT_MF: Final = 0x01
_OBJECTS_IN_DIR: Final = 0x20
_OBJECTS_IN_ATR: Final = 0x10
_ACCESS: Final = {FileStructure.TRANSPARENT: 0x08, FileStructure.TLV: 0x04}
"""Structure of EF.DIR: READ BINARY, GET DATA; READ RECORD is 0."""


def card_service_data(files: FileSystem) -> int:
    """The card service data byte where these are the files of the application that is selected by default.

    b8-b7 selection by full and by partial DF name; b6 and b5 EF.DIR and EF.ATR/INFO are there; b4-b2 how EF.DIR is
    read; b1 there is no MF.
    """
    if files.root is None:
        return SERVICE_DATA
    told = SERVICE_DATA & ~_WITHOUT_MF
    directory = files.find(EF_DIR)
    if directory is not None:
        told |= _OBJECTS_IN_DIR | _ACCESS.get(directory.structure, 0)
    if files.find(EF_ATR) is not None:
        told |= _OBJECTS_IN_ATR
    return told


def card_information(files: FileSystem) -> bytes:
    """Content of EF.ATR/INFO: 43 card service data · 47 card capabilities · 7F66 { 02 and 02: longest APDUs }.

    Args:
        files: those of the application whose EF.ATR/INFO it will be.
    """
    lengths = (encode(_TAG_INTEGER, limit.to_bytes(2, "big")) for limit in (MAX_COMMAND, MAX_RESPONSE))
    return (
        encode(_TAG_SERVICE_DATA, bytes((card_service_data(files) | _OBJECTS_IN_ATR,)))
        + encode(_TAG_CAPABILITIES, CAPABILITIES.encode())
        + encode(_TAG_EXTENDED_LENGTH, *lengths)
    )
