"""Status words explained, first by the command that they answer, then in general.

Source: ISO/IEC 7816-4:2020, clause 5.6 and the tables of clause 11; GlobalPlatform Card Specification 2.3.1, tables of
clause 11 and table 11-10.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from card_os.iso7816.status import StatusWord

_BY_COMMAND: Final[Mapping[tuple[bool, int, int], str]] = MappingProxyType(
    {
        (False, 0x20, 0x6300): "the PIN is wrong",
        (False, 0x20, 0x6983): "the PIN is blocked",
        (False, 0x20, 0x6984): "there is no such PIN, or it cannot be used",
        (False, 0x24, 0x6983): "the PIN is blocked",
        (False, 0x2C, 0x6983): "the unblocking code is blocked",
        (False, 0x82, 0x6300): "the authentication failed",
        (False, 0x82, 0x6983): "the key is blocked",
        (False, 0x82, 0x6984): "no challenge was asked for before",
        (False, 0xA4, 0x6283): "selected, and deactivated",
        (False, 0xA4, 0x6285): "selected, and terminated",
        (False, 0xA4, 0x6A82): "no such application or file",
        (False, 0xB0, 0x6282): "end of file reached before Le bytes",
        (False, 0xB0, 0x6B00): "the offset is outside the file",
        (False, 0xB2, 0x6A83): "no such record",
        (True, 0x50, 0x6A88): "no key with that version",
        (True, 0x50, 0x6982): "the domain has no keys, or is blocked",
        (True, 0x82, 0x6300): "the host cryptogram is wrong",
        (True, 0x82, 0x6982): "the MAC is wrong, or no INITIALIZE UPDATE came before",
        (True, 0xD8, 0x6A80): "the key check value or the form of the key is wrong",
        (True, 0xD8, 0x9484): "algorithm not supported",
        (True, 0xD8, 0x9485): "invalid key check value",
        (True, 0xE4, 0x6A88): "nothing of that name is on the card",
        (True, 0xE4, 0x6985): "it is in use or cannot be deleted",
        (True, 0xE6, 0x6A88): "load file or module is not on the card",
        (True, 0xE6, 0x6985): "the name is taken, or the state does not allow it",
        (True, 0xF2, 0x6310): "more entries follow",
        (True, 0xF2, 0x6A88): "nothing of that kind is on the card",
        (True, 0xA8, 0x6985): "the conditions of use do not allow this transaction",
    }
)

_GENERAL: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x9000: "done",
        0x6200: "warning, nothing changed",
        0x6202: "the card has more to say",
        0x6286: "no input from a sensor",
        0x6381: "the file is full by this write",
        0x6401: "the card needs an answer first",
        0x6500: "error, memory changed",
        0x6600: "security issue",
        0x6800: "function of the class byte not supported",
        0x6900: "command not allowed",
        0x6982: "security status not satisfied: authentication, PIN or secure messaging is missing",
        0x6A00: "wrong parameters",
        0x9484: "algorithm not supported",
        0x9485: "invalid key check value",
    }
)


def status_text(proprietary: bool, ins: int, status: StatusWord) -> str:
    """Meaning of a status word as the answer to a command."""
    specific = _BY_COMMAND.get((proprietary, ins, int(status)))
    if specific is not None:
        return specific
    return _GENERAL.get(int(status)) or status.text
