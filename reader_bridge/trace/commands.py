"""The commands that a trace can name, and what of each is secret, personal or random.

One row a command: how its data fields are read by the decoder, which of them a recorder hides, and which of them differ
from run to run although nothing else has changed.

Source: ISO/IEC 7816-4:2020, table 4 and clause 11; ISO/IEC 7816-8:2021, table 1; ISO/IEC 7816-9:2017, table 1;
GlobalPlatform Card Specification 2.3.1, table 11-1; EMV 4.3 Book 3, clause 6.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, Flag, auto
from types import MappingProxyType
from typing import Final, NamedTuple

from card_os.iso7816.apdu import CLASS_BYTES, SecureMessagingIndication

PROPRIETARY: Final = 0x80


class Form(Enum):
    """How a data field is read."""

    OPAQUE = "bytes"
    TLV = "BER-TLV data objects"
    SELECTION = "AID, file identifier or path, by P1"
    CONTENT = "content of the current file"
    INSTALL = "length-value fields of INSTALL"
    GROUPINGS = "data groupings or data objects of STORE DATA, by P1"
    INITIALIZE_UPDATE = "diversification data, key information, challenge, cryptogram"
    CHALLENGE = "challenge"
    CRYPTOGRAM = "cryptogram"
    PIN = "PIN block"
    OBJECT_LIST = "values in the order of a data object list"


class Holds(Flag):
    """What somebody who reads a data field in plain would learn."""

    NOTHING = 0
    CONTENT = auto()
    """What a card stores: names, numbers, accounts."""
    SECRET = auto()
    """PINs and keys."""


class Varies(Enum):
    """Which part of a data field differs from run to run."""

    NOTHING = slice(0, 0)
    ALL = slice(0, None)
    AFTER_KEY_INFORMATION = slice(12, None)
    """INITIALIZE UPDATE: diversification data and key version stay; sequence, challenge and cryptogram do not."""


class CommandRow(NamedTuple):
    """One command.

    Attributes:
        ins: instruction byte.
        name: as the standard has it.
        command: form of the command data field.
        response: form of the response data field.
        command_holds: what the command data field gives away.
        response_holds: what the response data field gives away.
        command_varies: part of the command data field that is new in every run.
        response_varies: same of the response data field.
    """

    ins: int
    name: str
    command: Form = Form.OPAQUE
    response: Form = Form.OPAQUE
    command_holds: Holds = Holds.NOTHING
    response_holds: Holds = Holds.NOTHING
    command_varies: Varies = Varies.NOTHING
    response_varies: Varies = Varies.NOTHING


_N, _C, _S = Holds.NOTHING, Holds.CONTENT, Holds.SECRET
_SAME, _NEW = Varies.NOTHING, Varies.ALL
_O, _T, _F = Form.OPAQUE, Form.TLV, Form.CONTENT

INTERINDUSTRY: Final = (
    CommandRow(0x04, "DEACTIVATE FILE", Form.SELECTION),
    CommandRow(0x0C, "ERASE RECORD"),
    CommandRow(0x0E, "ERASE BINARY"),
    CommandRow(0x0F, "ERASE BINARY", _T),
    CommandRow(0x20, "VERIFY", Form.PIN, _O, _S),
    CommandRow(0x21, "VERIFY", _T, _O, _S),
    CommandRow(0x22, "MANAGE SECURITY ENVIRONMENT", _T),
    CommandRow(0x24, "CHANGE REFERENCE DATA", Form.PIN, _O, _S),
    CommandRow(0x25, "CHANGE REFERENCE DATA", _T, _O, _S),
    CommandRow(0x26, "DISABLE VERIFICATION REQUIREMENT", Form.PIN, _O, _S),
    CommandRow(0x28, "ENABLE VERIFICATION REQUIREMENT", Form.PIN, _O, _S),
    CommandRow(0x2A, "PERFORM SECURITY OPERATION", _O, _O, _S, _S, _SAME, _NEW),
    CommandRow(0x2C, "RESET RETRY COUNTER", Form.PIN, _O, _S),
    CommandRow(0x2D, "RESET RETRY COUNTER", _T, _O, _S),
    CommandRow(0x44, "ACTIVATE FILE", Form.SELECTION),
    CommandRow(0x46, "GENERATE ASYMMETRIC KEY PAIR", _T, _T, _N, _N, _SAME, _NEW),
    CommandRow(0x47, "GENERATE ASYMMETRIC KEY PAIR", _T, _T, _N, _N, _SAME, _NEW),
    CommandRow(0x70, "MANAGE CHANNEL"),
    CommandRow(0x82, "EXTERNAL / MUTUAL AUTHENTICATE", Form.CRYPTOGRAM, Form.CRYPTOGRAM, _N, _N, _NEW, _NEW),
    CommandRow(0x84, "GET CHALLENGE", _O, Form.CHALLENGE, _N, _N, _SAME, _NEW),
    CommandRow(0x86, "GENERAL AUTHENTICATE", _T, _T, _N, _N, _NEW, _NEW),
    CommandRow(0x87, "GENERAL AUTHENTICATE", _T, _T, _N, _N, _NEW, _NEW),
    CommandRow(0x88, "INTERNAL AUTHENTICATE", Form.CHALLENGE, Form.CRYPTOGRAM, _N, _N, _NEW, _NEW),
    CommandRow(0xA0, "SEARCH BINARY", _O, _O, _C, _C),
    CommandRow(0xA1, "SEARCH BINARY", _T, _T, _C, _C),
    CommandRow(0xA2, "SEARCH RECORD", _O, _O, _C, _C),
    CommandRow(0xA4, "SELECT", Form.SELECTION, _T),
    CommandRow(0xB0, "READ BINARY", _O, _F, _N, _C),
    CommandRow(0xB1, "READ BINARY", _T, _F, _N, _C),
    CommandRow(0xB2, "READ RECORD", _O, _F, _N, _C),
    CommandRow(0xB3, "READ RECORD", _T, _F, _N, _C),
    CommandRow(0xC0, "GET RESPONSE"),
    CommandRow(0xC2, "ENVELOPE", _O, _O, _S, _S),
    CommandRow(0xC3, "ENVELOPE", _O, _O, _S, _S),
    CommandRow(0xCA, "GET DATA", _O, _T),
    CommandRow(0xCB, "GET DATA", _T, _T, _N, _C),
    CommandRow(0xD0, "WRITE BINARY", _F, _O, _C),
    CommandRow(0xD1, "WRITE BINARY", _F, _O, _C),
    CommandRow(0xD2, "WRITE RECORD", _F, _O, _C),
    CommandRow(0xD6, "UPDATE BINARY", _F, _O, _C),
    CommandRow(0xD7, "UPDATE BINARY", _F, _O, _C),
    CommandRow(0xDA, "PUT DATA", _O, _O, _S),
    CommandRow(0xDB, "PUT DATA", _T, _O, _S),
    CommandRow(0xDC, "UPDATE RECORD", _F, _O, _C),
    CommandRow(0xDD, "UPDATE RECORD", _F, _O, _C),
    CommandRow(0xE0, "CREATE FILE", _T),
    CommandRow(0xE2, "APPEND RECORD", _F, _O, _C),
    CommandRow(0xE4, "DELETE FILE", Form.SELECTION),
    CommandRow(0xE6, "TERMINATE DF", Form.SELECTION),
    CommandRow(0xE8, "TERMINATE EF", Form.SELECTION),
    CommandRow(0xFE, "TERMINATE CARD USAGE"),
)
"""Commands of the classes 00 to 7F."""

PROPRIETARY_CLASS: Final = (
    CommandRow(0x16, "CARD BLOCK"),
    CommandRow(0x18, "APPLICATION UNBLOCK"),
    CommandRow(0x1E, "APPLICATION BLOCK"),
    CommandRow(0x24, "PIN CHANGE / UNBLOCK", Form.PIN, _O, _S),
    CommandRow(
        0x50,
        "INITIALIZE UPDATE",
        Form.CHALLENGE,
        Form.INITIALIZE_UPDATE,
        _N,
        _N,
        _NEW,
        Varies.AFTER_KEY_INFORMATION,
    ),
    CommandRow(0x78, "END R-MAC SESSION"),
    CommandRow(0x7A, "BEGIN R-MAC SESSION"),
    CommandRow(0x82, "EXTERNAL AUTHENTICATE", Form.CRYPTOGRAM, _O, _N, _N, _NEW),
    CommandRow(0xA8, "GET PROCESSING OPTIONS", _T, _T, _N, _C),
    CommandRow(0xAE, "GENERATE AC", Form.OBJECT_LIST, _T, _N, _N, _NEW, _NEW),
    CommandRow(0xCA, "GET DATA", _O, _T),
    CommandRow(0xCB, "GET DATA", _T, _T),
    CommandRow(0xD4, "WRITE KEY", _O, _O, _S),
    CommandRow(0xD8, "PUT KEY", _O, _O, _S),
    CommandRow(0xDA, "PUT DATA", _O, _O, _S),
    CommandRow(0xE2, "STORE DATA", Form.GROUPINGS, _O, _S),
    CommandRow(0xE4, "DELETE", _T),
    CommandRow(0xE6, "INSTALL", Form.INSTALL),
    CommandRow(0xE8, "LOAD"),
    CommandRow(0xF0, "SET STATUS", Form.SELECTION),
    CommandRow(0xF2, "GET STATUS", _T, _T),
)
"""Commands of the classes 80 to FE: GlobalPlatform and EMV."""

COMMANDS: Final[Mapping[tuple[bool, int], CommandRow]] = MappingProxyType(
    {(False, row.ins): row for row in INTERINDUSTRY} | {(True, row.ins): row for row in PROPRIETARY_CLASS}
)
"""Rows by (proprietary class, INS)."""

READER_CLASS: Final = 0xFF
"""Class of commands to the reader (PC/SC part 3); a card never sees one."""
_READER_COMMANDS: Final = {0xCA: "GET DATA (reader)", 0x82: "LOAD KEYS (reader)", 0x86: "GENERAL AUTHENTICATE (reader)"}
_UNKNOWN: Final = CommandRow(0x00, "", _O, _O, _S, _S)


def command_row(cla: int, ins: int) -> CommandRow:
    """The row of a command; one without a name that hides everything when there is none."""
    if cla == READER_CLASS:
        return CommandRow(ins, _READER_COMMANDS.get(ins, "reader command"), _O, _O, _S, _S)
    return COMMANDS.get((cla >= PROPRIETARY, ins), _UNKNOWN._replace(ins=ins))


def command_name(cla: int, ins: int) -> str:
    """Name of the command in its standard, or its INS as hex."""
    return command_row(cla, ins).name or f"INS {ins:02X}"


def under_iso_messaging(cla: int) -> bool:
    """True when an interindustry class byte says that the command is under secure messaging."""
    decoded = CLASS_BYTES[cla]
    return (
        decoded is not None and decoded.interindustry and decoded.secure_messaging is not SecureMessagingIndication.NONE
    )


def rows() -> Iterator[CommandRow]:
    """All rows."""
    yield from INTERINDUSTRY
    yield from PROPRIETARY_CLASS
