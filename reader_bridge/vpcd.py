"""Offers a card to any PC/SC program: the card's end of the virtual reader driver vpcd.

The driver listens, two slots on a port and the next one; the card program connects. Messages are a length of 2 bytes,
big-endian, and a payload. A payload of one byte is a request (0 off, 1 on, 2 reset: not answered; 4: answered with
the ATR), a longer one a command APDU, answered with the response.

Source: Virtual Smart Card documentation, "vpcd and vpicc protocol".
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self

from card_os.iso7816.atr import AnswerError, Atr
from card_os.transport.t0_tpdu import TpduError
from reader_bridge.connection import CardConnection, Interface, ReaderError
from reader_bridge.contact_card import ContactCard
from reader_bridge.contactless_atr import contactless_atr
from reader_bridge.network import dial
from reader_bridge.tpdu_slot import TpduSlot
from reader_bridge.vigil import Vigil

DEFAULT_PORT: Final = 0x8C7B
"""First slot in the driver's packaged configuration; the second is the next port."""

_LENGTH: Final = struct.Struct(">H")
_POWER_OFF: Final = 0
_POWER_ON: Final = 1
_RESET: Final = 2
_GET_ATR: Final = 4
_SHORTEST: Final = 3
"""Length and a payload of one byte."""
_WHOLE: Final = socket.MSG_WAITALL
_MAX_MESSAGE: Final = 0xFFFF
"""Bytes of one command or response, whole."""
_RETRY_SECONDS: Final = 0.1
_EMPTY_SECONDS: Final = 1.0
"""How long a slot stays empty: pcscd looks every 0.4 s, and never sees a card that comes back sooner."""
_WRONG_LENGTH: Final = b"\x67\x00"
_JOIN_SECONDS: Final = 5.0
_QUICK_ACKNOWLEDGE: Final[int | None] = vars(socket).get("TCP_QUICKACK")  # not on every system

_log: Final = logging.getLogger(__name__)


class VirtualSlot:
    """One slot of the driver with one interface of a card in it, served by a thread.

    A card that goes mute is taken out of the slot and put in again, as a torn card would be. With an ATR that offers
    T=0 only, the card speaks T=0: hosts send TPDUs then, and see 61xx and 6Cxx.

    Args:
        connection: the interface of the card.
        port: where the driver listens for this slot.
        host: the same for all slots.
        lock: held while the card works; give the slots of one card the same.
        awake: held by the slot that waits for its next command awake; give the slots of one process the same.
        on_failure: told of an error that ends the slot.
        atr: ATR to show instead of the card's own; it chooses the protocol.
    """

    def __init__(
        self,
        connection: CardConnection,
        port: int,
        host: str = "127.0.0.1",
        lock: threading.Lock | None = None,
        on_failure: Callable[[Exception], None] | None = None,
        atr: bytes | None = None,
        awake: threading.Lock | None = None,
    ) -> None:
        self._atr = atr
        self._awake = awake or threading.Lock()
        self._present = threading.Event()
        self._present.set()
        self._emptied = False
        self._next: CardConnection | None = None
        self._put(connection)
        self.port = port
        self._address = (host, port)
        self._lock = lock or threading.Lock()
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._inserted = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name=f"vpcd-{port}", daemon=True)

    def _put(self, connection: CardConnection) -> None:
        """The card that is in the slot from now on."""
        self._connection = connection
        self._contactless = connection.description.interface is Interface.CONTACTLESS
        self._card = ContactCard(connection)
        self._tpdus = TpduSlot(self._card)
        self._carry: Callable[[bytes], bytes] = connection.transmit  # APDUs, or TPDUs as soon as the ATR says so
        self._shown = b""
        self._present_answer = b""

    def start(self) -> None:
        """Begin to serve; the driver need not be there yet."""
        self._thread.start()

    def wait_until_inserted(self, timeout_seconds: float) -> bool:
        """True when the service has given the card power and asked for its ATR within the time.

        Before, it only looks whether something is in the slot, and a client is told that there is no card.
        """
        return self._inserted.wait(timeout_seconds)

    def remove_card(self) -> None:
        """Take the card out, in the middle of a command too."""
        self._emptied = True
        self._present.clear()
        _shut(self._socket)

    def insert_card(self, connection: CardConnection | None = None) -> None:
        """Put a card in: another one, or the one that was taken out.

        The slot stays empty for a second at least, so that the service sees the change. A card that was not taken out
        stays as it is.
        """
        if connection is None and self._present.is_set():
            return
        self._next = connection
        self._inserted.clear()
        self._present.set()

    def close(self) -> None:
        """Take the card out and stop; safe to call twice."""
        self._stopping.set()
        self._present.set()
        _shut(self._socket)
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._present.wait()
                self._change_card()
                link = self._dial()
                if link is None:
                    continue
                with link:
                    mute = self._serve(link)
                self._inserted.clear()
                with self._lock:
                    self._power_off(self._connection)
                taken_out, self._emptied = mute or self._emptied, False
                self._stopping.wait(_EMPTY_SECONDS if taken_out else _RETRY_SECONDS)
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: tell the owner and end
            _log.error("slot on port %d ended: %s", self.port, type(error).__name__)
            if self._on_failure is not None:
                self._on_failure(error)

    def _change_card(self) -> None:
        following, self._next = self._next, None
        if following is not None:
            self._put(following)

    def _dial(self) -> socket.socket | None:
        try:
            link = dial(*self._address, seconds=1)
        except OSError:
            self._stopping.wait(_RETRY_SECONDS)
            return None
        link.settimeout(None)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = link
        if self._stopping.is_set() or not self._present.is_set():  # closed, or emptied, while dialling
            link.close()
            return None
        return link

    def _serve(self, link: socket.socket) -> bool:
        """Answer the driver until it goes or we stop; True when the card went mute."""
        buffer = bytearray(_LENGTH.size + _MAX_MESSAGE)
        view = memoryview(buffer)
        filled, end = 0, _SHORTEST
        receive, send, inserted = link.recv_into, link.sendall, self._inserted
        acknowledge_quickly, wait = _acknowledger(link), Vigil.over(link, self._awake).wait
        try:
            while True:
                # The driver sends length and payload as two segments: without this, the second waits for a delayed
                # acknowledgement of 40 ms. The kernel forgets the option, so that it is set before every message.
                acknowledge_quickly()
                wait()
                while filled < end:
                    # Both segments in one call, which acknowledges the first and waits for the second.
                    count = receive(view[filled:end], 0, _WHOLE)
                    if not count:
                        return False
                    filled += count
                    if filled >= _SHORTEST:
                        end = _LENGTH.size + (buffer[0] << 8 | buffer[1])
                if end > _SHORTEST:
                    answer = self._answer(bytes(view[_LENGTH.size : end]))
                else:
                    answer = self._request(buffer[_LENGTH.size]) if end == _SHORTEST else b""
                buffer[: filled - end] = buffer[end:filled]  # behind a message without payload stands the next
                filled, end = filled - end, _SHORTEST
                if answer:
                    send(_LENGTH.pack(len(answer)) + answer)
                    if self._shown and not inserted.is_set():  # what the service learns of a card with power it keeps
                        inserted.set()
        except ReaderError as error:
            _log.info("card taken out of port %d: %s", self.port, error.code)
            return True
        except OSError:
            return False

    def _request(self, message: int) -> bytes:
        """Do what the driver asks for; returns the ATR when it wants that, else nothing."""
        connection = self._connection
        with self._lock:
            if message == _POWER_OFF:
                self._power_off(connection)
            elif message == _POWER_ON:
                self._show(connection.power_on())
            elif message == _RESET:
                self._shown = b""
                self._show(connection.reset())
            elif message == _GET_ATR:
                return self._shown or self._present_answer or self._look(connection)
            else:
                return _WRONG_LENGTH  # a host's command of one byte: the driver waits for its answer
        return b""

    def _power_off(self, connection: CardConnection) -> None:
        connection.power_off()
        self._shown = b""

    def _look(self, connection: CardConnection) -> bytes:
        """The ATR of a card that has no power; being looked for, several times a second, gives it none."""
        self._present_answer = self._show(connection.power_on())
        self._power_off(connection)
        return self._present_answer

    def _answer(self, command: bytes) -> bytes:
        """Response to an APDU or to a TPDU of T=0; never empty, for that would block the driver."""
        try:
            with self._lock:
                answer = self._carry(command)
        except TpduError:
            return _WRONG_LENGTH
        except ReaderError as error:
            if error.code != "not-carried":
                raise
            return _WRONG_LENGTH  # the driver has no word for it; readers that refuse a length answer so
        if not answer:
            raise ReaderError("mute", reader=self._connection.description.name, reason="no answer")
        return answer if len(answer) <= _MAX_MESSAGE else _WRONG_LENGTH

    def _show(self, answer: bytes) -> bytes:
        """The ATR that hosts see; it decides what they send. After a reset the protocol begins anew."""
        shown = contactless_atr(answer) if self._contactless else self._atr or answer
        if shown != self._shown:
            self._shown = shown
            self._carry = self._connection.transmit
            if not self._contactless and _offers_t0_only(shown):
                self._card.start(shown)
                self._carry = self._tpdus.exchange
        return shown


class VirtualReader:
    """Cards in the slots of the driver: the first connection in the first slot, and so on.

    Args:
        connections: interfaces of one card, contact first, or a card for each slot.
        port: the first slot's port, the others are the next ones; or the ports of all slots.
        host: where the driver runs.
        lock: held while a card works; needed when others speak to the same card.
        one_card: the connections are interfaces of one card, which does one thing at a time.
        atr: ATR to show at contact slots instead of the card's own.

    Attributes:
        slots: the slots, in their order.
    """

    def __init__(
        self,
        connections: Sequence[CardConnection],
        port: int | Sequence[int] = DEFAULT_PORT,
        host: str = "127.0.0.1",
        lock: threading.Lock | None = None,
        *,
        one_card: bool = True,
        atr: bytes | None = None,
    ) -> None:
        shared = lock or (threading.Lock() if one_card else None)
        ports = range(port, port + len(connections)) if isinstance(port, int) else port
        awake = threading.Lock()
        self.failure: Exception | None = None
        self.slots = tuple(
            VirtualSlot(connection, place, host, shared, self._note, atr, awake)
            for connection, place in zip(connections, ports, strict=True)
        )

    def _note(self, error: Exception) -> None:
        self.failure = error

    def start(self) -> None:
        """Begin to serve."""
        for slot in self.slots:
            slot.start()

    def wait_until_inserted(self, timeout_seconds: float = 10.0) -> None:
        """Wait until the service has seen the card in all slots.

        Raises:
            ReaderError: "no-virtual-reader", no driver listens there.
        """
        for slot in self.slots:
            if not slot.wait_until_inserted(timeout_seconds):
                raise ReaderError("no-virtual-reader", port=slot.port)

    def close(self) -> None:
        """Take the card out; safe to call twice."""
        for slot in self.slots:
            slot.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _offers_t0_only(atr: bytes) -> bool:
    try:
        return Atr.parse(atr).protocols == (0,)
    except AnswerError:
        return False


def _acknowledger(link: socket.socket) -> Callable[[], None]:
    if _QUICK_ACKNOWLEDGE is None:
        return lambda: None
    return partial(link.setsockopt, socket.IPPROTO_TCP, _QUICK_ACKNOWLEDGE, 1)


def _shut(link: socket.socket | None) -> None:
    """Wake the thread that reads; it closes what it opened."""
    if link is not None:
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
