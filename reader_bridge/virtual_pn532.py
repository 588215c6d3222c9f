"""A simulated card in the field of a contactless module that is not there: a PN532 on a pseudo terminal.

The module does anticollision and the block protocol with the card, and exchanges whole messages with its host.

Source: NXP UM0701-02, PN532 User Manual, clause 7; see `reader_bridge.pn532_frames` for the frames.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Final

from card_os.transport.tcl_blocks import ContactlessType
from reader_bridge.connection import CardConnection
from reader_bridge.pn532_frames import (
    ACK,
    ERROR,
    HOST_TO_MODULE,
    MAX_DATA,
    MODULE_TO_HOST,
    MORE,
    NACK,
    Baud,
    Command,
    Event,
    FrameReader,
    RfItem,
    Status,
    frame,
)
from reader_bridge.radio_card import RadioCard, RadioError, TypeA
from reader_bridge.terminal_reader import TerminalReader

FIRMWARE: Final = bytes.fromhex("32010607")
"""IC PN532, version 1.6, types A, B and ISO 18092."""
_TARGET: Final = 1
_ALIVE: Final = 0x01
_MAX_COMMAND: Final = 66_000


class SyntaxFault(Exception):
    """The module does not understand a command."""


class Pn532Module:
    """What the module does with each command.

    Args:
        card: the card in its field.

    Attributes:
        present: the card is in the field.
    """

    def __init__(self, card: RadioCard) -> None:
        self._card = card
        self._active = False
        self._outgoing = bytearray()
        self._incoming = b""
        self._commands = self._table()
        self.present = True

    def _table(self) -> Mapping[int, Callable[[bytes], bytes]]:
        return {
            Command.GET_FIRMWARE_VERSION: lambda _: FIRMWARE,
            Command.SAM_CONFIGURATION: self._configure,
            Command.RF_CONFIGURATION: self._radio,
            Command.IN_LIST_PASSIVE_TARGET: self._list,
            Command.IN_DATA_EXCHANGE: self._exchange,
            Command.IN_COMMUNICATE_THRU: self._through,
            Command.IN_DESELECT: self._release,
            Command.IN_RELEASE: self._release,
        }

    def answer(self, command: bytes) -> bytes:
        """Command code and parameters in, answer code and data out.

        Raises:
            SyntaxFault: no such command, or its parameters are missing.
        """
        act = self._commands.get(command[0]) if command else None
        if act is None:
            raise SyntaxFault
        try:
            data = act(command[1:])
        except IndexError as error:
            raise SyntaxFault from error
        return bytes((command[0] + 1,)) + data

    def remove(self) -> None:
        """Take the card out of the field."""
        self.present = False
        self._forget()

    def _forget(self) -> None:
        self._active = False
        self._outgoing.clear()
        self._incoming = b""
        self._card.remove()

    def _configure(self, parameters: bytes) -> bytes:
        if parameters[0] != _ALIVE:  # other modes need a SAM at the module
            raise SyntaxFault
        return b""

    def _radio(self, parameters: bytes) -> bytes:
        """Without a field the card has no power."""
        if parameters[0] == RfItem.FIELD and not parameters[1] & 1:
            self._forget()
        return b""

    def _list(self, parameters: bytes) -> bytes:
        """Number of targets, and of each its number and what it says of itself (7.3.5)."""
        kinds = {Baud.TYPE_A: ContactlessType.A, Baud.TYPE_B: ContactlessType.B}
        kind = kinds.get(Baud(parameters[1])) if parameters[1] in tuple(Baud) else None
        if kind is None or not parameters[0]:
            raise SyntaxFault
        self._active = False
        found = self._card.activate(kind) if self.present else None
        if found is None:
            return b"\x00"
        self._active = True
        if isinstance(found, TypeA):
            uid = bytes((len(found.uid),)) + found.uid
            return bytes((1, _TARGET)) + found.atqa[::-1] + bytes((found.sak,)) + uid + found.ats
        return bytes((1, _TARGET)) + found.atqb + bytes((len(found.attrib),)) + found.attrib

    def _exchange(self, parameters: bytes) -> bytes:
        """A message to the card, or a part of one; status and answer, or a part of it (7.3.8)."""
        target, data = parameters[0], parameters[1:]
        if target & ~MORE != _TARGET or not self._active:
            return bytes((Status.WRONG_CONTEXT,))
        if len(data) > MAX_DATA or len(self._outgoing) > _MAX_COMMAND:
            return bytes((Status.BUFFER,))
        if target & MORE:
            self._outgoing += data
            return bytes((Status.OK,))
        if data or not self._incoming:
            message = bytes(self._outgoing) + data
            self._outgoing.clear()
            try:
                self._incoming = self._carry(message)
            except RadioError:
                self._active = False
                return bytes((Status.TIME_OUT,))
        part, self._incoming = self._incoming[:MAX_DATA], self._incoming[MAX_DATA:]
        return bytes((Status.OK | (MORE if self._incoming else 0),)) + part

    def _carry(self, message: bytes) -> bytes:
        """A message to the card, which may leave the field meanwhile."""
        answer = self._card.exchange(message)
        if not self.present:
            raise RadioError
        return answer

    def _through(self, parameters: bytes) -> bytes:
        """A frame past the module's own protocol (7.3.9)."""
        if not self._active or not self.present:
            return bytes((Status.TIME_OUT,))
        try:
            return bytes((Status.OK,)) + self._card.frame(parameters)
        except RadioError:
            return bytes((Status.TIME_OUT,))

    def _release(self, parameters: bytes) -> bytes:
        """Deselect the card; target 0 stands for all."""
        if parameters[0] not in {0, _TARGET}:
            return bytes((Status.WRONG_CONTEXT,))
        self._forget()
        return bytes((Status.OK,))


class VirtualPn532(TerminalReader[bytes | Event]):
    """A card in the field of a PN532 on a pseudo terminal, served by a thread.

    Args:
        connection: the card over its contactless interface.
        link: a symbolic link to the device file to make, None for none.
        kind: the card appears as type A or B.
        lock: held while the card works; needed when others speak to the same card.

    Attributes:
        failure: what ended the thread, None while all is well.

    Raises:
        ReaderError: "link-exists" or "link-unwritable".
    """

    def __init__(
        self,
        connection: CardConnection,
        link: str | os.PathLike[str] | None = None,
        *,
        kind: ContactlessType = ContactlessType.A,
        lock: threading.Lock | None = None,
    ) -> None:
        super().__init__(link, "pn532", FrameReader(HOST_TO_MODULE))
        self._module = Pn532Module(RadioCard(connection, kind))
        self._lock = lock or threading.Lock()
        self._last = ERROR

    def remove_card(self) -> None:
        """Take the card out of the field, in the middle of a command too."""
        self._module.present = False
        with self._lock:
            self._module.remove()

    def insert_card(self) -> None:
        """Put the card into the field again."""
        with self._lock:
            self._module.present = True

    def _react(self, found: bytes | Event) -> None:
        if found is Event.NACK:
            self._line.write(self._last)
        elif found is Event.DAMAGED:
            self._line.write(NACK)
        elif isinstance(found, bytes):  # an acknowledgement needs no answer
            self._line.write(ACK)
            try:
                with self._lock:
                    self._last = frame(self._module.answer(found), MODULE_TO_HOST)
            except SyntaxFault:
                self._last = ERROR
            self._line.write(self._last)
