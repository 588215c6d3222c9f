"""A device behind a serial port that is offered over the network, one client at a time (RFC 2217)."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from types import TracebackType
from typing import Final, Protocol, Self

import serial
import serial.rfc2217

from reader_bridge.network import listen, notice_loss, place_name

DEFAULT_RATE: Final = 9600
_JOIN_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.2
_SEND_SECONDS: Final = 5.0
_CHUNK: Final = 4096

_log: Final = logging.getLogger(__name__)


class SerialDevice(Protocol):
    """What is at the other end of the port's cable."""

    def signals(self, rts: bool, dtr: bool, port: DevicePort) -> None:
        """The host set its modem lines."""
        ...

    def characters(self, data: bytes, port: DevicePort) -> None:
        """The host sent characters."""
        ...

    def disconnected(self) -> None:
        """The client went."""
        ...


class DevicePort(Protocol):
    """The port as its device sees it."""

    @property
    def rate(self) -> int:
        """Bits per second that the host has set."""
        ...

    def send(self, data: bytes) -> None:
        """Send characters to the host."""
        ...


class _Uart:
    """The port as pyserial's server sees it: settings to set, and lines that reach the device."""

    def __init__(self, device: SerialDevice, link: socket.socket) -> None:
        self._device = device
        self._link = link
        self._manager: serial.rfc2217.PortManager | None = None
        self.baudrate = DEFAULT_RATE
        self.bytesize, self.parity, self.stopbits = serial.EIGHTBITS, serial.PARITY_NONE, serial.STOPBITS_ONE
        self.xonxoff = self.rtscts = self.break_condition = False
        self.cts = self.dsr = self.cd = True
        self.ri = False
        self._rts = self._dtr = False

    @property
    def rts(self) -> bool:
        return self._rts

    @rts.setter
    def rts(self, on: bool) -> None:
        self._rts = on
        self._device.signals(self._rts, self._dtr, self)

    @property
    def dtr(self) -> bool:
        return self._dtr

    @dtr.setter
    def dtr(self, on: bool) -> None:
        self._dtr = on
        self._device.signals(self._rts, self._dtr, self)

    def reset_input_buffer(self) -> None:
        """Nothing is kept here."""

    def reset_output_buffer(self) -> None:
        """Nothing is kept here."""

    @property
    def rate(self) -> int:
        return int(self.baudrate)

    def send(self, data: bytes) -> None:
        manager = self._manager
        if manager is not None:
            self._link.sendall(b"".join(manager.escape(data)))

    def write(self, data: bytes) -> None:
        """What pyserial's server wants to say to the client."""
        self._link.sendall(data)

    def converse(self) -> None:
        """Serve the client until it goes."""
        # The library asks of a port and a connection no more than this class has.
        manager = serial.rfc2217.PortManager(self, self)  # pyright: ignore[reportArgumentType]
        self._manager = manager
        while data := self._link.recv(_CHUNK):
            characters = bytearray()
            for byte in manager.filter(data):
                characters += byte
            if characters:
                self._device.characters(bytes(characters), self)


class SerialPortServer:
    """Offers a device over TCP.

    Args:
        device: what is behind the port.
        host: address to listen on. RFC 2217 has neither secrets nor passwords: who reaches it has the reader.
        port: 0 takes a free one.

    Attributes:
        port: where it listens.
        failure: what ended the thread, None while all is well.

    Raises:
        ReaderError: "port-in-use" or "address-unusable".
    """

    def __init__(self, device: SerialDevice, host: str = "127.0.0.1", port: int = 0) -> None:
        self._device = device
        self._host = host
        self.failure: Exception | None = None
        self._listener = listen(host, port)
        self.port: int = self._listener.getsockname()[1]
        self._link: socket.socket | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"serial-{self.port}", daemon=True)

    @property
    def place(self) -> str:
        """Where clients find the port."""
        return f"rfc2217://{place_name(self._host, self.port)}"

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def disconnect(self) -> None:
        """End what the client has open, as if the cable were pulled."""
        link = self._link
        if link is not None:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop; safe to call twice."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    link, _ = self._listener.accept()
                except OSError as error:  # we stop, or the system has no room for the client just now
                    _log.info("no client was let in: %s", type(error).__name__)
                    self._stopping.wait(_RETRY_SECONDS)
                    continue
                with link:
                    self._serve(link)
        except Exception as error:  # noqa: BLE001 - a thread's last line of defence: tell the owner and end
            _log.error("serial port %d ended: %s", self.port, type(error).__name__)
            self.failure = error

    def _serve(self, link: socket.socket) -> None:
        self._link = link
        try:
            if self._stopping.is_set():  # who closes us may have looked for a client before there was one
                return
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_loss(link)  # else a client whose machine is gone would keep the port for ever
            _Uart(self._device, link).converse()
        except OSError as error:
            _log.info("client left: %s", type(error).__name__)
        finally:
            self._link = None
            self._device.disconnected()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
