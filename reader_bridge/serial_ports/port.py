"""A serial port: a device file, ``COM3``, or ``rfc2217://HOST:PORT`` for one that another machine offers.

Source: RFC 2217 (Telnet Com Port Control Option), for ports over the network.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import warnings
from collections.abc import Generator
from enum import Enum
from typing import Final

import serial

from reader_bridge.connection import ReaderError

_NETWORK: Final = "://"
_WRITE_SECONDS: Final = 5.0
_TURN_SECONDS: Final = 0.05
"""Longest single wait for a byte. To change it means to set up the whole port, which takes a while over the network."""
_IN_USE: Final = "exclusively lock"


class Parity(Enum):
    """The parity bit of a character."""

    NONE = "N"
    EVEN = "E"
    ODD = "O"


class SignalLine(Enum):
    """Modem lines that a host sets."""

    RTS = "rts"
    DTR = "dtr"


class SerialPort:
    """An open port. What fails on it is told as `ReaderError`.

    Args:
        place: where it is.
        rate: bits per second.
        parity: parity bit.
        stop_bits: 1 or 2.
        rts: state of RTS from the beginning.
        dtr: the same of DTR.

    Raises:
        ReaderError: "no-serial-port", there is none or it cannot be opened; "reader-in-use", another program has it.
    """

    def __init__(
        self,
        place: str,
        rate: int,
        parity: Parity = Parity.NONE,
        stop_bits: int = 1,
        *,
        rts: bool = True,
        dtr: bool = True,
    ) -> None:
        self.place = place
        try:
            port = serial.serial_for_url(
                place,
                do_not_open=True,
                baudrate=rate,
                parity=parity.value,
                stopbits=stop_bits,
                timeout=_TURN_SECONDS,
            )
            if _NETWORK not in place:  # there the server sees to it, and the connection has its own time-out
                port.exclusive, port.write_timeout = True, _WRITE_SECONDS
            port.rts, port.dtr = rts, dtr
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the library's own, of its thread
                port.open()
        except (OSError, ValueError) as error:  # serial.SerialException is an OSError
            if _IN_USE in str(error):
                raise ReaderError("reader-in-use", reader=place) from error
            raise ReaderError("no-serial-port", port=place, reason=_reason(error)) from error
        self._port = port

    def read(self, seconds: float) -> bytes:
        """What has come, at least one byte; nothing when nothing came for so long.

        Raises:
            ReaderError: "reader-removed", the port is gone.
        """
        first = self.read_exactly(1, seconds)
        if not first:
            return b""
        with self._translated():
            waiting = self._port.in_waiting
            return first + bytes(self._port.read(waiting)) if waiting else first

    def read_exactly(self, count: int, seconds: float) -> bytes:
        """So many bytes, or fewer when they do not come in time."""
        deadline = time.monotonic() + seconds
        data = b""
        with self._translated():
            while len(data) < count:
                data += bytes(self._port.read(count - len(data)))
                if time.monotonic() >= deadline:
                    break
        return data

    def write(self, data: bytes) -> None:
        """Send.

        Raises:
            ReaderError: "reader-removed", the port is gone; "time-out", nobody takes the bytes.
        """
        with self._translated():
            self._port.write(data)

    def discard_input(self) -> None:
        """Forget what has come."""
        with self._translated():
            deadline = time.monotonic() + _TURN_SECONDS
            while (waiting := self._port.in_waiting) and time.monotonic() < deadline:
                self._port.read(waiting)

    def change(self, rate: int, parity: Parity) -> None:
        """Go on with another rate and parity.

        Raises:
            ReaderError: "rate-unsupported", the port does not have the rate.
        """
        try:
            if rate != self._port.baudrate:
                self._port.baudrate = rate
            if parity.value != self._port.parity:
                self._port.parity = parity.value
        except ValueError as error:
            raise ReaderError("rate-unsupported", reader=self.place, rate=rate) from error
        except OSError as error:
            raise ReaderError("rate-unsupported", reader=self.place, rate=rate) from error

    def set_line(self, line: SignalLine, *, on: bool) -> None:
        """Set a modem line.

        Raises:
            ReaderError: "no-serial-port", the port has none, such as a pseudo terminal; "reader-removed", it is gone.
        """
        with self._translated(without_lines=True):
            if line is SignalLine.RTS:
                self._port.rts = on
            else:
                self._port.dtr = on

    @contextlib.contextmanager
    def _translated(self, *, without_lines: bool = False) -> Generator[None]:
        try:
            yield
        except (serial.SerialTimeoutException, TimeoutError) as error:
            raise ReaderError("time-out", reader=self.place) from error
        except (OSError, TypeError) as error:  # TypeError: the library, after somebody closed the port
            if without_lines and getattr(error, "errno", None) == errno.ENOTTY:
                raise ReaderError("no-serial-port", port=self.place, reason="it has no modem lines") from error
            raise ReaderError("reader-removed", reader=self.place, reason=_reason(error)) from error

    def close(self) -> None:
        """Close the port; safe to call twice."""
        link = vars(self._port).get("_socket")
        with contextlib.suppress(OSError):
            self._port.close()
        if link is not None:  # the library leaves a connection open that the other side ended
            link.close()


def _reason(error: BaseException) -> str:
    """What the system says: the library puts the port's name and the number around it."""
    causes = (error, error.__context__)  # of a port that cannot be set up, the number is in what it came of
    numbers = (cause.args[0] for cause in causes if cause is not None and cause.args)
    number = next((number for number in numbers if isinstance(number, int) and number > 0), 0)
    return os.strerror(number) if number else str(getattr(error, "strerror", None) or error)
