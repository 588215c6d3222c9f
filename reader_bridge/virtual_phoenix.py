"""A simulated card in a plain asynchronous reader ("Phoenix") that is not there, behind a port offered by RFC 2217.

A modem line is the card's reset, and the one wire sends back what the host sends. Characters go over the wire with
parity and convention: what the card finds damaged under T=0 it refuses, and the host reads a spoilt character back. A
host that sends at another rate than the card's is not understood.

Source: ISO/IEC 7816-3:2006, clauses 6.2, 7.2, 7.3 and 8.1; see `reader_bridge.phoenix_reader` for the host's end.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from card_os.iso7816.atr import Convention
from card_os.transport.characters import Disturbance, ParityError, decode_character, encode_character
from card_os.transport.timing import FREQUENCY_HZ, ContactTiming
from reader_bridge.connection import CardConnection, Protocol7816, ReaderError
from reader_bridge.contact_card import ContactCard, beside_the_line
from reader_bridge.serial_ports.port import SignalLine
from reader_bridge.serial_ports.port_server import DevicePort, SerialPortServer

_PATIENCE_SECONDS: Final = 0.4
"""Less than half of the waiting times of an ATR without special values, 1 s for T=0 and more for T=1."""
_RATE_TOLERANCE: Final = 0.04
_SPOILT: Final = b"\x00"
"""What a UART makes of a character whose stop bit is low."""


def undisturbed(moments: int) -> int | None:
    """Every character arrives."""
    return moments


class PhoenixDevice:
    """The reader and the card in it.

    Args:
        card: the card.
        line: the modem line that is its reset.
        active_resets: the card is in reset while the line is set.
        disturbance: what happens to a character on its way to the card.
        lock: held while the card works.

    Attributes:
        refused: characters that the card refused.
    """

    def __init__(
        self,
        card: ContactCard,
        line: SignalLine = SignalLine.RTS,
        *,
        active_resets: bool = True,
        disturbance: Disturbance = undisturbed,
        lock: threading.Lock | None = None,
    ) -> None:
        self._card = card
        self._line = line
        self._active_resets = active_resets
        self._disturbance = disturbance
        self._lock = lock or threading.Lock()
        self._in_reset = False
        self._convention = Convention.DIRECT
        self.refused = 0

    def signals(self, rts: bool, dtr: bool, port: DevicePort) -> None:
        """The end of a reset starts the card: it sends its ATR."""
        state = rts if self._line is SignalLine.RTS else dtr
        held = state == self._active_resets
        released, self._in_reset = self._in_reset and not held, held
        with self._lock:
            if held:
                self._card.deactivate()
            elif released:
                answer = self._card.reset()
                if answer:
                    self._convention = Convention(answer[0])
                    self._send(answer, port, ContactTiming())

    def characters(self, data: bytes, port: DevicePort) -> None:
        """The wire sends everything back; the card takes what it understands."""
        timing = self._timing()
        if not self._is_rate(port, timing):
            port.send(data)
            return
        echo, taken = bytearray(), bytearray()
        for byte in data:
            understood = self._carry(byte)
            if understood is None:
                self.refused += 1
                echo += _SPOILT
            else:
                taken.append(understood)
                echo.append(byte)
        port.send(bytes(echo))
        with self._lock:
            for part in self._card.receive(bytes(taken)):
                self._send(part, port, timing)

    def _carry(self, byte: int) -> int | None:
        """A character on its way to the card; None = it signals a parity error, which a card does under T=0 only."""
        parity = byte.bit_count() & 1 ^ (self._convention is Convention.INVERSE)
        moments = self._disturbance(byte | parity << 8)
        if moments is None:
            return None
        try:
            return decode_character(moments, self._convention)
        except ParityError:
            if self._card.protocol is Protocol7816.T1:
                return decode_character(moments ^ 0x100, self._convention)  # the check code tells
            return None

    def _timing(self) -> ContactTiming:
        selection = self._card.selection
        return ContactTiming() if selection is None else ContactTiming(f=selection.f, d=selection.d)

    @staticmethod
    def _is_rate(port: DevicePort, timing: ContactTiming) -> bool:
        wanted = FREQUENCY_HZ * timing.d / timing.f
        return abs(port.rate - wanted) <= wanted * _RATE_TOLERANCE

    def _send(self, data: bytes, port: DevicePort, timing: ContactTiming) -> None:
        coded = bytes(encode_character(byte, self._convention) & 0xFF for byte in data)
        port.send(coded if self._is_rate(port, timing) else bytes(len(coded)))

    def disconnected(self) -> None:
        """Without a host the reset line is low."""
        self._in_reset = False
        with self._lock:
            self._card.deactivate()


class VirtualPhoenixReader:
    """A card in such a reader, offered over TCP.

    Args:
        connection: the card.
        host: address to listen on; who reaches it has the card.
        port: 0 takes a free one.
        line: the modem line that is the card's reset.
        active_resets: the card is in reset while the line is set.
        disturbance: what happens to a character on its way to the card.
        lock: held while the card works; needed when others speak to the same card.

    Attributes:
        device: the reader and the card in it.

    Raises:
        ReaderError: "port-in-use" or "address-unusable".
    """

    def __init__(
        self,
        connection: CardConnection,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        line: SignalLine = SignalLine.RTS,
        active_resets: bool = True,
        disturbance: Disturbance = undisturbed,
        lock: threading.Lock | None = None,
    ) -> None:
        self._executor = ThreadPoolExecutor(1, "phoenix-card")
        self.device = PhoenixDevice(
            ContactCard(connection, beside_the_line(self._executor, _PATIENCE_SECONDS)),
            line,
            active_resets=active_resets,
            disturbance=disturbance,
            lock=lock,
        )
        try:
            self._server = SerialPortServer(self.device, host, port)
        except ReaderError:
            self._executor.shutdown()
            raise

    @property
    def place(self) -> str:
        """Where clients find the port."""
        return self._server.place

    @property
    def failure(self) -> Exception | None:
        """What ended the server, None while all is well."""
        return self._server.failure

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    def disconnect(self) -> None:
        """Pull the cable: the client loses its port."""
        self._server.disconnect()

    def close(self) -> None:
        """Stop; safe to call twice."""
        self._server.close()
        self._executor.shutdown()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
