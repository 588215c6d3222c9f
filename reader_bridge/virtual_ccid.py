"""A simulated card in a serial CCID reader that is not there: the reader's end of a GemPC Twin on a pseudo terminal.

pcscd with its own serial CCID driver opens the device file and drives the card at TPDU level: the driver makes PPS and
the blocks of T=1, this reader follows the procedure bytes of T=0 and sends blocks on as they are. A command that takes
long is answered with time extensions meanwhile.

A host that was told nothing in time, because the machine was too slow, gives up and sends its next command. It takes
the first two frames that come for that one's echo and answer, whatever they are; a late answer would put it out of step
for good. So what a host does not wait for any more is not sent, and taken back where it was.

Source: USB Device Class: Smart Card CCID, revision 1.1, clause 6.1; see `reader_bridge.ccid_messages` for the frames.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from card_os.transport.pps import PPSS
from card_os.transport.t0_tpdu import TpduError
from reader_bridge.ccid_messages import (
    CARD_ABSENT,
    CARD_PRESENT,
    HEADER_LENGTH,
    MAX_DATA,
    NAK_FRAME,
    NOTIFY,
    CcidError,
    CommandStatus,
    Event,
    FrameReader,
    IccStatus,
    Message,
    MessageType,
    frame,
)
from reader_bridge.connection import CardConnection
from reader_bridge.contact_card import ContactCard
from reader_bridge.line_history import LineHistory
from reader_bridge.pin_entry import Keypad, PinEntryError, PinOperation
from reader_bridge.terminal_reader import TerminalReader
from reader_bridge.tpdu_slot import TpduSlot

FIRMWARE: Final = b"permitcard virtual reader 1.0"
READER_KIND: Final = "GemPCTwin"
"""What the driver has to be told behind the device's name."""
PIN_PAD_KIND: Final = "GemPCPinPad"
"""The same for a reader with a keypad."""

_GET_FIRMWARE: Final = b"\x02"
_SET_NOTIFICATION: Final = b"\x01\x01\x01"
_LOAD_STRINGS: Final = b"\xb2\xa0\x00"
"""What the display of a keypad reader shows, in the host's language."""
_TPDU_LEVEL: Final = b"\x00\x00"
_T0_PARAMETERS: Final = bytes.fromhex("1100000A00")
_PARAMETER_LENGTHS: Final = {0: 5, 1: 7}
_EXTENSION_SECONDS: Final = 0.4
"""A driver waits for at least a second and a half (BWT of BWI 4) before it gives a card up."""
_PATIENCE_SECONDS: Final = 1.0
"""No driver gives up sooner."""
_BLOCK_HEADER: Final = {0: 5, 1: 3}
"""What is no secret of a command TPDU by T=0, of a block of T=1: CLA to P3; NAD, PCB and LEN."""
_CERTAIN: Final = 3
"""How often a host asks for a card before it certainly knows that there is none: pcscd overlooks its own question when
it takes power away."""


class CommandFailed(Exception):
    """The reader cannot do what a message asks.

    Args:
        error: bError.
    """

    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.error = error


def _refuse(_message: Message) -> bytes:
    raise CommandFailed(CcidError.COMMAND_NOT_SUPPORTED)


class CcidSlot:
    """What the reader does with each message.

    Args:
        card: the card that is put into it.
        keypad: where a PIN is typed; None for a reader without one.
        time_extension: told each time the card asks for time.

    Attributes:
        present: a card is in the slot.
        active: it has power.
        known: the host has powered it at least once.
        missed: the host has asked for a card and been told that there is none.
    """

    def __init__(
        self, card: ContactCard, keypad: Keypad | None = None, time_extension: Callable[[], None] | None = None
    ) -> None:
        self._card = card
        self._keypad = keypad
        self._protocol = 0
        self._parameters = _T0_PARAMETERS
        self._tpdus = TpduSlot(card, time_extension)
        self._commands = self._table()
        self.present = True
        self.active = False
        self.known = threading.Event()
        self.missed = threading.Event()
        self._asked = 0

    @property
    def protocol(self) -> int:
        """What the host has set: 0 for T=0, 1 for T=1."""
        return self._protocol

    @property
    def icc(self) -> IccStatus:
        """State of the card, bmICCStatus."""
        if not self.present:
            return IccStatus.ABSENT
        return IccStatus.ACTIVE if self.active else IccStatus.INACTIVE

    def remove(self) -> None:
        """Take the card out: it loses its power."""
        self.present = self.active = False
        self._card.deactivate()
        self.known.clear()
        self.missed.clear()
        self._asked = 0

    def insert(self) -> None:
        """Put the card in again, without power."""
        self.present = True

    def _table(self) -> Mapping[int, tuple[MessageType, Callable[[Message], bytes]]]:
        """What each command is answered with and who does it (6.1, table 6.1-1)."""
        kinds, block, status = MessageType, MessageType.DATA_BLOCK, MessageType.SLOT_STATUS
        values = MessageType.PARAMETERS
        return {
            kinds.ICC_POWER_ON: (block, self._power_on),
            kinds.ICC_POWER_OFF: (status, self._power_off),
            kinds.GET_SLOT_STATUS: (status, self._status),
            kinds.XFR_BLOCK: (block, self._transfer),
            kinds.GET_PARAMETERS: (values, lambda _: self._parameters),
            kinds.RESET_PARAMETERS: (values, self._reset_parameters),
            kinds.SET_PARAMETERS: (values, self._set_parameters),
            kinds.ESCAPE: (kinds.ESCAPE_ANSWER, self._escape),
            kinds.ICC_CLOCK: (status, lambda _: b""),
            kinds.SECURE: (block, self._secure),
            kinds.ABORT: (status, lambda _: b""),
        }

    def answer(self, message: Message) -> Message:
        """Do what a message asks."""
        kind, act = self._commands.get(message.kind, (MessageType.SLOT_STATUS, _refuse))
        data, status, error = b"", CommandStatus.OK, 0
        try:
            data = act(message)
        except CommandFailed as failure:
            status, error = CommandStatus.FAILED, failure.error
        last = self._protocol if kind is MessageType.PARAMETERS else 0
        return Message(kind, data, message.slot, message.sequence, bytes((status | self.icc, error, last)))

    def time_extension(self, sequence: int) -> Message:
        """One waiting time more for the command that is being executed (6.2.6)."""
        return Message(MessageType.DATA_BLOCK, b"", 0, sequence, bytes((CommandStatus.TIME_EXTENSION | self.icc, 1, 0)))

    def _need(self, *, active: bool) -> None:
        if not self.present or (active and not self.active):
            raise CommandFailed(CcidError.ICC_MUTE)

    def _power_on(self, _message: Message) -> bytes:
        self._need(active=False)
        self.active = False
        answer = self._card.reset()
        self._reset_parameters(_message)
        if not answer:
            raise CommandFailed(CcidError.ICC_MUTE)
        self.active = True
        self.known.set()
        return answer

    def _status(self, _message: Message) -> bytes:
        if not self.present:
            self._asked += 1
            if self._asked == _CERTAIN:
                self.missed.set()
        return b""

    def _power_off(self, _message: Message) -> bytes:
        self.active = False
        self._card.deactivate()
        return b""

    def _reset_parameters(self, _message: Message) -> bytes:
        self._protocol, self._parameters = 0, _T0_PARAMETERS
        return self._parameters

    def _set_parameters(self, message: Message) -> bytes:
        protocol = message.parameters[0]
        if protocol not in _PARAMETER_LENGTHS:
            raise CommandFailed(CcidError.BAD_PROTOCOL)
        if len(message.data) != _PARAMETER_LENGTHS[protocol]:
            raise CommandFailed(CcidError.BAD_LENGTH)
        self._protocol, self._parameters = protocol, message.data
        return message.data

    def _escape(self, message: Message) -> bytes:
        """Commands of this reader: its firmware's name, and when it tells a card movement."""
        if message.data == _GET_FIRMWARE:
            return FIRMWARE
        if message.data == _SET_NOTIFICATION or (self._keypad and message.data.startswith(_LOAD_STRINGS)):
            return b""
        raise CommandFailed(HEADER_LENGTH)

    def _transfer(self, message: Message) -> bytes:
        self._need(active=True)
        if len(message.data) > MAX_DATA or message.parameters[1:] != _TPDU_LEVEL:
            raise CommandFailed(CcidError.BAD_LENGTH)
        return self._exchange(message.data)

    def _exchange(self, data: bytes) -> bytes:
        """PPS and T=1 go to the card as they are; T=0 by procedure bytes."""
        if self._protocol or (self._card.protocol is None and data[:1] == bytes((PPSS,))):
            answer = b"".join(self._card.receive(data))
        else:
            try:
                answer = self._tpdus.exchange(data)
            except TpduError as error:
                raise CommandFailed(CcidError.BAD_LENGTH) from error
        if not answer or not self.present:
            self._check_power()
            raise CommandFailed(CcidError.ICC_MUTE)
        return answer

    def _check_power(self) -> None:
        """A card that lost its power stays without until the host powers it again."""
        self.active = self._card.powered

    def _secure(self, message: Message) -> bytes:
        """PIN entry: the keypad's digits go into the command, and nobody else sees them (6.1.11)."""
        self._need(active=True)
        if self._keypad is None:
            raise CommandFailed(CcidError.COMMAND_NOT_SUPPORTED)
        try:
            operation = PinOperation.parse(message.data)
            block = operation.block(self._keypad, block_protocol=bool(self._protocol))
        except PinEntryError as error:
            raise CommandFailed(error.ccid_error) from error
        return self._exchange(block)


class VirtualCcidReader(TerminalReader[Message | Event]):
    """A card in a serial CCID reader on a pseudo terminal, served by a thread.

    Args:
        connection: the card.
        link: a symbolic link to the device file to make, None for none.
        keypad: where a PIN is typed; None for a reader without one.
        lock: held while the card works; needed when others speak to the same card.

    Attributes:
        failure: what ended the thread, None while all is well.
        history: the last messages, for whoever looks for the cause of a failure.

    Raises:
        ReaderError: "link-exists" or "link-unwritable".
    """

    def __init__(
        self,
        connection: CardConnection,
        link: str | os.PathLike[str] | None = None,
        *,
        keypad: Keypad | None = None,
        lock: threading.Lock | None = None,
    ) -> None:
        self._frames = FrameReader()
        super().__init__(link, "ccid-reader", self._frames, self._watch)
        self._kind = READER_KIND if keypad is None else PIN_PAD_KIND
        self._slot = CcidSlot(ContactCard(connection), keypad, self._extend)
        self._card_lock = lock or threading.Lock()
        self._sending = threading.Lock()
        self._moved = False
        self._busy: tuple[int, float] | None = None
        self._last = NAK_FRAME
        self.history = LineHistory()

    @property
    def device_name(self) -> str:
        """What the driver's configuration names: the device file and the kind of reader."""
        return f"{self.path}:{self._kind}"

    def wait_until_known(self, timeout_seconds: float) -> bool:
        """True when a host has powered the card within the time."""
        return self._slot.known.wait(timeout_seconds)

    def wait_until_missed(self, timeout_seconds: float) -> bool:
        """True when a host has found the slot empty within the time; one that looks now and then overlooks less."""
        return self._slot.missed.wait(timeout_seconds)

    def remove_card(self) -> None:
        """Take the card out, in the middle of a command too; the host is told with its answer, or with the next one."""
        self._slot.present = False
        with self._card_lock:
            self._slot.remove()
            self._moved = True

    def insert_card(self) -> None:
        """Put the card in again."""
        with self._card_lock:
            self._slot.insert()
            self._moved = True

    def _react(self, found: Message | Event) -> None:
        if isinstance(found, Message):
            self._execute(found)
            return
        self.history.note("host: {}", found.name)
        if found is Event.DAMAGED:
            self._send(NAK_FRAME)
        elif found is Event.NAK:
            self._send(self._last)

    def _execute(self, message: Message) -> None:
        """Send the command back, do it, tell card movements, answer."""
        began = time.monotonic()
        # The driver reads what is sent back of its strings into the room of their short answer.
        strings = message.kind == MessageType.ESCAPE and self._kind == PIN_PAD_KIND
        echo = frame((message._replace(data=b"") if strings else message).encode())
        self._note("host", message)
        if self._frames.message_waits():
            self.history.note("the host has given up: {} is not executed", message.sequence)
            return
        with self._sending:
            self._busy = message.sequence, began
            self._line.write(echo)
        with self._card_lock:
            answer = self._slot.answer(message)
            moved, self._moved = self._moved, False
        self._last = frame(answer.encode())
        movement = bytes((NOTIFY, CARD_PRESENT if self._slot.present else CARD_ABSENT)) if moved else b""
        self._note("reader", answer)
        with self._sending:
            self._busy = None
            if time.monotonic() - began > _PATIENCE_SECONDS and self._line.waiting():
                self.history.note("the host has given up: echo and answer {} are taken back", message.sequence)
                self._line.withdraw()
                self._moved = self._moved or moved
                return
            self._line.write(movement + self._last)

    def _note(self, who: str, message: Message) -> None:
        """Keep what a message is; of a block its header."""
        shown = b""
        if message.kind == MessageType.XFR_BLOCK or (message.kind == MessageType.DATA_BLOCK and self._slot.protocol):
            shown = message.data[: _BLOCK_HEADER[self._slot.protocol]]
        kind, data = message.kind, len(message.data)
        self.history.note(
            "{}: {:02X} seq {}, {} bytes, {} {}",
            *(who, kind, message.sequence, data, message.parameters.hex(), shown.hex()),
        )

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._line.write(data)

    def _watch(self) -> None:
        """Ask for time while a command runs."""
        while not self._stopping.wait(_EXTENSION_SECONDS / 2):
            self._extend()

    def _extend(self) -> None:
        with self._sending:
            if self._busy is None:
                return
            sequence, since = self._busy
            now = time.monotonic()
            if now - since >= _EXTENSION_SECONDS:
                self._busy = sequence, now
                self.history.note("reader: time extension for seq {}", sequence)
                self._line.write(frame(self._slot.time_extension(sequence).encode()))
