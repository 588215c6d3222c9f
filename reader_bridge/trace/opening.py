"""Takes secure messaging off the exchanges of a trace, where keys are known."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Final

from card_os.iso7816.apdu import CLASS_BYTES, MAX_SHORT_NC, CommandApdu, ResponseApdu
from reader_bridge.trace.commands import PROPRIETARY, under_iso_messaging
from reader_bridge.trace.keys import FileKeys, TraceKeys
from reader_bridge.trace.messaging import MUTUAL_LENGTH, MessagingReader, session_of_mutual
from reader_bridge.trace.secure_channel import (
    ChannelReader,
    MacCheck,
    OpenedCommand,
    OpenedResponse,
    begin,
    key_version,
)

_INITIALIZE_UPDATE: Final = 0x50
_AUTHENTICATE: Final = 0x82
_CHALLENGE: Final = 0x84
_SELECT: Final = 0xA4
_GP_SECURED: Final = 0x04
_ISO_SECURED: Final = 0x08
_DONE: Final = 0x9000
_PROPRIETARY_MESSAGING: Final = 0x0C
_FURTHER: Final = 0x40
_CUT: Final = frozenset({0xD8, 0xE4, 0xE6})
"""PUT KEY, DELETE, INSTALL: hosts protect a long one whole and cut it then (GPC 2.3.1, 11.1.5.1)."""
_MORE: Final = 0x80
_PIECE: Final = "protected as a whole with what follows"


@dataclass(frozen=True, slots=True)
class Protection:
    """What was found around a command or a response.

    Attributes:
        name: "SCP03", "secure messaging"; empty for none.
        mac: what is known of its MAC.
        opened: the plain form is known.
        reason: why it is not.
    """

    name: str = ""
    mac: MacCheck = field(default=MacCheck.NONE, repr=False)
    opened: bool = False
    reason: str = ""

    def __str__(self) -> str:
        if not self.name:
            return ""
        tail = self.mac.value if self.opened else self.reason
        return f"{self.name}, {tail}"


@dataclass(slots=True)
class Opener:
    """Follows the sessions of one card.

    Args:
        keys: who knows keys.
    """

    keys: TraceKeys = field(default_factory=FileKeys)
    _channel: ChannelReader | None = None
    _channel_open: bool = False
    _messaging: MessagingReader | None = None
    _messaging_failed: bool = False
    _sessions: int = 0
    _challenge: bytes = b""
    _pieces: bytes = b""

    def reset(self) -> None:
        """Power or reset."""
        self._channel = None
        self._channel_open = False
        self._messaging = None
        self._messaging_failed = False
        self._challenge = b""
        self._pieces = b""

    @property
    def collecting(self) -> bool:
        """True when the last command was a piece of one that is protected as a whole."""
        return bool(self._pieces)

    def command(self, command: CommandApdu, *, hidden: bool) -> tuple[CommandApdu, Protection]:
        """The plain command, or the command as it is."""
        if _is_gp_secured(command):
            if command.ins == _AUTHENTICATE and command.cla >= PROPRIETARY:
                return self._external_authenticate(command)
            if self._channel is None or not self._channel_open:
                return command, Protection("secure channel", reason="no keys for it")
            return self._whole_or_piece(self._channel, command, hidden=hidden)
        self._pieces = b""
        if _is_iso_secured(command):
            reader = self._session()
            if reader is None:
                return command, Protection("secure messaging", reason="no keys for it")
            return self._taken_off(reader, command, hidden=hidden)
        self._messaging, self._messaging_failed = None, False
        if command.ins == _SELECT and command.cla < PROPRIETARY:
            self._channel = None
        return command, Protection()

    def _session(self) -> MessagingReader | None:
        """The open session, or the next one of the keys when one begins here."""
        if self._messaging is None and not self._messaging_failed:
            keys = self.keys.session(self._sessions)
            self._sessions += 1
            self._messaging = None if keys is None else MessagingReader(keys)
            self._messaging_failed = keys is None
        return self._messaging

    def _external_authenticate(self, command: CommandApdu) -> tuple[CommandApdu, Protection]:
        if self._channel is None:
            return command, Protection("secure channel", reason="no keys for it")
        check = self._channel.authenticate(command)
        self._channel_open = True
        return command, Protection(self._channel.name, check, opened=True)

    def _whole_or_piece(
        self, channel: ChannelReader, command: CommandApdu, *, hidden: bool
    ) -> tuple[CommandApdu, Protection]:
        """Bit 8 of P1 tells a piece, or another whole PUT KEY that follows; such a one has its own MAC."""
        if not hidden and command.ins in _CUT and command.p1 & _MORE and not _is_whole(channel, command):
            self._pieces += command.data
            return command._replace(p1=command.p1 & ~_MORE), Protection(channel.name, reason=_PIECE)
        if self._pieces:
            data, self._pieces = self._pieces + command.data, b""
            command = command._replace(data=data, extended=len(data) > MAX_SHORT_NC)
        return self._taken_off(channel, command, hidden=hidden)

    @staticmethod
    def _taken_off(
        reader: ChannelReader | MessagingReader, command: CommandApdu, *, hidden: bool
    ) -> tuple[CommandApdu, Protection]:
        try:
            opened: OpenedCommand = reader.open_command(command, hidden=hidden)
        except ValueError as error:
            return command, Protection(reader.name, MacCheck.WRONG, reason=str(error))
        return opened.command, Protection(reader.name, opened.mac, opened=True)

    def response(
        self, sent: CommandApdu, plain: CommandApdu, response: ResponseApdu, *, hidden: bool
    ) -> tuple[ResponseApdu, Protection]:
        """The plain response to the command that was ``sent`` and means ``plain``."""
        found = response, Protection()
        if _is_gp_secured(sent) and self._channel is not None and sent.ins != _AUTHENTICATE:
            found = self._response_off(self._channel, response, hidden=hidden)
        elif _is_iso_secured(sent) and self._messaging is not None:
            found = self._response_off(self._messaging, response, hidden=hidden)
            if not response.data:  # the card ended the session with a plain error
                self._messaging, self._messaging_failed = None, True
        if not hidden:
            self._learn(plain, found[0])
        return found

    @staticmethod
    def _response_off(
        reader: ChannelReader | MessagingReader, response: ResponseApdu, *, hidden: bool
    ) -> tuple[ResponseApdu, Protection]:
        try:
            opened: OpenedResponse = reader.open_response(response, hidden=hidden)
        except ValueError as error:
            return response, Protection(reader.name, MacCheck.WRONG, reason=str(error))
        return opened.response, Protection(reader.name, opened.mac, opened=True)

    def _learn(self, command: CommandApdu, response: ResponseApdu) -> None:
        """Challenges, sessions that begin, and who the card is."""
        if response.sw != _DONE:
            return
        self.keys.saw(command, response)
        proprietary = command.cla >= PROPRIETARY
        if proprietary and command.ins == _INITIALIZE_UPDATE:
            self._initialize(command, response)
        elif not proprietary and command.ins == _CHALLENGE:
            self._challenge = response.data
        elif not proprietary and command.ins == _AUTHENTICATE and len(command.data) == MUTUAL_LENGTH:
            self._mutual(command, response)

    def _initialize(self, command: CommandApdu, response: ResponseApdu) -> None:
        version = key_version(response.data)
        self._channel, self._channel_open = None, False
        if version is None:
            return
        for keys in self.keys.channel(version, response.data[:10]):
            self._channel = begin(keys, command.data, response.data)
            if self._channel is not None:
                return

    def _mutual(self, command: CommandApdu, response: ResponseApdu) -> None:
        pair = self.keys.role(command.p2)
        if pair is None:
            return
        try:
            keys = session_of_mutual(pair, command.p2, self._challenge, command.data, response.data)
        except ValueError:
            return
        self._messaging, self._messaging_failed = MessagingReader(keys), False

    @property
    def channel_known(self) -> bool:
        """True when the last INITIALIZE UPDATE was answered with keys that are known."""
        return self._channel is not None


def _is_whole(channel: ChannelReader, command: CommandApdu) -> bool:
    """True when the command is protected by itself; the session stays where it is."""
    try:
        return copy(channel).open_command(command, hidden=False).mac is not MacCheck.WRONG
    except ValueError:
        return False


def _is_gp_secured(command: CommandApdu) -> bool:
    """Secure messaging of GlobalPlatform: b3 of the class, of a first interindustry or proprietary class."""
    if command.cla & _FURTHER:
        return False
    return command.cla & _PROPRIETARY_MESSAGING == _GP_SECURED and CLASS_BYTES[command.cla] is not None


def _is_iso_secured(command: CommandApdu) -> bool:
    if not under_iso_messaging(command.cla):
        return False
    return bool(command.cla & _FURTHER) or bool(command.cla & _ISO_SECURED)
