"""Offers a card to any PC/SC program: the card's end of the virtual reader driver vpcd.

The driver listens, two slots on a port and the next one; the card program connects. Messages are a length of 2 bytes,
big-endian, and a payload. A payload of one byte is a request (0 off, 1 on, 2 reset: not answered; 4: answered with
the ATR), a longer one a command APDU, answered with the response.

Source: Virtual Smart Card documentation, "vpcd and vpicc protocol"; PC/SC part 3, clause 3.1.3.2.3 (ATR of a
contactless card).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from functools import reduce
from operator import xor
from types import TracebackType
from typing import Final, Self

from reader_bridge.connection import CardConnection, Interface, ReaderError

DEFAULT_PORT: Final = 0x8C7B
"""First slot in the driver's packaged configuration; the second is the next port."""

_LENGTH: Final = struct.Struct(">H")
_POWER_OFF: Final = b"\x00"
_POWER_ON: Final = b"\x01"
_RESET: Final = b"\x02"
_GET_ATR: Final = b"\x04"
_MAX_MESSAGE: Final = 0xFFFF
_RETRY_SECONDS: Final = 0.1
_EMPTY_SECONDS: Final = 1.0
"""How long a slot stays empty: pcscd looks every 0.4 s, and never sees a card that comes back sooner."""
_JOIN_SECONDS: Final = 5.0
_INTERFACE_BYTES: Final = 0x70
_QUICK_ACKNOWLEDGE: Final[int | None] = vars(socket).get("TCP_QUICKACK")  # not on every system

_log: Final = logging.getLogger(__name__)


def contactless_atr(ats: bytes) -> bytes:
    """The ATR that a reader makes of an ATS: 3B 8n 80 01 ‖ historical bytes ‖ TCK.

    Source: PC/SC part 3, clause 3.1.3.2.3.1, table 3.5.
    """
    historical = b""
    if len(ats) > 1:
        present = (ats[1] & _INTERFACE_BYTES).bit_count()
        historical = ats[2 + present : ats[0]][:15]
    body = bytes((0x80 | len(historical), 0x80, 0x01)) + historical
    return b"\x3b" + body + bytes((reduce(xor, body),))


class VirtualSlot:
    """One slot of the driver with one interface of a card in it, served by a thread.

    A card that goes mute is taken out of the slot and put in again, as a torn card would be.

    Args:
        connection: the interface of the card.
        port: where the driver listens for this slot.
        host: the same for all slots.
        lock: held while the card works; give the slots of one card the same.
        on_failure: told of an error that ends the slot.
    """

    def __init__(
        self,
        connection: CardConnection,
        port: int,
        host: str = "127.0.0.1",
        lock: threading.Lock | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self._connection = connection
        self.port = port
        self._address = (host, port)
        self._lock = lock or threading.Lock()
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._inserted = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name=f"vpcd-{port}", daemon=True)
        self._contactless = connection.description.interface is Interface.CONTACTLESS

    def start(self) -> None:
        """Begin to serve; the driver need not be there yet."""
        self._thread.start()

    def wait_until_inserted(self, timeout_seconds: float) -> bool:
        """True when the service has asked for the card's ATR within the time."""
        return self._inserted.wait(timeout_seconds)

    def close(self) -> None:
        """Take the card out and stop; safe to call twice."""
        self._stopping.set()
        _shut(self._socket)
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                link = self._dial()
                if link is None:
                    continue
                with link:
                    mute = self._serve(link)
                self._inserted.clear()
                with self._lock:
                    self._connection.power_off()
                self._stopping.wait(_EMPTY_SECONDS if mute else _RETRY_SECONDS)
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: tell the owner and end
            _log.error("slot on port %d ended: %s", self.port, type(error).__name__)
            if self._on_failure is not None:
                self._on_failure(error)

    def _dial(self) -> socket.socket | None:
        try:
            link = socket.create_connection(self._address, timeout=1)
        except OSError:
            self._stopping.wait(_RETRY_SECONDS)
            return None
        link.settimeout(None)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = link
        if self._stopping.is_set():  # closed while dialling
            link.close()
            return None
        return link

    def _serve(self, link: socket.socket) -> bool:
        """Answer the driver until it goes or we stop; True when the card went mute."""
        buffer = bytearray(_LENGTH.size + _MAX_MESSAGE)
        view = memoryview(buffer)
        filled = 0
        receive, send, inserted = link.recv_into, link.sendall, self._inserted.set
        acknowledge_quickly = _acknowledger(link)
        try:
            while True:
                # The driver sends length and payload as two segments: without this, each waits for a delayed
                # acknowledgement of 40 ms. The kernel forgets the option, so that it is set before every receive.
                acknowledge_quickly()
                count = receive(view[filled:])
                if not count:
                    return False
                filled += count
                while filled >= _LENGTH.size:
                    end = _LENGTH.size + (buffer[0] << 8 | buffer[1])
                    if filled < end:
                        break
                    answer = self._answer(bytes(view[_LENGTH.size : end]))
                    if answer:  # an answer of length 0 would block the driver
                        send(_LENGTH.pack(len(answer)) + answer)
                        # The service polls its slots; only with the first answer does it know of the card.
                        inserted()
                    buffer[: filled - end] = buffer[end:filled]
                    filled -= end
        except ReaderError as error:
            _log.info("card taken out of port %d: %s", self.port, error.code)
            return True
        except OSError:
            return False

    def _answer(self, message: bytes) -> bytes:
        connection = self._connection
        if len(message) > 1:
            with self._lock:
                return connection.transmit(message)
        with self._lock:
            if message == _POWER_OFF:
                connection.power_off()
            elif message == _POWER_ON:
                connection.power_on()
            elif message == _RESET:
                connection.reset()
            elif message == _GET_ATR:
                answer = connection.power_on()
                return contactless_atr(answer) if self._contactless else answer
        return b""


class VirtualReader:
    """A card in the slots of the driver: the first connection on ``port``, the second on the next.

    Args:
        connections: interfaces of one card, contact first; one or two.
        port: the first slot's port.
        host: where the driver runs.
        lock: held while the card works; needed when others speak to the same card.
    """

    def __init__(
        self,
        connections: Sequence[CardConnection],
        port: int = DEFAULT_PORT,
        host: str = "127.0.0.1",
        lock: threading.Lock | None = None,
    ) -> None:
        shared = lock or threading.Lock()
        self.failure: Exception | None = None
        self._slots = [
            VirtualSlot(connection, port + index, host, shared, self._note)
            for index, connection in enumerate(connections)
        ]

    def _note(self, error: Exception) -> None:
        self.failure = error

    def start(self) -> None:
        """Begin to serve."""
        for slot in self._slots:
            slot.start()

    def wait_until_inserted(self, timeout_seconds: float = 10.0) -> None:
        """Wait until the service has seen the card in all slots.

        Raises:
            ReaderError: "no-virtual-reader", no driver listens there.
        """
        for slot in self._slots:
            if not slot.wait_until_inserted(timeout_seconds):
                raise ReaderError("no-virtual-reader", port=slot.port)

    def close(self) -> None:
        """Take the card out; safe to call twice."""
        for slot in self._slots:
            slot.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _acknowledger(link: socket.socket) -> Callable[[], None]:
    if _QUICK_ACKNOWLEDGE is None:
        return lambda: None
    option = _QUICK_ACKNOWLEDGE
    return lambda: link.setsockopt(socket.IPPROTO_TCP, option, 1)


def _shut(link: socket.socket | None) -> None:
    """Wake the thread that reads; it closes what it opened."""
    if link is not None:
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
