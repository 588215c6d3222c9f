"""Decides, command by command, what a recorder leaves out.

A field that is enciphered by secure messaging stays: it says nothing to somebody without the keys, and is what somebody
with them wants to see. What is hidden is hidden from the recorder's own memory too. In doubt, a field is hidden: when a
command has another length than it says, when secure messaging has a MAC only, when nothing is known of a class byte.

Source: the columns of `reader_bridge.trace.commands`; GlobalPlatform Card Specification 2.3.1, table 10-1 (P1 of
EXTERNAL AUTHENTICATE).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import WrongLength
from reader_bridge.trace.commands import PROPRIETARY, CommandRow, Holds, command_row, under_iso_messaging
from reader_bridge.trace.record import Hidden, Octets

_HEADER: Final = 4
_GET_RESPONSE: Final = 0xC0
_SELECT: Final = 0xA4
_INITIALIZE_UPDATE: Final = 0x50
_EXTERNAL_AUTHENTICATE: Final = 0x82
_GP_SECURED: Final = 0x04
_GP_FURTHER: Final = 0xC0
"""From here on, bit 3 of a class byte is a part of the channel's number (GlobalPlatform 2.3.1, 11.1.4.2)."""
_C_DECRYPTION: Final = 0x02
_R_ENCRYPTION: Final = 0x20
_EXTENDED_LENGTH: Final = 3
_STATUS_LENGTH: Final = 2
_CRYPTOGRAMS: Final = frozenset({0x82, 0x83, 0x84, 0x85, 0x86, 0x87})
_SM_OBJECTS: Final = _CRYPTOGRAMS | {0x8E, 0x8F, 0x96, 0x97, 0x99}
"""Objects without anything in plain but lengths and status words (ISO/IEC 7816-4:2020, table 58)."""
_LONG_FORM: Final = 0x80
_EVERYTHING: Final = Hidden.SECRETS | Hidden.CONTENT
_MEANING: Final = {Hidden.SECRETS: Holds.SECRET, Hidden.CONTENT: Holds.CONTENT}


class Cover(NamedTuple):
    """What is hidden of one exchange.

    Attributes:
        command: the data field of the command.
        response: the data field of the response.
        response_in_doubt: the same when it is under secure messaging and not enciphered.
    """

    command: bool
    response: bool
    response_in_doubt: bool = False


class Hiding:
    """Follows one connection.

    Args:
        what: what to leave out.
    """

    __slots__ = ("_last", "_level", "_wanted", "what")

    def __init__(self, what: Hidden = _EVERYTHING) -> None:
        self.what = what
        self._wanted = Holds.NOTHING
        for flag, holds in _MEANING.items():
            if flag in what:
                self._wanted |= holds
        self._level = 0
        self._last = Cover(command=False, response=False)

    def reset(self) -> None:
        """The card was reset: its secure channel is gone."""
        self._level = 0
        self._last = Cover(command=False, response=False)

    def cover(self, command: bytes) -> Cover:
        """What to hide of this command and its response."""
        if not self._wanted or len(command) < _HEADER:
            self._last = Cover(command=bool(self._wanted), response=bool(self._wanted))
            return self._last
        cla, ins = command[0], command[1]
        if ins == _GET_RESPONSE and cla < PROPRIETARY:
            return self._last._replace(command=False)
        row = command_row(cla, ins)
        self._last = self._cover(command, row)
        return self._last

    def _cover(self, command: bytes, row: CommandRow) -> Cover:
        cla = command[0]
        secret = Cover(bool(row.command_holds & self._wanted), bool(row.response_holds & self._wanted))
        if cla < PROPRIETARY:
            if row.ins == _SELECT:
                self._level = 0
            if not under_iso_messaging(cla):
                return secret
            secured = secret.response and _has_objects(command)
            return Cover(
                secret.command and not _enciphered(_data_field(command)), secret.response and not secured, secured
            )
        if cla & _GP_SECURED and cla < _GP_FURTHER:
            return Cover(
                secret.command and not self._level & _C_DECRYPTION, secret.response and not self._level & _R_ENCRYPTION
            )
        return secret

    def answered(self, command: bytes, response: bytes) -> None:
        """Learn the level of a secure channel from the commands that open it, and whether a response is in plain."""
        data = response[:-_STATUS_LENGTH]
        if self._last.response_in_doubt and data:  # the rest, by GET RESPONSE, is like its beginning
            self._last = Cover(self._last.command, not _enciphered(data))
        if command[:1] >= bytes((PROPRIETARY,)) and command[1:2] == bytes((_INITIALIZE_UPDATE,)):
            self._level = 0  # no session is open until the next EXTERNAL AUTHENTICATE
        opened = len(command) > _HEADER and command[0] >= PROPRIETARY and command[1] == _EXTERNAL_AUTHENTICATE
        if opened and response[-_STATUS_LENGTH:] == b"\x90\x00":
            self._level = command[2]

    @staticmethod
    def hide_command(command: bytes, cover: Cover) -> Octets:
        """The command without its data field when that is covered; length fields and Le stay.

        Of what is no command, such as a PIN without its length, nothing stays behind the header.
        """
        if not cover.command:
            return Octets(command)
        try:
            parsed = CommandApdu.parse(command)
        except WrongLength:
            return Octets.hiding(command, _HEADER, len(command))
        start = _HEADER + (_EXTENDED_LENGTH if parsed.extended else 1)
        return Octets.hiding(command, start, start + len(parsed.data))

    @staticmethod
    def hide_response(response: bytes, cover: Cover) -> Octets:
        """The response without its data field when that is covered."""
        plain = cover.response_in_doubt and not _enciphered(response[:-_STATUS_LENGTH])
        if not (cover.response or plain):
            return Octets(response)
        return Octets.hiding(response, 0, len(response) - _STATUS_LENGTH)


def _data_field(command: bytes) -> bytes:
    start = _HEADER + 1
    if len(command) > _HEADER + 3 and not command[_HEADER]:
        start = _HEADER + 3
    return command[start:]


def _enciphered(data: bytes) -> bool:
    """True when there is nothing but secure messaging objects that say nothing without keys; the last may be cut."""
    at = 0
    while at < len(data):
        if data[at] not in _SM_OBJECTS:
            return False
        at += 1
        length = data[at] if at < len(data) else 0
        at += 1
        if length >= _LONG_FORM:  # without an end (80), what follows is judged
            size = length - _LONG_FORM
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        at += length
    return bool(data)


def _has_objects(command: bytes) -> bool:
    """True when the command is a sequence of secure messaging objects: its response is one too."""
    data = _data_field(command)
    return bool(data) and data[0] in _SM_OBJECTS
