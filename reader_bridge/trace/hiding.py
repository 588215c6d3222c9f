"""Decides, command by command, what a recorder leaves out.

A field that is enciphered by secure messaging stays: it says nothing to somebody without the keys, and is what somebody
with them wants to see. What is hidden is hidden from the recorder's own memory too.

Source: the columns of `reader_bridge.trace.commands`; GlobalPlatform Card Specification 2.3.1, table 10-1 (P1 of
EXTERNAL AUTHENTICATE).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from reader_bridge.trace.commands import PROPRIETARY, CommandRow, Holds, command_row, under_iso_messaging
from reader_bridge.trace.record import Hidden, Octets

_HEADER: Final = 4
_GET_RESPONSE: Final = 0xC0
_SELECT: Final = 0xA4
_EXTERNAL_AUTHENTICATE: Final = 0x82
_GP_SECURED: Final = 0x04
_C_DECRYPTION: Final = 0x02
_R_ENCRYPTION: Final = 0x20
_STATUS_LENGTH: Final = 2
_CRYPTOGRAMS: Final = frozenset({0x82, 0x83, 0x84, 0x85, 0x86, 0x87})
_SM_OBJECTS: Final = _CRYPTOGRAMS | {0x8E, 0x8F, 0x96, 0x97, 0x99}
_EVERYTHING: Final = Hidden.SECRETS | Hidden.CONTENT
_MEANING: Final = {Hidden.SECRETS: Holds.SECRET, Hidden.CONTENT: Holds.CONTENT}


class Cover(NamedTuple):
    """What is hidden of one exchange.

    Attributes:
        command: the data field of the command.
        response: the data field of the response.
    """

    command: bool
    response: bool

    @property
    def anything(self) -> bool:
        """True when something is hidden."""
        return self.command or self.response


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
            return Cover(command=False, response=self._last.response)
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
            return Cover(secret.command and not _enciphered(command), secret.response and not _has_objects(command))
        if cla & _GP_SECURED:
            return Cover(
                secret.command and not self._level & _C_DECRYPTION, secret.response and not self._level & _R_ENCRYPTION
            )
        return secret

    def answered(self, command: bytes, response: bytes) -> None:
        """Learn the level of a secure channel from the EXTERNAL AUTHENTICATE that opened it."""
        opened = len(command) > _HEADER and command[0] >= PROPRIETARY and command[1] == _EXTERNAL_AUTHENTICATE
        if opened and response[-_STATUS_LENGTH:] == b"\x90\x00":
            self._level = command[2]

    @staticmethod
    def hide_command(command: bytes, cover: Cover) -> Octets:
        """The command without its data field when that is covered; length fields and Le stay."""
        if not cover.command or len(command) <= _HEADER + 1:
            return Octets(command)
        start, length = _HEADER + 1, command[_HEADER]
        if not length and len(command) > _HEADER + 3:
            start, length = _HEADER + 3, command[_HEADER + 1] << 8 | command[_HEADER + 2]
        return Octets.hiding(command, start, start + length)

    @staticmethod
    def hide_response(response: bytes, cover: Cover) -> Octets:
        """The response without its data field when that is covered."""
        if not cover.response:
            return Octets(response)
        return Octets.hiding(response, 0, len(response) - _STATUS_LENGTH)


def _data_field(command: bytes) -> bytes:
    start = _HEADER + 1
    if len(command) > _HEADER + 3 and not command[_HEADER]:
        start = _HEADER + 3
    return command[start:]


def _enciphered(command: bytes) -> bool:
    """True when the data field of a command under secure messaging begins with a cryptogram, or has no data at all."""
    data = _data_field(command)
    return bool(data) and data[0] in _SM_OBJECTS and data[0] not in {0x80, 0x81}


def _has_objects(command: bytes) -> bool:
    """True when the command is a sequence of secure messaging objects: its response is one too."""
    data = _data_field(command)
    return bool(data) and data[0] in _SM_OBJECTS
